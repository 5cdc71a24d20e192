"""Text files as the trainer and the pretraining data read them."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from albert_core.errors import FormatError, NotFound
from albert_core.text_files import read_documents, read_lines

TEXT = "\ufefffirst é\r\n  second\n\n \nthird"
LINES = ["first é", "  second", "", " ", "third"]
WRITERS = {
    "a.txt": lambda b: b,
    "a.txt.gz": gzip.compress,
    "a.txt.xz": lzma.compress,
    "gzip without suffix": gzip.compress,
}


@pytest.mark.parametrize("name", WRITERS)
def test_lines_and_documents(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WRITERS[name](TEXT.encode()))
    assert list(read_lines(tmp_path / name)) == LINES
    assert list(read_lines([tmp_path / name] * 2)) == LINES * 2
    assert list(read_documents([tmp_path / name] * 2)) == [["first é", "second"], ["third"]] * 2


@pytest.mark.parametrize(
    ("name", "content", "pattern"),
    [
        ("a.txt", b"good\nbad \xff\n", r"expected UTF-8 text, got the byte b'\\xff'"),
        ("a.txt.gz", gzip.compress(b"x" * 999, mtime=0)[:-9], "expected whole compressed data"),
        ("a.txt.gz", gzip.compress(bytes(range(128)), mtime=0)[:20] + b"\0" * 9, "expected whole compressed data"),
        ("a.txt.xz", lzma.compress(b"x" * 999)[:-9], "expected whole compressed data"),
        ("a.txt.xz", b"plain", "expected xz data, got plain text"),
        ("a.txt.gz", b"", "expected gzip data, got an empty file"),
    ],
)
def test_damage_names_the_file(tmp_path: Path, name: str, content: bytes, pattern: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=rf"{name}: {pattern}"):
        list(read_lines(tmp_path / name))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.txt"):
        list(read_lines(tmp_path / "none.txt"))
    with pytest.raises(FormatError, match="got a folder"):
        list(read_lines(tmp_path))
