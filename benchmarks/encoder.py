"""Base size: ours in three backends beside the peers and the raw matrix products.

    python benchmarks/encoder.py --peers PYTHON [--keras-peers PYTHON] [--dtype bfloat16] [--rounds 15] [--json]

Encoder, masked LM and classification, at fixed shapes and on a ragged workload. Each runner is a process of its own
that holds its model; the rounds go around all of them, so that a slow moment of the machine meets everybody. Every
answer is compared with the first runner's before anything is timed; the seconds of that first call are kept, with what
it compiles.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "conversion")]

from runner import Runner

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parameters import initial_state

WORKER = Path(__file__).with_name("worker.py")
SHAPES = ((8, 128), (1, 128), (2, 512))
TASKS = ("encoder", "masked-lm", "classification")
# runner -> the runner it is compared with; the same framework, eager with eager and compiled with compiled
OURS = {
    "torch": "transformers5-torch",
    "torch-compiled": "transformers5-torch-compiled",
    "tf": "transformers4-tf",
    "flax": "transformers4-flax",
    "openvino": "",
    "onnxruntime": "",
}
ENGINES = ("openvino", "onnxruntime")  # take our exported graph, where they are installed
HALF = (
    "matmul",
    "torch",
    "torch-compiled",
    "flax",
    "openvino",
    "transformers5-torch",
    "transformers5-torch-compiled",
    "transformers4-flax",
)  # who runs in bfloat16
# relative RMS between runners, after twelve layers
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-1}


def runs(name: str, task: str) -> bool:
    """Whether a runner has a task: of keras-hub's the encoder alone is the same network."""
    return name != "keras-hub" or task == "encoder"


def write_inputs(folder: Path, keras_hub: bool, seed: int = 0) -> None:
    """The weights and ids that every runner reads."""
    config = AlbertConfig.from_preset("albert-base-v2")
    heads = ("AlbertForMaskedLM", "AlbertForSequenceClassification")
    parts = dict.fromkeys(part for head in heads for part in HEADS[head].all_parts(pooling=True))
    state = {n: v.astype(np.float32) for n, v in initial_state(config, parts, seed).items()}
    np.savez(folder / "weights.npz", **state)
    config.save_pretrained(folder)
    rng = np.random.default_rng(seed)
    fixed = {f"{b}x{s}": rng.integers(5, config.vocab_size, (b, s)) for b, s in SHAPES}
    lengths = ragged_lengths(rng)
    text = rng.integers(5, config.vocab_size, lengths.sum())
    np.savez(folder / "ids.npz", **fixed, lengths=lengths, ragged=text)
    if keras_hub:
        write_preset(folder, config, state)


def ragged_lengths(rng: np.random.Generator, count: int = 512, mean: float = 25, largest: int = 66) -> np.ndarray:
    """Lognormal lengths, as those of sentences are."""
    sigma = 0.5
    return np.clip(rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, count).round(), 3, largest).astype(np.int64)


def write_preset(folder: Path, config: AlbertConfig, state: dict[str, np.ndarray]) -> None:
    """The encoder as keras-hub's own preset."""
    from albert_conversion.convert import convert

    from albert_core.safetensors_file import save_safetensors

    source = folder / "encoder"
    source.mkdir()
    config.save_pretrained(source)
    encoder = {n.removeprefix("albert."): v for n, v in state.items() if n.startswith("albert.")}
    save_safetensors(source / "model.safetensors", encoder)
    convert(source, folder / "keras-hub", "keras-hub")


def compare(runners: list[Runner], task: str, shape: str, folder: Path, tolerance: float) -> dict:
    """The largest relative RMS between any runner's output and the first one's, and the seconds of the first call."""
    outputs, seconds = {}, {}
    for runner in (r for r in runners if r.name != "matmul"):
        seconds[runner.name] = float(runner.ask("output", task, shape))
        outputs[runner.name] = np.load(folder / f"{runner.name}.npy")
    first = next(iter(outputs.values()))
    errors = {n: float(np.sqrt(np.mean((o - first) ** 2) / np.mean(first**2))) for n, o in outputs.items()}
    if (worst := max(errors.values())) > tolerance:
        raise SystemExit(f"{task} {shape}: outputs differ: {errors}")
    return {"rho": worst, "first_call": seconds}


def measure(runners: list[Runner], task: str, shape: str, rounds: int) -> dict[str, float]:
    """Median milliseconds of each runner."""
    times: dict[str, list[float]] = {runner.name: [] for runner in runners}
    for turn in range(rounds + 1):
        for runner in runners:
            seconds = float(runner.ask("time", task, shape))
            if turn:  # the first round warms up
                times[runner.name].append(1000 * seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def temporaries(runners: list[Runner], task: str, shape: str) -> dict[str, int]:
    """Bytes of temporary memory of the programs of JAX."""
    return {r.name: int(r.ask("memory", task, shape)) for r in runners if "flax" in r.name and shape != "ragged"}


@click.command()
@click.option("--peers", help="The Python of the transformers 4.57.6 environment (make peers).")
@click.option("--keras-peers", help="The Python of the keras-hub environment (make peers).")
@click.option("--tasks", default=",".join(TASKS), show_default=True)
@click.option("--shapes", default=",".join(f"{b}x{s}" for b, s in SHAPES) + ",ragged", show_default=True)
@click.option("--runners", "only", help="These and the matrix products.  [default: all that can run]")
@click.option("--dtype", type=click.Choice([*TOLERANCE]), default="float32")
@click.option("--rounds", default=15, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(
    peers: str | None,
    keras_peers: str | None,
    tasks: str,
    shapes: str,
    only: str | None,
    dtype: str,
    rounds: int,
    as_json: bool,
) -> None:
    """Run the table."""
    pythons = {**dict.fromkeys(("transformers4-tf", "transformers4-flax"), peers), "keras-hub": keras_peers}
    names = ["matmul", *OURS, *filter(None, OURS.values()), "keras-hub"]
    names = [name for name in names if pythons.get(name, sys.executable) and (dtype == "float32" or name in HALF)]
    names = [name for name in names if name not in ENGINES or importlib.util.find_spec(name)]
    if only:
        names = [name for name in names if name in ("matmul", *only.split(","))]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_inputs(folder, "keras-hub" in names)
        started = [Runner(n, pythons.get(n) or sys.executable, WORKER, n, folder, dtype) for n in names]
        for task in tasks.split(","):
            runners = [r for r in started if runs(r.name, task)]
            for shape in shapes.split(","):
                row = {"task": task, "shape": shape, **compare(runners, task, shape, folder, TOLERANCE[dtype])}
                row["temporary"] = temporaries(runners, task, shape)
                rows.append({**row, "ms": measure(runners, task, shape, rounds)})
                print(f"{task} {shape} done", file=sys.stderr, flush=True)
        for runner in started:
            runner.close()
    print(json.dumps(rows) if as_json else table(rows))


def table(rows: list[dict]) -> str:
    """Markdown: milliseconds, the ratio peer / ours (above 1: ours is faster), and ours against the products alone."""
    columns = ("task", "batch x length", "runner", "ms", "peer ms", "peer / ours", "products / ours", "first call s")
    lines = [f"| {' | '.join((*columns, 'its peer s'))} |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        ms, first = row["ms"], row["first_call"]
        for ours in (name for name in (*OURS, "keras-hub") if name in ms):
            peer = OURS.get(ours)
            theirs = f"{ms[peer]:.1f} | {ms[peer] / ms[ours]:.2f}" if peer in ms else "- | -"
            calls = f"{first[ours]:.2f} | {first[peer]:.2f}" if peer in ms else f"{first[ours]:.2f} | -"
            share = f"{ms['matmul'] / ms[ours]:.2f}"
            lines.append(f"| {row['task']} | {row['shape']} | {ours} | {ms[ours]:.1f} | {theirs} | {share} | {calls} |")
        if len(memory := row["temporary"]) == 2:
            mine, theirs = memory["flax"], memory["transformers4-flax"]
            lines.append(
                f"| {row['task']} | {row['shape']} | flax: temporary MB | {mine / 1e6:.0f} | {theirs / 1e6:.0f} "
                f"| {theirs / mine:.2f} | - | - | - |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
