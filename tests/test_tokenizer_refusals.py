"""What a call refuses, and text that others stumble over."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from albert_core.errors import BackendMissing, TokenizerError

pytest_plugins = ["tokenizer_fixtures"]


# -- bad calls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments", "error", "pattern"),
    [
        (5, {}, TypeError, "text: expected str at position 0, got int"),
        (None, {}, TypeError, "text: expected str at position 0, got NoneType"),
        (["a", b"b"], {}, TypeError, "text: expected str at position 1, got bytes"),
        ("a", {"text_pair": 3}, TypeError, "text_pair: expected str at position 0, got int"),
        (["a", "b"], {"text_pair": ["c"]}, ValueError, "text_pair: expected 2 texts.* got 1"),
        (
            [["a"], "b"],
            {"is_split_into_words": True},
            TypeError,
            "text: expected a list of words at position 1, got str",
        ),
        ("a", {"padding": "left"}, ValueError, "padding: expected .* got 'left'"),
        ("a", {"padding_side": "left"}, ValueError, "padding_side: expected 'right', got 'left'; .*positions"),
        ("a", {"padding": "max_length"}, ValueError, "max_length: padding='max_length' needs one"),
        ("a", {"truncation": "shortest"}, ValueError, "truncation: expected .* got 'shortest'"),
        ("a", {"max_length": 1}, ValueError, "max_length: expected at least 2.* got 1"),
        ("a", {"max_length": "7"}, ValueError, "max_length: expected a whole number, at least 0, got '7'"),
        ("a", {"truncation": "only_second", "max_length": 2}, TokenizerError, "only_second.* from a text of 0"),
        (
            "a",
            {"truncation": True, "padding": True, "max_length": 9, "pad_to_multiple_of": 4},
            ValueError,
            "multiple of pad_to_multiple_of, 4.* got 9",
        ),
        (
            "a b c d e f g",
            {"truncation": True, "max_length": 5, "stride": 3, "return_overflowing_tokens": True},
            ValueError,
            "stride: expected less than 3.* got 3",
        ),
        ("a", {"stride": -1}, ValueError, "stride: expected .* got -1"),
        ("a", {"stride": True}, ValueError, "stride: expected a whole number, at least 0, got True"),
        ("a", {"pad_to_multiple_of": 0}, ValueError, "pad_to_multiple_of: expected .* got 0"),
        ("a", {"return_tensors": "mx"}, ValueError, "return_tensors: expected .* got 'mx'"),
        (["a", "a b c"], {"return_tensors": "np"}, ValueError, "input_ids differ in length; ask for padding=True"),
        ("a", {"max_len": 5}, TypeError, "max_len"),
    ],
)
def test_a_bad_call_names_the_argument(tokenizer: Any, text: Any, arguments: dict, error: type, pattern: str) -> None:
    with pytest.raises(error, match=pattern):
        tokenizer(text, **arguments)


def test_padding_on_the_left_cannot_be_set(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="padding_side: expected 'right', got 'left'"):
        tokenizer.padding_side = "left"
    with pytest.raises(TypeError, match="max_len"):
        tokenizer.prepare_for_model([5], max_len=4)


def test_a_missing_framework_says_what_to_install(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(BackendMissing, match=r"pip install .*\[flax\]"):
        tokenizer("a", return_tensors="jax")


# -- hostile text ----------------------------------------------------------------------------------------------------


def test_lone_surrogates_count_as_the_replacement_character(tokenizer: Any) -> None:
    assert tokenizer.encode("in \ud800 it\udfff") == tokenizer.encode("in \ufffd it\ufffd")
    assert tokenizer.tokenize("a\ud83d\ude00b") == tokenizer.tokenize("a\U0001f600b")


def test_nul_and_control_characters_are_no_end_of_text(tokenizer: Any) -> None:
    assert tokenizer.tokenize("in\x00 it") == ["▁in", "\x00", "▁it"]
    assert tokenizer.tokenize("\x01in \x1f it\x7f")[0] == "▁in"


@pytest.mark.parametrize(
    ("part", "pieces"), [("said it ", None), ("(", 1.0), ("\u0301\u0315", 0.0), ("[MASK] said it was ", None)]
)
def test_a_line_of_ten_megabytes(tokenizer: Any, part: str, pieces: float | None) -> None:
    """Takes a second or two; were the time quadratic, days."""
    count = 10_000_000 // len(part.encode())
    ids = tokenizer.encode(part * count, add_special_tokens=False)
    if pieces is None:
        assert ids == tokenizer.encode(part, add_special_tokens=False) * count
    else:
        assert len(ids) == int(pieces * count) + (pieces > 0)
