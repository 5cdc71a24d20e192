"""Progress of long work: a moving line on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["counter", "training"]

_PLAIN_EVERY_SECONDS = 10.0
_BAR_EVERY_SECONDS = 0.5
_BAR = (
    "loss {n[train/loss]:.3f}  masked {n[train/masked_accuracy]:.1%}  order {n[train/order_accuracy]:.1%}  "
    "{n[train/tokens_per_second]:,.0f} tokens/s"
)


@contextlib.contextmanager
def counter(what: str) -> Iterator[Callable[[int], None]]:
    """A function to be called with the count so far."""
    if not sys.stderr.isatty():
        yield _plain(what)
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda count: bar.update(task, completed=count)


@contextlib.contextmanager
def training(total: int) -> Iterator[dict[str, Any]]:
    """What `albert_core.training.pretrain` needs to show itself: a bar on a terminal, plain lines elsewhere.

    Args:
        total: Steps of the whole run.

    Yields:
        Keywords: report_seconds and observers, and progress where it is not the lines.
    """
    if not sys.stderr.isatty():
        yield {"report_seconds": _PLAIN_EVERY_SECONDS, "observers": ()}
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    columns = (MofNCompleteColumn(), BarColumn(20), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, speed_estimate_period=3600) as bar:
        task = bar.add_task("starting", total=total)

        def show(step: int, numbers: Mapping[str, float]) -> None:
            if not numbers:
                bar.reset(task, completed=step)  # steps of an earlier call are not this one's speed
            elif "train/loss" in numbers:
                bar.update(task, completed=step, description=_BAR.format(**{"n": numbers}))

        def say(line: str) -> None:
            if not line.startswith("step "):  # the bar shows those
                console.print(line, markup=False)

        yield {"report_seconds": _BAR_EVERY_SECONDS, "progress": say, "observers": (show,)}


def _plain(what: str) -> Callable[[int], None]:
    said = time.monotonic()

    def say(count: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _PLAIN_EVERY_SECONDS:
            said = time.monotonic()
            print(f"{count:,} {what}", file=sys.stderr, flush=True)

    return say
