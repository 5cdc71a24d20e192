"""pytorch_model.bin, read and written without PyTorch: a zip archive of one pickle and one file of bytes per storage.

Only dense tensors come through: a view may be strided or transposed, but may not repeat an element. The archive's
checksums are held against every storage. Source: `torch/serialization.py` of https://github.com/pytorch/pytorch.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from albert_conversion.source import Bytes, Source, Stored, open_file, sharded
from albert_conversion.torch_pickle import MAX_PICKLE, STORAGES, TensorSpec, read_state_dict
from albert_core.errors import FormatError, IntegrityError, ResourceLimit, UnsafeContent
from albert_core.sniff import looks_like
from albert_core.strict_json import clip

__all__ = ["is_torch_archive", "open_bin", "open_bin_index", "write_bin"]

_MAX_MEMBERS = 1_000_000
_LOCAL_HEADER = 30  # bytes in front of a member's name
_ALIGNMENT = 64  # bytes, as torch aligns storages
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first day: equal weights give equal bytes
_LEGACY = "it is older than torch 1.6: load it with the torch that wrote it and save it again"


def open_bin(path: Path) -> Source:
    """Open one .bin file. The archive and the pickle are checked now; tensors are read when asked for.

    Raises:
        NotFound: There is no such file.
        UnsafeContent: The pickle asks for more than tensors, or a member has a path.
        FormatError: It is no PyTorch archive, is cut short, or holds something else than dense tensors.
        ResourceLimit: It declares sizes beyond a limit.
    """
    file = open_file(path)
    try:
        archive = _Archive(file, path)
        specs = read_state_dict(archive.pickle(), path)
        return Source("bin", path, {name: archive.stored(name, spec) for name, spec in specs.items()}, file.close)
    except BaseException:
        file.close()
        raise


def is_torch_archive(path: Path) -> bool:
    """Whether a zip archive is one of PyTorch's; only its directory is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError):
        return path.suffix == ".bin"  # damaged: whoever opens it says so


def open_bin_index(index: Path) -> Source:
    """Open the shards that a `pytorch_model.bin.index.json` names; see `sharded`."""
    return sharded(index, open_bin)


class _Archive:
    """The members of a PyTorch archive: stored without compression, inside of the file, none of them twice."""

    def __init__(self, file: Bytes, path: Path) -> None:
        self._file, self._path = file, path
        self._members = self._checked_members()
        self._prefix = self._found_prefix()
        self._intact: set[str] = set()
        order = self._small("byteorder", b"little")
        if order not in (b"little", b"big"):
            raise FormatError(path, "byteorder", f"expected little or big, got {clip(repr(order))}")
        self._big = order == b"big"

    def _checked_members(self) -> dict[str, zipfile.ZipInfo]:
        head = bytes(self._file.read(0, min(self._file.size, 100)))
        if not head.startswith(b"PK\x03\x04"):
            found = looks_like(head)
            legacy = head[:1] == b"\x80"
            what = found[0] if found else f"a file that begins with {head[:16]!r}"
            raise FormatError(self._path, None, f"expected a PyTorch archive, got {what}", _LEGACY if legacy else "")
        try:
            with zipfile.ZipFile(self._file.file) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError) as error:
            raise FormatError(self._path, None, f"the archive is malformed or cut short: {error}") from None
        if len(members) > _MAX_MEMBERS:
            raise ResourceLimit(self._path, None, f"expected at most {_MAX_MEMBERS} members, got {len(members)}")
        checked: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            self._check(member)
            if member.filename in checked:
                raise FormatError(self._path, clip(member.filename), "expected every member once, got it twice")
            checked[member.filename] = member
        return checked

    def _check(self, member: zipfile.ZipInfo) -> None:
        name = clip(member.filename)
        parts = member.filename.split("/")
        if "\\" in member.filename or ":" in member.filename or not all(parts) or {".", ".."} & set(parts):
            raise UnsafeContent(self._path, name, "expected a plain member name, got a path out of the archive")
        if (
            member.flag_bits & 1
            or member.compress_type != zipfile.ZIP_STORED
            or member.file_size != member.compress_size
        ):
            raise FormatError(self._path, name, "expected a member stored as it is, got a compressed or encrypted one")
        if member.header_offset + _LOCAL_HEADER + member.file_size > self._file.size:
            raise FormatError(self._path, name, f"declares {member.file_size} bytes, the file has {self._file.size}")

    def _found_prefix(self) -> str:
        pickles = [name for name in self._members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise FormatError(self._path, None, f"expected an archive with one data.pkl, got {len(pickles)}")
        prefix = pickles[0].removesuffix("data.pkl")
        if any(name.startswith(prefix + "code/") or name == prefix + "constants.pkl" for name in self._members):
            reason = "expected weights, got a TorchScript program"
            raise UnsafeContent(self._path, None, reason, "save its state_dict() with torch.save instead")
        return prefix

    def _small(self, name: str, default: bytes) -> bytes:
        member = self._members.get(self._prefix + name)
        if member is None:
            return default
        if member.file_size > MAX_PICKLE:
            reason = f"expected at most {MAX_PICKLE} bytes, got {member.file_size}"
            raise ResourceLimit(self._path, clip(member.filename), reason)
        return bytes(self._bytes(member))

    def pickle(self) -> bytes:
        return self._small("data.pkl", b"")

    def _bytes(self, member: zipfile.ZipInfo) -> memoryview:
        """A member's bytes, held against its checksum the first time."""
        name = clip(member.filename)
        header = bytes(self._file.read(member.header_offset, _LOCAL_HEADER, name))
        if header[:4] != b"PK\x03\x04":
            raise FormatError(self._path, name, "expected a member's header where the directory says, got other bytes")
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        data = self._file.read(member.header_offset + _LOCAL_HEADER + lengths, member.file_size, name)
        if member.filename not in self._intact:
            if (got := zlib.crc32(data)) != member.CRC:
                reason = f"expected the crc32 {member.CRC:08x}, got {got:08x}"
                raise IntegrityError(self._path, name, reason, "the file changed after it was written")
            self._intact.add(member.filename)
        return data

    def stored(self, name: str, spec: TensorSpec) -> Stored:
        """A tensor's place in its storage, checked without reading it."""
        member = self._members.get(f"{self._prefix}data/{spec.storage}")
        if member is None:
            raise FormatError(self._path, clip(name), f"its storage {clip(spec.storage)!r} is not in the archive")
        itemsize = spec.dtype.itemsize
        if spec.count * itemsize != member.file_size:
            reason = f"expected a storage of {spec.count * itemsize} bytes, got {member.file_size}"
            raise FormatError(self._path, clip(name), reason)
        self._check_view(name, spec)
        same = (spec.storage, spec.dtype, spec.offset, spec.shape, spec.strides)
        return Stored(spec.dtype, spec.shape, partial(self._read, member, spec), same)

    def _check_view(self, name: str, spec: TensorSpec) -> None:
        """Whether the view stays inside of its storage and no element stands for two."""
        if 0 in spec.shape:
            if math.prod(d for d in spec.shape if d) >= 2**63:
                raise ResourceLimit(self._path, clip(name), "declares a shape beyond any address space")
            return
        reach = 1
        for stride, size in sorted((t, d) for t, d in zip(spec.strides, spec.shape, strict=True) if d > 1):
            if stride < reach:
                reason = f"expected a dense tensor, got the shape {list(spec.shape)} with strides {list(spec.strides)}"
                raise FormatError(self._path, clip(name), reason)
            reach = stride * (size - 1) + reach
        if spec.offset + reach > spec.count:
            reason = f"expected a view of {spec.count} elements, got {spec.offset + reach}"
            raise FormatError(self._path, clip(name), reason)

    def _read(self, member: zipfile.ZipInfo, spec: TensorSpec) -> np.ndarray:
        data = np.frombuffer(self._bytes(member), spec.dtype.newbyteorder(">" if self._big else "<"))
        if spec.dtype == np.bool_ and (data.view(np.uint8) > 1).any():
            raise FormatError(self._path, clip(member.filename), "expected booleans of 0 and 1")
        steps = [stride * spec.dtype.itemsize for stride in spec.strides]
        view = np.lib.stride_tricks.as_strided(data[spec.offset :], spec.shape, steps)
        return view.astype(spec.dtype, order="C", copy=spec.offset != 0 or not view.flags.c_contiguous)


# -- writing -------------------------------------------------------------------------------------------------------


def write_bin(file: BinaryIO, tensors: Mapping[str, Any], tied: Mapping[str, str]) -> None:
    """Write a .bin file that `torch.load` opens with `weights_only`.

    Args:
        file: A seekable binary file.
        tensors: Arrays by name; read one after the other.
        tied: Further names and the one of `tensors` whose storage they share.

    Raises:
        FormatError: A dtype that the format cannot hold.
    """
    facts = {name: (tensors.dtype(name), tensors.shape(name)) for name in tensors}  # type: ignore[attr-defined]
    places = {name: str(i) for i, name in enumerate(facts)}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, file, "data.pkl", _pickle(facts, places, tied))
        _add(archive, file, "byteorder", b"little")
        for name, place in places.items():
            dtype, _ = facts[name]
            array = np.ascontiguousarray(tensors[name], dtype.newbyteorder("<"))
            _add(archive, file, f"data/{place}", array.reshape(-1).view(np.uint8).data)
        _add(archive, file, "version", b"3\n")


def _add(archive: zipfile.ZipFile, file: BinaryIO, name: str, data: bytes | memoryview) -> None:
    """One member whose bytes begin at a multiple of 64; the padding is an extra field, as torch writes it."""
    member = zipfile.ZipInfo(f"archive/{name}", _EPOCH)
    large = len(data) >= zipfile.ZIP64_LIMIT  # its header then has a field of 20 bytes more
    start = file.tell() + _LOCAL_HEADER + len(member.filename) + 4 + 20 * large
    padding = -start % _ALIGNMENT
    member.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    member.file_size = len(data)
    with archive.open(member, "w", force_zip64=large) as target:
        target.write(data)


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + len(data).to_bytes(4, "little") + data  # BINUNICODE


def _integer(value: int) -> bytes:
    if value < 2**31:
        return b"J" + value.to_bytes(4, "little")  # BININT
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)  # LONG1


def _tuple(items: list[bytes]) -> bytes:
    return b"(" + b"".join(items) + b"t"


def _pickle(
    facts: Mapping[str, tuple[np.dtype, tuple[int, ...]]], places: Mapping[str, str], tied: Mapping[str, str]
) -> bytes:
    """The map of names to tensors, in the opcodes of protocol 2."""
    storages = {dtype: name for name, dtype in STORAGES.items()}
    empty_hooks = b"ccollections\nOrderedDict\n)R"
    items = []
    for name, source in sorted({**{n: n for n in facts}, **tied}.items()):
        dtype, shape = facts[source]
        if dtype.newbyteorder("<") not in storages:
            raise FormatError("", clip(name), f"expected a dtype of {', '.join(d.name for d in storages)}, got {dtype}")
        kind = f"ctorch\n{storages[dtype.newbyteorder('<')]}\n".encode()
        count = math.prod(shape)
        reference = [_text("storage"), kind, _text(places[source]), _text("cpu"), _integer(count)]
        strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
        view = [_tuple(reference) + b"Q", _integer(0), _tuple(list(map(_integer, shape)))]
        view += [_tuple(list(map(_integer, strides))), b"\x89", empty_hooks]
        items.append(_text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n" + _tuple(view) + b"R")
    return b"\x80\x02}(" + b"".join(items) + b"u."
