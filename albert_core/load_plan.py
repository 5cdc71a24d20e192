"""Which tensor of a checkpoint goes into which parameter, what may be missing, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from albert_core.dtypes import DTYPES
from albert_core.errors import (
    CheckpointError,
    DtypeMismatch,
    IntegrityError,
    MissingKeys,
    ShapeMismatch,
    UnexpectedKeys,
)
from albert_core.heads import ENCODER_PARTS
from albert_core.ignored_names import ignored
from albert_core.parameters import PREFIX, TIED, Parameter, part_of

__all__ = ["LoadPlan", "LoadReport", "check_ties"]

_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # PyTorch's first ALBERTs


@dataclass
class LoadReport:
    """What a load did.

    Attributes:
        missing_keys: Tensors of the head or pooler that were not there and were initialised.
        unexpected_keys: Tensors of other heads, or of the pooler, that were not used.
        mismatched_keys: Head tensors of another shape that were initialised (`ignore_mismatched_sizes`).
        error_msgs: Always empty, because an error is raised; kept for code written for transformers.
        non_finite_keys: Tensors that hold NaN or infinity, with how many of them.
        integrity: "verified" when the file's digests were there and matched, else "unverified".
        dtype: The dtype of the loaded model.
        cast: Whether values were converted from another dtype of the file.
    """

    missing_keys: list[str] = field(default_factory=list)
    unexpected_keys: list[str] = field(default_factory=list)
    mismatched_keys: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    error_msgs: list[str] = field(default_factory=list)
    non_finite_keys: dict[str, int] = field(default_factory=dict)
    integrity: str = "unverified"
    dtype: str = ""
    cast: bool = False


class LoadPlan:
    """Which key of a checkpoint feeds which parameter; raises one error for everything that does not fit."""

    def __init__(
        self,
        table: dict[str, Parameter],
        state: Mapping[str, Any],
        path: str | Path,
        ignore_mismatched_sizes: bool = False,
    ) -> None:
        self.report, self.sources, self.path = LoadReport(), {}, path
        self.problems: dict[type[CheckpointError], list[str]] = {}
        self.state, self.lenient = state, ignore_mismatched_sizes
        names = self._names()
        for p in table.values():
            if p.tied_to is None:
                self._assign(p, names)
        self._sort_out_rest(table, names)
        ties = list(self._ties(table, names))
        self._raise()
        check_ties(state, ties, path, IntegrityError)

    def _names(self) -> dict[str, str]:
        """The checkpoint's keys by the canonical names they mean; of two that mean one, the canonical one."""
        names: dict[str, str] = {}
        for key in sorted(self.state.keys(), key=lambda key: _canonical(key) != key):
            if (kept := names.setdefault(_canonical(key), key)) != key:
                self._problem(UnexpectedKeys, f"{key} (another name of {kept})")
        return names

    def _assign(self, p: Parameter, names: dict[str, str]) -> None:
        other = next((tied for tied, target in TIED.items() if target == p.name and tied in names), None)
        key = names.get(p.name) or (names[other] if other else None)
        if key is None:
            if p.part in ENCODER_PARTS:
                self._problem(MissingKeys, p.name)
            else:
                self.report.missing_keys.append(p.name)
            return
        shape, dtype = _facts(self.state, key)
        if shape != p.shape:
            if self.lenient and p.part not in ENCODER_PARTS:
                self.report.mismatched_keys.append((key, shape, p.shape))
            else:
                self._wrong_shape(key, shape, p)
        elif dtype.name not in DTYPES:
            self._problem(DtypeMismatch, f"{key} (expected a float, got {dtype.name})")
        else:
            self.sources[p] = key

    def _sort_out_rest(self, table: dict[str, Parameter], names: dict[str, str]) -> None:
        for name, key in names.items():
            if name in table or ignored("torch", key):
                continue
            part = part_of(name)
            if part is None or part in ENCODER_PARTS:  # a tensor no ALBERT has, or a layer this config has not
                self._problem(UnexpectedKeys, key)
            else:
                self.report.unexpected_keys.append(key)

    def _ties(self, table: dict[str, Parameter], names: dict[str, str]) -> Iterator[tuple[str, str]]:
        """Each copy that the checkpoint holds of a tensor, and the key that is used in its place."""
        for p in (p for p in table.values() if p.tied_to is not None and p.name in names):
            copy, used = names[p.name], self.sources.get(table[TIED[p.name]])
            if used in (None, copy):
                continue
            if (shape := _facts(self.state, copy)[0]) != p.shape:
                self._wrong_shape(copy, shape, p)
            else:
                yield copy, used

    def _wrong_shape(self, key: str, shape: tuple[int, ...], p: Parameter) -> None:
        self._problem(ShapeMismatch, f"{key} (expected {list(p.shape)}, got {list(shape)})")

    def _problem(self, kind: type[CheckpointError], text: str) -> None:
        self.problems.setdefault(kind, []).append(text)

    def _raise(self) -> None:
        if not self.problems:
            return
        if len(self.problems) == 1:
            ((kind, keys),) = self.problems.items()
            raise kind(path=self.path, keys=keys)  # type: ignore[call-arg]
        listed = "; ".join(f"{len(keys)} {kind._what}: {', '.join(keys)}" for kind, keys in self.problems.items())  # type: ignore[attr-defined]
        raise CheckpointError(self.path, None, listed)


def check_ties(
    state: Mapping[str, Any], ties: Iterable[tuple[str, str]], path: str | Path, error: type[CheckpointError]
) -> None:
    """Refuse tied names of different values, of which a model can hold but one.

    Args:
        state: Arrays by name; may be lazy.
        ties: Pairs of names in it.
        path: The file, for the error.
        error: What to raise.
    """
    found = [f"{copy} differs from {used}, to which it is tied" for copy, used in ties if _differ(state, copy, used)]
    if found:
        raise error(path, None, "; ".join(found), "no class here computes what tie_word_embeddings=False means")


def _differ(state: Any, one: str, other: str) -> bool:
    """Whether the bytes differ; nothing is read where the file says so."""
    known = {state.digest(name) for name in (one, other)} if hasattr(state, "digest") else {None}
    if None not in known:
        return len(known) > 1
    first, second = state[one], state[other]
    return first is not second and np.asarray(first).tobytes() != np.asarray(second).tobytes()


def _canonical(key: str) -> str:
    """A key with a norm's present names, and with the encoder's prefix, which a bare encoder leaves out."""
    for old, new in _OLD_NAMES.items():
        key = key.removesuffix(old) + new if key.endswith(old) else key
    return PREFIX + key if part_of(key) is None and part_of(PREFIX + key) else key


def _facts(state: Any, key: str) -> tuple[tuple[int, ...], np.dtype]:
    if hasattr(state, "shape"):  # a lazy checkpoint knows without reading
        return tuple(state.shape(key)), np.dtype(state.dtype(key))
    return tuple(state[key].shape), np.dtype(state[key].dtype)
