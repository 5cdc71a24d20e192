"""Plain text from files of any size, compressed or not, one line or one document at a time."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TextIO, cast

from albert_core.errors import FormatError, NotFound

__all__ = ["open_text", "read_documents", "read_lines"]

_OPENERS = {b"\x1f\x8b": ("gzip", gzip.open), b"\xfd7zXZ\x00": ("xz", lzma.open)}
_SUFFIXES = {".gz": "gzip", ".xz": "xz"}


def open_text(path: str | Path) -> TextIO:
    """Open a UTF-8 text file, plain, gzip or xz; which of them is read from its first bytes.

    Args:
        path: The file. A byte order mark at its head is dropped; all three line ends are understood.

    Raises:
        NotFound: There is no such file.
        FormatError: It is a folder, or its name promises a compression that its bytes do not have.
    """
    path = Path(path)
    if path.is_dir():
        raise FormatError(path=path, reason="expected a text file, got a folder")
    if not path.exists():
        raise NotFound(path=path, reason="expected a text file, there is none")
    with path.open("rb") as file:
        head = file.read(6)
    kind, opener = next((found for magic, found in _OPENERS.items() if head.startswith(magic)), ("plain text", io.open))
    promised = _SUFFIXES.get(path.suffix)
    if promised not in (None, kind):
        raise FormatError(path=path, reason=f"expected {promised} data, got {kind if head else 'an empty file'}")
    return io.TextIOWrapper(cast("IO[bytes]", opener(path, "rb")), encoding="utf-8-sig")


def read_lines(paths: Iterable[str | Path] | str | Path) -> Iterator[str]:
    """Every line of every file in order, without its line end.

    Args:
        paths: One file or several.

    Raises:
        NotFound: A file does not exist.
        FormatError: A file is not UTF-8, or its compressed data is damaged or cut short; names the file and line.
    """
    for path in [paths] if isinstance(paths, str | Path) else paths:
        yield from _lines_of(Path(path))


def _lines_of(path: Path) -> Iterator[str]:
    number = 0
    with open_text(path) as file:
        try:
            for number, line in enumerate(file, start=1):  # noqa: B007 - the error below names it
                yield line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            wrong = error.object[error.start : error.start + 1]
            reason = f"expected UTF-8 text, got the byte {wrong!r} after line {number}"
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            reason = f"expected whole compressed data, got damage or an early end after line {number} ({error})"
        else:
            return
    raise FormatError(path=path, reason=reason)


def read_documents(paths: Iterable[str | Path] | str | Path) -> Iterator[list[str]]:
    """Every document as its list of paragraphs: one paragraph a line, blank lines between documents.

    A document also ends where its file ends. Paragraphs come stripped of white space at both ends.

    Args:
        paths: One file or several.

    Raises:
        NotFound: A file does not exist.
        FormatError: A file cannot be read as UTF-8 text, see `read_lines`.
    """
    for path in [paths] if isinstance(paths, str | Path) else paths:
        document: list[str] = []
        for line in read_lines(path):
            if paragraph := line.strip():
                document.append(paragraph)
            elif document:
                yield document
                document = []
        if document:
            yield document
