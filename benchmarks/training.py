"""A pretraining step, masked LM and sentence order with AdamW: ours beside the peers' loops, and what beginning costs.

    python benchmarks/training.py --peers PATH_TO_PYTHON_OF_TRANSFORMERS_4_57 [--rounds 7] [--json]

Each runner is a process of its own; the rounds go around all of them, so that a slow moment of the machine meets
everybody. All begin with the same weights and batch, and the losses of their first steps are compared before anything
is timed: the third depends on the gradients, the clipping and the optimizer. Memory is measured in fresh processes.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runner import Runner

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parameters import initial_state

WORKER = Path(__file__).with_name("training_worker.py")
SHAPES = ((8, 128), (2, 512))
# ours -> the peer it is compared with; the same framework, eager with eager and compiled with compiled
OURS = {"torch": "transformers5-torch", "flax": "transformers4-flax"}
PEERS4 = ("transformers4-flax",)
TASKS = {"float32": ("torch", "flax"), "bfloat16": ("torch",)}
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # relative, between the losses of two runners
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout_prob": 0.0}
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 500,
}


class Trainee(Runner):
    """A runner whose answers are JSON."""

    def __init__(self, name: str, folder: Path, peers: str | None) -> None:
        super().__init__(name, peers if name in PEERS4 and peers else sys.executable, WORKER, name, folder)

    def ask(self, *words: object) -> Any:
        """One request, one answer."""
        return json.loads(super().ask(*words))


def write_inputs(folder: Path, tiny: bool) -> None:
    """The weights and batches that every runner reads."""
    config = AlbertConfig.from_preset("albert-base-v2").replace(**STILL, **(TINY if tiny else {}))
    state = initial_state(config, HEADS["AlbertForPreTraining"].all_parts(), 0)
    np.savez(folder / "weights.npz", **{n: v.astype(np.float32) for n, v in state.items()})
    config.save_pretrained(folder)
    for b, s in SHAPES:
        np.savez(folder / f"{b}x{s}.npz", **batch(config, b, s))


def batch(config: AlbertConfig, rows: int, length: int) -> dict[str, np.ndarray]:
    """Random ids without padding, 15 % of them predicted."""
    rng = np.random.default_rng(rows)
    masked = round(0.15 * length)
    positions = np.stack([np.sort(rng.choice(np.arange(1, length - 1), masked, replace=False)) for _ in range(rows)])
    return {
        "input_ids": rng.integers(5, config.vocab_size, (rows, length)),
        "attention_mask": np.ones((rows, length), np.int64),
        "token_type_ids": np.repeat([[0, 1]], rows, 0).repeat(length // 2, 1),
        "masked_positions": positions,
        "labels": rng.integers(5, config.vocab_size, (rows, masked)),
        "sentence_order_label": np.arange(rows) % 2,
    }


def measure(runners: list[Trainee], task: str, shape: str, rounds: int) -> dict[str, dict[str, float]]:
    """First step's seconds, median milliseconds, and how far losses lie apart, by runner."""
    first = {r.name: r.ask("start", task, shape) for r in runners}
    losses = {r.name: [first[r.name]["loss"], r.ask("step")["loss"], r.ask("step")["loss"]] for r in runners}
    reference = np.array(losses[runners[0].name])
    apart = {name: float(np.abs(np.array(found) / reference - 1).max()) for name, found in losses.items()}
    if max(apart.values()) > TOLERANCE[task]:
        raise SystemExit(f"{task} {shape}: losses differ: {losses}")
    times: dict[str, list[float]] = {r.name: [] for r in runners}
    for _ in range(rounds):
        for r in runners:
            times[r.name].append(r.ask("step")["seconds"])
    return {
        name: {
            "ms": 1000 * (typical := statistics.median(values)),
            "begin": first[name]["seconds"] - typical,
            "apart": apart[name],
        }
        for name, values in times.items()
    }


def memory(folder: Path, names: list[str], shape: str, peers: str | None) -> dict[str, float]:
    """Median MiB at the peak of three steps above the imports; what a process keeps of freed memory varies."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(3):
        for name, values in found.items():
            runner = Trainee(name, folder, peers)
            runner.ask("start", "float32", shape)
            runner.ask("step")
            values.append(runner.ask("step")["mib"])
            runner.close()
    return {name: statistics.median(values) for name, values in found.items()}


def depths(folder: Path, shape: str, rounds: int = 3) -> dict[int, dict[str, float]]:
    """Instructions and median seconds to compile of our Flax step, for 12 and 48 layers."""
    runner = Trainee("flax", folder, None)
    found = {layers: [] for layers in (12, 48)}
    for turn in range(rounds + 1):
        for layers in found:
            answer = runner.ask("depth", layers, shape)
            if turn:  # the first round warms up
                found[layers].append(answer)
    runner.close()
    return {n: {k: statistics.median(a[k] for a in answers) for k in answers[0]} for n, answers in found.items()}


@click.command()
@click.option("--peers", help="The Python of the transformers 4.57.6 environment (make peers).")
@click.option("--rounds", default=7, show_default=True)
@click.option("--tiny", is_flag=True, help="A model of no interest, to see that all of this runs.")
@click.option("--json", "as_json", is_flag=True)
def main(peers: str | None, rounds: int, tiny: bool, as_json: bool) -> None:
    """Run the tables."""
    shapes = [f"{b}x{s}" for b, s in SHAPES]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, tiny)
        report: dict[str, Any] = {"steps": []}
        for task, ours in TASKS.items():
            names = [n for own in ours for n in (own, OURS[own]) if peers or n not in PEERS4]
            runners = [Trainee(n, folder, peers) for n in names]
            for shape in shapes:
                report["steps"].append({"task": task, "shape": shape, "runners": measure(runners, task, shape, rounds)})
                print(f"{task} {shape} done", file=sys.stderr, flush=True)
            for runner in runners:
                runner.close()
        memories = ["torch", "torch-checkpointing", "transformers5-torch"]
        report["mib"] = {s: memory(folder, memories, s, peers) for s in shapes}
        report["depth"] = depths(folder, shapes[0])
    print(json.dumps(report) if as_json else tables(report))


def tables(report: dict[str, Any]) -> str:
    """Markdown; ratios are peer / ours: above 1 ours is faster, or begins sooner."""
    lines = [
        "| step | batch x length | backend | ours ms | peer ms | peer / ours | ours begins s | peer begins s | ratio |"
    ]
    lines += ["|---" * 9 + "|"]
    for row in report["steps"]:
        for own, other in OURS.items():
            if own in row["runners"]:
                mine, theirs = row["runners"][own], row["runners"].get(other)
                cells = [row["task"], row["shape"], own, f"{mine['ms']:.0f}"]
                cells += ["-", "-"] if theirs is None else [f"{theirs['ms']:.0f}", f"{theirs['ms'] / mine['ms']:.2f}"]
                cells += [f"{mine['begin']:.1f}"]
                cells += (
                    ["-", "-"]
                    if theirs is None
                    else [f"{theirs['begin']:.1f}", f"{theirs['begin'] / mine['begin']:.1f}"]
                )
                lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| peak MiB above the imports | ours | of the peer | checkpointing | of the peer | peer |",
        "|---" * 6 + "|",
    ]
    for shape, mib in report["mib"].items():
        peer = mib["transformers5-torch"]
        own = [f"{mib[n]:.0f} | {mib[n] / peer:.0%}" for n in ("torch", "torch-checkpointing")]
        lines.append(f"| {shape} | {own[0]} | {own[1]} | {peer:.0f} |")
    shallow, deep = report["depth"][12], report["depth"][48]
    lines += [
        "",
        f"Flax, 12 and 48 layers: {shallow['instructions']:.0f} and {deep['instructions']:.0f} HLO instructions; "
        f"{shallow['seconds']:.2f} and {deep['seconds']:.2f} s "
        f"to compile ({deep['seconds'] / shallow['seconds']:.2f}).",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
