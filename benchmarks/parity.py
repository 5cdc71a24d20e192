"""Print the README's parity table: the largest relative RMS error of each backend against the float64 reference.

    python benchmarks/parity.py [--backends torch,tf,flax]

The configurations, weights, batches and oracles are those of tests/test_parity.py.
"""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
warnings.simplefilter("ignore")

from conftest import GATE, GROUPS, Adapter, oracle_gradients, rho
from test_parity import labelled, make, reference

from albert_core.config import POSITION_EMBEDDING_TYPES
from albert_core.dtypes import DTYPES

HEAD = "AlbertForPreTraining"


def forward_error(backend: Adapter, dtype: str, groups: str, positions: str) -> float:
    """Largest rho over hidden states and logits, with the weights as `dtype` holds them."""
    config, state = make(groups, HEAD, position_embedding_type=positions)
    inputs = labelled(config)
    held = {n: v.astype(DTYPES[dtype]) for n, v in state.items()}
    oracle = reference.forward(config, {n: v.astype(np.float64) for n, v in held.items()}, inputs, HEAD)
    with backend.precision(dtype):
        got = backend.run(backend.model(HEAD, config, dtype, held), inputs, output_hidden_states=True)
    pairs = [(got[n], oracle[n]) for n in ("prediction_logits", "sop_logits")]
    return max(
        rho(mine, theirs) for mine, theirs in (*pairs, *zip(got["hidden_states"], oracle["hidden_states"], strict=True))
    )


def gradient_error(backend: Adapter, dtype: str, groups: str, positions: str) -> float:
    """Largest rho over the gradients; those that are zero in theory, as the key bias', are left out."""
    config, state = make(groups, HEAD, position_embedding_type=positions)
    inputs = {**labelled(config), "sentence_order_label": np.array([0, 1, 0])}
    oracle = oracle_gradients(config, state, inputs, HEAD)
    with backend.precision(dtype):
        got = backend.gradients(backend.model(HEAD, config, dtype, state), inputs)
    return max(rho(got[n], oracle[n]) for n in oracle if not n.endswith("key.bias"))


@click.command()
@click.option("--backends", default="torch,tf,flax", show_default=True)
def main(backends: str) -> None:
    """Print the table."""
    adapters = [Adapter(name) for name in backends.split(",")]
    settings = list(itertools.product(GROUPS, POSITION_EMBEDDING_TYPES))
    print("| | gate |", " | ".join(a.package.__name__ for a in adapters), "|\n|---|---|" + "---|" * len(adapters))
    for dtype in ("float64", "float32", "bfloat16", "float16"):
        cells = (max(forward_error(a, dtype, *s) for s in settings) for a in adapters)
        gate = f"{GATE[dtype]['forward']:.0e}"
        print(f"| {dtype}, hidden states and logits | {gate} |", " | ".join(f"{c:.1e}" for c in cells), "|", flush=True)
    for dtype in ("float64", "float32"):
        cells = (max(gradient_error(a, dtype, *s) for s in settings) for a in adapters)
        print(
            f"| {dtype}, gradients | {GATE[dtype]['gradient']:.0e} |",
            " | ".join(f"{c:.1e}" for c in cells),
            "|",
            flush=True,
        )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
