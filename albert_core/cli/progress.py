"""Progress of long work: a moving line on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["counter", "lines"]

_PLAIN_EVERY_SECONDS = 10.0


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
def lines() -> Iterator[Callable[[str], None]]:
    """A function to be called with each line; on a terminal those on steps replace each other."""
    if not sys.stderr.isatty():
        yield lambda line: print(line, file=sys.stderr, flush=True)
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status("reading text") as status:
        yield lambda line: status.update(line) if line.startswith("step") else console.print(line, markup=False)


def _plain(what: str) -> Callable[[int], None]:
    said = time.monotonic()

    def say(count: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _PLAIN_EVERY_SECONDS:
            said = time.monotonic()
            print(f"{count:,} {what}", file=sys.stderr, flush=True)

    return say
