"""Text from files of any size: plain or JSON lines, compressed or not, one line or one document at a time."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TextIO, cast

from albert_core.errors import FormatError, NotFound
from albert_core.strict_json import parse_object

__all__ = [
    "TEXT_FIELD",
    "document_boundary",
    "is_compressed",
    "open_text",
    "read_documents",
    "read_lines",
    "read_paragraphs",
]

TEXT_FIELD = "text"  # of a JSON line, where nothing else is said

_OPENERS: dict[bytes, tuple[str, Callable[..., Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"\xfd7zXZ\x00": ("xz", lzma.open),
}
_SUFFIXES = {".gz": "gzip", ".xz": "xz"}


def open_text(path: str | Path, start: int = 0, stop: int | None = None) -> TextIO:
    """Open a UTF-8 text file, plain, gzip or xz; which of them is read from its first bytes.

    Args:
        path: The file. A byte order mark at its head is dropped; all three line ends are understood.
        start: First byte to read; a compressed file is read whole.
        stop: The byte after the last; the end of the file when None.

    Raises:
        NotFound: There is no such file.
        FormatError: It is a folder, or its name promises a compression that its bytes do not have.
    """
    path = Path(path)
    if (opener := _decompressor(path)) is not None:
        file = cast("IO[bytes]", opener(path, "rb"))
    else:
        file = io.BufferedReader(_Range(path, start, stop), 1 << 16)
    return io.TextIOWrapper(file, encoding="utf-8" if start else "utf-8-sig")


def is_compressed(path: str | Path) -> bool:
    """Whether a file holds gzip or xz data, which can only be read from its beginning; raises as `open_text` does."""
    return _decompressor(Path(path)) is not None


def _decompressor(path: Path) -> Callable[..., Any] | None:
    if path.is_dir():
        raise FormatError(path=path, reason="expected a text file, got a folder")
    if not path.exists():
        raise NotFound(path=path, reason="expected a text file, there is none")
    with path.open("rb") as file:
        head = file.read(6)
    kind, opener = next((found for magic, found in _OPENERS.items() if head.startswith(magic)), ("plain text", None))
    promised = _SUFFIXES.get(path.suffix)
    if promised not in (None, kind):
        raise FormatError(path=path, reason=f"expected {promised} data, got {kind if head else 'an empty file'}")
    return opener


class _Range(io.RawIOBase):
    """Some bytes of a file."""

    def __init__(self, path: Path, start: int, stop: int | None) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(start)
        self._left = max((path.stat().st_size if stop is None else stop) - start, 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


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


def _lines_of(path: Path, start: int = 0, stop: int | None = None) -> Iterator[str]:
    number = 0
    with open_text(path, start, stop) as file:
        try:
            for number, line in enumerate(file, start=1):  # noqa: B007 - the error below names it
                yield line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            wrong = error.object[error.start : error.start + 1]
            reason = f"expected UTF-8 text, got the byte {wrong!r} after line {_lines_before(path, start) + number}"
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            reason = f"expected whole compressed data, got damage or an early end after line {number} ({error})"
        else:
            return
    raise FormatError(path=path, reason=reason)


def _lines_before(path: Path, offset: int) -> int:
    if not offset:
        return 0
    with io.BufferedReader(_Range(path, 0, offset)) as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def read_documents(paths: Iterable[str | Path] | str | Path) -> Iterator[list[str]]:
    """Every document as its list of paragraphs, see `read_paragraphs`; none is empty.

    Args:
        paths: One file or several.
    """
    for path in [paths] if isinstance(paths, str | Path) else paths:
        document: list[str] = []
        for paragraph in read_paragraphs(path):
            if paragraph:
                document.append(paragraph)
            elif document:
                yield document
                document = []


def read_paragraphs(
    path: str | Path, start: int = 0, stop: int | None = None, text_field: str = TEXT_FIELD
) -> Iterator[str]:
    """Every paragraph of a file, stripped of white space at both ends; one or more empty strings end a document.

    In a text file a paragraph is a line, and blank lines stand between documents. In a file of JSON lines (its name
    ends in .jsonl, .jsonl.gz or .jsonl.xz) each line is an object that holds one document, whose lines are paragraphs.
    A document also ends where its file ends. One line at a time is in memory.

    Args:
        path: The file.
        start: First byte to read of a plain file, one that `document_boundary` gave.
        stop: The byte after the last, another boundary; the end of the file when None.
        text_field: Where the document stands in a JSON line.

    Raises:
        NotFound: The file does not exist.
        FormatError: It cannot be read as UTF-8 text, see `read_lines`, or a JSON line is no object, or has no text
            where it should; names the file and line.
    """
    path = Path(path)
    lines = _lines_of(path, start, stop)
    if not _holds_json(path):
        yield from (line.strip() for line in lines)
        yield ""
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            text = _text_of(path, line, text_field)
        except FormatError as error:
            where = f"line {_lines_before(path, start) + number}"
            raise FormatError(path, error.facts["key"], f"{where}: {error.facts['reason']}") from None
        yield from filter(None, map(str.strip, text.splitlines()))
        yield ""


def _holds_json(path: Path) -> bool:
    name = path.stem if path.suffix in _SUFFIXES else path.name
    return name.endswith(".jsonl")


def _text_of(path: Path, line: str, field: str) -> str:
    text = parse_object(line.encode(), path, "JSON line").get(field)
    if not isinstance(text, str):
        got = "nothing" if text is None else type(text).__name__
        raise FormatError(path, field, f"expected a text, got {got}")
    return text


def document_boundary(path: str | Path, offset: int) -> int:
    """Where to cut a plain file near a byte so that no document is cut; a function of the file and the byte alone.

    Documents end after a blank line, in a file of JSON lines after every line. The line that the byte stands in is
    passed over; then the next such end is taken.

    Args:
        path: A plain file.
        offset: From 0; 0 is a boundary itself.

    Returns:
        An offset in bytes, the size of the file where there is no such end.
    """
    if offset == 0:
        return 0
    path = Path(path)
    with path.open("rb") as file:
        file.seek(offset)
        file.readline()
        while not _holds_json(path) and file.readline().strip():
            pass
        return file.tell()
