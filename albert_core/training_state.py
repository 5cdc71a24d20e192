"""Where a pretraining run stands, where it keeps that, and how it is told to stop; the same in every backend."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "BEST",
    "CHECKPOINT_PREFIX",
    "TrainingState",
    "newest_checkpoint",
    "print_line",
    "remove_leftovers",
    "stop_signals",
]

CHECKPOINT_PREFIX = "checkpoint-"
BEST = "best"


@dataclass
class TrainingState:
    """Where a run stands: what a resume needs beside weights and moments.

    Attributes:
        step: Steps taken, those that float16 left out counted in.
        epoch: Epoch of the next batch.
        index: Its index in that epoch.
        tokens: Tokens seen, padding not counted.
        seconds: Time spent in all calls together.
        best: Highest held-out masked accuracy so far.
        history: Held-out numbers, one entry an evaluation.
        metrics: The last report's numbers, see `albert_core.training_report`.
        loss_scale: Scale, good steps and steps left out, see `albert_core.loss_scale`; None where
            no step was in float16.
        stopped: Why the last call ended: "finished", "time", or the name of a signal.
    """

    step: int = 0
    epoch: int = 0
    index: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float = -1.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    loss_scale: list[float] | None = None
    stopped: str = ""


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the highest step, or None."""
    found = [
        path for path in folder.glob(CHECKPOINT_PREFIX + "*") if path.name.removeprefix(CHECKPOINT_PREFIX).isdigit()
    ]
    return max(found, key=lambda path: int(path.name.removeprefix(CHECKPOINT_PREFIX)), default=None)


def remove_leftovers(folder: Path) -> None:
    """What `albert_core.atomic` had under temporary names when the process before this one was killed."""
    for path in [*folder.glob(".*.tmp"), *(folder / BEST).glob(".*.tmp")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """SIGTERM and SIGINT put their number into a list instead of ending the process; a second one ends it as usual."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may set handlers
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def receive(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def print_line(line: str) -> None:
    """Progress as a plain line on standard error."""
    print(line, file=sys.stderr, flush=True)
