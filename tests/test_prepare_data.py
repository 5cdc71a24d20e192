"""albert prepare-data as a user runs it: the same bytes whoever makes them, and every fault named."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from letters import Letters

from albert_core.corpus import TokenizedCorpus, Vocabulary, tokenize
from albert_core.errors import AlbertError, FormatError, IntegrityError, NotFound, TokenizerError
from albert_core.joined_array import JoinedArray
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe
from albert_core.token_shards import folder as folders, open_folder, prepare
from albert_core.token_shards.plan import Settings, make_plan, tokenizer_facts
from albert_core.token_shards.shard import make_shard
from albert_core.tokenizer import AlbertTokenizer, AlbertTokenizerFast
from albert_core.tokenizer_training import train_tokenizer

WORDS = ["the", "cell", "divides", "light", "energy", "plant", "water", "sugar", "grows", "every", "day", "root"]
SIZE = 4000  # bytes of text in a shard


def paragraphs(seed: int, count: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(" ".join(rng.choice(WORDS, 8)).capitalize() + "." for _ in range(9)) for _ in range(count)]


def as_text(documents: list[str]) -> bytes:
    return "\n\n".join(documents).encode() + b"\n"


def as_json(documents: list[str], field: str = "text") -> bytes:
    return b"".join(json.dumps({"id": i, field: text}).encode() + b"\n" for i, text in enumerate(documents))


def albert(*args: object) -> list[str]:
    return [sys.executable, "-m", "albert_core", *map(str, args)]


def run(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(albert(*args), capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepare")
    (folder / "words.txt").write_bytes(as_text(paragraphs(0, 60)))
    train_tokenizer([folder / "words.txt"], folder / "vocabulary", 36)
    return folder / "vocabulary"


@pytest.fixture(scope="module")
def tokenizer(vocabulary: Path) -> AlbertTokenizer:
    return AlbertTokenizer.from_pretrained(vocabulary)


@pytest.fixture(scope="module")
def files(vocabulary: Path) -> list[Path]:
    """Text of each kind: cut in several shards, compressed, JSON lines, small, empty."""
    made = {
        "long.txt": as_text(paragraphs(1, 40)),
        "long.txt.gz": gzip.compress(as_text(paragraphs(2, 20)), mtime=0),
        "lines.jsonl": as_json(["\n\n".join(paragraphs(seed, 2)) for seed in range(3, 16)]),
        "lines.jsonl.xz": lzma.compress(as_json(paragraphs(30, 9))),
        "small.txt": as_text(paragraphs(40, 1)),
        "empty.txt": b"",
        "one document.txt": "\n".join(paragraphs(50, 16)).encode(),  # larger than a shard
    }
    folder = vocabulary.parent / "text"
    folder.mkdir()
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in made]


@pytest.fixture(scope="module")
def prepared(files: list[Path], vocabulary: Path) -> Path:
    """What the command makes in two processes."""
    folder = vocabulary.parent / "prepared"
    options = ("--tokenizer", vocabulary, "--output", folder, "--shard-size", SIZE / 2**20, "--processes", 2, "--json")
    summary = json.loads(run("prepare-data", *files, *options).stdout)
    assert summary["finished"]
    assert (summary["made"], summary["kept"]) == (summary["shards"], 0)
    return folder


@pytest.fixture
def copy(prepared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(prepared, tmp_path / "copy")


def assert_same_corpus(found: TokenizedCorpus, expected: TokenizedCorpus) -> None:
    for name in ("tokens", "segments", "documents"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)


def test_a_folder_holds_the_tokens_of_the_text(
    prepared: Path, files: list[Path], vocabulary: Path, tokenizer: AlbertTokenizer
) -> None:
    corpus = TokenizedCorpus.read(prepared, tokenizer)
    plain = TokenizedCorpus.read(files, tokenizer)
    assert isinstance(plain.tokens, np.ndarray)
    assert len(plain.documents) - 1 == 40 + 20 + 13 + 9 + 1 + 1
    assert_same_corpus(corpus, plain)
    assert_same_corpus(TokenizedCorpus.read(prepared, AlbertTokenizerFast.from_pretrained(vocabulary)), plain)
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert len(manifest["shards"]) > 6
    assert manifest["tokens"] == len(plain.tokens)
    assert [file["name"] for file in manifest["files"]] == [file.name for file in files]
    tokens = np.load(prepared / "shard-00000" / "tokens.npy")  # for anybody with NumPy
    assert tokens.dtype == np.uint16
    np.testing.assert_array_equal(tokens, plain.tokens[: len(tokens)])


def test_folders_and_files_are_read_one_after_the_other(
    prepared: Path, files: list[Path], tokenizer: AlbertTokenizer
) -> None:
    mixed = TokenizedCorpus.read([files[0], prepared, files[3], files[4]], tokenizer)
    assert_same_corpus(mixed, TokenizedCorpus.read([files[0], *files, files[3], files[4]], tokenizer))


def test_one_process_and_array_jobs_make_the_same_bytes(
    prepared: Path, files: list[Path], vocabulary: Path, tmp_path: Path
) -> None:
    prepare(files, tmp_path / "one", vocabulary, shard_size=SIZE)
    assert contents(tmp_path / "one") == contents(prepared)
    elsewhere = [Path(shutil.copy(file, tmp_path)) for file in files]
    done = [
        prepare(elsewhere, tmp_path / "jobs", vocabulary, shard_size=SIZE, job=(job, 3))["finished"]
        for job in (2, 3, 1)
    ]
    assert done == [False, False, True]
    assert contents(tmp_path / "jobs") == contents(prepared)


def test_an_array_job_of_the_command(files: list[Path], vocabulary: Path, tmp_path: Path) -> None:
    fixed = ("prepare-data", files[4], files[4], "--tokenizer", vocabulary, "-o", tmp_path / "o", "--processes", 1)
    fixed = (*fixed, "--shard-size", 1e-4)
    assert "some are not made yet" in run(*fixed, "--shard", "2/2").stdout
    assert "kept" in run(*fixed, "--shard", "1/2").stdout
    assert TokenizedCorpus.read(tmp_path / "o", AlbertTokenizer.from_pretrained(vocabulary)).documents[-1:] > 0
    assert "expected I/N with I from 1 to N, for example 3/8, got '3/2'" in run(*fixed, "--shard", "3/2", code=2).stderr


def many_shards(vocabulary: Path, folder: Path) -> tuple[object, ...]:
    (folder / "many.txt").write_bytes(as_text(paragraphs(150, 2000)))  # a second of work, to be stopped five times
    return ("prepare-data", folder / "many.txt", "--tokenizer", vocabulary, "--shard-size", 2e-3, "-o", folder / "out")


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def stop_midway(command: list[str], output: Path, number: int, worker: bool = False) -> tuple[int, str]:
    """Send a signal, to a worker or the command, when a few more shards are there; every process of it ends."""
    before = len(list(output.glob("shard-*")))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process, process.stderr:
        wait_for(lambda: len(list(output.glob("shard-*"))) >= before + 4, process)
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        children = [int(pid) for pid in found if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
        assert len(children) == (0 if command[-1] == "1" else int(command[-1]))
        os.kill(children[0] if worker else process.pid, number)
        code, said = process.wait(60), process.stderr.read()
    deadline = time.monotonic() + 60
    while not all(map(gone, children)):
        assert time.monotonic() < deadline, "a worker outlived the command"
        time.sleep(0.01)
    return code, said


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_killed_and_interrupted_it_goes_on_with_what_is_done(vocabulary: Path, tmp_path: Path) -> None:
    command = albert(*many_shards(vocabulary, tmp_path), "--processes", 2)
    output = tmp_path / "out"
    assert stop_midway(command, output, signal.SIGKILL)[0] == -signal.SIGKILL
    made = {path: path.stat().st_mtime_ns for path in output.glob("shard-*/tokens.npy")}
    assert len(made) >= 4
    (output / ".shard-00099.abc.tmp").mkdir()  # as a kill leaves it, if it comes at that moment
    for number, processes in ((signal.SIGTERM, "2"), (signal.SIGINT, "2"), (signal.SIGINT, "1")):
        assert stop_midway([*command[:-1], processes], output, number)[0] == 128 + number
    code, said = stop_midway(command, output, signal.SIGKILL, worker=True)
    assert code == 1
    assert "a worker process was killed, perhaps for want of memory" in said
    summary = json.loads(run(*command[3:], "--json").stdout)
    assert summary["kept"] >= len(made)
    assert summary["kept"] + summary["made"] == summary["shards"] > 60
    assert {path: path.stat().st_mtime_ns for path in made} == made
    prepare([tmp_path / "many.txt"], tmp_path / "whole", vocabulary, shard_size=round(2e-3 * 2**20))
    assert contents(tmp_path / "whole") == contents(output)
    assert not list(output.glob(".*"))


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_corrupt_shard_is_named_and_made_anew(
    copy: Path, prepared: Path, files: list[Path], vocabulary: Path, tokenizer: AlbertTokenizer
) -> None:
    spoil(copy / "shard-00002" / "tokens.npy")
    with pytest.raises(IntegrityError, match=r"shard-00002/tokens\.npy: expected SHA-256 \w+, got \w+ \(run prepare"):
        TokenizedCorpus.read(copy, tokenizer)
    (copy / "shard-00001" / "shard.json").write_text("{}")
    summary = prepare(files, copy, vocabulary, shard_size=SIZE)
    assert (summary["made"], summary["finished"]) == (2, True)
    assert contents(copy) == contents(prepared)


def test_without_checksums_a_shard_of_a_wrong_size_is_named(copy: Path, tokenizer: AlbertTokenizer) -> None:
    path = copy / "shard-00002" / "tokens.npy"
    path.write_bytes(path.read_bytes()[:-2])
    corpus = TokenizedCorpus.read(copy, tokenizer, verify=False)
    with pytest.raises(IntegrityError, match=r"shard-00002/tokens\.npy: expected an array of \d+ elements"):
        corpus.tokens[:]
    np.save(path, np.zeros(3, np.uint16))
    with pytest.raises(IntegrityError, match=r"expected an array uint16\[\d+\], got uint16\[3\]"):
        TokenizedCorpus.read(copy, tokenizer, verify=False).tokens[:]


def test_a_missing_shard_is_named(copy: Path, tokenizer: AlbertTokenizer) -> None:
    shutil.rmtree(copy / "shard-00003")
    with pytest.raises(NotFound, match=r"shard-00003/\w+\.npy: expected a file of a shard, there is none"):
        TokenizedCorpus.read(copy, tokenizer, verify=False)


def test_another_tokenizer_is_refused(copy: Path, files: list[Path], vocabulary: Path, tmp_path: Path) -> None:
    other = AlbertTokenizer.from_pretrained(vocabulary, do_lower_case=False)
    with pytest.raises(TokenizerError, match=r"copy: expected the tokenizer it was prepared with, 36 pieces, SHA-256"):
        TokenizedCorpus.read(copy, other)
    other.save_pretrained(tmp_path / "other")
    before = contents(copy)
    options = ("--tokenizer", tmp_path / "other", "-o", copy, "--json")
    done = run("prepare-data", *files, *options, "--shard-size", SIZE / 2**20, code=4)
    assert json.loads(done.stdout)["error"] == "tokenizer_error"
    assert contents(copy) == before


def test_other_files_or_settings_are_refused(copy: Path, files: list[Path], vocabulary: Path) -> None:
    with pytest.raises(FormatError, match=r"key 'files': expected the files that the folder was begun with"):
        prepare(files[::-1], copy, vocabulary, shard_size=SIZE)
    with pytest.raises(FormatError, match=r"key 'shard_size': .* begun with, 4000, got 5000 \(name another folder"):
        prepare(files, copy, vocabulary, shard_size=5000)
    (copy / "manifest.json").unlink()
    with pytest.raises(FormatError, match="shard-00000: expected a shard of these files"):
        prepare(files[::-1], copy, vocabulary, shard_size=SIZE)


@pytest.mark.parametrize(
    ("content", "error", "pattern"),
    [
        (None, FormatError, r"copy: expected a folder of prepared tokens, got one without manifest\.json"),
        ("[", FormatError, r"manifest\.json: manifest: expected JSON"),
        ('{"format": "other"}', FormatError, "key 'format': expected 'albert token shards 1', got 'other'"),
        ('{"format": "albert token shards 1"}', FormatError, "expected a tokenizer and a list of shards"),
    ],
)
def test_a_folder_of_something_else_is_named(
    copy: Path, tokenizer: AlbertTokenizer, content: str | None, error: type[AlbertError], pattern: str
) -> None:
    (copy / "manifest.json").unlink()
    if content is not None:
        (copy / "manifest.json").write_text(content)
    with pytest.raises(error, match=pattern):
        TokenizedCorpus.read(copy, tokenizer)


@pytest.mark.parametrize("facts", ["x", {"tokens": 3}, {"tokens": "3"}, {"sha256": {"../tokens.npy": "0"}}])
def test_a_manifest_with_wrong_facts_is_named(copy: Path, tokenizer: AlbertTokenizer, facts: Any) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    whole = manifest["shards"][0]
    manifest["shards"][0] = {**whole, **facts} if isinstance(facts, dict) else facts
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises((FormatError, IntegrityError), match=r"manifest\.json: expected a shard's|tokens\.npy: exp"):
        TokenizedCorpus.read(copy, tokenizer).tokens[:1]


def test_an_unfinished_folder_is_named(files: list[Path], vocabulary: Path, tmp_path: Path, tokenizer: Any) -> None:
    prepare(files, tmp_path / "part", vocabulary, shard_size=SIZE, job=(1, 2))
    with pytest.raises(FormatError, match=r"part: expected all shards, some are not made yet"):
        open_folder(tmp_path / "part", tokenizer)
    with pytest.raises(NotFound, match="none: expected a folder of prepared tokens, there is none"):
        open_folder(tmp_path / "none", tokenizer)


@pytest.mark.parametrize(
    ("name", "content", "pattern"),
    [
        ("a.jsonl", b'{"text": "a"}\n\n{"text": 3}\n', r"a\.jsonl, key 'text': line 3: expected a text, got int"),
        ("a.jsonl", b'{"text": "a"}\n{"text"\n', r"a\.jsonl: line 2: JSON line: expected JSON in UTF-8"),
        ("a.jsonl", b'["text"]', r"a\.jsonl: line 1: JSON line: expected a JSON object, got list"),
        ("a.jsonl", b'{"body": "a"}\n', r"key 'text': line 1: expected a text, got nothing"),
        ("a.jsonl", as_json(paragraphs(0, 20)) + b"{\n", r"a\.jsonl: line 21: JSON line"),  # in a later shard
        ("a.jsonl.gz", gzip.compress(b'{"text": "\\ud800"}', mtime=0), "line 1: JSON line: expected Unicode text"),
        ("a.txt", as_text(paragraphs(0, 20)) + b"\n\xff\n", r"a\.txt: expected UTF-8 text, .* after line 3\d"),
        ("a.txt.xz", lzma.compress(b"x" * 999)[:-9], "expected whole compressed data"),
        ("a.txt", b" \n\n", "expected text in at least one file, found none in a.txt"),
    ],
)
def test_text_that_cannot_be_read_is_named(
    vocabulary: Path, tmp_path: Path, name: str, content: bytes, pattern: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=pattern):
        prepare([tmp_path / name], tmp_path / "out", vocabulary, shard_size=SIZE)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.endswith(".tmp")]


def test_a_fault_in_a_worker_ends_the_command(vocabulary: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(as_json(paragraphs(0, 20)) + b"{\n")
    options = ("--tokenizer", vocabulary, "-o", tmp_path / "out", "--processes", 2, "--shard-size", SIZE / 2**20)
    assert "bad.jsonl: line 21: JSON line" in run("prepare-data", tmp_path / "bad.jsonl", *options, code=4).stderr
    good = tmp_path / "good.jsonl"
    good.write_bytes(as_json(paragraphs(0, 5), "body"))
    run("prepare-data", good, *options[:3], tmp_path / "body", "--text-field", "body", "--processes", 1)


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"job": (0, 2)}, r"job: expected \(i, n\) with i from 1 to n, got \(0, 2\)"),
        ({"processes": 0}, "processes: expected at least 1, got 0"),
        ({"shard_size": 0}, "shard_size: expected at least 1 byte, got 0"),
        ({"files": []}, "files: expected at least one text file, got none"),
    ],
)
def test_an_argument_out_of_range_is_named(
    files: list[Path], vocabulary: Path, tmp_path: Path, changes: dict[str, Any], pattern: str
) -> None:
    with pytest.raises(ValueError, match=pattern):
        prepare(**{"files": files, "output": tmp_path / "out", "tokenizer": vocabulary, **changes})
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_draws_is_refused(vocabulary: Path, tmp_path: Path) -> None:
    sampling = AlbertTokenizer.from_pretrained(
        vocabulary, sp_model_kwargs={"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}
    )
    with pytest.raises(TokenizerError, match="expected no sampling of subwords, got enable_sampling"):
        tokenizer_facts(sampling)


line_ends = st.sampled_from(["\n", "\r\n"])
lines = st.text("abcde. \t\u00e9\u2028", max_size=12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(lines, max_size=6), max_size=4), st.integers(1, 60), line_ends, st.data())
def test_shards_of_any_size_hold_the_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], size: int, end: str, data: Any
) -> None:
    """Whatever the files and wherever they are cut, the joined shards are the tokens of the files."""
    folder = tmp_path_factory.mktemp("shards")
    files = []
    for number, each in enumerate(texts):
        json_lines = data.draw(st.booleans())
        written = [json.dumps({"text": line}) for line in each] if json_lines else each
        files.append(folder / f"{number}.{'jsonl' if json_lines else 'txt'}")
        files[-1].write_bytes(end.join(written).encode())
    plain = TokenizedCorpus.read(files, Letters())
    if not len(plain.tokens):
        return
    plan = make_plan(files, Settings(tokenizer_facts(Letters()), size))
    folders.begin_folder(folder / "out", plan)
    with patch("os.fsync"):  # most of the time, and nobody pulls the plug
        made = [make_shard(folder / "out", plan, index, Letters()) for index in range(len(plan.shards))]
    assert not any(kept for _, kept in made)
    assert folders.finish_folder(folder / "out", plan) is not None
    assert_same_corpus(TokenizedCorpus.read(folder / "out", Letters()), plain)


def test_ids_beyond_two_bytes_take_four() -> None:
    facts = {"vocab_size": (1 << 16) + 1}
    assert Settings(facts).dtype == np.uint32
    assert Settings({"vocab_size": 1 << 16}).dtype == np.uint16


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6), st.data())
def test_joined_arrays_are_one_array(parts: list[list[int]], data: Any) -> None:
    whole = np.concatenate([np.array(part, np.int64) for part in parts])
    joined = JoinedArray([np.array(part, np.int64) for part in parts])
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(whole) + 2)] * 2)))
    np.testing.assert_array_equal(joined[start:stop], whole[start:stop])
    np.testing.assert_array_equal(np.asarray(joined), whole)
    if len(whole):
        places = np.array(data.draw(st.lists(st.lists(st.integers(0, len(whole) - 1), min_size=2, max_size=2))), int)
        np.testing.assert_array_equal(joined[places], whole[places])
    for wrong in (-1, len(whole)):
        with pytest.raises(IndexError, match=rf"place: expected 0 to {len(whole) - 1}, got {wrong}"):
            joined[np.array([wrong])]


def test_tokens_stay_on_disk(
    prepared: Path, files: list[Path], tokenizer: AlbertTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan and batches look at mapped files and never hold a whole array; they are those of the plain text."""
    plain = PretrainingData(TokenizedCorpus.read(files, tokenizer), Vocabulary.of(tokenizer), small := recipe())
    corpus = TokenizedCorpus.read(prepared, tokenizer)
    monkeypatch.setattr(JoinedArray, "__array__", lambda *_: pytest.fail("read into memory"))
    monkeypatch.setattr(JoinedArray, "astype", lambda *_: pytest.fail("read into memory"))
    data = PretrainingData(corpus, Vocabulary.of(tokenizer), small)
    for epoch, index in ((0, 0), (1, 2), (0, plain.batches(0) - 1)):
        expected = plain.batch(epoch, index)
        for name, array in data.batch(epoch, index).items():
            np.testing.assert_array_equal(array, expected[name], name)
    opened = [part for part in corpus.tokens.parts if "_array" in vars(part)]
    assert len(opened) > 2
    assert all(isinstance(part._array.base, np.memmap) for part in opened)


def recipe(**changes: Any) -> PretrainingRecipe:
    return PretrainingRecipe(**{"batch_size": 8, "sequence_length": 32, "warmup_steps": 1, "total_steps": 2, **changes})


def test_text_is_read_as_it_is_needed() -> None:
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield "ab c. D e."

    tokens, segments, documents = next(tokenize(endless(), Letters()))
    assert read < 10_000
    assert len(tokens) == segments[-1]
    assert not len(documents)


def test_preparing_loads_no_framework() -> None:
    code = """
import sys, albert_core.token_shards, albert_core.data_loaders, albert_core.cli.prepare_data
print([name for name in ("torch", "tensorflow", "jax", "keras", "grain") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_pretrain_takes_a_folder_where_it_takes_text(prepared: Path, vocabulary: Path, tmp_path: Path) -> None:
    model = {"embedding_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model |= {"intermediate_size": 32, "max_position_embeddings": 32}
    lines = [f"{name} = {value}" for name, value in model.items()]
    settings = ["batch_size = 8", "sequence_length = 32", "warmup_steps = 1", "total_steps = 2", "packing = 3"]
    (tmp_path / "recipe.toml").write_text("\n".join(["[model]", *lines, "[recipe]", *settings]))
    options = ("--recipe", tmp_path / "recipe.toml", "--tokenizer", vocabulary, "-o", tmp_path / "run", "--json")
    options = (*options, "--informed-start")  # looks at the whole text
    done = run("pretrain", prepared, "--held-out", prepared, *options, "--backend", "torch")
    summary = json.loads(done.stdout)
    assert (summary["step"], summary["stopped"]) == (2, "finished")
