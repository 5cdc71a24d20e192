"""Does ALBERT compute, learn and go on rightly on this chip? For whoever has one TPU; a GPU or a CPU will do too.

    pip install "albert-models[tpu]"
    python examples/tpu_check.py --output tpu-check

Small models are compared with the float64 reference, outputs and gradients. One is trained for 100 steps on made-up
text, once in one go and once stopped half-way, and both have to end with the same bits. What was found is written to
OUTPUT/report.json. Exit code 0 where all is well, 6 where something is not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from albert_core.config import AlbertConfig
from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.parity import Case, measure
from albert_core.parity_suite import settings
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe
from albert_core.training_state import newest_checkpoint
from albert_core.version import __version__
from albert_flax.training import Trainer, pretrain

PIECES, WORDS = 1000, 20_000
SIZES = {"embedding_size": 64, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512}


def parity(lanes: list[str]) -> dict[str, Any]:
    """The worst distance from the reference of each output in each lane."""
    setting, rows = next(iter(settings())), []
    for lane in lanes:
        case = Case(setting.head, setting.config, setting.state, setting.inputs, lane)
        with jax.default_device(jax.devices("cpu")[0]):
            _ = case.gradients  # the oracle's float64 is the host's business
        rows += [{**asdict(row), "ok": row.ok} for row in measure("flax", case)]
    return {"ok": all(row["ok"] for row in rows), "rows": rows}


def made_up_text(recipe: PretrainingRecipe) -> PretrainingData:
    """Documents that each keep to few pieces, so that there is something to learn at once."""
    rng = np.random.default_rng(0)
    topics = rng.integers(5, PIECES, (WORDS // 100, 8))  # documents of 100 pieces
    tokens = np.take_along_axis(topics, rng.integers(0, 8, (len(topics), 100)), axis=1).astype(np.int32).reshape(-1)
    corpus = TokenizedCorpus(tokens, np.arange(0, WORDS + 1, 10), np.arange(0, WORDS // 10 + 1, 10))
    return PretrainingData(corpus, Vocabulary(0, 2, 3, 4, np.ones(PIECES, bool), np.arange(5, PIECES)), recipe)


def train(recipe: PretrainingRecipe, folder: Path, stop_at: int | None = None) -> dict[str, Any]:
    """A run, or the rest of one; stopped by a signal where `stop_at` says."""
    losses: dict[int, float] = {}

    def watch(step: int, numbers: Any) -> None:
        losses.update({step: numbers["train/loss"]} if "train/loss" in numbers else {})
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    config = AlbertConfig(vocab_size=PIECES, num_hidden_layers=4, hidden_dropout_prob=0.1, **SIZES)
    autocast = None if jax.devices()[0].platform == "cpu" else "bfloat16"  # which a CPU only imitates
    trainer, began = Trainer(config, recipe, autocast=autocast), time.monotonic()
    state = pretrain(
        trainer, made_up_text(recipe), folder, report_every=max(recipe.total_steps // 10, 1), observers=[watch]
    )
    return {"step": state.step, "losses": losses, "seconds": round(time.monotonic() - began, 3)}


def training(folder: Path, steps: int) -> dict[str, Any]:
    """100 steps in one go, the same with a stop, and whether both end alike."""
    recipe = PretrainingRecipe(
        batch_size=32,
        sequence_length=64,
        max_predictions=None,
        learning_rate=2e-3,
        warmup_steps=steps // 10,
        total_steps=steps,
    )
    every = max(steps // 10, 1)
    whole = train(recipe, folder / "whole")
    stopped = train(recipe, folder / "stopped", stop_at=steps // 2 // every * every)
    resumed = train(recipe, folder / "stopped")
    first, last = (newest_checkpoint(folder / name) for name in ("whole", "stopped"))
    assert first, "pretrain leaves a checkpoint"
    assert last, "and so does the run that went on"
    same = all(
        (first / name).read_bytes() == (last / name).read_bytes()
        for name in ("model.safetensors", "moments.safetensors")
    )
    learned = list(whole["losses"].values())
    return {
        "ok": same and learned[-1] < learned[0] and stopped["step"] < resumed["step"] == steps,
        "resumed_with_the_same_bits": same,
        "whole": whole,
        "stopped": stopped,
        "resumed": resumed,
    }


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("tpu-check"), help="a folder that does not exist yet")
    parser.add_argument("--steps", type=int, default=100, help="steps of the training, 20 or more")
    parser.add_argument("--lanes", default="float32,bfloat16", help="what to compare with the reference in")
    options = parser.parse_args()
    options.output.mkdir(parents=True)
    device = jax.devices()[0]
    report = {
        "device": device.device_kind,
        "platform": device.platform,
        "devices": jax.device_count(),
        "versions": {"albert-models": __version__, "jax": jax.__version__},
        "parity": parity(options.lanes.split(",")),
        "training": training(options.output, options.steps),
    }
    report["ok"] = report["parity"]["ok"] and report["training"]["ok"]
    (options.output / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"{device.device_kind}: {'all is well' if report['ok'] else 'see'} {options.output / 'report.json'}")
    sys.exit(0 if report["ok"] else 6)


if __name__ == "__main__":
    main()
