"""Length buckets and packing: less padding, the same text, and sequences in one row that do not see each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from letters import FIRST, PAD, SEP, Letters, numbered

from albert_core import reference
from albert_core.config import POSITION_EMBEDDING_TYPES, AlbertConfig
from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.numerics import IGNORED_LABEL
from albert_core.packing import real_tokens
from albert_core.parity_suite import GROUPS, TINY, drawn_state
from albert_core.pretraining_data import PretrainingData
from albert_core.pretraining_plan import _best_fit
from albert_core.recipes import PretrainingRecipe

SEGMENTS = [[7, 3, 9, 4, 12, 1, 5, 8] * 4, [6, 2], [40], [3], [11, 5, 5, 90] * 5, [2, 2], [9]]
RECIPE = PretrainingRecipe(batch_size=1, sequence_length=24, max_predictions=None, seed=7)
HEAD = "AlbertForPreTraining"


def data_of(**changes: Any) -> PretrainingData:
    return PretrainingData(*numbered(SEGMENTS, 2), RECIPE.replace(**changes))


def epoch_of(data: PretrainingData, epoch: int = 0) -> list[dict[str, np.ndarray]]:
    return [data.batch(epoch, index) for index in range(data.batches(epoch))]


def whole_ids(batch: dict[str, np.ndarray]) -> np.ndarray:
    """The ids with the predicted pieces put back."""
    ids, (row, slot) = batch["input_ids"].copy(), np.nonzero(batch["labels"] != IGNORED_LABEL)
    ids[row, batch["masked_positions"][row, slot]] = batch["labels"][row, slot]
    return ids


def text_of(batches: list[dict[str, np.ndarray]]) -> list[int]:
    """Every token of text, ascending."""
    ids = np.concatenate([whole_ids(batch).ravel() for batch in batches])
    return sorted(ids[ids >= FIRST].tolist())


def spans(batch: dict[str, np.ndarray]) -> Iterator[tuple[int, slice]]:
    """The row and the places of each packed sequence."""
    diagonal = np.diagonal(batch["attention_mask"], axis1=1, axis2=2)
    for row, positions in enumerate(batch["position_ids"]):
        length = int(diagonal[row].sum())
        starts = [*np.flatnonzero(positions[:length] == 0).tolist(), length]
        yield from ((row, slice(*pair)) for pair in pairwise(starts))


@pytest.mark.parametrize("packing", [2, 3, 8])
def test_packing_shows_every_token_once_an_epoch(packing: int) -> None:
    data, total = data_of(packing=packing), sum(map(sum, SEGMENTS))
    for epoch in range(3):
        assert text_of(epoch_of(data, epoch)) == list(range(FIRST, FIRST + total))
    batches = epoch_of(data_of(packing=packing, batch_size=4))
    shown = text_of(batches)
    assert len(set(shown)) == len(shown) > total - 4 * RECIPE.sequence_length


def test_a_packed_row_holds_whole_sequences_with_positions_of_their_own() -> None:
    counts = set()
    for batch in epoch_of(data_of(packing=3, batch_size=2)):
        assert batch["input_ids"].shape == (2, 24)
        assert batch["attention_mask"].shape == (2, 24, 24)
        expected = np.zeros_like(batch["attention_mask"])
        ids, seen = whole_ids(batch), [0, 0]
        for row, places in spans(batch):
            length = places.stop - places.start
            expected[row, places, places] = True
            np.testing.assert_array_equal(batch["position_ids"][row, places], np.arange(length))
            first, *second = np.flatnonzero(ids[row, places] == SEP)
            assert ids[row, places][-1] == SEP
            np.testing.assert_array_equal(batch["token_type_ids"][row, places], np.arange(length) > first)
            if seen[row] == 0:
                a, b = ids[row, places][1], ids[row, places][first + 1 :][:1]
                assert batch["sentence_order_label"][row] == ((a > b[0]) if second else IGNORED_LABEL)
            seen[row] += 1
        counts.update(seen)
        np.testing.assert_array_equal(batch["attention_mask"], expected)
        empty = ~expected.any(2)
        assert (batch["input_ids"][empty] == PAD).all()
        for name in ("position_ids", "token_type_ids"):
            assert not batch[name][empty].any()
    assert counts == {1, 2, 3}


@pytest.mark.parametrize("cap", [None, 2])
def test_a_packed_sequence_is_masked_as_one_alone(cap: int | None) -> None:
    recipe = RECIPE.replace(packing=4, batch_size=2, max_predictions=cap)
    for batch in epoch_of(PretrainingData(*numbered(SEGMENTS, 1), recipe)):
        assert batch["labels"].shape == (2, recipe.row_predictions(24))
        used = batch["labels"] != IGNORED_LABEL
        assert (np.diff(used.astype(int), axis=1) <= 0).all()  # unused places come last
        assert not batch["masked_positions"][~used].any()
        for row, places in spans(batch):
            at = batch["masked_positions"][row][used[row]]
            inside = (at >= places.start) & (at < places.stop)
            assert inside.sum() == recipe.predictions(places.stop - places.start)


@pytest.mark.parametrize("positions", POSITION_EMBEDDING_TYPES)
@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_a_packed_forward_is_that_of_each_sequence_alone(groups: dict[str, int], positions: str) -> None:
    """In float64, through the reference: hidden states, predictions and, of a row's first sequence, the order."""
    rng = np.random.default_rng(0)
    texts = [["".join(rng.choice(list("abcde"), 3)) + "." for _ in range(n)] for n in (1, 2, 2, 3, 1, 4, 9, 1)]
    corpus = TokenizedCorpus.of([[" ".join(text).title()] for text in texts], Letters())
    recipe = RECIPE.replace(packing=4, batch_size=3, sequence_length=20)
    batch = PretrainingData(corpus, Vocabulary.of(Letters()), recipe).batch(0, 0)
    sizes = {**TINY, **groups, "max_position_embeddings": 20}
    config = AlbertConfig(**sizes, position_embedding_type=positions)
    state = drawn_state(config, HEAD)
    inputs = {name: a for name, a in batch.items() if name not in ("labels", "sentence_order_label")}
    packed = reference.forward(config, state, inputs, HEAD)
    for attention in packed["attentions"]:
        real = batch["attention_mask"].any(2)
        across = np.broadcast_to((~batch["attention_mask"] & real[:, :, None])[:, None], attention.shape)
        assert not attention[across].any()
    done = 0
    for row, places in spans(batch):
        alone = {name: batch[name][row : row + 1, places] for name in ("input_ids", "token_type_ids")}
        at = batch["masked_positions"][row][batch["labels"][row] != IGNORED_LABEL]
        slots = np.flatnonzero((at >= places.start) & (at < places.stop))
        alone["masked_positions"] = at[None, slots] - places.start
        single = reference.forward(config, state, alone, HEAD)
        for together, apart in zip(packed["hidden_states"], single["hidden_states"], strict=True):
            np.testing.assert_allclose(together[row, places], apart[0], rtol=0, atol=1e-12)
        logits = packed["prediction_logits"][row, slots]
        np.testing.assert_allclose(logits, single["prediction_logits"][0], rtol=0, atol=1e-12)
        if places.start == 0:
            np.testing.assert_allclose(packed["sop_logits"][row], single["sop_logits"][0], rtol=0, atol=1e-12)
        done += 1
    assert done >= 5 > len(batch["input_ids"])


@given(st.lists(st.integers(3, 24), max_size=60), st.integers(2, 6))
def test_best_fit(lengths: list[int], most: int) -> None:
    rows = _best_fit(np.array(lengths, np.int64), 24, most)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 24 for row in rows)
    assert all(1 <= len(row) <= most for row in rows)
    room = [24 - sum(lengths[i] for i in row) for row in rows if len(row) < most]
    single = [lengths[row[0]] for row in rows if len(row) == 1]
    assert not any(length <= left for length in single for left in room if left != 24 - length), "two rows fit in one"


def test_packing_leaves_next_to_no_padding() -> None:
    lengths = np.random.default_rng(0).lognormal(3, 0.6, 400).clip(2, 90).astype(int)
    corpus, vocabulary = numbered([[int(n)] for n in lengths])
    shares = []
    for packing in (1, 8):
        recipe = RECIPE.replace(sequence_length=96, packing=packing)
        batches = epoch_of(PretrainingData(corpus, vocabulary, recipe))
        shares.append(sum(map(real_tokens, batches)) / (96 * len(batches)))
    assert shares[0] < 0.3
    assert shares[1] > 0.9


def test_buckets_hold_the_same_text_in_shorter_batches() -> None:
    plain, buckets = (data_of(batch_size=3, length_buckets=n, short_sequence_probability=0.5) for n in (1, 4))
    assert buckets.recipe.padded_lengths == [6, 12, 18, 24]
    for epoch in range(3):
        one, other = plain._plan(epoch), buckets._plan(epoch)
        kept = one.chunks[: 3 * len(one.shapes)]
        np.testing.assert_array_equal(np.unique(kept, axis=0), np.unique(other.chunks, axis=0))
        batches = epoch_of(buckets, epoch)
        assert len(batches) == plain.batches(epoch)
        shapes = [batch["input_ids"].shape[1] for batch in batches]
        assert shapes != sorted(shapes)
        assert set(shapes) <= {6, 12, 18, 24}
        assert len(set(shapes)) > 2
        for batch, shape in zip(batches, shapes, strict=True):
            assert batch["attention_mask"].sum(1).max() > shape - 6  # no shorter one would do
            assert batch["labels"].shape == (3, buckets.recipe.predictions(shape))
            assert (batch["input_ids"] == SEP).any(1).all()
    padding = [sum(x["input_ids"].size - real_tokens(x) for x in epoch_of(data)) for data in (plain, buckets)]
    assert padding[1] < padding[0] / 2


@pytest.mark.parametrize("changes", [{"packing": 3}, {"length_buckets": 3}], ids=["packed", "buckets"])
def test_such_batches_are_functions_of_seed_epoch_and_index_too(changes: dict[str, int]) -> None:
    there, back = data_of(batch_size=2, **changes), data_of(batch_size=2, **changes)
    keys = [(0, 0), (2, 1), (0, 1)]
    batches = {key: there.batch(*key) for key in keys}
    for key in reversed(keys):
        for name, array in back.batch(*key).items():
            np.testing.assert_array_equal(array, batches[key][name])
    assert not np.array_equal(batches[0, 1]["input_ids"], batches[2, 1]["input_ids"])


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"packing": 0}, "packing: expected at least 1; 1 with original, got 0"),
        ({"packing": 2, "original": True}, "packing: .*, got 2"),
        ({"length_buckets": 5}, "length_buckets: expected from 1 to 4: a fifth of sequence_length, .*, got 5"),
        ({"length_buckets": 2, "packing": 2}, "length_buckets: expected from 1 to 1: .*, got 2"),
        ({"length_buckets": 2, "original": True}, "length_buckets: .*, got 2"),
    ],
)
def test_a_recipe_that_cannot_be_is_named(changes: dict[str, Any], pattern: str) -> None:
    with pytest.raises(ValueError, match=pattern):
        RECIPE.replace(**changes)


def test_too_little_text_for_a_batch_of_rows_is_named() -> None:
    with pytest.raises(ValueError, match=r"batch_size: expected at most the \d+ rows of this text, got 4000"):
        data_of(packing=2, batch_size=4000)
