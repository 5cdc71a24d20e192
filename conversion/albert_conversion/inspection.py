"""What a checkpoint is: format, config, head, and every tensor with its dtype, range and checksum."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from albert_conversion.convert import plan_of
from albert_conversion.opened import home_of, with_neighbours
from albert_conversion.plan import Line
from albert_conversion.recognise import find_checkpoints, recognise
from albert_conversion.source import Source
from albert_core.dtypes import DTYPES
from albert_core.errors import AlbertError

__all__ = ["Facts", "Inspected", "inspect_checkpoint"]


@dataclass(frozen=True)
class Facts:
    """One tensor.

    Attributes:
        name: Its name in the file.
        dtype: Its dtype there.
        shape: Its shape there.
        nbytes: Its size.
        sha256: Of its bytes, little-endian, row by row.
        non_finite: How many of its values are NaN or infinite.
        becomes: Its canonical name, or the rule by which it is ignored; "" when the checkpoint is no model.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    sha256: str
    non_finite: int
    becomes: str = ""


@dataclass
class Inspected:
    """A checkpoint.

    Attributes:
        path: The file that was read.
        format: Its format's name.
        integrity: "verified" where checksums were held against every tensor, else "unverified".
        head: The class whose tensors it holds, or "".
        config: Its config, or None.
        problem: Why it is no complete model, or "".
        tensors: Every tensor of the file.
        others: Further checkpoints in the same folder.
    """

    path: str
    format: str
    integrity: str
    head: str = ""
    config: dict[str, Any] | None = None
    problem: str = ""
    tensors: list[Facts] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def non_finite(self) -> int:
        """How many values of all tensors are NaN or infinite."""
        return sum(facts.non_finite for facts in self.tensors)


def inspect_checkpoint(path: str | Path, config: str | Path | None = None, head: str | None = None) -> Inspected:
    """Read all of a checkpoint and say what it is. One that is no complete model is described all the same.

    Raises:
        NotFound: There is no checkpoint.
        CheckpointError: A file is malformed, unsafe or damaged.
    """
    found = recognise(Path(path))
    with found.open(found.path) as source:
        result = Inspected(str(source.path), source.format.name, source.integrity)
        lines: list[Line] = []
        try:
            opened = with_neighbours(found, config, source)
            result.config = opened.config.to_dict()
            plan = plan_of(opened, head)
            result.head, result.config, lines = plan.head, plan.config.to_dict(), plan.lines
        except AlbertError as error:
            result.problem = str(error)
        becomes = {line.source: line.target or line.rule for line in lines}
        result.tensors = [_facts(source, name, becomes.get(name, "")) for name in source]
    result.others = [str(other.path) for other in find_checkpoints(home_of(found)) if other.path != found.path]
    return result


def _facts(source: Source, name: str, becomes: str) -> Facts:
    dtype, shape = source.dtype(name), source.shape(name)
    if dtype.kind == "O":
        return Facts(name, "text", shape, 0, "", 0, becomes)
    array = np.asarray(source[name])
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    with np.errstate(invalid="ignore"):  # ml_dtypes flags signalling NaN
        bad = int(array.size - np.isfinite(array).sum()) if array.dtype.name in DTYPES else 0
    digest = hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()
    return Facts(name, array.dtype.name, shape, array.nbytes, digest, bad, becomes)
