"""Calls of a tokenizer whose answers are stored in golden/tokenizer.json: a text, its pair, and options."""

from __future__ import annotations

from typing import Any

from tokenizer_texts import sentences

LONG = " ".join(sentences(3, seed=5))
QUESTION = "Who said it in 1990, and why?"
# one text, or a text and its pair; what transformers' slow class answers
CALLS: list[tuple[Any, Any, dict[str, Any]]] = [
    (QUESTION, None, {}),
    (QUESTION, LONG, {}),
    (LONG, None, {"truncation": True, "max_length": 20}),
    (LONG, None, {"max_length": 20}),
    (LONG, None, {"truncation": "only_first", "max_length": 33, "padding": "max_length"}),
    (QUESTION, LONG, {"truncation": True, "max_length": 40}),
    (LONG, LONG[7:], {"truncation": "longest_first", "max_length": 41}),
    (LONG, LONG[7:], {"truncation": "longest_first", "max_length": 42}),
    (QUESTION, LONG, {"truncation": "only_second", "max_length": 40}),
    (LONG, QUESTION, {"truncation": "only_first", "max_length": 40}),
    (LONG, QUESTION, {"truncation": "do_not_truncate", "max_length": 40}),
    (QUESTION, None, {"padding": "max_length", "max_length": 24, "return_special_tokens_mask": True}),
    (QUESTION, LONG, {"add_special_tokens": False}),
    ([QUESTION, LONG, "a", ""], None, {"padding": True, "pad_to_multiple_of": 8, "truncation": True, "max_length": 32}),
    ([QUESTION, "a"], ["b c", LONG], {"padding": True, "truncation": True, "max_length": 30}),
    (QUESTION.split(), None, {"is_split_into_words": True}),
    ([QUESTION.split(), ["(a)", "1990,"]], None, {"is_split_into_words": True, "padding": True}),
    (LONG, None, {"truncation": True, "max_length": 20, "truncation_side": "left"}),
]
# windows, which only the fast class knows, of words on which it agrees with the slow one
WORDS = "the people of the united states said in the first year that all of them were to have a part in the new world"
OTHER = "some of these were said to be old and some were new but most of them came from the same part of the world"
WINDOWS: list[tuple[Any, Any, dict[str, Any]]] = [
    ([WORDS, OTHER, "the end"], None, {"truncation": True, "max_length": 12, "stride": 4}),
    ([OTHER], [WORDS], {"truncation": "only_second", "max_length": 40, "stride": 5}),
    ([WORDS, "the end"], [OTHER, "of it"], {"truncation": "only_first", "max_length": 30, "padding": "max_length"}),
    ([WORDS], [OTHER], {"truncation": "longest_first", "max_length": 23, "stride": 3}),
    ([WORDS, OTHER], None, {"truncation": True, "max_length": 12, "stride": 4, "truncation_side": "left"}),
    (WORDS, None, {"truncation": True, "max_length": 100}),
]
