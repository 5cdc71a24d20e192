"""Text files as the trainer and the pretraining data read them."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from albert_core.errors import FormatError, NotFound
from albert_core.text_files import document_boundary, is_compressed, read_documents, read_lines, read_paragraphs

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
    ("name", "write"), [("a.jsonl", bytes), ("a.jsonl.gz", gzip.compress), ("a.jsonl.xz", lzma.compress)]
)
def test_json_lines_hold_a_document_each(tmp_path: Path, name: str, write: Callable[[bytes], bytes]) -> None:
    (tmp_path / name).write_bytes(write(b'{"text": "a\\n\\n b ", "n": 1}\r\n\n{"text": ""}\n{"text": "c"}'))
    assert list(read_documents(tmp_path / name)) == [["a", "b"], ["c"]]
    (tmp_path / name).write_bytes(write(b'{"body": "a"}'))
    assert list(read_paragraphs(tmp_path / name, text_field="body")) == ["a", ""]
    assert is_compressed(tmp_path / name) == (name != "a.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "cuts"),
    [
        # a cut comes after the first blank line that begins after the byte's own line
        ("a.txt", b"a\nb\n\nc\n \r\nd", {0: 0, 1: 5, 4: 10, 5: 10, 7: 11, 10: 11, 11: 11}),
        ("a.jsonl", b"{}\n{}\r\n{}", {0: 0, 1: 3, 3: 7, 6: 7, 7: 9}),
    ],
)
def test_a_file_is_cut_between_documents(tmp_path: Path, name: str, content: bytes, cuts: dict[int, int]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert {offset: document_boundary(path, offset) for offset in cuts} == cuts


def test_a_part_of_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\n\nb\n\nc\xff")
    assert list(read_paragraphs(tmp_path / "a.txt", 0, 6)) == ["a", "", ""]
    assert list(read_paragraphs(tmp_path / "a.txt", 6, 9)) == ["b", "", ""]
    with pytest.raises(FormatError, match="after line 4"):
        list(read_paragraphs(tmp_path / "a.txt", 9))


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
