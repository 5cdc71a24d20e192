"""The curve of a pretraining run, as an SVG: python benchmarks/plot_run.py HISTORY.json CURVE.svg

HISTORY.json is the `training_state.json` of a run's checkpoint, or the list under "history" in it: held-out numbers,
one entry an evaluation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

LINES = {
    "masked_accuracy": "masked pieces named",
    "order_accuracy": "sentence order told",
    "guess_accuracy": "the most frequent piece",
}


def history(path: Path) -> list[dict[str, float]]:
    """The evaluations of a run, in order."""
    found: Any = json.loads(path.read_text())
    return found["state"]["history"] if isinstance(found, dict) else found


def draw(entries: list[dict[str, float]], target: Path) -> None:
    """Accuracies and the masked-LM loss over the tokens seen."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "albert"  # the same numbers give the same bytes
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    tokens = [entry["tokens"] / 1e6 for entry in entries]
    for name, label in LINES.items():
        left.plot(tokens, [100 * entry[name] for entry in entries], label=label)
    left.set(xlabel="million tokens", ylabel="held out, %", ylim=(0, 85))
    left.legend(frameon=False, loc="upper right")
    right.plot(tokens, [entry["masked_loss"] for entry in entries], color="black")
    right.set(xlabel="million tokens", ylabel="held-out masked-LM loss, nats")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(target, metadata={"Date": None})


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
def main(source: Path, target: Path) -> None:
    """Draw SOURCE into TARGET."""
    entries = history(source)
    if not entries:
        raise click.ClickException(f"{source}: expected evaluations, found none; give pretrain --held-out")
    draw(entries, target)


if __name__ == "__main__":
    main()
