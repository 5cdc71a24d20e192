"""Binding and checking of inputs: what is accepted, and what each refusal says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS, forward_doc
from albert_core.parity_suite import TINY
from albert_core.signature import INPUTS, dummy_batch, problem_type

CONFIG = AlbertConfig(**TINY)
IDS = np.zeros((2, 5), dtype=np.int64)


def _bind(head: str, *args: object, **kwargs: object) -> object:
    return HEADS[head].signature.bind(CONFIG, args, kwargs)


@pytest.mark.parametrize(
    ("head", "kwargs", "message"),
    [
        ("AlbertModel", {}, "exactly one of input_ids and inputs_embeds, got neither"),
        ("AlbertModel", {"input_ids": IDS, "inputs_embeds": np.zeros((2, 5, 6))}, "got both"),
        ("AlbertModel", {"input_ids": IDS[0]}, r"input_ids: expected shape \[B, S\], got \[5\]"),
        ("AlbertModel", {"input_ids": IDS * 1.0}, "input_ids: expected an array of integers, got float64"),
        ("AlbertModel", {"input_ids": IDS.tolist()}, "input_ids: expected an array of integers, got list"),
        (
            "AlbertModel",
            {"input_ids": IDS, "attention_mask": np.ones((2, 6))},
            r"attention_mask: .*B=2, S=5.*got \[2, 6\]",
        ),
        (
            "AlbertModel",
            {"input_ids": IDS, "attention_mask": np.ones((2, 1, 5, 5))},
            "4-D mask of integers or booleans",
        ),
        ("AlbertModel", {"input_ids": IDS, "token_type_ids": np.zeros((1, 5), int)}, r"token_type_ids: .*got \[1, 5\]"),
        (
            "AlbertModel",
            {"input_ids": IDS, "head_mask": np.ones(4)},
            r"head_mask: .*\[N=3\] or \[L=6, N=3\], got \[4\]",
        ),
        ("AlbertModel", {"inputs_embeds": np.zeros((2, 5, 12))}, r"inputs_embeds: .*E=6.*got \[2, 5, 12\]"),
        ("AlbertModel", {"input_ids": np.zeros((2, 17), int)}, "max_position_embeddings = 16, got 17"),
        ("AlbertForMaskedLM", {"input_ids": IDS, "labels": IDS[:, :4]}, r"labels: .*got \[2, 4\]"),
        (
            "AlbertForMaskedLM",
            {"input_ids": IDS, "labels": IDS, "masked_positions": IDS[:, :2]},
            r"labels: expected shape \[B=2, P=2\]",
        ),
        ("AlbertForMultipleChoice", {"input_ids": IDS}, r"input_ids: expected shape \[B, C, S\], got \[2, 5\]"),
        (
            "AlbertForSequenceClassification",
            {"input_ids": IDS, "labels": np.zeros((2, 3))},
            r"labels: expected shape \[B=2, K=2\], got \[2, 3\]",
        ),
        (
            "AlbertForQuestionAnswering",
            {"input_ids": IDS, "start_positions": np.zeros(3, int)},
            r"start_positions: .*got \[3\]",
        ),
    ],
)
def test_a_bad_input_is_named(head: str, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _bind(head, **kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((IDS,) * 12, {}, "at most 10 inputs"),
        ((IDS,), {"input_ids": IDS}, "given twice"),
        ((IDS,), {"labels": IDS}, "unexpected input 'labels'"),
    ],
)
def test_a_bad_call_is_a_type_error(args: tuple, kwargs: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        HEADS["AlbertModel"].signature.named(args, kwargs)


def test_positional_keyword_dict_and_list_bind_alike() -> None:
    batch = dummy_batch(CONFIG, 2, 5)
    expected = _bind("AlbertModel", **batch)
    for call in (tuple(batch.values()), (batch,), (list(batch.values()),)):
        assert _bind("AlbertModel", *call).arrays().keys() == expected.arrays().keys()


def test_flags_come_from_the_config_and_the_call_wins() -> None:
    config = CONFIG.replace(output_attentions=True, return_dict=False)
    bound = HEADS["AlbertModel"].signature.bind(config, (IDS,), {"return_dict": True})
    assert (bound.output_attentions, bound.output_hidden_states, bound.return_dict) == (True, False, True)


def test_a_mask_without_a_choice_axis_fits_multiple_choice() -> None:
    ids = np.zeros((2, 4, 5), dtype=np.int32)
    assert _bind(
        "AlbertForMultipleChoice", input_ids=ids, attention_mask=np.ones((2, 5), int)
    ).attention_mask.shape == (2, 5)


@pytest.mark.parametrize(
    ("head", "given", "message"),
    [
        ("AlbertModel", {"input_ids": [[0, -1]]}, r"input_ids: expected ids from 0 to 36 \(vocab_size = 37\), got -1"),
        ("AlbertModel", {"input_ids": [[0, 37]]}, "input_ids: .*got 37"),
        ("AlbertModel", {"input_ids": [[0, 1]], "token_type_ids": [[0, 2]]}, "token_type_ids: .*type_vocab_size = 2"),
        ("AlbertModel", {"input_ids": [[0, 1]], "position_ids": [[0, 16]]}, "max_position_embeddings = 16"),
        ("AlbertForMaskedLM", {"input_ids": [[0, 1]], "labels": [[-100, 37]]}, "labels: .*37.* or -100, got 37"),
        (
            "AlbertForPreTraining",
            {"input_ids": [[0, 1]], "sentence_order_label": [2]},
            r"sentence_order_label: expected labels from 0 to 1 \(orders = 2\) or -100, got 2",
        ),
        ("AlbertForTokenClassification", {"input_ids": [[0, 1]], "labels": [[0, 2]]}, "labels: .*num_labels = 2"),
        ("AlbertForSequenceClassification", {"input_ids": [[0, 1]], "labels": [-1]}, "labels: .*got -1"),
        (
            "AlbertForMultipleChoice",
            {"input_ids": [[[0], [1], [2]]], "labels": [3]},
            r"labels: .*\(choices = 3\).*got 3",
        ),
    ],
)
def test_an_index_outside_its_table_is_named(head: str, given: dict, message: str) -> None:
    arrays = {name: np.array(value) for name, value in given.items()}
    with pytest.raises(ValueError, match=message):
        HEADS[head].signature.check_ids(CONFIG, _bind(head, **arrays), np.asarray)


def test_ignored_labels_values_and_unknown_values_are_let_through() -> None:
    ids = np.array([[0, 1]])
    check = HEADS["AlbertForTokenClassification"].signature.check_ids
    check(CONFIG, _bind("AlbertForTokenClassification", input_ids=ids, labels=np.array([[-100, 1]])), np.asarray)
    check(CONFIG, _bind("AlbertForTokenClassification", input_ids=ids + 99), lambda array: None)
    regression = CONFIG.replace(num_labels=1)
    sequence = HEADS["AlbertForSequenceClassification"].signature
    sequence.check_ids(regression, sequence.bind(regression, (ids,), {"labels": np.array([7])}), np.asarray)


@pytest.mark.parametrize(
    ("config", "labels", "kind"),
    [
        ({}, np.zeros(2, np.int64), "single_label_classification"),
        ({}, np.zeros((2, 2), np.float32), "multi_label_classification"),
        ({"num_labels": 1}, np.zeros(2, np.int64), "regression of one value"),
        ({"problem_type": "regression"}, np.zeros((2, 2), np.int64), "regression"),
        ({"problem_type": "regression", "num_labels": 1}, np.zeros((2, 1)), "regression of one value"),
        ({"problem_type": "multi_label_classification"}, np.zeros((2, 2), np.int64), "multi_label_classification"),
    ],
)
def test_the_problem_type_is_inferred_and_never_written(config: dict, labels: np.ndarray, kind: str) -> None:
    made = CONFIG.replace(**config)
    before = made.to_dict()
    bound = HEADS["AlbertForSequenceClassification"].signature.bind(made, (IDS,), {"labels": labels})
    assert problem_type(made, bound.labels) == kind
    assert made.to_dict() == before


@pytest.mark.parametrize(
    ("config", "labels", "wanted"),
    [
        ({}, np.zeros((2, 2), np.int64), r"\[B=2\] or \[B=2, 1\]"),
        ({}, np.zeros(2), r"\[B=2, K=2\]"),
        ({"problem_type": "regression"}, np.zeros(2), r"\[B=2, K=2\]"),
        ({"num_labels": 1}, np.zeros((2, 2)), r"\[B=2\] or \[B=2, 1\]"),
    ],
)
def test_the_shape_of_labels_follows_the_problem_type(config: dict, labels: np.ndarray, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"labels: expected shape {wanted}, got"):
        HEADS["AlbertForSequenceClassification"].signature.bind(CONFIG.replace(**config), (IDS,), {"labels": labels})


@pytest.mark.parametrize("head", HEADS)
def test_order_is_that_of_the_table_and_everything_is_documented(head: str) -> None:
    names, order = HEADS[head].signature.names, [i.name for i in INPUTS]
    assert list(names) == sorted(names, key=order.index)
    documentation = forward_doc(HEADS[head])
    for name in (*names, *(f.name for f in dataclasses.fields(HEADS[head].output_class))):
        assert f"\n    {name}: " in documentation
