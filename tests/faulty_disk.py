"""A disk that fails, or a process that dies, at the k-th operation of a save."""

from __future__ import annotations

import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_OPERATIONS = ("open", "fsync", "replace", "rename", "mkdir")


class FaultyDisk:
    """Counts the operations that change the disk and lets one of them go wrong.

    Args:
        at: Which operation, from 0.
        fault: Called instead of it.
        times: How many operations from there on go wrong.
    """

    def __init__(self, at: int, fault: Callable[[], None], times: int = 1) -> None:
        self.at, self.fault, self.times, self.log = at, fault, times, []

    def note(self, operation: str) -> None:
        self.log.append(operation)
        if self.at <= len(self.log) - 1 < self.at + self.times:
            self.fault()


def disk_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def faulty(disk: FaultyDisk) -> Iterator[FaultyDisk]:
    """Route this process's file operations through `disk`."""
    originals = {name: getattr(os, name) for name in (*_OPERATIONS, "fdopen")}

    def route(name: str) -> Callable:
        def operation(*args, **kwargs):
            if name != "open" or args[1] & os.O_CREAT:
                disk.note(name)
            return originals[name](*args, **kwargs)

        return operation

    class File(io.FileIO):
        def write(self, data) -> int:
            disk.note("write")
            return super().write(data)

    try:
        for name in _OPERATIONS:
            setattr(os, name, route(name))
        os.fdopen = lambda descriptor, mode: io.BufferedRandom(File(descriptor, "w+"))
        yield disk
    finally:
        for name, original in originals.items():
            setattr(os, name, original)
