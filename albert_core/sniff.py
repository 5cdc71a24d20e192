"""What a file looks like from its first bytes, to say so when it is not what was expected."""

from __future__ import annotations

__all__ = ["looks_like"]

_CONVERT = "convert it with `albert convert SOURCE DEST`"
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer", "the weights were not downloaded: run `git lfs pull`"),
    (b"<!doctype", "an HTML page", "a download saved an error page: download the file again"),
    (b"<html", "an HTML page", "a download saved an error page: download the file again"),
    (b"<?xml", "an XML page", "a download saved an error page: download the file again"),
    (b"PK\x03\x04", "a zip archive, such as a PyTorch .bin or a .keras file", _CONVERT),
    (b"\x80\x02", "a pickle, such as an old PyTorch .bin", _CONVERT),
    (b"\x80\x03", "a pickle", _CONVERT),
    (b"\x80\x04", "a pickle", _CONVERT),
    (b"\x80\x05", "a pickle", _CONVERT),
    (b"\x89HDF\r\n\x1a\n", "HDF5, such as a Keras .h5", _CONVERT),
    (b"\x93NUMPY", "a NumPy .npy array", _CONVERT),
    (b"GGUF", "a GGUF file", "GGUF is not supported"),
    (b"\x1f\x8b", "gzip data", "unpack it first"),
    (b"\xfd7zXZ\x00", "xz data", "unpack it first"),
    (b"{", "JSON text", "give the weights file, not its index or config"),
)


def looks_like(head: bytes) -> tuple[str, str] | None:
    """Name the format that `head`, a file's first bytes, belongs to.

    Returns:
        (what it is, what the user can do), or None where no known format begins like this.
    """
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, what, hint in _MAGIC:
        if head.startswith(magic) or (magic.isascii() and text.startswith(magic.lower())):
            return what, hint
    return None
