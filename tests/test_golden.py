"""Every backend against float64 numbers that transformers 4.57.6 gave: outputs, losses and gradients (tests/golden)."""

from __future__ import annotations

import pytest
from conftest import Adapter, assert_close, assert_gradients_close
from golden_cases import CASES, Case, prepared, stored_fields, stored_gradients

from albert_core.parity import GATE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_numbers_of_transformers(backend: Adapter, case: Case) -> None:
    config, state, inputs, pooling = prepared(case)
    options = {} if case.add_pooling_layer else {"add_pooling_layer": pooling}
    with backend.precision("float64"):
        model = backend.model(case.head, config, "float64", state, **options)
        got = backend.run(model, inputs, output_hidden_states=case.states, output_attentions=case.states)
        assert_close(got, stored_fields(case), GATE["float64"]["forward"])
        if case.has_loss:
            assert_gradients_close(
                backend.gradients(model, inputs), stored_gradients(case), GATE["float64"]["gradient"]
            )
