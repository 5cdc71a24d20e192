"""Tokenizers: ours beside those of transformers 4.57.6, in megabytes of text a second.

    python benchmarks/tokenization.py --peers PYTHON_OF_TRANSFORMERS_4_57 [--file TEXT ...] [--rounds 15] [--json]

Each runner is a process of its own; the rounds go around all of them, and every round brings text that no round before
brought. The ids are compared first. Without --file the text is made up.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from runner import Runner
from tokenizer_texts import sentences

from albert_core.hub import BUNDLED_MODEL, locate
from albert_core.text_files import read_lines

WORKER = Path(__file__).with_name("tokenization_worker.py")
PAIRS = {"ours-slow": "transformers-slow", "ours-fast": "transformers-fast"}
WARM_UP = 2  # rounds


def start(name: str, python: str, vocabulary: str, folder: Path, threads: int) -> Runner:
    """A runner that uses so many threads."""
    env = {**os.environ, "RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true", "OMP_NUM_THREADS": "1"}
    return Runner(name, python, "-W", "ignore", WORKER, name, vocabulary, folder, env=env, stderr=subprocess.DEVNULL)


def write_slices(lines: Iterable[str], size: int, count: int, folder: Path) -> list[int]:
    """Cut the text into slices of about `size` characters; the bytes of each."""
    rest = (line for line in lines if line.strip())

    def slices() -> Iterator[list[str]]:
        found, length = [], 0
        for line in rest:
            found.append(line)
            length += len(line)
            if length >= size:
                yield found
                found, length = [], 0

    sizes = []
    for number, some in enumerate(islice(slices(), count)):
        (folder / f"{number}.json").write_text(json.dumps(some), encoding="utf-8")
        sizes.append(len("\n".join(some).encode()))
    if len(sizes) < count:
        raise SystemExit(f"expected text for {count} slices of {size} characters, got {len(sizes)}")
    return sizes


def compare(runners: list[Runner], folder: Path) -> dict[str, int]:
    """Lines of the first slice whose ids are not those of ours-slow."""
    found = {}
    for runner in runners:
        runner.ask("output", 0)
        found[runner.name] = json.loads((folder / f"{runner.name}.json").read_text())
    first = found["ours-slow"]
    differing = {n: sum(a != b for a, b in zip(first, ids, strict=True)) for n, ids in found.items()}
    if wrong := [n for n, count in differing.items() if count and n != "transformers-fast"]:
        raise SystemExit(f"ids differ: {wrong}")
    return differing


def measure(runners: list[Runner], sizes: list[int]) -> dict[str, float]:
    """Median megabytes a second of each runner."""
    speeds: dict[str, list[float]] = {runner.name: [] for runner in runners}
    for number, size in enumerate(sizes):
        for runner in runners:
            seconds = float(runner.ask("time", number))
            if number >= WARM_UP:
                speeds[runner.name].append(size / seconds / 1e6)
    return {name: statistics.median(values) for name, values in speeds.items()}


@click.command()
@click.option("--peers", required=True, help="The Python of the transformers 4.57.6 environment (make peers).")
@click.option("--file", "files", type=click.Path(path_type=Path), multiple=True, help="Text; may be repeated.")
@click.option("--vocabulary", type=click.Path(path_type=Path), help="A spiece.model.  [default: the bundled one]")
@click.option("--rounds", default=15, show_default=True)
@click.option("--characters", default=500_000, show_default=True, help="Text in a round.")
@click.option("--json", "as_json", is_flag=True)
def main(
    peers: str, files: tuple[Path, ...], vocabulary: Path | None, rounds: int, characters: int, as_json: bool
) -> None:
    """Run the table."""
    spiece = str(vocabulary or locate(BUNDLED_MODEL).folder / "spiece.model")
    lines = read_lines(files) if files else sentences((rounds + WARM_UP) * characters // 90, seed=11)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = write_slices(lines, characters, rounds + WARM_UP, folder)
        for threads in (1, 2):
            names = [runner for pair in PAIRS.items() for runner in pair]
            runners = [start(n, sys.executable if n in PAIRS else peers, spiece, folder, threads) for n in names]
            differing = compare(runners, folder)
            rows.append({"threads": threads, "differing lines": differing, "MB/s": measure(runners, sizes)})
            for runner in runners:
                runner.close()
    print(json.dumps(rows) if as_json else table(rows))


def table(rows: list[dict]) -> str:
    """Markdown; above 1 in the last column, ours is faster."""
    columns = ("class", "threads", "ours MB/s", "transformers MB/s", "ours / transformers", "lines that differ")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        speed = row["MB/s"]
        for ours, peer in PAIRS.items():
            ratio, other = speed[ours] / speed[peer], row["differing lines"][peer]
            shown = f"{speed[ours]:.2f} | {speed[peer]:.2f} | {ratio:.2f} | {other}"
            lines.append(f"| {ours.removeprefix('ours-')} | {row['threads']} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
