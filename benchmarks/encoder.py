"""Encoder and masked LM of base size, float32: ours in three backends beside the peers and the raw matrix products.

    python benchmarks/encoder.py --peers PATH_TO_PYTHON_OF_TRANSFORMERS_4_57 [--rounds 15] [--json]

Each runner is a process of its own that holds its model; the rounds go around all of them, so that a slow moment of
the machine meets everybody. Every answer is compared with the first runner's before anything is timed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parameters import initial_state

WORKER = Path(__file__).with_name("worker.py")
SHAPES = ((8, 128), (1, 128))
# runner -> the runner it is compared with; the same framework, eager with eager and compiled with compiled
OURS = {"torch": "transformers5-torch", "tf": "transformers4-tf", "flax": "transformers4-flax"}
PEERS4 = ("transformers4-tf", "transformers4-flax")
TOLERANCE = 1e-5  # relative RMS between runners; float32 after twelve layers


class Runner:
    """One worker process."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        self.name = name
        command = [python, str(WORKER), name, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words: object) -> str:
        """One request, one line of answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(*words, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("answer "):
                return line.removeprefix("answer ").strip()
        raise RuntimeError(f"{self.name} ended with code {self.process.wait()} at {words}")

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)


def write_inputs(folder: Path, seed: int = 0) -> None:
    """The weights and ids that every runner reads."""
    config = AlbertConfig.from_preset("albert-base-v2")
    state = initial_state(config, HEADS["AlbertForMaskedLM"].all_parts(pooling=True), seed)
    np.savez(folder / "weights.npz", **{n: v.astype(np.float32) for n, v in state.items()})
    config.save_pretrained(folder)
    rng = np.random.default_rng(seed)
    np.savez(folder / "ids.npz", **{f"{b}x{s}": rng.integers(5, config.vocab_size, (b, s)) for b, s in SHAPES})


def compare(runners: list[Runner], task: str, shape: str, folder: Path) -> float:
    """The largest relative RMS between any runner's output and the first one's."""
    outputs = {}
    for runner in (r for r in runners if r.name != "matmul"):
        runner.ask("output", task, shape)
        outputs[runner.name] = np.load(folder / f"{runner.name}.npy")
    first = next(iter(outputs.values()))
    errors = {n: float(np.sqrt(np.mean((o - first) ** 2) / np.mean(first**2))) for n, o in outputs.items()}
    if (worst := max(errors.values())) > TOLERANCE:
        raise SystemExit(f"{task} {shape}: outputs differ: {errors}")
    return worst


def measure(runners: list[Runner], task: str, shape: str, rounds: int) -> dict[str, float]:
    """Median milliseconds of each runner."""
    times: dict[str, list[float]] = {runner.name: [] for runner in runners}
    for turn in range(rounds + 2):
        for runner in runners:
            seconds = float(runner.ask("time", task, shape))
            if turn >= 2:  # the first two rounds warm up
                times[runner.name].append(1000 * seconds)
    return {name: statistics.median(values) for name, values in times.items()}


@click.command()
@click.option("--peers", help="The Python of the transformers 4.57.6 environment (make peers).")
@click.option("--rounds", default=15, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(peers: str | None, rounds: int, as_json: bool) -> None:
    """Run the table."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder)
        names = ["matmul", *OURS, "transformers5-torch", *(PEERS4 if peers else ())]
        runners = [Runner(n, peers if n in PEERS4 and peers else sys.executable, folder) for n in names]
        for task in ("encoder", "masked-lm"):
            for shape in (f"{b}x{s}" for b, s in SHAPES):
                error = compare(runners, task, shape, folder)
                rows.append({"task": task, "shape": shape, "rho": error, "ms": measure(runners, task, shape, rounds)})
        for runner in runners:
            runner.close()
    print(json.dumps(rows) if as_json else table(rows))


def table(rows: list[dict]) -> str:
    """Markdown: milliseconds, the ratio peer / ours (above 1: ours is faster), and ours against the products alone."""
    columns = ("task", "batch x length", "backend", "ours ms", "peer ms", "peer / ours", "products / ours")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        ms = row["ms"]
        for ours, peer in OURS.items():
            theirs = f"{ms[peer]:.1f} | {ms[peer] / ms[ours]:.2f}" if peer in ms else "- | -"
            share = f"{ms['matmul'] / ms[ours]:.2f}"
            lines.append(f"| {row['task']} | {row['shape']} | {ours} | {ms[ours]:.1f} | {theirs} | {share} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
