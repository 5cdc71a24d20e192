"""The stored cases of transformers 4.57.6 (tests/golden) as configs, weights, inputs and outputs of this project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parameters import PREFIX, parameter_table

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from cases import CASES, Case, make_inputs, read_golden

__all__ = ["CASES", "Case", "prepared", "stored_fields", "stored_gradients"]


def prepared(case: Case) -> tuple[AlbertConfig, dict[str, np.ndarray], dict[str, np.ndarray], bool]:
    """Config, canonical weights, inputs, and whether there is a pooler."""
    config = AlbertConfig(**case.config)
    pooling = HEADS[case.head].pooling and case.add_pooling_layer
    table = parameter_table(config, HEADS[case.head].all_parts(pooling))
    drawn = case.state({n: p.shape for n, p in table.items()})
    return config, drawn, make_inputs(case), pooling


def stored_fields(case: Case) -> dict[str, Any]:
    """Stored numbers as output fields, with `hidden_states.0`, ... collected into tuples."""
    found: dict[str, Any] = {}
    for name, value in read_golden(case).items():
        field, _, place = name.partition(".")
        if field == "grad":
            continue
        found[field] = (*found.get(field, ()), (int(place), value)) if place else value
    return {
        k: tuple(v for _, v in sorted(x, key=lambda e: e[0])) if isinstance(x, tuple) else x for k, x in found.items()
    }


def stored_gradients(case: Case) -> dict[str, np.ndarray]:
    """Stored gradients by canonical name; transformers leaves the encoder's prefix out in a bare encoder."""
    prefix = PREFIX if case.head == "AlbertModel" else ""
    numbers = read_golden(case).items()
    return {prefix + n.removeprefix("grad."): v for n, v in numbers if n.startswith("grad.")}
