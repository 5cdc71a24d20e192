"""Training a vocabulary, and the two commands for tokenizers."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizer_texts import sentences

from albert_core.errors import FormatError, NotFound, SaveError, TokenizerError
from albert_core.hub import BUNDLED_MODEL
from albert_core.tokenizer import AlbertTokenizer, AlbertTokenizerFast, AutoTokenizer
from albert_core.tokenizer_training import train_tokenizer

pytest_plugins = ["tokenizer_fixtures"]


def test_training_lays_ids_out_as_published_and_repeats_itself(folder: Path, text_file: Path, tmp_path: Path) -> None:
    lines: list[int] = []
    again = train_tokenizer(text_file, tmp_path, vocab_size=330, progress=lines.append)
    assert lines == [400]
    assert (tmp_path / "spiece.model").read_bytes() == (folder / "spiece.model").read_bytes()
    expected = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", *'()"-.', "–", "£", "€"]
    assert again.convert_ids_to_tokens(range(13)) == expected
    assert not any(token != token.lower() for token in again.convert_ids_to_tokens(range(13, 330)))


def test_a_line_beyond_sentencepieces_limit_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("zyx wvu " * 2000)
    tokenizer = train_tokenizer(tmp_path / "long.txt", tmp_path / "out", vocab_size=21)
    assert tokenizer.unk_token_id not in tokenizer.encode("zyx wvu")


@pytest.mark.parametrize(
    ("files", "arguments", "error", "pattern"),
    [
        ([], {}, ValueError, "files: expected at least one"),
        (["none.txt"], {}, NotFound, r"none\.txt"),
        (["text.txt"], {"vocab_size": 0}, ValueError, "vocab_size: expected a positive integer, got 0"),
        (["text.txt"], {"vocab_size": 15}, TokenizerError, r"characters of the corpus alone need \d+ pieces, got 15"),
        (["text.txt"], {"vocab_size": 9000}, TokenizerError, r"the corpus gives at most \d+ pieces, got 9000"),
        (["text.txt"], {"character_coverage": 2}, ValueError, "character_coverage: expected .* got 2"),
        (["empty.txt"], {}, TokenizerError, "files: expected some text, got none"),
        (["latin1.txt"], {}, FormatError, r"latin1\.txt: expected UTF-8 text"),
    ],
)
def test_training_errors_leave_nothing_behind(
    tmp_path: Path, files: list[str], arguments: dict, error: type, pattern: str
) -> None:
    (tmp_path / "text.txt").write_text("\n".join(sentences(50)), encoding="utf-8")
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "latin1.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(error, match=pattern):
        train_tokenizer([tmp_path / name for name in files], tmp_path / "out", **{"vocab_size": 100, **arguments})
    assert not (tmp_path / "out").exists()


# -- the commands ----------------------------------------------------------------------------------------------------


def albert(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "albert_core", *args]
    return subprocess.run(command, input=stdin, capture_output=True, env=env, timeout=120)


def test_a_place_that_cannot_be_written_is_found_before_the_work(text_file: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a file")
    with pytest.raises(SaveError, match="x: expected a folder or nothing, got a file"):
        train_tokenizer(text_file, tmp_path / "x", vocab_size=40, progress=lambda _: pytest.fail("the text was read"))


def test_tokenize_shows_pieces_ids_and_offsets() -> None:
    text = "In 1990, (it) was."
    done = albert("tokenize", text)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.decode().splitlines() if line]
    expected = AutoTokenizer.from_pretrained(BUNDLED_MODEL)(text, return_offsets_mapping=True)
    assert [row[0] for row in rows] == expected.tokens()
    assert [int(row[1]) for row in rows] == expected.input_ids
    assert [(int(row[2]), int(row[3])) for row in rows] == expected.offset_mapping


@pytest.mark.parametrize("engine", [(), ("--slow",)])
def test_tokenize_as_json(engine: tuple[str, ...], folder: Path) -> None:
    options = ("--json", "--tokenizer", str(folder), "--no-special", *engine)
    document = json.loads(albert("tokenize", "in it", "said", *options).stdout)
    assert document["tokenizer"] == str(folder)
    assert [text["text"] for text in document["texts"]] == ["in it", "said"]
    assert document["texts"][0]["ids"] == AlbertTokenizer(folder / "spiece.model").encode(
        "in it", add_special_tokens=False
    )
    assert document["texts"][0]["offsets"][-1][1] == 5
    lines = albert("tokenize", *options, stdin="in it\r\n\nsaid — é".encode()).stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["in it", "", "said — é"]


def test_tokenize_streams_a_compressed_file_in_little_memory(tmp_path: Path) -> None:
    """A file of 20 MB, answered while it is read: the first lines are out before the last are in."""
    path = tmp_path / "text.txt.xz"
    with lzma.open(path, "wt", preset=0) as file:
        for _ in range(40):
            file.write("it was said in the year\n" * 20_000)
    command = [sys.executable, "-m", "albert_core", "tokenize", "--json", "--file", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(20_000):
            assert process.stdout.readline()
        status = Path(f"/proc/{process.pid}/status")
        peak = (
            int(next(x.split()[1] for x in status.read_text().splitlines() if x.startswith("VmHWM")))
            if status.exists()
            else 0
        )
        process.kill()
    assert peak < 200_000, f"{peak} kB"


@pytest.mark.parametrize(
    ("args", "stdin", "code", "message"),
    [
        (("tokenize", "--file", "no-such-file.txt"), b"", 3, "no-such-file.txt"),
        (("tokenize", "a", "--file", "b"), b"", 2, "expected texts or --file, got both"),
        (("tokenize", "a", "--tokenizer", "./no/such"), b"", 3, "no/such"),
        (("fill-mask",), b"a\nb\xff", 4, "standard input: expected UTF-8 text, got b'\\xff'"),
        (("tokenize",), b"a\nb\xff", 4, "standard input: expected UTF-8 text, got b'\\xff'"),
        (("train-tokenizer", "no-such-file.txt", "--output", "x"), b"", 3, "no-such-file.txt"),
        (("train-tokenizer", "x", "--output", "y", "--max-lines", "0"), b"", 2, "max-lines"),
    ],
)
def test_errors_of_the_commands(args: tuple[str, ...], stdin: bytes, code: int, message: str) -> None:
    done = albert(*args, stdin=stdin)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr.decode()


def test_train_tokenizer_command(text_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--vocab-size", "300", "--keep-case", "--max-lines", "300", "--model-max-length", "64", "--json")
    done = albert("train-tokenizer", str(text_file), "-o", str(out), *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"folder": str(out), "vocab_size": 300}
    loaded: Any = AutoTokenizer.from_pretrained(out)
    assert isinstance(loaded, AlbertTokenizerFast)
    assert (loaded.model_max_length, loaded.preprocess.do_lower_case) == (64, False)
