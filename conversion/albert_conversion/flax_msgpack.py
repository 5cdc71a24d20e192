"""flax_model.msgpack, read and written without Flax: nested maps of names to arrays, in MessagePack.

The file is walked once for names, shapes and places; values are read when asked for. An array is an extension of type 1
whose bytes are again MessagePack: [shape, dtype, bytes].
Sources: https://github.com/msgpack/msgpack/blob/master/spec.md and flax/serialization.py of
https://github.com/google/flax.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np

from albert_conversion.msgpack_encode import ARRAY_DTYPES, ARRAY_TYPE, write_msgpack
from albert_conversion.source import Bytes, Source, Stored, open_file, sharded
from albert_core.errors import FormatError, ResourceLimit
from albert_core.sniff import looks_like
from albert_core.strict_json import clip

__all__ = ["looks_like_msgpack", "open_msgpack", "open_msgpack_index", "write_msgpack"]

_SCALAR_TYPE = 3  # of Flax's extensions; 2 is a complex number
_MAX_DEPTH = 64  # a Flax model nests about ten maps
_MAX_NAME = 4096  # bytes of one part of a name
_MAX_DIMENSIONS = 64  # NumPy's limit
_WINDOW = 1 << 16  # bytes read at a time while walking


def looks_like_msgpack(head: bytes) -> bool:
    """Whether a file begins with a map whose first key is text."""
    if not head:
        return False
    after = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x81 <= head[0] <= 0x8F else 0)
    return bool(after) and len(head) > after and (0xA1 <= head[after] <= 0xBF or head[after] in (0xD9, 0xDA))


def open_msgpack(path: Path) -> Source:
    """Open one .msgpack file of a Flax model.

    Raises:
        NotFound: There is no such file.
        FormatError: It is no MessagePack of nested maps of arrays, is cut short, or has bytes behind its end.
        ResourceLimit: It declares sizes or a depth beyond a limit.
    """
    file = open_file(path)
    try:
        return Source("msgpack", path, _Walk(file, path).tensors(), file.close)
    except BaseException:
        file.close()
        raise


def open_msgpack_index(index: Path) -> Source:
    """Open the shards that a `flax_model.msgpack.index.json` names; see `sharded`."""
    return sharded(index, open_msgpack)


class _Walk:
    """One pass over a file, which stops at every array without reading it."""

    def __init__(self, file: Bytes, path: Path) -> None:
        self._file, self._path = file, path
        self._window, self._window_start = b"", 0
        self._at = 0
        self._name: tuple[str, ...] = ()

    def tensors(self) -> dict[str, Stored]:
        found: dict[str, Stored] = {}
        head = self._peek(min(self._file.size, 100))
        if not looks_like_msgpack(head) and head != b"\x80":
            found_out = looks_like(head)
            what = found_out[0] if found_out else f"bytes that begin with {head[:16]!r}"
            hint = found_out[1] if found_out else ""
            raise FormatError(self._path, None, f"expected a MessagePack map of names, got {what}", hint)
        self._map((), found)
        if self._at != self._file.size:
            raise FormatError(self._path, None, f"expected the end at {self._at}, got {self._file.size} bytes")
        return found

    # -- bytes ---------------------------------------------------------------------------------------------------

    def _key(self) -> str | None:
        return clip("/".join(self._name)) or None

    def _peek(self, count: int) -> bytes:
        start = self._at - self._window_start
        if start < 0 or start + count > len(self._window):
            length = min(max(count, _WINDOW), self._file.size - self._at)
            self._window, self._window_start = (
                bytes(self._file.read(self._at, max(length, count), self._key())),
                self._at,
            )
            start = 0
        return self._window[start : start + count]

    def _take(self, count: int) -> bytes:
        data = self._peek(count)
        self._at += count
        return data

    def _number(self, count: int) -> int:
        return int.from_bytes(self._take(count), "big")

    def _refuse(self, reason: str) -> FormatError:
        return FormatError(self._path, self._key(), reason)

    # -- values --------------------------------------------------------------------------------------------------

    def _map(self, name: tuple[str, ...], found: dict[str, Stored]) -> None:
        self._name = name
        if len(name) > _MAX_DEPTH:
            raise ResourceLimit(self._path, self._key(), f"expected at most {_MAX_DEPTH} maps in each other")
        seen: set[str] = set()
        for _ in range(self._map_length()):
            part = self._text()
            self._name = (*name, part)
            if part in seen:
                raise self._refuse("expected every name once, got it twice")
            if "/" in part or not part:
                raise self._refuse("expected a name of text without '/'")
            seen.add(part)
            self._value((*name, part), found)
            self._name = name

    def _value(self, name: tuple[str, ...], found: dict[str, Stored]) -> None:
        first = self._peek(1)[0]
        if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
            self._map(name, found)
        elif first in (0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8):
            found["/".join(name)] = self._extension()
        else:
            raise self._refuse(f"expected a map or an array, got a value of type {first:#04x}")

    def _map_length(self) -> int:
        first = self._take(1)[0]
        if 0x80 <= first <= 0x8F:
            return first & 0x0F
        if first not in (0xDE, 0xDF):
            raise self._refuse(f"expected a map, got a value of type {first:#04x}")
        return self._number(2 if first == 0xDE else 4)

    def _text(self) -> str:
        first = self._take(1)[0]
        if 0xA0 <= first <= 0xBF:
            length = first & 0x1F
        elif first in (0xD9, 0xDA):
            length = self._number(1 if first == 0xD9 else 2)
        else:
            raise self._refuse(f"expected a name of text, got a value of type {first:#04x}")
        if length > _MAX_NAME:
            raise ResourceLimit(self._path, self._key(), f"expected a name of at most {_MAX_NAME} bytes, got {length}")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            raise self._refuse("expected a name in UTF-8") from None

    def _extension(self) -> Stored:
        first = self._take(1)[0]
        if first >= 0xD4:
            length = 1 << (first - 0xD4)
        else:
            length = self._number(1 << (first - 0xC7))
        kind, end = self._number(1), self._at + length
        if kind not in (ARRAY_TYPE, _SCALAR_TYPE):
            raise self._refuse(f"expected an array, got an extension of type {kind}")
        if end > self._file.size:
            raise self._refuse(f"expected {length} bytes, the file ends before: it is cut short")
        stored = self._array(end)
        if self._at != end:
            raise self._refuse(f"expected an array of {length} bytes, got another length")
        return stored

    def _array(self, end: int) -> Stored:
        if self._take(1) != b"\x93":
            raise self._refuse("expected [shape, dtype, bytes]")
        shape, name = self._shape(), self._text()
        if name not in ARRAY_DTYPES:
            raise self._refuse(f"expected a dtype of {', '.join(ARRAY_DTYPES)}, got {clip(name)!r}")
        length, start = self._binary_length(), self._at
        expected = math.prod(shape) * ARRAY_DTYPES[name].itemsize
        if length != expected or start + length != end:
            raise self._refuse(f"expected {expected} bytes for {name} {list(shape)}, got {length}")
        self._at = end
        return Stored(
            ARRAY_DTYPES[name], shape, partial(self._read, start, length, ARRAY_DTYPES[name], shape, self._key()), start
        )

    def _shape(self) -> tuple[int, ...]:
        first = self._take(1)[0]
        if not 0x90 <= first <= 0x9F and first != 0xDC:
            raise self._refuse(f"expected a shape, got a value of type {first:#04x}")
        count = first & 0x0F if first <= 0x9F else self._number(2)
        if count > _MAX_DIMENSIONS:
            raise self._refuse(f"expected at most {_MAX_DIMENSIONS} dimensions, got {count}")
        shape = tuple(self._size() for _ in range(count))
        if math.prod(d for d in shape if d) >= 2**60:
            raise ResourceLimit(self._path, self._key(), f"declares the shape {list(shape)}, beyond any memory")
        return shape

    def _size(self) -> int:
        first = self._take(1)[0]
        if first <= 0x7F:
            return first
        if not 0xCC <= first <= 0xCF:
            raise self._refuse(f"expected a shape of whole numbers >= 0, got a value of type {first:#04x}")
        return self._number(1 << (first - 0xCC))

    def _binary_length(self) -> int:
        first = self._take(1)[0]
        if not 0xC4 <= first <= 0xC6:
            raise self._refuse(f"expected bytes, got a value of type {first:#04x}")
        return self._number(1 << (first - 0xC4))

    def _read(self, start: int, length: int, dtype: np.dtype, shape: tuple[int, ...], key: str | None) -> np.ndarray:
        data = np.frombuffer(self._file.read(start, length, key), dtype.newbyteorder("<"))
        if dtype == np.bool_ and (data.view(np.uint8) > 1).any():
            raise FormatError(self._path, key, "expected booleans of 0 and 1")
        return data.reshape(shape).astype(dtype, copy=False)
