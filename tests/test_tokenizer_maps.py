"""Offsets, words and the maps between tokens, words and characters."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from tokenizer_cases import BUNDLED, CLASSES
from tokenizer_texts import FRAGMENTS, fuzz, sentences

from albert_core.tokenizer import AlbertTokenizerFast, PretrainedTokenizer, WordPieceTokenizer

pytest_plugins = ["tokenizer_fixtures"]
TEXT = "In  1990, café (said) [MASK] fish."


def test_offsets_cover_the_text_they_name(tokenizer: Any) -> None:
    encoding = tokenizer(TEXT, return_offsets_mapping=True)
    named = [TEXT[start:end] for start, end in encoding.offset_mapping]
    pieces = tokenizer.tokenize(TEXT)
    plain = [name.lower().replace("é", "e") for name in named]
    assert plain == ["", *(piece.replace("▁", "").replace("[MASK]", "[mask]") for piece in pieces), ""]
    assert encoding.offset_mapping[0] == encoding.offset_mapping[-1] == (0, 0)


def test_transformers_5_gives_the_same_offsets_where_it_gives_the_same_pieces(tmp_path: Path) -> None:
    """But for "▁" alone, which it lets cover the character after it."""
    import transformers

    ours = AlbertTokenizerFast(BUNDLED)
    ours.save_pretrained(tmp_path)
    theirs = transformers.AlbertTokenizer.from_pretrained(tmp_path)
    compared = 0
    for text in sentences(40, seed=7):
        one, two = (t(text, return_offsets_mapping=True) for t in (ours, theirs))
        if one.input_ids == two.input_ids:
            tokens = zip(one.tokens(), one.offset_mapping, two["offset_mapping"], strict=True)
            assert [(t, a) for t, a, b in tokens if a != tuple(b) and t != "▁"] == []
            compared += 1
    assert compared > 10


@settings(max_examples=300, deadline=None)
@given(text=st.lists(st.one_of(st.text(max_size=4), st.sampled_from(FRAGMENTS)), max_size=10).map("".join))
def test_offsets_of_any_text(text: str) -> None:
    _check_offsets(text)


def _check_offsets(text: str, loaded: list[Any] = []) -> None:  # noqa: B006 - one set of tokenizers for all texts
    if not loaded:
        loaded.extend(cls(BUNDLED) for cls in CLASSES)
    slow, fast = (tokenizer(text, return_offsets_mapping=True) for tokenizer in loaded)
    assert slow.offset_mapping == fast.offset_mapping
    assert slow.word_ids() == fast.word_ids()
    assert slow.input_ids == loaded[0].encode(text), "with offsets and without, the same ids"
    spans = slow.offset_mapping[1:-1]
    assert spans == sorted(spans)
    assert all(start <= end for start, end in spans)
    words = slow.word_ids()[1:-1]
    assert words == sorted(words)
    # what no token covers leaves nothing behind when it is tokenized by itself
    covered = {place for start, end in spans for place in range(start, end)}
    left = "".join(c for place, c in enumerate(text) if place not in covered)
    assert set(loaded[0].tokenize(left)) <= {"▁"}, left


def test_offsets_of_generated_texts() -> None:
    for text in [*fuzz(300, seed=5), *sentences(10, seed=5)]:
        _check_offsets(text)


def test_every_map_of_a_pair(tokenizer: Any) -> None:
    batch = tokenizer(["In 1990"], ["said (it)"], padding="max_length", max_length=40)
    length, first = len(tokenizer.encode("In 1990", "said (it)")), len(tokenizer.encode("In 1990"))
    sequences = batch.sequence_ids(0)
    assert sequences[:first] == [None, *[0] * (first - 2), None]
    assert sequences[first:] == [*[1] * (length - first - 1), None, *[None] * (40 - length)]
    assert len(batch.tokens(0)) == len(batch.word_ids(0)) == 40
    bracket = batch.tokens().index("(")
    assert batch.char_to_token(0, 5, sequence_index=1) == batch.char_to_token(5, sequence_index=1) == bracket
    assert batch.token_to_chars(0, bracket) == batch.token_to_chars(bracket) == (5, 6)
    assert batch.token_to_chars(bracket).start == 5
    assert batch.token_to_word(bracket) == batch.char_to_word(5, sequence_index=1) == 1
    assert batch.token_to_sequence(bracket) == batch.token_to_sequence(0, bracket) == 1
    assert batch.token_to_sequence(0) is batch.token_to_word(-1) is batch.token_to_chars(0, 0) is None
    assert batch.word_to_chars(0, 1, sequence_index=1) == (5, 9)
    word = batch.word_to_tokens(1, sequence_index=1)
    assert batch.tokens()[word.start : word.end] == tokenizer.tokenize("(it)")
    assert batch.char_to_token(4, sequence_index=1) is batch.char_to_word(99) is batch.word_to_tokens(7) is None
    with pytest.raises(IndexError):
        batch.token_to_chars(40)


def test_words_of_pre_split_text_keep_their_numbers(tokenizer: Any) -> None:
    words = ["in", "1990,", "(said)", "it", ""]
    encoding = tokenizer(words, is_split_into_words=True, return_offsets_mapping=True)
    for number, word in enumerate(words):
        mine = [n for n, w in enumerate(encoding.word_ids()) if w == number]
        assert [encoding.tokens()[n] for n in mine] == tokenizer.tokenize(word)
        assert "".join(word[slice(*encoding.offset_mapping[n])] for n in mine) == word


def test_maps_are_worked_out_only_when_asked_for(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    encode = tokenizer.engine.encode
    monkeypatch.setattr(
        tokenizer.engine, "encode", lambda texts, places=False: calls.append(places) or encode(texts, places)
    )
    batch = tokenizer(["in it", "said"])
    assert calls == [False]
    assert batch.word_ids(1) == batch.word_ids(-1)
    assert calls == [False, True, True] or calls == [False, True]


def test_what_travels_leaves_the_maps_behind(tokenizer: Any) -> None:
    batch = tokenizer(["in it", "said"])
    for other in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch)):
        assert other == batch
        with pytest.raises(ValueError, match=r"maps .* did not come along"):
            other.word_ids()
    assert len(pickle.dumps(batch)) < 1000
    with pytest.raises(AttributeError, match="has no 'logits', only input_ids, token_type_ids"):
        _ = batch.logits


def test_characters_that_become_one_or_several(tokenizer: Any) -> None:
    text = "a ﬁ ``b'' ½"
    encoding = tokenizer(text, return_offsets_mapping=True)
    by_piece = dict(zip(encoding.tokens(), (text[slice(*span)] for span in encoding.offset_mapping), strict=True))
    assert by_piece['"'] == "''"
    assert {text[slice(*span)] for span in encoding.offset_mapping} >= {"ﬁ", "``", "b", "''", "½"}


@pytest.mark.parametrize("kind", ["tokenizer.json", "wordpiece"])
def test_pipelines_of_the_tokenizers_library_have_the_same_maps(
    kind: str, folder: Path, wordpiece_folder: Path
) -> None:
    if kind == "wordpiece":
        tokenizer: PretrainedTokenizer = WordPieceTokenizer(wordpiece_folder / "vocab.txt")
    else:
        tokenizer = AlbertTokenizerFast(tokenizer_file=folder / "tokenizer.json")
    text = "in said  [MASK] it"
    encoding = tokenizer(text, return_offsets_mapping=True)
    spans = encoding.offset_mapping[1:-1]
    named = [
        "".join(text[start:end] for (start, end), w in zip(spans, encoding.word_ids()[1:-1], strict=True) if w == n)
        for n in range(4)
    ]
    assert named == ["in", "said", "[MASK]", "it"]
    assert encoding.char_to_token(3) == encoding.word_to_tokens(1).start
    assert encoding.sequence_ids()[:2] == [None, 0]
