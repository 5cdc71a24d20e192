"""One shard: a folder of three .npy files, which are a TokenizedCorpus, and what they should be in JSON."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from albert_core.atomic import write_file, write_folder
from albert_core.corpus import TokenizedCorpus, tokenize
from albert_core.errors import AlbertError, FormatError, IntegrityError, NotFound
from albert_core.joined_array import MappedArray
from albert_core.strict_json import parse_object
from albert_core.text_files import document_boundary, read_paragraphs
from albert_core.token_shards.plan import Plan

__all__ = ["Shard", "make_shard", "shard_name"]

_FACTS = "shard.json"  # written last, into a folder that is renamed as a whole
_ARRAYS = ("tokens", "segments", "documents")  # as in TokenizedCorpus
_OFFSETS = np.dtype("<i8")


def shard_name(index: int) -> str:
    """The name of a shard's folder."""
    return f"shard-{index:05d}"


class Shard(NamedTuple):
    """What a shard is said to hold; the same for the same text, tokenizer and settings, whoever made it.

    Attributes:
        plan: Digest of the plan that it is a part of.
        dtype: Of the tokens, as NumPy writes it.
        tokens: How many there are.
        segments: How many there are.
        documents: How many there are.
        sha256: Digest of each file by name.
    """

    plan: str
    dtype: str
    tokens: int
    segments: int
    documents: int
    sha256: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Shard:
        """Read a shard's own facts.

        Raises:
            NotFound: There is no such shard.
            FormatError: The facts are malformed.
        """
        path = folder / _FACTS
        if not path.is_file():
            raise NotFound(folder, None, "expected a shard, there is none", hint="run prepare-data again")
        return cls.of(parse_object(path.read_bytes(), path, "shard"), path)

    @classmethod
    def of(cls, facts: Any, path: Path) -> Shard:
        """Facts as JSON holds them.

        Raises:
            FormatError: A fact is missing, unknown or of a wrong type; names the file.
        """
        kinds = dict(zip(cls._fields, (str, str, int, int, int, dict), strict=True))
        found = {name: type(value) for name, value in facts.items()} if isinstance(facts, dict) else {}
        if found != kinds or sorted(facts["sha256"]) != [f"{name}.npy" for name in sorted(_ARRAYS)]:
            raise FormatError(path, None, f"expected a shard's {', '.join(kinds)}, got {facts!r:.200}")
        return cls(**facts)

    def check(self, folder: Path, verify: bool = True) -> None:
        """See that every file is there and, if asked to, is what its checksum says.

        Raises:
            NotFound: A file is missing.
            IntegrityError: A file is not what was written.
        """
        for name, expected in self.sha256.items():
            path = folder / name
            if not path.is_file():
                raise NotFound(path, None, "expected a file of a shard, there is none", hint="run prepare-data again")
            if verify and (found := _digest(path)) != expected:
                reason = f"expected SHA-256 {expected}, got {found}"
                raise IntegrityError(path, None, reason, hint="run prepare-data again")

    def corpus(self, folder: Path) -> TokenizedCorpus:
        """The tokens, mapped when they are first looked at."""
        facts = ((self.tokens, self.dtype), (self.segments + 1, _OFFSETS), (self.documents + 1, _OFFSETS))
        arrays = (MappedArray(folder / f"{name}.npy", *each) for name, each in zip(_ARRAYS, facts, strict=True))
        return TokenizedCorpus(*arrays)


def make_shard(folder: Path, plan: Plan, index: int, tokenizer: Any) -> tuple[Shard, bool]:
    """Make one shard of a plan, or keep the one there is.

    Killed at any moment this leaves the whole shard or none. A shard whose checksums fail is made anew.

    Returns:
        The shard, and whether it was kept.

    Raises:
        FormatError: The text cannot be read, or the shard there is of another plan.
    """
    target = folder / shard_name(index)
    if (kept := _kept(target, plan)) is not None:
        return kept, True
    with write_folder(target) as staging:
        blocks = tokenize(_paragraphs(plan, index), tokenizer)
        tokens, segments, documents = _write_arrays(staging, blocks, plan.settings.dtype)
        digests = {path.name: _digest(path) for path in sorted(staging.glob("*.npy"))}
        made = Shard(plan.digest, plan.settings.dtype.str, tokens, segments, documents, digests)
        write_file(staging / _FACTS, json.dumps(made._asdict(), indent=1).encode())
    return made, False


def _kept(target: Path, plan: Plan) -> Shard | None:
    """A finished shard of this plan; one whose bytes are not what was written is removed."""
    if not target.exists():
        return None
    try:
        found = Shard.read(target)
        found.check(target)
    except AlbertError:
        shutil.rmtree(target)
        return None
    if found.plan == plan.digest:
        return found
    reason = "expected a shard of these files, this tokenizer and these settings, got one of others"
    raise FormatError(target, None, reason, hint="name another folder")


def _paragraphs(plan: Plan, index: int) -> Iterator[str]:
    for path, start, stop in plan.shards[index]:
        start, stop = document_boundary(path, start), None if stop is None else document_boundary(path, stop)
        yield from read_paragraphs(path, start, stop, plan.settings.text_field)


def _write_arrays(folder: Path, blocks: Iterator[tuple[np.ndarray, ...]], dtype: np.dtype) -> tuple[int, int, int]:
    """Append blocks to the shard's arrays; returns how many tokens, segments and documents there are."""
    kinds = dict(zip(_ARRAYS, (dtype, _OFFSETS, _OFFSETS), strict=True))
    with ExitStack() as open_files:
        columns = [open_files.enter_context(_Column(folder / f"{name}.npy", kind)) for name, kind in kinds.items()]
        for column in columns[1:]:
            column.append(np.zeros(1, np.int64))
        for block in blocks:
            for column, values in zip(columns, block, strict=True):
                column.append(values)
    return columns[0].length, columns[1].length - 1, columns[2].length - 1


class _Column:
    """A 1-D .npy file that grows: NumPy's header leaves room for any length."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.dtype, self.length = dtype, 0
        self._file = path.open("w+b")
        self._write_header()

    def append(self, values: np.ndarray) -> None:
        self._file.write(values.astype(self.dtype).tobytes())
        self.length += len(values)

    def __enter__(self) -> _Column:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        described = {"shape": (self.length,), "fortran_order": False, "descr": npy.dtype_to_descr(self.dtype)}
        npy.write_array_header_1_0(self._file, described)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
