"""Tokens that a user adds, special tokens under other names, and the way back to text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from tokenizer_cases import BUNDLED, CLASSES

from albert_core.errors import TokenizerError
from albert_core.tokenizer import AddedToken, AlbertTokenizerFast, AutoTokenizer, WordPieceTokenizer

pytest_plugins = ["tokenizer_fixtures"]


@pytest.fixture(params=["sentencepiece", "tokenizers", "tokenizer.json", "wordpiece"])
def any_tokenizer(request: pytest.FixtureRequest, folder: Path, wordpiece_folder: Path) -> Any:
    if request.param == "wordpiece":
        return WordPieceTokenizer(wordpiece_folder / "vocab.txt")
    if request.param == "tokenizer.json":
        return AlbertTokenizerFast(tokenizer_file=folder / "tokenizer.json")
    return CLASSES[request.param == "tokenizers"](folder / "spiece.model")


def test_added_tokens_get_the_next_ids_and_are_found_in_text(any_tokenizer: Any) -> None:
    size = any_tokenizer.vocab_size
    assert any_tokenizer.add_tokens(["[NEW]", "zyx"]) == 2
    assert any_tokenizer.add_tokens("zyx") == 0
    assert any_tokenizer.add_special_tokens({"additional_special_tokens": ["<q>"]}) == 1
    assert (len(any_tokenizer), any_tokenizer.vocab_size) == (size + 3, size)
    ids = any_tokenizer.encode("in [NEW]it<q> said ZYX.", add_special_tokens=False)
    assert [number for number in ids if number >= size] == [size, size + 2, size + 1]
    assert any_tokenizer.get_added_vocab().items() >= {"[NEW]": size, "zyx": size + 1, "<q>": size + 2}.items()
    assert any_tokenizer.additional_special_tokens == ["<q>"]
    assert any_tokenizer.added_tokens_encoder["<q>"] == size + 2
    assert any_tokenizer.added_tokens_decoder[size].content == "[NEW]"
    assert any_tokenizer.additional_special_tokens_ids == [size + 2]
    assert size + 2 in any_tokenizer.all_special_ids
    assert "<q>" not in any_tokenizer.decode(ids, skip_special_tokens=True)
    assert "[NEW]" in any_tokenizer.decode(ids, skip_special_tokens=True)
    tokens = any_tokenizer.tokenize("in [NEW]it<q>")
    assert {"[NEW]", "<q>"} <= set(tokens)


def test_added_tokens_come_back_from_files(any_tokenizer: Any, tmp_path: Path) -> None:
    any_tokenizer.add_tokens([AddedToken("[NEW]", lstrip=True, special=False), "zyx"])
    any_tokenizer.add_special_tokens({"additional_special_tokens": ["<q>"]})
    text = "in  [NEW] it zyx <q>, said"
    any_tokenizer.save_pretrained(tmp_path)
    again = type(any_tokenizer).from_pretrained(tmp_path)
    auto = AutoTokenizer.from_pretrained(tmp_path)
    for loaded in (again, auto):
        assert loaded.encode(text) == any_tokenizer.encode(text)
        assert loaded.get_added_vocab() == any_tokenizer.get_added_vocab()
        assert len(loaded) == len(any_tokenizer)
        assert loaded.additional_special_tokens == ["<q>"]


def test_new_names_of_special_tokens_come_back_from_files(any_tokenizer: Any, tmp_path: Path) -> None:
    any_tokenizer.add_special_tokens({"mask_token": "<m>", "cls_token": "<c>", "sep_token": "."})
    expected = any_tokenizer("in <m>", "it")
    assert expected.input_ids[0] == any_tokenizer.cls_token_id == any_tokenizer.vocab_size + 1
    any_tokenizer.save_pretrained(tmp_path)
    loaded = type(any_tokenizer).from_pretrained(tmp_path)
    assert loaded("in <m>", "it") == expected
    assert (loaded.mask_token, loaded.sep_token) == ("<m>", ".")


def test_added_tokens_are_those_of_transformers_5(tmp_path: Path, folder: Path) -> None:
    import transformers

    ours = AlbertTokenizerFast(folder / "spiece.model")
    ours.add_tokens(["[NEW]"])
    ours.add_special_tokens({"additional_special_tokens": ["<q>"]})
    ours.save_pretrained(tmp_path)
    theirs = transformers.AlbertTokenizer.from_pretrained(tmp_path)
    assert theirs("said [NEW] it <q>")["input_ids"] == ours("said [NEW] it <q>")["input_ids"]


@pytest.mark.parametrize("kind", ["tokenizer.json", "in place", "spiece.model", "wordpiece"])
def test_tokens_that_transformers_5_added_keep_their_ids(
    kind: str, tmp_path: Path, folder: Path, wordpiece_folder: Path
) -> None:
    """It writes all into tokenizer.json and calls the special ones extra_special_tokens."""
    import transformers

    start = (WordPieceTokenizer if kind == "wordpiece" else AlbertTokenizerFast).from_pretrained(
        wordpiece_folder if kind == "wordpiece" else folder
    )
    start.save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    theirs.add_tokens(["[NEW]", "zyx"])
    theirs.add_special_tokens({"extra_special_tokens": ["<q>"]})
    target = tmp_path if kind in ("in place", "spiece.model") else tmp_path / "new"
    theirs.save_pretrained(target)
    ours = AutoTokenizer.from_pretrained(target, use_fast=kind != "spiece.model")
    ours.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    back = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    added = {token: start.vocab_size + i for i, token in enumerate(("[NEW]", "zyx", "<q>"))}
    for each in (ours, again, back):
        assert {token: each.get_vocab()[token] for token in added} == added
        assert len(each) == len(theirs)
        assert set(each.all_special_tokens) == set(theirs.all_special_tokens)
    assert ours.get_added_vocab().items() >= added.items()
    text = "in [NEW] it zyx <q>"
    assert ours.encode(text) == again.encode(text) == theirs.encode(text)
    assert "<q>" not in ours.decode(ours.encode(text), skip_special_tokens=True)
    assert "extra_special_tokens" not in (tmp_path / "again/tokenizer_config.json").read_text()


def test_the_name_that_transformers_5_has_for_additional_tokens(tokenizer: Any, folder: Path) -> None:
    assert tokenizer.add_special_tokens({"extra_special_tokens": ["<q>"]}) == 1
    assert tokenizer.additional_special_tokens == ["<q>"]
    cls = type(tokenizer)
    assert cls(folder / "spiece.model", extra_special_tokens=["<q>"]).additional_special_tokens == ["<q>"]
    with pytest.raises(TokenizerError, match="extra_special_tokens: expected a list of tokens, got 5"):
        cls(folder / "spiece.model", extra_special_tokens=5)


@pytest.mark.parametrize(
    ("token", "text", "found"),
    [
        (AddedToken("foo", single_word=True), "foo food (foo)", 2),
        (AddedToken("foo"), "foo food xfoo", 3),
        (AddedToken("Foo", normalized=True), "foo FOO Foo", 3),
        (AddedToken("Foo"), "foo FOO Foo", 1),
    ],
)
def test_how_added_tokens_bind(tokenizer: Any, token: AddedToken, text: str, found: int) -> None:
    tokenizer.add_tokens([token])
    assert tokenizer.encode(text).count(len(tokenizer) - 1) == found


def test_white_space_that_an_added_token_swallows(tokenizer: Any) -> None:
    tokenizer.add_tokens([AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True)])
    encoding = tokenizer("in  <l> it <r>  in", return_offsets_mapping=True)
    assert encoding.tokens() == ["[CLS]", "▁in", "<l>", "▁it", "<r>", "▁in", "[SEP]"]
    assert encoding.offset_mapping == [(0, 0), (0, 2), (4, 7), (8, 10), (11, 14), (16, 18), (0, 0)]


def test_special_tokens_can_be_set(tokenizer: Any) -> None:
    tokenizer.mask_token = "("
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("(", 5)
    with pytest.raises(TokenizerError, match="mask_token: expected a token of the vocabulary, got '<m>'"):
        tokenizer.mask_token = "<m>"
    assert tokenizer.add_special_tokens({"mask_token": "<m>"}) == 1
    assert tokenizer.encode("in <m>")[-2] == tokenizer.mask_token_id == tokenizer.vocab_size
    with pytest.raises(ValueError, match=r"expected keys of .* got 'masc_token'"):
        tokenizer.add_special_tokens({"masc_token": "<m>"})
    with pytest.raises(TokenizerError, match="new_tokens: expected a non-empty string, got 5"):
        tokenizer.add_tokens([5])


def test_added_ids_of_a_file_that_do_not_follow(folder: Path, cls: Any) -> None:
    hole = {"400": {"content": "[NEW]", "special": False}}
    with pytest.raises(TokenizerError, match=r"added_tokens_decoder: expected the id 330 for '\[NEW\]', got 400"):
        cls(folder / "spiece.model", added_tokens_decoder=hole)
    with pytest.raises(TokenizerError, match="added_tokens_decoder: expected tokens by id"):
        cls(folder / "spiece.model", added_tokens_decoder={"x": 1})


# -- back to text ----------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(words=st.lists(st.text("aeioubdklmnprst0123456789().,", min_size=1, max_size=6), max_size=8))
def test_decode_is_the_inverse_of_encode_on_known_characters(words: list[str]) -> None:
    for cls in CLASSES:
        tokenizer = _LOADED.setdefault(cls, cls(BUNDLED)) if cls not in _LOADED else _LOADED[cls]
        assert tokenizer.decode(tokenizer.encode(" ".join(words)), skip_special_tokens=True) == " ".join(words)


_LOADED: dict[Any, Any] = {}


def test_decode_with_special_tokens_and_clean_up(tokenizer: Any) -> None:
    ids = tokenizer.encode("in [MASK] , it")
    assert tokenizer.decode(ids) == "[CLS] in[MASK] , it[SEP]"  # as transformers 4.57's class writes it
    assert tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=True) == "in, it"
    assert tokenizer.decode(np.array(ids)) == tokenizer.decode(ids)
    assert tokenizer.decode(4) == "[MASK]"
    tokenizer.add_tokens(["[NEW]"])
    assert tokenizer.decode(tokenizer.encode("in [NEW]it"), skip_special_tokens=True) == "in [NEW] it"


def test_tokens_and_ids(tokenizer: Any) -> None:
    assert len(tokenizer) == tokenizer.vocab_size == len(tokenizer.get_vocab()) == len(tokenizer.vocab) == 330
    assert tokenizer.convert_ids_to_tokens([0, 5, 12], skip_special_tokens=True) == ["(", "€"]
    assert tokenizer.convert_tokens_to_ids(["(", "no such piece"]) == [5, tokenizer.unk_token_id]
    assert tokenizer.convert_tokens_to_string(["▁in", "it"]) == "init"
    assert tokenizer.special_tokens_map["mask_token"] == "[MASK]"
    assert tokenizer.batch_decode([[5, 6], [9]]) == ["()", "."]
    with pytest.raises(ValueError, match="got 330 at position 1"):
        tokenizer.decode([4, 330])
