"""A run's numbers as TensorBoard's event files, by TensorBoard's own record writer, without a framework.

`tensorboard.summary.Writer` would import TensorFlow wherever that is installed, so the two lines that it adds to the
record writer stand here.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from albert_core.errors import BackendMissing

__all__ = ["TensorBoard"]


class TensorBoard:
    """An observer of `albert_core.training.pretrain`: each number becomes a scalar.

    Where a run goes on, its first event tells TensorBoard to drop what is there of the steps that are taken again.

    Args:
        folder: Where event files go; one more for each run and each resume, made with the first numbers.

    Raises:
        BackendMissing: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            self._proto = importlib.import_module("tensorboard.compat.proto.event_pb2")
            self._summary = importlib.import_module("tensorboard.compat.proto.summary_pb2")
            records = importlib.import_module("tensorboard.summary.writer.record_writer")
        except ImportError:
            raise BackendMissing("train", "tensorboard") from None
        self._folder, self._open_records = Path(folder), records.RecordWriter
        self._records: Any = None

    def __call__(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of a step; they are in the file when this returns."""
        if self._records is None:
            self._records = self._open_records(self._new_file())
            self._write(file_version="brain.Event:2")
        if numbers:
            values = [self._summary.Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
            self._write(step=step, summary=self._summary.Summary(value=values))
        else:
            start = self._proto.SessionLog(status=self._proto.SessionLog.START)
            self._write(step=step + 1, session_log=start)
        self._records.flush()

    def _new_file(self) -> BinaryIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        return (self._folder / f"events.out.tfevents.{time.time():.6f}.{os.getpid()}").open("xb")

    def _write(self, **what: Any) -> None:
        self._records.write(self._proto.Event(wall_time=time.time(), **what).SerializeToString())

    def close(self) -> None:
        """Close the file, where there is one."""
        if self._records is not None:
            self._records.close()
