"""The closed-world plan: what becomes of every tensor of a source, decided before the first value is converted.

Every tensor is used, tied to one that is, or named in the ignore list; everything the model needs is there, or filled
by a rule that has a name. Whatever does not fit is collected into one error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from albert_conversion.head_of import choose_head, with_labels
from albert_conversion.source import Source, Stored
from albert_core.config import AlbertConfig
from albert_core.dtypes import DTYPES
from albert_core.errors import (
    CheckpointError,
    DtypeMismatch,
    IntegrityError,
    MissingKeys,
    ShapeMismatch,
    UnexpectedKeys,
)
from albert_core.foreign_names import Place, ignored, key_of, known_names, places, stranger
from albert_core.heads import HEADS
from albert_core.parameters import POOLER_PART, Parameter, parameter_table
from albert_core.strict_json import clip

__all__ = ["PROJECTION", "Line", "Plan", "State"]

PROJECTION = "albert.encoder.embedding_hidden_mapping_in."
_SHOWN = 40  # names that one message lists


@dataclass(frozen=True)
class Line:
    """One line of the report.

    Attributes:
        source: The tensor's name in the source; "" for one that a rule fills.
        target: Its canonical name; "" for one that is ignored.
        action: "read", "renamed", "transposed", "tied", "ignored", "filled" or "missing".
        rule: Why it is tied, ignored, filled or missing.
        dtype: Its dtype in the source.
        shape: Its shape in the source.
    """

    source: str
    target: str
    action: str
    rule: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """Its size in the source."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize if self.dtype in DTYPES else 0


class State(Mapping[str, np.ndarray]):
    """A model's untied arrays by canonical name in canonical layout, converted one by one when asked for."""

    def __init__(self, entries: Mapping[str, Stored]) -> None:
        self.entries = dict(entries)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.entries[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """An array's shape, known without reading it."""
        return self.entries[name].shape

    def dtype(self, name: str) -> np.dtype:
        """An array's dtype, known without reading it."""
        return self.entries[name].dtype

    def renamed(self, names: Mapping[str, tuple[str, bool, tuple[int, ...]]]) -> State:
        """The same arrays under other names and layouts.

        Args:
            names: New name -> (name here, whether to transpose, new shape).
        """
        entries = {
            new: Stored(self.dtype(old), shape, partial(self._laid_out, old, transposed, shape))
            for new, (old, transposed, shape) in names.items()
        }
        return State(entries)

    def _laid_out(self, name: str, transposed: bool, shape: tuple[int, ...]) -> np.ndarray:
        array = self[name]
        return np.ascontiguousarray(array.T if transposed else array).reshape(shape)


class Plan:
    """What a source holds as a model.

    Attributes:
        config: The model's config, with the number of labels that the head shows where the source said none.
        head: The class name of the model.
        pooling: Whether its encoder has a pooler.
        lines: The report, one line per tensor.
        state: Its untied arrays by canonical name, lazily.

    Raises:
        CheckpointError: Missing, unexpected, contradicting, wrong-shaped or wrong-typed tensors, all in one error.
    """

    def __init__(
        self,
        source: Source,
        config: AlbertConfig,
        head: str | None = None,
        labels_known: bool = True,
        filled: tuple[str, ...] = (),
    ) -> None:
        self._source, self._scheme, self._filled = source, source.scheme, filled
        self._problems: dict[type[CheckpointError], list[str]] = {}
        self.lines: list[Line] = []
        self.config, self._explicit = config, head is not None
        keys = self._keys()
        self._drop_filled(keys)
        labelled = config if labels_known else with_labels(config, self._scheme, source, keys)
        self.head = choose_head(source, labelled, keys) if head is None else head
        self.config = config if self.head == "AlbertForMultipleChoice" else labelled  # whose one row is no label
        self.pooling = self._has_pooler(keys) or (HEADS[self.head].pooling and bool(HEADS[self.head].parts))
        if HEADS[self.head].pooling and not self.pooling:
            self.lines.append(Line("", "albert.pooler", "missing", "the encoder was saved without its pooler"))
        self.state = self._assigned(keys)
        self._raise()

    # -- names ---------------------------------------------------------------------------------------------------

    def _keys(self) -> dict[str, list[str]]:
        """The source's names by the place they mean; those that mean none are ignored by rule, or a problem."""
        keys: dict[str, list[str]] = {}
        strangers: dict[str, list[str]] = {}
        known = known_names(self._scheme, self.config)
        for raw in self._source:
            key, rule = key_of(self._scheme, known, raw), ignored(self._scheme, raw)
            if key is not None:
                keys.setdefault(key, []).append(raw)
            elif rule is not None:
                self._line(raw, "", "ignored", rule)
            else:
                strangers.setdefault(stranger(self._scheme, raw) or "", []).append(raw)
        for what, raws in strangers.items():
            self._refuse_strangers(what, raws)
        return keys

    def _refuse_strangers(self, what: str, raws: list[str]) -> None:
        for raw in raws:
            if what and self._explicit:
                self._line(raw, "", "ignored", what)
            else:
                self._problem(UnexpectedKeys, clip(raw) + (f" ({what})" if what and raw == raws[-1] else ""))

    def _drop_filled(self, keys: dict[str, list[str]]) -> None:
        """Leave out what a writer made up because its format demanded it."""
        found = places(self._scheme, self.config, (POOLER_PART,))
        for name in (name for name in self._filled if name in found):
            for raw in (raw for place in found[name] for raw in keys.pop(place.name, ())):
                self._line(raw, "", "ignored", "made up when this checkpoint was written, says its sidecar")

    def _has_pooler(self, keys: Mapping[str, Any]) -> bool:
        found = places(self._scheme, self.config, (POOLER_PART,))
        return any(place.name in keys for several in found.values() for place in several)

    # -- tensors -------------------------------------------------------------------------------------------------

    def _assigned(self, keys: dict[str, list[str]]) -> State:
        parts = HEADS[self.head].all_parts(self.pooling)
        table, found = parameter_table(self.config, parts), places(self._scheme, self.config, parts)
        entries: dict[str, Stored] = {}
        projected = any(place.name in keys for leaf in ("weight", "bias") for place in found[PROJECTION + leaf])
        for name, several in found.items():
            present = [(place, raw) for place in several for raw in keys.pop(place.name, ())]
            stored = self._assign(table[name], present) if present else self._fill(table[name], projected)
            if stored is not None:
                entries[name] = stored
        for raws in keys.values():  # tensors of another head
            for raw in raws:
                if self._explicit:
                    self._line(raw, "", "ignored", f"not part of {self.head}, which was asked for")
                else:
                    self._problem(UnexpectedKeys, f"{clip(raw)} (not part of {self.head})")
        return State(entries)

    def _assign(self, p: Parameter, present: list[tuple[Place, str]]) -> Stored | None:
        if not all([self._fits(p, place, raw) for place, raw in present]):
            return None
        (place, raw), *copies = present
        self._line(raw, p.name, "transposed" if place.transposed else "read" if raw == p.name else "renamed")
        for other, copy in copies:
            self._check_tie(p, (place, raw), (other, copy))
        layout = (raw, place.transposed, p.shape)
        return Stored(_native(self._source.dtype(raw)), p.shape, partial(self._read, *layout))

    def _fits(self, p: Parameter, place: Place, raw: str) -> bool:
        shape, dtype = self._source.shape(raw), self._source.dtype(raw)
        if shape != place.shape:
            self._problem(ShapeMismatch, f"{clip(raw)} (expected {list(place.shape)}, got {list(shape)})")
        elif _native(dtype).name not in DTYPES:
            self._problem(DtypeMismatch, f"{clip(raw)} (expected a float, got {dtype.name})")
        else:
            return True
        return False

    def _check_tie(self, p: Parameter, first: tuple[Place, str], other: tuple[Place, str]) -> None:
        (_, raw), (copy, name) = first, other
        if self._source.same(raw, name):
            self._line(name, p.name, "tied", f"the same values as {raw}")
        elif not copy.decides:
            self._line(name, p.name, "ignored", f"differs from {raw}, with which the format's readers compute")
        else:
            self._problem(IntegrityError, f"{clip(name)} differs from {clip(raw)}, to which it is tied")

    def _fill(self, p: Parameter, projected: bool) -> Stored | None:
        """The identity for a projection that Google's graph leaves out; nothing else may be missing."""
        equal = self.config.embedding_size == self.config.hidden_size
        if not p.name.startswith(PROJECTION) or self._scheme not in ("tf1", "official") or projected or not equal:
            self._problem(MissingKeys, p.name)
            return None
        dtype = next((DTYPES[line.dtype] for line in self.lines if line.target), np.dtype(np.float32))
        self.lines.append(
            Line("", p.name, "filled", "E == H: Google's graph has no projection, the identity", dtype.name)
        )
        value = np.eye(p.shape[0]) if p.leaf == "weight" else np.zeros(p.shape)
        return Stored(dtype, p.shape, lambda: value.astype(dtype))

    def _read(self, raw: str, transposed: bool, shape: tuple[int, ...]) -> np.ndarray:
        array = self._source[raw]
        array = array.astype(_native(array.dtype), copy=False)
        if transposed:
            return np.ascontiguousarray(array.reshape(shape[::-1]).T)
        return array.reshape(shape)

    # -- report and errors ---------------------------------------------------------------------------------------

    def _line(self, raw: str, target: str, action: str, rule: str = "") -> None:
        dtype = _native(self._source.dtype(raw)).name
        self.lines.append(Line(raw, target, action, rule, dtype, self._source.shape(raw)))

    def _problem(self, kind: type[CheckpointError], text: str) -> None:
        self._problems.setdefault(kind, []).append(text)

    def _raise(self) -> None:
        if not self._problems:
            return
        path = self._source.path
        if len(self._problems) == 1:
            ((kind, texts),) = self._problems.items()
            if issubclass(kind, IntegrityError):
                raise kind(path, None, "; ".join(texts[:_SHOWN]))
            raise kind(path=path, keys=texts)  # type: ignore[call-arg]
        listed = "; ".join(f"{len(t)} {_WORDS[kind]}: {', '.join(t[:_SHOWN])}" for kind, t in self._problems.items())
        raise CheckpointError(path, None, listed)


_WORDS: dict[type[CheckpointError], str] = {
    MissingKeys: "missing tensors",
    UnexpectedKeys: "unexpected tensors",
    ShapeMismatch: "tensors of a wrong shape",
    DtypeMismatch: "tensors of a wrong dtype",
    IntegrityError: "tied tensors that differ",
}


def _native(dtype: np.dtype) -> np.dtype:
    return dtype.newbyteorder("=")
