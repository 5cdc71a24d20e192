"""Where a pretraining run stands, where it keeps that, and how it is told to stop; the same in every backend."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albert_core.config_fields import is_int, is_number
from albert_core.errors import FormatError, NotFound
from albert_core.strict_json import clip, parse_object

__all__ = [
    "BEST",
    "CHECKPOINT_PREFIX",
    "TrainingState",
    "checkpoints",
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
        vocabulary: Digest of the pieces that the ids stand for, see `albert_core.corpus.Vocabulary`.
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
    vocabulary: str = ""

    @classmethod
    def read(cls, path: Path) -> TrainingState:
        """What a checkpoint's JSON file says.

        Raises:
            NotFound: There is no such file.
            FormatError: It is no JSON, or does not hold a state.
        """
        if not path.is_file():
            raise NotFound(path, None, "expected the state of a run, there is none")
        known = parse_object(path.read_bytes(), path, "state of a run").get("state")
        fields = {f.name: f for f in dataclasses.fields(cls)}
        if not isinstance(known, dict) or not {"step", "epoch", "index"} <= known.keys() <= fields.keys():
            got = ", ".join(known) if isinstance(known, dict) else json.dumps(known)
            raise FormatError(path, "state", f"expected an object of {', '.join(fields)}; got {clip(got)}")
        for name, value in known.items():
            if not _STORED[fields[name].type](value):
                raise FormatError(path, f"state.{name}", f"expected {fields[name].type}, got {clip(json.dumps(value))}")
        return cls(**known)


# by the annotations above
_STORED: dict[Any, Callable[[Any], bool]] = {
    "int": lambda v: is_int(v) and v >= 0,
    "float": is_number,
    "str": lambda v: isinstance(v, str),
    "list[dict[str, float]]": lambda v: isinstance(v, list) and all(isinstance(e, dict) for e in v),
    "dict[str, float]": lambda v: isinstance(v, dict) and all(map(is_number, v.values())),
    "list[float] | None": lambda v: v is None or (isinstance(v, list) and len(v) == 3 and all(map(is_number, v))),
}


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the newest last. Whatever else is called checkpoint-... is its owner's."""
    numbered = {path.name.removeprefix(CHECKPOINT_PREFIX): path for path in folder.glob(CHECKPOINT_PREFIX + "*")}
    return [numbered[n] for n in sorted(filter(str.isdecimal, numbered), key=int) if numbered[n].is_dir()]


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the highest step, or None."""
    return next(reversed(checkpoints(folder)), None)


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
