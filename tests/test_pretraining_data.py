"""Pretraining batches, looked at as a reader of the original's TFRecords would: layout, order, masks, chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from letters import CLS, FIRST, MASK, PAD, SEP, UNK, Letters, numbered

from albert_core.corpus import TokenizedCorpus, Vocabulary, split_sentences, starts_word
from albert_core.masking import choose
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe

IGNORED = -100


SEGMENTS = [[7, 3, 9, 4, 12, 1, 5, 8] * 4, [6, 2], [40], [11, 5, 5, 30] * 5]
RECIPE = PretrainingRecipe(batch_size=4, sequence_length=24, max_predictions=None, seed=7)


def data_of(recipe=RECIPE, words_of=1, segments=SEGMENTS):
    return PretrainingData(*numbered(segments, words_of), recipe)


def sequences(data, epochs=3):
    """Every sequence of some epochs, its predicted pieces put back: (ids, batch row)."""
    for epoch in range(epochs):
        for index in range(data.batches(epoch)):
            batch = data.batch(epoch, index)
            for row in range(len(batch["input_ids"])):
                one = {name: array[row] for name, array in batch.items()}
                ids, used = one["input_ids"].copy(), one["labels"] != IGNORED
                ids[one["masked_positions"][used]] = one["labels"][used]
                yield ids, one


def texts_of(ids):
    """The one or two texts of a sequence, and its length."""
    end = np.flatnonzero(ids == SEP)
    first = ids[1 : end[0]]
    return first, ids[end[0] + 1 : end[1]] if len(end) == 2 else ids[:0], int(end[-1]) + 1


@pytest.mark.parametrize(
    ("starts", "pieces"),
    [(True, ("▁the", "▁", "<unk>", ",", "€", "é", "19", "naïve", "'s")), (False, ("ing", "X", "-like"))],
)
def test_start_piece_rule(starts, pieces):
    assert {starts_word(piece) for piece in pieces} == {starts}


@pytest.mark.parametrize(
    ("paragraph", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("It is 3.5 m. 12 of them", ["It is 3.5 m.", "12 of them"]),
        ("e.g. this stays whole", ["e.g. this stays whole"]),
        ("   ", []),
        ("“A.” “B.”", ["“A.”", "“B.”"]),
    ],
)
def test_sentences(paragraph, sentences):
    assert split_sentences(paragraph) == sentences


def test_a_corpus_keeps_sentences_and_documents():
    corpus = TokenizedCorpus.of([["ab. C", "d"], ["", " "], ["e"]], Letters())
    pieces = Letters().convert_ids_to_tokens(corpus.tokens)
    assert pieces == ["▁a", "b", ".", "▁c", "▁d", "▁e"]
    assert corpus.segments.tolist() == [0, 3, 4, 5, 6]
    assert corpus.documents.tolist() == [0, 3, 4]


def test_a_corpus_is_read_from_files(tmp_path):
    (tmp_path / "a.txt").write_text("ab. C\nd\n\n\ne\n")
    read = TokenizedCorpus.read(tmp_path / "a.txt", Letters())
    assert read.documents.tolist() == [0, 3, 4]


def test_vocabulary_of_a_tokenizer():
    vocabulary = Vocabulary.of(Letters())
    assert vocabulary.ordinary.tolist() == list(range(5, 16))
    assert (vocabulary.pad, vocabulary.cls, vocabulary.sep, vocabulary.mask) == (PAD, CLS, SEP, MASK)
    assert [Letters.pieces[i] for i in np.flatnonzero(~vocabulary.starts_word)] == [
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcde",
    ]


def test_a_batch_is_a_pure_function_of_seed_epoch_and_index():
    there, back = data_of(), data_of()
    wanted = [(0, 0), (2, 1), (0, 1)]
    batches = {key: there.batch(*key) for key in wanted}
    for key in reversed(wanted):
        again = back.batch(*key)
        assert again.keys() == batches[key].keys()
        assert all(np.array_equal(again[name], batches[key][name]) for name in again)
    other = data_of(RECIPE.replace(seed=8)).batch(0, 0)
    different = [batches[0, 1], batches[2, 1], other]
    assert all(not np.array_equal(batches[0, 0]["input_ids"], batch["input_ids"]) for batch in different)


def test_layout():
    for ids, one in sequences(data_of()):
        first, _, length = texts_of(ids)
        columns = np.arange(len(ids))
        assert ids[0] == CLS
        assert len(first) > 0
        np.testing.assert_array_equal(one["attention_mask"], columns < length)
        np.testing.assert_array_equal(one["token_type_ids"], (columns >= len(first) + 2) & (columns < length))
        assert (ids[length:] == PAD).all()
        assert {array.dtype.name for array in one.values()} == {"int64"}


def test_texts_are_runs_of_one_document_and_labels_say_their_order():
    seen = set()
    for ids, one in sequences(data_of()):
        first, second, _ = texts_of(ids)
        for text in (first, second):
            assert (np.diff(text) == 1).all()
        label = int(one["sentence_order_label"])
        seen.add(label)
        if label == IGNORED:
            assert not len(second)
        else:
            assert label == (first[0] > second[0])
    assert seen == {IGNORED, 0, 1}


def test_an_epoch_shows_every_segment():
    segments = [[3, 4] * 50]  # nothing has to be cut off but what overshoots
    shown = {
        int(token) for ids, _ in sequences(data_of(segments=segments), epochs=8) for token in ids if token >= FIRST
    }
    assert len(shown) > 0.95 * 350


def google_truncation(length_a, length_b, room):
    while length_a + length_b > room:
        if length_a > length_b:
            length_a -= 1
        else:
            length_b -= 1
    return length_a, length_b


@given(st.integers(1, 60), st.integers(0, 60), st.integers(5, 40))
def test_texts_are_cut_to_googles_lengths(length_a, length_b, sequence_length):
    data = data_of(RECIPE.replace(sequence_length=sequence_length, batch_size=1))
    pairs = data._pair(np.random.default_rng(0), np.array([[0, 0, 2, 0, 10]]))
    pairs = pairs._replace(length_a=np.array([length_a]), length_b=np.array([length_b]))
    cut = data._cut(np.random.default_rng(0), pairs)
    assert (cut.length_a[0], cut.length_b[0]) == google_truncation(length_a, length_b, sequence_length - 3)
    for before, after, was, now in (
        (pairs.start_a, cut.start_a, length_a, cut.length_a),
        (pairs.start_b, cut.start_b, length_b, cut.length_b),
    ):
        assert before[0] <= after[0] <= before[0] + was - now[0]


@pytest.mark.parametrize("words_of", [1, 2, 3])
def test_whole_words_are_predicted_up_to_the_budget(words_of):
    data = data_of(words_of=words_of)
    for ids, one in sequences(data):
        first, second, length = texts_of(ids)
        used = one["labels"] != IGNORED
        positions = one["masked_positions"][used]
        budget = RECIPE.predictions(length)
        assert 0 < len(positions) <= budget or words_of > budget
        if words_of == 1:
            assert len(positions) == budget
        assert (np.diff(positions) > 0).all()
        assert not one["masked_positions"][~used].any()
        chosen = set(ids[positions].tolist())
        for text in (first, second):
            for word in np.split(text, np.flatnonzero((text - FIRST) % words_of == 0)):
                assert len(chosen.intersection(word.tolist())) in (0, len(word))


@pytest.mark.parametrize(
    ("bounds", "order", "sizes", "budget", "chosen"),
    [
        ([0, 1, 2, 3], [1, 0, 2], [1, 1, 1], 2, [0, 1]),
        ([0, 1, 2, 3, 4], [1], [1, 3, 1, 1], 4, [1, 2, 3]),
        ([0, 1, 2, 3, 4], [1], [1, 3, 1, 1], 2, [1, 2]),  # three words are too many, two are not
        ([0, 3, 4], [0, 1], [1, 1], 2, [3]),  # a word longer than the budget is passed over
        ([0, 1, 2, 3], [2, 1], [1, 2, 1], 3, [2]),  # a run that would overlap is passed over
        ([0, 1, 2, 3], [2, 0], [3, 1, 1], 3, [0, 1, 2]),  # shorter than drawn, it does not
        ([0, 1, 2], [1, 0], [1, 3], 2, [0, 1]),  # a run past the end is shorter
    ],
)
def test_choice_of_runs(bounds, order, sizes, budget, chosen):
    assert choose(bounds, order, sizes, budget) == chosen


def test_runs_of_n_words_are_drawn_in_proportion_to_one_over_n():
    recipe = RECIPE.replace(sequence_length=100, batch_size=1, masking_probability=0.03, short_sequence_probability=0.0)
    data = data_of(recipe, segments=[[97] * 3000])
    lengths = np.zeros(4)
    for ids, one in sequences(data, epochs=1):
        positions = one["masked_positions"][one["labels"] != IGNORED]
        assert len(ids) == 100
        if len(positions) == 3:  # the first run decides how the budget of three is split: 3, or 2 + 1, or 1 + ...
            lengths[1 + int((np.diff(positions) == 1).sum())] += 1
    # One run of three: drawn at once (2/11), or by chance from neighbours (a few in a hundred).
    assert 2 / 11 < lengths[3] / lengths.sum() < 2 / 11 + 0.05


@pytest.mark.parametrize("original", [False, True])
def test_eight_in_ten_are_masked_one_kept_one_random(original):
    data = data_of(RECIPE.replace(original=original, sequence_length=64, batch_size=8), segments=[[5, 9] * 100] * 10)
    fate = {"masked": 0, "kept": 0, "random": 0}
    controls = 0
    for ids, one in sequences(data, epochs=4):
        used = one["labels"] != IGNORED
        positions = one["masked_positions"][used]
        shown, right = one["input_ids"][positions], one["labels"][used]
        fate["masked"] += int((shown == MASK).sum())
        fate["kept"] += int((shown == right).sum())
        fate["random"] += int(((shown != MASK) & (shown != right)).sum())
        controls += int((shown < FIRST).sum() - (shown == MASK).sum())
        untouched = np.setdiff1d(np.arange(len(ids)), positions)
        np.testing.assert_array_equal(ids[untouched], one["input_ids"][untouched])
    shares = np.array(list(fate.values())) / sum(fate.values())
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.02)
    assert controls == 0 or original


def test_original_may_draw_control_tokens():
    def controls(recipe):
        corpus = TokenizedCorpus.of([["abcde " * 30 + "e. " for _ in range(40)]], Letters())
        data = PretrainingData(corpus, Vocabulary.of(Letters()), recipe)
        shown = [one["input_ids"][one["masked_positions"][one["labels"] != IGNORED]] for _, one in sequences(data)]
        return int(np.isin(np.concatenate(shown), [PAD, UNK, CLS, SEP]).sum())

    assert controls(RECIPE.replace(original=True)) > 0
    assert controls(RECIPE) == 0


def test_original_pairs_a_single_segment_with_another_document():
    segments = [[30], [30], [30], [30]]
    for original in (True, False):
        for ids, one in sequences(data_of(RECIPE.replace(original=original), segments=segments)):
            first, second, _ = texts_of(ids)
            if original:
                assert one["sentence_order_label"] == 1
                assert (first[0] - FIRST) // 30 != (second[0] - FIRST) // 30
            else:
                assert one["sentence_order_label"] == IGNORED
                assert not len(second)


def test_a_text_cut_inside_a_word_is_a_word_of_its_own():
    """Words of 50 pieces span whole texts, so a place may only be chosen where a text has few enough pieces."""
    recipe = RECIPE.replace(masking_probability=0.5, sequence_length=40)
    lone = 0
    for ids, one in sequences(data_of(recipe, words_of=50, segments=[[3, 30] * 20])):
        _, second, _ = texts_of(ids)
        chosen = ids[one["masked_positions"][one["labels"] != IGNORED]]
        lone += len(second) > 0 and set(second.tolist()) == set(chosen.tolist())
    assert lone > 0


def test_a_text_too_short_for_one_batch_is_refused():
    with pytest.raises(ValueError, match=r"batch_size: expected at most the \d+ sequences of this text, got 4000"):
        data_of(RECIPE.replace(batch_size=4000))
    with pytest.raises(ValueError, match="at most the 0 sequences"):
        PretrainingData(TokenizedCorpus.of([], Letters()), Vocabulary.of(Letters()), RECIPE)


def test_a_batch_that_is_not_there_is_named():
    data = data_of()
    with pytest.raises(IndexError, match=rf"expected 0 to {data.batches(0) - 1} in epoch 0, got {data.batches(0)}"):
        data.batch(0, data.batches(0))
