"""Arrays end to end as if they were one, and arrays in files; nothing is read before it is asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from albert_core.errors import IntegrityError

__all__ = ["JoinedArray", "MappedArray"]


class _Whole:
    """What can be had of an array that is not in memory by reading all of it."""

    dtype: np.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.astype(dtype or self.dtype)

    def astype(self, dtype: Any) -> np.ndarray:
        """Everything, in memory."""
        return self[:].astype(dtype)


class MappedArray(_Whole):
    """A 1-D .npy file, mapped into memory at its first use. Pickled, it is a path.

    Args:
        path: The file.
        length: How many elements it holds.
        dtype: Their type.
    """

    def __init__(self, path: Path, length: int, dtype: Any) -> None:
        self.path, self.length, self.dtype = path, length, np.dtype(dtype)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: Any) -> np.ndarray:
        return self._array[key]

    @cached_property
    def _array(self) -> np.ndarray:
        try:
            mapped = np.load(self.path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise IntegrityError(self.path, None, f"expected an array of {self.length} elements: {error}") from None
        if (mapped.shape, mapped.dtype) != ((self.length,), self.dtype):
            expected, got = f"{self.dtype}{[self.length]}", f"{mapped.dtype}{list(mapped.shape)}"
            raise IntegrityError(self.path, None, f"expected an array {expected}, got {got}")
        return np.asarray(mapped)  # a plain view: slicing np.memmap is several times slower

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "length": self.length, "dtype": self.dtype}


class JoinedArray(_Whole):
    """1-D arrays read as one: `len`, slices without a step, and integer arrays of places from 0.

    `np.asarray` and `astype` read everything into memory.

    Args:
        parts: Arrays, MappedArrays or JoinedArrays.
        lengths: How many leading elements of each part count; all when None.
        shifts: What is added to the elements of each part; nothing when None.
    """

    def __init__(
        self, parts: Sequence[Any], lengths: Sequence[int] | None = None, shifts: Sequence[int] | None = None
    ) -> None:
        self.parts = list(parts)
        self.starts = list(accumulate(map(len, parts) if lengths is None else lengths, initial=0))
        self.shifts = shifts
        self.dtype = np.result_type(*(part.dtype for part in parts))

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, slice):
            return self._slice(*key.indices(len(self)))
        return self._take(np.asarray(key))

    def _slice(self, start: int, stop: int, step: int) -> np.ndarray:
        if step != 1:
            raise IndexError(f"step: expected 1, got {step}")
        found = []
        part = bisect_right(self.starts, start) - 1
        while start < stop:
            end = min(stop, self.starts[part + 1])
            found.append(self._of(part, slice(start - self.starts[part], end - self.starts[part])))
            start, part = end, part + 1
        return found[0] if len(found) == 1 else np.concatenate([np.zeros(0, self.dtype), *found])

    def _take(self, places: np.ndarray) -> np.ndarray:
        if places.size and not 0 <= places.min() <= places.max() < len(self):
            raise IndexError(f"place: expected 0 to {len(self) - 1}, got {places.min()} to {places.max()}")
        part = np.searchsorted(self.starts, places, side="right") - 1
        found = np.empty(places.shape, self.dtype)
        for each in np.unique(part).tolist():
            here = part == each
            found[here] = self._of(each, places[here] - self.starts[each])
        return found

    def _of(self, part: int, key: Any) -> np.ndarray:
        found = self.parts[part][key]
        return found + self.shifts[part] if self.shifts and self.shifts[part] else found
