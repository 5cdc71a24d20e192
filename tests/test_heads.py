"""Every head against the float64 reference: outputs, losses and gradients, with every kind of label and mask."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from conftest import Adapter

from albert_core import reference
from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parity import GATE, Case, measure, rho
from albert_core.parity_suite import GROUPS, TINY, batch, drawn_state, labels_for, with_choices

FORWARD = GATE["float64"]["forward"]
LABELLED = [
    head for head in HEADS if HEADS[head].signature.label_shapes or "start_positions" in HEADS[head].signature.names
]


def case_of(head: str, groups: str = "2x2", inputs: dict | None = None, **changes: Any) -> Case:
    """A case in float64; with its own labels unless inputs are given."""
    config = AlbertConfig(**{**TINY, **GROUPS[groups], **changes})
    if inputs is None:
        inputs = with_choices(batch(config)) if HEADS[head].signature.choices else batch(config)
        inputs |= labels_for(config, head, inputs)
    return Case(head, config, drawn_state(config, head), inputs, "float64")


def check(backend: Adapter, case: Case, gradients: bool = True) -> dict[str, Any]:
    """Every output, eager and fused, and every gradient is within the gate; returns the outputs."""
    rows = measure(backend.name, case, backend.device, gradients)
    assert not [row for row in rows if not row.ok]
    assert {row.output for row in rows} >= {"hidden_states", "attentions"}
    with backend.precision("float64"):
        return backend.run(case.model(backend.name, backend.device), case.inputs)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("groups", "positions"), [("1x1", "absolute"), ("2x2", "relative_key_query")])
def test_every_output_loss_and_gradient(backend: Adapter, head: str, groups: str, positions: str) -> None:
    got = check(backend, case_of(head, groups, position_embedding_type=positions))
    assert ("loss" in got) is (head in LABELLED)
    assert list(got) == [name for name in HEADS[head].output_class.__dataclass_fields__ if name in got]


@pytest.mark.parametrize("head", LABELLED)
def test_ignored_labels_give_no_loss_and_no_gradient(backend: Adapter, head: str) -> None:
    case = case_of(head)
    for name in case.inputs.keys() & {"labels", "sentence_order_label"}:
        case.inputs[name] = np.full_like(case.inputs[name], -100)
    for name in case.inputs.keys() & {"start_positions", "end_positions"}:
        case.inputs[name] = np.full_like(case.inputs[name], case.inputs["input_ids"].shape[1])
    with backend.precision("float64"):
        model = case.model(backend.name, backend.device)
        assert backend.run(model, case.inputs)["loss"] == 0.0
        assert not any(gradient.any() for gradient in backend.gradients(model, case.inputs).values())


PROBLEMS: dict[str, tuple[dict[str, Any], Any]] = {
    "inferred single label": ({"num_labels": 4}, np.array([0, 3, 1])),
    "single label in a column": ({"problem_type": "single_label_classification"}, np.array([[0], [1], [1]])),
    "some ignored": ({"num_labels": 4}, np.array([-100, 3, 1])),
    "inferred multi label": ({"num_labels": 4}, np.eye(4)[:3]),
    "multi label of integers": (
        {"num_labels": 4, "problem_type": "multi_label_classification"},
        np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]),
    ),
    "multi label with one": (
        {"num_labels": 1, "problem_type": "multi_label_classification"},
        np.array([[0], [1], [1]]),
    ),
    "inferred regression": ({"num_labels": 1}, np.array([0.5, -2.0, 7.0])),
    "regression of integers": ({"num_labels": 1}, np.array([5, -2, 7])),
    "regression in a column": ({"num_labels": 1}, np.array([[0.5], [-2.0], [7.0]])),
    "regression of many": ({"num_labels": 4, "problem_type": "regression"}, np.arange(12.0).reshape(3, 4)),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_kind_of_sequence_label(backend: Adapter, problem: str) -> None:
    changes, labels = PROBLEMS[problem]
    head = "AlbertForSequenceClassification"
    config = AlbertConfig(**TINY, **changes)
    case = case_of(head, "1x1", {**batch(config), "labels": labels}, **changes)
    check(backend, case)
    assert case.config == config, "a problem type is never written into the config"


POSITIONS = {
    "inside": ([0, 3, 6], [0, 4, 2]),
    "behind the end": ([7, 3, 99], [0, 7, 2]),
    "before the start": ([-1, 3, 6], [-7, 4, 2]),
}


@pytest.mark.parametrize("where", POSITIONS)
def test_answers_outside_the_text(backend: Adapter, where: str) -> None:
    start, end = (np.array(places) for places in POSITIONS[where])
    inputs = {**batch(AlbertConfig(**TINY)), "start_positions": start, "end_positions": end}
    check(backend, case_of("AlbertForQuestionAnswering", inputs=inputs))


def test_a_loss_needs_both_labels(backend: Adapter) -> None:
    for head, names in (
        ("AlbertForPreTraining", ("labels", "sentence_order_label")),
        ("AlbertForQuestionAnswering", ("start_positions", "end_positions")),
    ):
        case = case_of(head)
        for missing in names:
            with backend.precision("float64"):
                model = case.model(backend.name, backend.device)
                got = backend.run(model, {k: v for k, v in case.inputs.items() if k != missing})
            assert "loss" not in got


MASKS = {"BS": (3, 7), "BCS": (3, 2, 7), "BSS": (3, 7, 7), "BCSS": (3, 2, 7, 7), "B1SS": (3, 1, 7, 7),
         "BNSS": (3, 3, 7, 7), "BC1SS": (3, 2, 1, 7, 7), "BCNSS": (3, 2, 3, 7, 7)}  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
def test_masks_with_and_without_a_choice_axis(backend: Adapter, mask: str) -> None:
    """Each choice by itself gives the same score: the reference of one encoder, run choice by choice."""
    head = "AlbertForMultipleChoice"
    case = case_of(head)
    given = np.random.default_rng(1).integers(0, 2, MASKS[mask])
    given[..., 0] = 1
    case.inputs["attention_mask"] = given
    got = check(backend, case, gradients=False)
    for choice in range(2):
        alone = {
            name: value[:, choice] for name, value in case.inputs.items() if name in ("input_ids", "token_type_ids")
        }
        alone["attention_mask"] = given[:, choice] if mask[1] == "C" else given
        pooled = reference.forward(case.config, case.wide, alone, "AlbertModel")["pooler_output"]
        score = pooled @ case.wide["classifier.weight"][0] + case.wide["classifier.bias"][0]
        assert rho(got["logits"][:, choice], score) <= FORWARD


@pytest.mark.parametrize("head", ["AlbertForMaskedLM", "AlbertForPreTraining"])
def test_masked_positions_select(backend: Adapter, head: str) -> None:
    case = case_of(head)
    positions = np.array([[1, 4, 0], [0, 6, 0], [3, 3, 0]])
    labels = np.take_along_axis(case.inputs["labels"], positions, axis=1)
    labels[:, 2] = -100
    case.inputs |= {"masked_positions": positions, "labels": labels}
    got = check(backend, case)
    logits = got["logits" if head == "AlbertForMaskedLM" else "prediction_logits"]
    assert logits.shape == (3, 3, case.config.vocab_size)


@pytest.mark.parametrize("mask", ["BS", "BSS", "LN"])
@pytest.mark.parametrize(("groups", "positions"), [("1x1", "absolute"), ("2x2", "absolute"), ("1x1", "relative_key")])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_output_positions_select(backend: Adapter, groups: str, positions: str, mask: str, attention: str) -> None:
    """Of all that the reference gives; the pooler reads the first of them, in the first text that of the whole."""
    case = case_of("AlbertModel", groups, position_embedding_type=positions)
    rng = np.random.default_rng(3)
    if mask == "BSS":
        case.inputs["attention_mask"] = rng.integers(0, 2, (3, 7, 7))
    if mask == "LN":
        case.inputs["head_mask"] = rng.random((case.config.num_hidden_layers, case.config.num_attention_heads))
    picked = np.array([[0, 6], [5, 5], [2, 1]])
    given = {**case.inputs, "output_positions": picked}
    states = np.take_along_axis(case.oracle["last_hidden_state"], picked[..., None], axis=1)
    pooled = reference.forward(case.config, case.wide, given, "AlbertModel")["pooler_output"]
    assert np.array_equal(pooled[0], case.oracle["pooler_output"][0])
    with backend.precision("float64"):
        model = case.model(backend.name, backend.device, attn_implementation=attention)
        for flags in ({}, {"output_hidden_states": True}):
            got = backend.run(model, {**given, **flags})
            assert rho(got["last_hidden_state"], states) <= FORWARD
            assert rho(got["pooler_output"], pooled) <= FORWARD


READ = {
    "AlbertForSequenceClassification": ({}, 1),
    "AlbertForMaskedLM": ({"masked_positions": np.array([[1, 4], [0, 6], [3, 3]])}, 2),
    "AlbertForPreTraining": ({"masked_positions": np.array([[1, 4], [0, 6], [3, 3]])}, 3),
    "AlbertForTokenClassification": ({}, 7),
}


@pytest.mark.parametrize("head", READ)
def test_the_last_layer_works_for_what_is_read(backend: Adapter, head: str) -> None:
    more, read = READ[head]
    case = case_of(head)
    given = {**batch(case.config), **more}
    with backend.precision("float64"):
        model = case.model(backend.name, backend.device)
        rows: list[int] = []
        layer = model.base_model.encoder.albert_layer_groups[-1].albert_layers[-1]
        kernel = layer.activation

        def counted(x: Any) -> Any:
            rows.append(int(np.prod(x.shape[:-1])))
            return kernel(x)

        layer.activation = counted
        backend.run(model, given)
        assert rows[-1] == 3 * read
        backend.run(model, {**given, "output_attentions": True})
        assert rows[-1] == 3 * 7


@pytest.mark.parametrize("head", HEADS)
def test_every_input_reaches_every_head(backend: Adapter, head: str) -> None:
    """Embeddings, positions and a head mask by layer, through the head, tuples and all."""
    case = case_of(head)
    rng = np.random.default_rng(2)
    shape = case.inputs.pop("input_ids").shape
    case.inputs["inputs_embeds"] = rng.normal(size=(*shape, case.config.embedding_size))
    case.inputs["position_ids"] = rng.integers(0, case.config.max_position_embeddings, shape)
    case.inputs["head_mask"] = rng.random((case.config.num_hidden_layers, case.config.num_attention_heads))
    check(backend, case)
    with backend.precision("float64"):
        out = case.model(backend.name, backend.device)(**case.inputs, return_dict=False, output_hidden_states=True)
        assert isinstance(out, tuple)
        assert len(out[-1]) == case.config.num_hidden_layers + 1


@pytest.mark.parametrize("lane", ["bfloat16", "float16"])
@pytest.mark.parametrize("head", LABELLED)
def test_a_loss_is_wide_and_logits_are_not(backend: Adapter, head: str, lane: str) -> None:
    wide = case_of(head)
    case = Case(head, wide.config, wide.state, wide.inputs, lane)
    got = backend.run(case.model(backend.name, backend.device), case.inputs)
    for name, value in got.items():
        assert value.dtype.name == ("float32" if name == "loss" else lane), name


def test_a_subclass_keeps_its_own_forward(backend: Adapter) -> None:
    head = backend.cls("AlbertForMaskedLM")
    name = {"torch": "forward", "tf": "call", "flax": "__call__"}[backend.name]

    def own(self: Any, ids: Any, more: int = 2) -> Any:
        """Its own."""
        return more

    mine = type("Mine", (head,), {name: own})
    for cls in (mine, type("Derived", (mine,), {})):
        assert getattr(cls, name) is own
    assert getattr(type("Plain", (head,), {}), name) is getattr(head, name)
    partial = functools.partialmethod(own, more=3)
    assert type("Partial", (head,), {name: partial}).__dict__[name] is partial
