"""TensorFlow's checkpoint of one index and data files, read and written without TensorFlow, every checksum checked.

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc and tensorflow/core/protobuf/tensor_bundle.proto of
https://github.com/tensorflow/tensorflow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from albert_conversion.leveldb_table import encode_table, masked_crc32c, read_table
from albert_conversion.source import Bytes, Source, Stored, open_file
from albert_core.atomic import write_file
from albert_core.errors import FormatError, IntegrityError, MissingKeys, ResourceLimit
from albert_core.protobuf import Malformed, encode_field, fields, varint
from albert_core.strict_json import clip

__all__ = ["INDEX_SUFFIX", "OBJECT_GRAPH", "open_bundle", "open_object_bundle", "write_bundle"]

INDEX_SUFFIX = ".index"
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # the entry that says which object holds which variable
_MAX_INDEX = 100_000_000  # bytes, as for a safetensors header
_MAX_DIMENSIONS = 64  # NumPy's limit
_HEADER = b""  # the key of the header
_STRING = 7  # the type of what is no number; such an entry can be named, not read

_TYPES = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    5: np.dtype("<i2"),
    6: np.dtype("i1"),
    _STRING: np.dtype(object),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype("<u2"),
    19: np.dtype("<f2"),
    22: np.dtype("<u4"),
    23: np.dtype("<u8"),
}
_NUMBERS = {dtype: number for number, dtype in _TYPES.items()}


@dataclass(frozen=True)
class _Entry:
    dtype: np.dtype
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int


def open_bundle(index: Path) -> Source:
    """Open the checkpoint of an index. Index and sizes are checked now; tensors are read, and checked, when asked for.

    Raises:
        NotFound: The index may not be read.
        FormatError: It is malformed, or a tensor's entry is, or the data file is cut short.
        MissingKeys: A data file is not there.
        IntegrityError: The index is not the one its checksums were made of.
        ResourceLimit: It declares sizes beyond a limit.
    """
    file = open_file(index)
    try:
        if file.size > _MAX_INDEX:
            raise ResourceLimit(index, None, f"expected an index of at most {_MAX_INDEX} bytes, got {file.size}")
        table = read_table(bytes(file.read(0, file.size)), index)
    finally:
        file.close()
    if _HEADER not in table:
        raise FormatError(index, None, "expected the header of a TensorFlow checkpoint, got another table")
    shards = _shard_count(table.pop(_HEADER), index)
    entries = {_name(key, index): _entry(key, value, index) for key, value in table.items()}
    with ExitStack() as opened:
        files = _open_data(index, shards, entries, opened)
        tensors = {name: _stored(name, entry, files) for name, entry in entries.items()}
        return Source("tf1", index, tensors, opened.pop_all().close, "verified")


def open_object_bundle(index: Path) -> Source:
    """Open a checkpoint that TensorFlow 2 saved by objects, with every variable under the name it had itself.

    Raises:
        FormatError: As `open_bundle`, or the graph of objects is malformed or gives one name to two variables.
    """
    source = open_bundle(index)
    try:
        graph = source.tensors[OBJECT_GRAPH].read().item()
        names = _full_names(graph, index)
        found: dict[str, Stored] = {}
        for key, stored in source.tensors.items():
            name = names.get(key, key)
            if name in found:
                raise FormatError(index, clip(name), "expected one variable of each name, got two")
            found[name] = stored
        return Source("tf-models", index, found, source.close, source.integrity)
    except BaseException:
        source.close()
        raise


def _full_names(graph: bytes, index: Path) -> dict[str, str]:
    """Key in the checkpoint -> the variable's own name; tensorflow/core/protobuf/trackable_object_graph.proto."""
    found = {}
    try:
        for node in _messages(graph, 1):
            for attribute in _messages(node, 2):
                values = dict(fields(attribute))
                name, key = values.get(2, b""), values.get(3, b"")
                if isinstance(name, bytes) and isinstance(key, bytes) and name:
                    found[key.decode()] = name.decode()
    except (Malformed, UnicodeDecodeError) as error:
        raise FormatError(index, OBJECT_GRAPH, f"the graph of objects is malformed: {error}") from None
    return found


def _messages(data: bytes, number: int) -> list[bytes]:
    return [value for found, value in fields(data) if found == number and isinstance(value, bytes)]


def _shard_count(header: bytes, index: Path) -> int:
    try:
        values = dict(fields(header))
    except Malformed as error:
        raise FormatError(index, None, f"the header is malformed: {error}") from None
    if values.get(2, 0) != 0:
        raise FormatError(index, None, "expected a little-endian checkpoint, got a big-endian one")
    shards = values.get(1, 0)
    if not isinstance(shards, int) or not 1 <= shards <= 10_000:
        raise FormatError(index, None, f"expected from 1 to 10000 data files, got {shards!r}")
    return shards


def _name(key: bytes, index: Path) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise FormatError(index, clip(repr(key)), "expected a name in UTF-8") from None


def _entry(key: bytes, value: bytes, index: Path) -> _Entry:
    def refuse(reason: str) -> FormatError:
        return FormatError(index, clip(key.decode(errors="replace")), reason)

    try:
        found: dict[int, int | bytes] = {}
        for number, content in fields(value):
            if number == 7:
                raise refuse("expected whole variables, got one in slices: save it without a partitioner")
            found[number] = content
        shape = _shape(found.get(2, b""))
    except Malformed as error:
        raise refuse(f"its entry is malformed: {error}") from None
    kind, *numbers = (found.get(number, 0) for number in (1, 3, 4, 5, 6))
    if kind not in _TYPES or not all(isinstance(n, int) for n in numbers):
        raise refuse(f"expected a numeric type, got {kind!r}")
    shard, offset, size, crc32c = (int(n) for n in numbers)
    dtype = _TYPES[int(kind)]
    if len(shape) > _MAX_DIMENSIONS or math.prod(d for d in shape if d) >= 2**60:
        raise ResourceLimit(index, clip(key.decode(errors="replace")), f"declares the shape {clip(repr(shape))}")
    if dtype.kind != "O" and size != math.prod(shape) * dtype.itemsize:
        raise refuse(f"expected {math.prod(shape) * dtype.itemsize} bytes for {dtype.name} {list(shape)}, got {size}")
    return _Entry(dtype, shape, shard, offset, size, crc32c)


def _shape(message: int | bytes) -> tuple[int, ...]:
    if isinstance(message, int):
        raise Malformed("a shape that is a number")
    shape = []
    for number, dimension in fields(message):
        if number == 3 and dimension:
            raise Malformed("a shape of unknown rank")
        if number == 2:
            if isinstance(dimension, int):
                raise Malformed("a dimension that is a number")
            size = dict(fields(dimension)).get(1, 0)
            if not isinstance(size, int) or size >= 2**63:
                raise Malformed("a dimension that is negative or unknown")
            shape.append(size)
    return tuple(shape)


def _open_data(index: Path, shards: int, entries: Mapping[str, _Entry], opened: ExitStack) -> dict[int, Bytes]:
    stem = str(index).removesuffix(INDEX_SUFFIX)
    files: dict[int, Bytes] = {}
    for shard in sorted({entry.shard for entry in entries.values()}):
        path = Path(f"{stem}.data-{shard:05}-of-{shards:05}")
        names = [name for name, entry in entries.items() if entry.shard == shard]
        if shard >= shards:
            raise FormatError(index, clip(names[0]), f"expected one of {shards} data files, got number {shard}")
        if not path.exists():
            raise MissingKeys(index, clip(names[0]), f"the data file {path.name} is missing", keys=names)
        files[shard] = open_file(path)
        opened.callback(files[shard].close)
    return files


def _stored(name: str, entry: _Entry, files: Mapping[int, Bytes]) -> Stored:
    file = files[entry.shard]
    if entry.offset + entry.size > file.size:
        reason = f"expected {entry.size} bytes at {entry.offset}, the file has {file.size}: it is cut short"
        raise FormatError(file.path, clip(name), reason)
    return Stored(entry.dtype, entry.shape, partial(_read, name, entry, file))


def _read(name: str, entry: _Entry, file: Bytes) -> np.ndarray:
    data = file.read(entry.offset, entry.size, name)
    if entry.dtype.kind == "O":
        return _text(name, entry, bytes(data), file.path)
    if (got := masked_crc32c(np.frombuffer(data, np.uint8))) != entry.crc32c:
        reason = f"expected the crc32c {entry.crc32c:08x}, got {got:08x}"
        raise IntegrityError(file.path, clip(name), reason, "the file changed after it was written")
    return np.frombuffer(data, entry.dtype).reshape(entry.shape)


def _text(name: str, entry: _Entry, data: bytes, path: Path) -> np.ndarray:
    """One text: its length, the checksum of that, its bytes. The checksums cover the length as four or eight bytes."""
    try:
        length, at = varint(data, 0)
    except Malformed as error:
        raise FormatError(path, clip(name), f"the text is malformed: {error}") from None
    if entry.shape or at + 4 + length != len(data):
        raise FormatError(path, clip(name), "expected numbers or one text, got several")
    plain = length.to_bytes(4 if length < 2**32 else 8, "little")
    if (got := masked_crc32c(plain + data[at:])) != entry.crc32c:
        raise IntegrityError(path, clip(name), f"expected the crc32c {entry.crc32c:08x}, got {got:08x}")
    return np.array(data[at + 4 :], dtype=object)


# -- writing -------------------------------------------------------------------------------------------------------


def write_bundle(prefix: Path, tensors: Mapping[str, Any]) -> None:
    """Write a checkpoint of one data file and its index, each atomically, the index last.

    Args:
        prefix: What the names of both begin with.
        tensors: Arrays by name; read one after the other.

    Raises:
        FormatError: A dtype that the format cannot hold.
        SaveError: The system refused.
    """
    entries: dict[bytes, bytes] = {}

    def write(file: BinaryIO) -> None:
        offset = 0
        for name in sorted(tensors, key=str.encode):
            array = np.asarray(tensors[name])
            dtype = array.dtype.newbyteorder("<")
            if dtype not in _NUMBERS or dtype.kind == "O":
                raise FormatError(prefix, clip(name), f"expected a numeric type, got {array.dtype}")
            data = np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8)
            file.write(data.data)
            entries[name.encode()] = _encode_entry(_NUMBERS[dtype], array.shape, offset, data)
            offset += data.nbytes

    write_file(f"{prefix}.data-00000-of-00001", write)
    header = encode_field(1, 1) + encode_field(3, encode_field(1, 1))  # one data file; version 1
    write_file(f"{prefix}{INDEX_SUFFIX}", encode_table({_HEADER: header, **entries}))


def _encode_entry(kind: int, shape: tuple[int, ...], offset: int, data: np.ndarray) -> bytes:
    dimensions = b"".join(encode_field(2, encode_field(1, size) if size else b"") for size in shape)
    entry = encode_field(1, kind) + encode_field(2, dimensions)
    if offset:
        entry += encode_field(4, offset)
    return entry + encode_field(5, data.nbytes) + encode_field(6, masked_crc32c(data), fixed32=True)
