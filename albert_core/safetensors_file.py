"""One safetensors file, read strictly and written deterministically, bytes checked by sha256."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from albert_core.atomic import write_file
from albert_core.errors import FormatError, IntegrityError, MissingKeys, NotFound
from albert_core.safetensors_header import DIGESTS, TensorInfo, encode_header, layout, read_header
from albert_core.strict_json import clip, parse_object

__all__ = ["Reader", "open_safetensors", "save_safetensors", "tensor_facts"]

_SHA256 = re.compile("[0-9a-f]{64}")
_DAMAGED = "the file changed after it was written: download or save it again"


def open_safetensors(path: str | Path) -> Reader:
    """Open a safetensors file; its header is checked before anything else is read.

    Args:
        path: The file; what it is called does not matter.

    Raises:
        NotFound: There is no such file, or it may not be read.
        FormatError: It is no safetensors file, or a malformed one.
        ResourceLimit: It declares sizes beyond a limit.
        IntegrityError: The tensors are not those its digests were made of.
    """
    path = Path(path)
    if not path.exists():
        raise NotFound(path, None, "expected a safetensors file, there is none")
    if not path.is_file():  # opening a pipe would wait for ever
        raise FormatError(path, None, "expected a safetensors file, got a folder or a device")
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise NotFound(path, None, f"could not be opened: {error.strerror}") from error
    try:
        return Reader(file, path)
    except BaseException:
        file.close()
        raise


class Reader(Mapping[str, TensorInfo]):
    """An open safetensors file: a mapping of names to `TensorInfo`, and a context manager.

    The file stays open, so replacing it under its name changes nothing here. Threads may share a reader.

    Attributes:
        path: The file.
        metadata: Its notes, without the digests.
        integrity: "verified" where the file carries digests, against which every read is checked; else "unverified".
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.path, self._file, self._lock = path, file, threading.Lock()
        self._close = weakref.finalize(self, file.close)
        header = read_header(file, os.fstat(file.fileno()).st_size, path)
        self._tensors, self._data_start = header.tensors, header.data_start
        self.metadata = {key: value for key, value in header.metadata.items() if key != DIGESTS}
        self._digests = self._checked_digests(header.metadata.get(DIGESTS))
        self.integrity = "unverified" if self._digests is None else "verified"

    def __getitem__(self, name: str) -> TensorInfo:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; arrays that were read stay."""
        self._close()

    def read(self, name: str) -> np.ndarray:
        """Read one tensor into a new, writable, aligned array of its shape and dtype.

        Raises:
            MissingKeys: There is no tensor of this name.
            IntegrityError: Its sha256 is not the one the file carries.
            FormatError: A boolean is neither 0 nor 1, or the file became shorter.
        """
        if name not in self._tensors:
            raise MissingKeys(self.path, name, "there is no tensor of this name")
        info = self._tensors[name]
        data = self._bytes(name, info)
        if self._digests is not None and (got := _sha256(data)) != self._digests[name]:
            reason = f"expected the sha256 {self._digests[name]}, got {got}"
            raise IntegrityError(self.path, clip(name), reason, _DAMAGED)
        if info.dtype == np.bool_ and (data > 1).any():
            raise FormatError(self.path, clip(name), f"expected booleans of 0 and 1, got {int(data.max())}")
        return data.view(info.dtype).reshape(info.shape)

    def digest(self, name: str) -> str | None:
        """The sha256 that the file carries for a tensor; None where it carries none."""
        return None if self._digests is None else self._digests[name]

    def verify(self) -> str:
        """Read every tensor and drop it.

        Returns:
            `integrity`: "verified", or "unverified" where the file carries no digests and only its form was checked.

        Raises:
            IntegrityError, FormatError: As `read`.
        """
        for name in self:
            self.read(name)
        return self.integrity

    def _bytes(self, name: str, info: TensorInfo) -> np.ndarray:
        data = np.empty(info.nbytes, np.uint8)
        view, done = data.data, 0
        with self._lock:
            self._file.seek(self._data_start + info.offsets[0])
            while done < info.nbytes:  # one call reads at most 2 GiB
                count = self._file.readinto(view[done:])  # type: ignore[attr-defined]
                if not count:
                    raise FormatError(self.path, clip(name), f"expected {info.nbytes} bytes, got {done}", _DAMAGED)
                done += count
        return data

    def _checked_digests(self, text: str | None) -> dict[str, str] | None:
        if text is None:
            return None
        digests = parse_object(text.encode(), self.path, DIGESTS)
        for name, digest in digests.items():
            if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                raise FormatError(self.path, clip(name), f"expected a sha256 of 64 digits, got {clip(repr(digest))}")
        if different := sorted(digests.keys() ^ self._tensors.keys()):
            fault = "a tensor without a digest" if different[0] in self._tensors else "a digest without its tensor"
            reason = f"expected one digest for each tensor, got {fault}"
            raise IntegrityError(self.path, clip(different[0]), reason, _DAMAGED)
        return digests


def save_safetensors(
    path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file atomically; equal tensors and metadata give equal bytes.

    The file holds the sha256 of every tensor. Tensors are written one after the other, so a lazy mapping needs memory
    for one of them only.

    Args:
        path: The file.
        tensors: Arrays of any memory layout and byte order by name.
        metadata: Further notes for the header, strings only.

    Raises:
        FormatError: A name, dtype or note that the format cannot hold.
        SaveError: The system refused; an old file is untouched.
    """
    path = Path(path)
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise FormatError(path, str(key), f"expected metadata of strings, got {clip(repr(value))}")
    infos = layout({_checked_name(name, path): facts for name, facts in tensor_facts(tensors).items()}, path)
    notes = {"format": "pt", **(metadata or {})}

    def write(file: BinaryIO) -> None:
        digests = dict.fromkeys(infos, "0" * 64)  # their length is known before they are, so the header's is too
        file.write(encode_header(infos, notes | {DIGESTS: json.dumps(digests, sort_keys=True)}))
        for name, info in infos.items():
            data = _little_endian_bytes(tensors[name], info)
            digests[name] = _sha256(data)
            file.write(data.data)
        file.seek(0)
        file.write(encode_header(infos, notes | {DIGESTS: json.dumps(digests, sort_keys=True)}))

    write_file(path, write)


def _checked_name(name: str, path: Path) -> str:
    try:
        name.encode("utf-8")
    except (AttributeError, UnicodeEncodeError):
        raise FormatError(path, clip(ascii(name)), "expected a name of Unicode text") from None
    return name


def tensor_facts(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Dtype and shape of every tensor; a lazy mapping, which has methods for both, is not read for that."""
    if hasattr(tensors, "shape") and hasattr(tensors, "dtype"):
        return {name: (tensors.dtype(name), tensors.shape(name)) for name in tensors}  # type: ignore[attr-defined]
    arrays = ((name, np.asarray(array)) for name, array in tensors.items())
    return {name: (array.dtype, array.shape) for name, array in arrays}


def _little_endian_bytes(array: np.ndarray, info: TensorInfo) -> np.ndarray:
    """The values in row order as `uint8 [nbytes]`: a copy only of what is not stored so already."""
    return np.ascontiguousarray(array, dtype=info.dtype).reshape(-1).view(np.uint8)


def _sha256(data: np.ndarray) -> str:
    return hashlib.sha256(data.data).hexdigest()
