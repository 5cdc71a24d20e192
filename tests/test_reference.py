"""The NumPy reference against float64 numbers that transformers 4.57.6 gave; see tests/golden.

The reference itself is the oracle of every other parity test, forward and, through jax.grad, backward.
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import assert_close, assert_gradients_close
from golden_cases import CASES, Case, prepared, stored_fields, stored_gradients

from albert_core import reference
from albert_core.parity import GATE, reference_gradients, rho

FORWARD = GATE["float64"]["forward"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_forward(case: Case) -> None:
    config, state, inputs, pooling = prepared(case)
    got = reference.forward(config, state, inputs, case.head, pooling)
    expected = stored_fields(case)
    assert expected, "nothing stored for this case"
    assert_close(got, expected, FORWARD)


@pytest.mark.parametrize("case", [c for c in CASES if c.has_loss], ids=lambda case: case.name)
def test_gradients(case: Case) -> None:
    config, state, inputs, _ = prepared(case)
    found = reference_gradients(config, state, inputs, case.head)
    assert_gradients_close(found, stored_gradients(case), GATE["float64"]["gradient"])


def test_all_labels_ignored_gives_zero() -> None:
    (case,) = [c for c in CASES if c.ignored]
    config, state, inputs, _ = prepared(case)
    assert reference.forward(config, state, inputs, case.head)["loss"] == 0.0


def test_masked_positions_are_a_selection_of_all() -> None:
    case = next(c for c in CASES if c.name == "masked_lm")
    config, state, inputs, _ = prepared(case)
    everything = reference.forward(config, state, inputs, case.head)
    positions = np.array([[1, 4], [0, 8], [3, 3]])
    labels = np.take_along_axis(inputs["labels"], positions, axis=1)
    some = reference.forward(config, state, {**inputs, "labels": labels, "masked_positions": positions}, case.head)
    assert rho(some["logits"], np.take_along_axis(everything["logits"], positions[..., None], axis=1)) < 1e-15


def test_a_row_that_is_all_masked_attends_uniformly() -> None:
    case = next(c for c in CASES if c.name == "model_one_group")
    config, state, inputs, _ = prepared(case)
    inputs["attention_mask"] = np.zeros_like(inputs["input_ids"])
    attentions = reference.forward(config, state, inputs)["attentions"]
    assert all(np.array_equal(a, np.full_like(a, 1 / a.shape[-1])) for a in attentions)
