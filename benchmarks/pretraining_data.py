"""Pretraining data: masked batches, and preparing text, in tokens for each second of one core's time.

    python benchmarks/pretraining_data.py [--text FILE ...] [--tokenizer FOLDER] [--original FOLDER] [--json]

Seconds are those that the processor spent on a process (user and system), so that other work on the machine counts for
little; each process runs one thread. Tokens are pieces of text with [CLS] and [SEP], no padding. --original is a
checkout of https://github.com/google-research/albert: its create_pretraining_data.py then runs on the beginning of the
same sentences, in this environment, with TensorFlow; an empty file stands for tensorflow_hub, which it only imports.
What a process costs before it reads text is measured with next to no text and taken off. The original tokenizes once,
then writes every text 40 times, masked; we tokenize once and mask as batches are read. So three ratios are printed:
preparing against one copy, against 40 copies, and preparing with 40 epochs of batches against 40 copies.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import click
from tokenizer_texts import sentences

from albert_core.corpus import TokenizedCorpus, Vocabulary, split_sentences
from albert_core.hub import BUNDLED_MODEL, locate
from albert_core.packing import real_tokens
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import RECIPES
from albert_core.text_files import read_documents
from albert_core.tokenizer import AlbertTokenizer

BASE = RECIPES["albert-base-v2"]
DUPE_FACTOR = 40  # of the original
SECONDS = 5.0  # for each kind of batch
KINDS: dict[str, dict[str, int]] = {
    "padded": {},
    "length_buckets=4": {"length_buckets": 4},
    "packing=8": {"packing": 8},
}
CHARACTERS = {1: 2_000_000, DUPE_FACTOR: 150_000}  # that the original gets, by its number of copies


def made_up() -> Iterable[list[str]]:
    lines = sentences(20_000)
    return (lines[at : at + 40] for at in range(0, len(lines), 40))


def write_text(texts: Iterable[list[str]], path: Path, limit: float = float("inf")) -> None:
    """One sentence a line, an empty line after each document; up to about `limit` characters."""
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for document in texts:
            for paragraph in document:
                lines = "\n".join(split_sentences(paragraph))
                written += file.write(lines + "\n")
                if written > limit:
                    return
            file.write("\n")


def processor_seconds(command: list[Any], **environment: str) -> float:
    """What a process and those it waits for cost."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, *map(str, command)], env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def prepare(text: Path, tokenizer: Path, folder: Path) -> float:
    options = ["--tokenizer", tokenizer, "--output", folder, "--processes", 1]
    return processor_seconds(["-m", "albert_core", "prepare-data", text, *options])


def original(script: Path, text: Path, tokenizer: Path, folder: Path, length: int, dupe_factor: int) -> float:
    (folder / "tensorflow_hub.py").touch()
    options = {
        "input_file": text,
        "output_file": folder / "out.tfrecord",
        "vocab_file": "unused",
        "spm_model_file": tokenizer / "spiece.model",
        "max_seq_length": length,
        "dupe_factor": dupe_factor,
    }
    command = [script / "create_pretraining_data.py", *(f"--{name}={value}" for name, value in options.items())]
    return processor_seconds(command, PYTHONPATH=f"{folder}{os.pathsep}{script}", TF_CPP_MIN_LOG_LEVEL="3")


def batches_rate(data: PretrainingData) -> float:
    """Tokens in masked batches for each second of this process."""
    count, tokens, index = data.batches(0), 0, 0
    began = time.process_time()
    while (spent := time.process_time() - began) < SECONDS:
        tokens += real_tokens(data.batch(0, index % count))
        index += 1
    return tokens / spent


def measure_batches(prepared: Path, engine: AlbertTokenizer) -> dict[str, float]:
    corpus, vocabulary = TokenizedCorpus.read(prepared, engine), Vocabulary.of(engine)
    found = {}
    for length in (512, 128):
        for name, changes in KINDS.items():
            recipe = BASE.replace(batch_size=64, sequence_length=length, **changes)
            found[f"{length} tokens, {name}"] = batches_rate(PretrainingData(corpus, vocabulary, recipe))
    return found


def measure_preparing(text: Path, tiny: Path, tokenizer: Path, folder: Path, tokens: int) -> float:
    seconds = prepare(text, tokenizer, folder / "prepared") - prepare(tiny, tokenizer, folder / "tiny")
    return tokens / seconds


def measure_original(script: Path, text: Path, tiny: Path, engine: AlbertTokenizer, folder: Path) -> dict[str, Any]:
    """Tokens of the text (not of its copies) for each second, by sequence length and number of copies."""
    found: dict[str, Any] = {"512": {}, "128": {}}
    vocabulary, part = Path(engine.name_or_path), folder / "part.txt"
    for length, rates in found.items():
        start = original(script, tiny, vocabulary, folder, int(length), 1)
        for copies, characters in CHARACTERS.items():
            write_text(read_documents(text), part, characters)
            seconds = original(script, part, vocabulary, folder, int(length), copies) - start
            rates[str(copies)] = len(TokenizedCorpus.read(part, engine).tokens) / seconds
    return found


@click.command()
@click.option("--text", "texts", multiple=True, type=click.Path(path_type=Path), help="Text files.")
@click.option("--tokenizer", type=click.Path(path_type=Path), help="[default: the bundled model's]")
@click.option("--original", "script", type=click.Path(path_type=Path, exists=True), help="google-research/albert.")
@click.option("--json", "as_json", is_flag=True)
def main(texts: tuple[Path, ...], tokenizer: Path | None, script: Path | None, as_json: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = tokenizer or locate(BUNDLED_MODEL).file("spiece.model").parent
        engine = AlbertTokenizer.from_pretrained(tokenizer)
        text, tiny = folder / "text.txt", folder / "tiny.txt"
        write_text(read_documents(texts) if texts else made_up(), text)
        write_text([["A sentence.", "Another one."]] * 2, tiny)
        corpus = TokenizedCorpus.read([text], engine)
        report: dict[str, Any] = {"tokens": len(corpus.tokens)}
        report["prepare"] = measure_preparing(text, tiny, tokenizer, folder, len(corpus.tokens))
        report["batches"] = measure_batches(folder / "prepared", engine)
        if script:
            report["original"] = measure_original(script, text, tiny, engine, folder)
            report["ratios"] = ratios(report)
    print(json.dumps(report) if as_json else shown(report))


def ratios(report: dict[str, Any]) -> dict[str, float]:
    found, ours = {}, report["prepare"]
    for length, rates in report["original"].items():
        with_epochs = 1 / (1 / ours + DUPE_FACTOR / report["batches"][f"{length} tokens, padded"])
        found[f"{length}: preparing / the original's one copy"] = ours / rates["1"]
        found[f"{length}: preparing / the original's {DUPE_FACTOR} copies"] = ours / rates[str(DUPE_FACTOR)]
        name = f"{length}: preparing and {DUPE_FACTOR} epochs of batches / the original's {DUPE_FACTOR} copies"
        found[name] = with_epochs / rates[str(DUPE_FACTOR)]
    return found


def shown(report: dict[str, Any]) -> str:
    lines = [f"{report['tokens']:,} tokens of text; rates in 1000 tokens / s of one core"]
    lines.append(f"prepare-data {report['prepare'] / 1e3:,.0f}")
    lines += [f"batches, {name}: {rate / 1e3:,.0f}" for name, rate in report["batches"].items()]
    for length, rates in report.get("original", {}).items():
        lines += [f"original, {length} tokens, {copies} copies: {rate / 1e3:,.1f}" for copies, rate in rates.items()]
    return "\n".join(lines + [f"ratio, {name}: {ratio:,.1f}" for name, ratio in report.get("ratios", {}).items()])


if __name__ == "__main__":
    main()
