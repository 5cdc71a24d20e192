"""Which bytes of which file go into which shard: a function of the list of files and their sizes.

Files are laid end to end in the given order and cut where a shard is full. A plain file may be cut anywhere; the cut
then moves to the next end of a document (`text_files.document_boundary`), which the shards on both sides find alike. A
compressed file cannot be entered in the middle, so it goes into one shard whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from albert_core.errors import TokenizerError
from albert_core.text_files import TEXT_FIELD, is_compressed

__all__ = ["FORMAT", "SHARD_SIZE", "Piece", "Plan", "Settings", "make_plan", "tokenizer_facts"]

FORMAT = "albert token shards 1"
SHARD_SIZE = 1 << 26  # bytes of text


class Piece(NamedTuple):
    """Bytes of one file, before the cuts move to the ends of documents; `stop` is None for the rest of the file."""

    path: Path
    start: int
    stop: int | None


@dataclass(frozen=True)
class Settings:
    """What makes the tokens besides the text.

    Attributes:
        tokenizer: See `tokenizer_facts`.
        shard_size: Bytes of text that fill a shard.
        text_field: Where a document stands in a JSON line.
    """

    tokenizer: dict[str, Any]
    shard_size: int = SHARD_SIZE
    text_field: str = TEXT_FIELD

    @property
    def dtype(self) -> np.dtype:
        """The smallest type that holds every id."""
        return np.dtype("<u2" if self.tokenizer["vocab_size"] <= 1 << 16 else "<u4")


@dataclass(frozen=True)
class Plan:
    """The shards to make.

    Attributes:
        settings: What makes the tokens.
        files: Name without folders and size of each text file.
        shards: The pieces of each shard.
    """

    settings: Settings
    files: list[dict[str, Any]]
    shards: list[list[Piece]]

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the shards, the same on every machine for the same names and sizes in the same order."""
        return {"format": FORMAT, **asdict(self.settings), "files": self.files}

    @cached_property
    def digest(self) -> str:
        """Of the facts; stands in every shard."""
        return _sha256(self.facts)


def make_plan(files: Sequence[str | Path], settings: Settings) -> Plan:
    """Assign every byte of every file to a shard.

    Raises:
        NotFound: A file does not exist.
        FormatError: A file is a folder, or not compressed as its name says.
        ValueError: There is no file, or the shard size is no positive number.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise ValueError("files: expected at least one text file, got none")
    if settings.shard_size < 1:
        raise ValueError(f"shard_size: expected at least 1 byte, got {settings.shard_size}")
    whole = [is_compressed(path) for path in paths]
    sizes = [path.stat().st_size for path in paths]
    described = [{"name": path.name, "bytes": size} for path, size in zip(paths, sizes, strict=True)]
    return Plan(settings, described, _assign(paths, sizes, whole, settings.shard_size))


def _assign(paths: list[Path], sizes: list[int], whole: list[bool], shard_size: int) -> list[list[Piece]]:
    """Fill one shard after the other."""
    shards: list[list[Piece]] = [[]]
    free = shard_size
    for path, size, uncut in zip(paths, sizes, whole, strict=True):
        start = 0
        while not uncut and size - start > free:
            shards[-1].append(Piece(path, start, start + free))
            shards.append([])
            start, free = start + free, shard_size
        shards[-1].append(Piece(path, start, None))
        free -= size - start
        if free <= 0:
            shards.append([])
            free = shard_size
    return shards if shards[-1] else shards[:-1]


def tokenizer_facts(tokenizer: Any) -> dict[str, Any]:
    """What decides a tokenizer's ids, as a digest, and its size and special tokens.

    Raises:
        TokenizerError: It samples subwords, so that a text has no one answer.
    """
    if tokenizer.engine.draws:
        raise TokenizerError(None, "sp_model_kwargs: expected no sampling of subwords, got enable_sampling")
    file, preprocess = getattr(tokenizer, "_spiece", None), getattr(tokenizer, "preprocess", None)
    rules = {
        "pieces": tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))),
        "cleaning": preprocess and asdict(preprocess),
        "model": hashlib.sha256(file.content if file else tokenizer.engine.to_json().encode()).hexdigest(),
    }
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in ("pad", "unk", "cls", "sep", "mask")}
    return {"sha256": _sha256(rules), "vocab_size": len(tokenizer), **special}


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
