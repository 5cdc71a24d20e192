"""Binding and checking of inputs: what is accepted, and what each refusal says."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TINY

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS, forward_doc
from albert_core.signature import INPUTS, check_ids, dummy_batch

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
            r"labels: .*\[B=2\] or \[B=2, K=2\]",
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
        ((IDS,) * 12, {}, "at most 9 inputs"),
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


@pytest.mark.parametrize(("low", "high", "shown"), [(-1, 3, "-1"), (0, 37, "37")])
def test_ids_outside_the_vocabulary(low: int, high: int, shown: str) -> None:
    with pytest.raises(ValueError, match=f"input_ids: expected ids from 0 to 36 .*got {shown}"):
        check_ids(CONFIG, "input_ids", low, high)


@pytest.mark.parametrize("head", HEADS)
def test_order_is_that_of_the_table_and_everything_is_documented(head: str) -> None:
    names, order = HEADS[head].signature.names, [i.name for i in INPUTS]
    assert list(names) == sorted(names, key=order.index)
    documentation = forward_doc(HEADS[head])
    for name in (*names, *HEADS[head].output_class.__dataclass_fields__):
        assert f"\n    {name}: " in documentation
