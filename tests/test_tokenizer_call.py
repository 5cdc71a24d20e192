"""What a call gives: rows, truncation, windows, padding, arrays."""

from __future__ import annotations

import importlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from tokenizer_calls import CALLS, LONG, QUESTION, WINDOWS
from tokenizer_cases import BUNDLED, EACH_VOCABULARY, GOLDEN

from albert_core.errors import TokenizerError
from albert_core.tokenizer import AlbertTokenizer
from albert_core.tokenizer.assembly import windows
from albert_core.tokenizer.batch_encoding import BatchEncoding

pytest_plugins = ["tokenizer_fixtures"]


def answer(cls: Any, path: Path, text: Any, pair: Any, options: dict) -> dict[str, Any]:
    options = dict(options)
    return dict(cls(path, truncation_side=options.pop("truncation_side", "right"))(text, pair, **options))


# -- transformers 4.57.6 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "path"), EACH_VOCABULARY)
@pytest.mark.parametrize("number", range(len(CALLS)))
def test_calls_answer_as_transformers_slow_class(cls: Any, name: str, path: Path, number: int) -> None:
    expected = dict(GOLDEN["vocabularies"][name]["calls"][number])
    got = answer(cls, path, *CALLS[number])
    if CALLS[number][2] == {"add_special_tokens": False}:  # it says 0 for both texts
        first = len(answer(cls, path, CALLS[number][0], None, CALLS[number][2])["input_ids"])
        expected["token_type_ids"] = [0] * first + [1] * (len(expected["input_ids"]) - first)
    assert got == expected


@pytest.mark.parametrize("number", range(len(WINDOWS)))
def test_windows_are_those_of_transformers_fast_class(cls: Any, number: int) -> None:
    text, pair, options = WINDOWS[number]
    got = answer(cls, BUNDLED, text, pair, {**options, "return_overflowing_tokens": True})
    assert got == GOLDEN["windows"][number]


# -- rows ------------------------------------------------------------------------------------------------------------


def test_one_text(tokenizer: Any) -> None:
    encoding = tokenizer("in 1990", return_special_tokens_mask=True, return_length=True)
    count = len(tokenizer.tokenize("in 1990"))
    assert list(encoding) == ["input_ids", "token_type_ids", "attention_mask", "special_tokens_mask", "length"]
    ids = tokenizer.encode("in 1990", add_special_tokens=False)
    assert encoding.input_ids == tokenizer.build_inputs_with_special_tokens(ids)
    assert encoding.token_type_ids == [0] * (count + 2)
    assert encoding.attention_mask == [1] * (count + 2)
    assert encoding.special_tokens_mask == [1, *[0] * count, 1]
    assert encoding.length == count + 2


def test_a_pair_and_the_functions_that_describe_it(tokenizer: Any) -> None:
    first, second = (tokenizer.encode(text, add_special_tokens=False) for text in ("in 1990", "said it"))
    encoding = tokenizer("in 1990", "said it", return_special_tokens_mask=True)
    assert encoding.input_ids == [2, *first, 3, *second, 3]
    assert encoding.input_ids == tokenizer.build_inputs_with_special_tokens(first, second)
    assert encoding.token_type_ids == tokenizer.create_token_type_ids_from_sequences(first, second)
    assert encoding.special_tokens_mask == tokenizer.get_special_tokens_mask(first, second)
    assert encoding.special_tokens_mask == tokenizer.get_special_tokens_mask(encoding.input_ids, None, True)
    assert [tokenizer.num_special_tokens_to_add(), tokenizer.num_special_tokens_to_add(pair=True)] == [2, 3]
    assert tokenizer([("in 1990", "said it")])["input_ids"] == [encoding.input_ids]
    assert tokenizer.tokenize("in 1990", "said it", add_special_tokens=True) == encoding.tokens()


def test_other_names_for_the_call(tokenizer: Any) -> None:
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in (QUESTION, LONG)]
    options = {"truncation": True, "max_length": 30, "return_special_tokens_mask": True}
    expected = tokenizer(QUESTION, LONG, **options)
    assert tokenizer.prepare_for_model(*ids, **options) == expected
    assert tokenizer.encode_plus(QUESTION, LONG, **options) == expected
    assert tokenizer.batch_encode_plus([(QUESTION, LONG)], **options)[0] == expected
    assert tokenizer.encode(QUESTION, LONG, truncation=True, max_length=30) == expected.input_ids


def test_targets_become_labels(tokenizer: Any) -> None:
    both = tokenizer(["in it"], text_target=["said it"])
    assert both == {**tokenizer(["in it"]), "labels": tokenizer(["said it"]).input_ids}
    assert tokenizer(text_target="said it") == tokenizer("said it")


def test_words_that_are_split_already(tokenizer: Any) -> None:
    words = ["in", "1990,", "said"]
    expected = [2, *(i for word in words for i in tokenizer.encode(word, add_special_tokens=False)), 3]
    assert tokenizer(words, is_split_into_words=True).input_ids == expected
    assert tokenizer([words, words[:1]], is_split_into_words=True).input_ids[0] == expected
    pair = tokenizer([words], [words[:1]], is_split_into_words=True)
    assert pair.input_ids[0][: len(expected)] == expected


def test_columns_can_be_left_out(tokenizer: Any) -> None:
    plain = tokenizer(["in it"], return_token_type_ids=False, return_attention_mask=False)
    assert list(plain) == ["input_ids"]
    assert tokenizer([]) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}


def test_a_batch_gives_its_rows_by_number(tokenizer: Any) -> None:
    batch = tokenizer(["in it", "said", "it"], padding=True, return_tensors="np")
    assert batch[1]["input_ids"].tolist() == batch.input_ids[1].tolist()
    assert batch[1:]["attention_mask"].shape == (2, batch.input_ids.shape[1])
    assert batch.data == dict(batch)


# -- truncation and windows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "how", "limit", "kept"),
    [
        (6, 2, "longest_first", 9, (4, 2)),
        (2, 6, "longest_first", 9, (2, 4)),
        (5, 5, "longest_first", 10, (4, 3)),
        (5, 5, "longest_first", 11, (4, 4)),
        (6, 2, "only_first", 9, (4, 2)),
        (3, 6, "only_second", 9, (3, 3)),
        (3, 6, True, 4, (1, 0)),
        (3, 6, "do_not_truncate", 4, (3, 6)),
    ],
)
def test_truncation(
    tokenizer: Any, first: int, second: int, how: bool | str, limit: int, kept: tuple[int, int]
) -> None:
    texts = ["(" * (count - 1) for count in (first, second)]  # "▁" and one piece for each "("
    encoding = tokenizer(*texts, truncation=how, max_length=limit)
    assert encoding.token_type_ids == [0] * (kept[0] + 2) + [1] * (kept[1] + 1)
    if kept[1]:
        assert encoding.input_ids[kept[0] + 2] == tokenizer.convert_tokens_to_ids("▁"), "the end is cut, not the start"


def test_truncation_from_the_left_and_by_max_length_alone(cls: Any, folder: Path) -> None:
    ids = cls(folder / "spiece.model").encode("in 1990, it was said")
    left = cls(folder / "spiece.model", truncation_side="left", model_max_length=5)
    assert left.encode("in 1990, it was said", truncation=True) == [2, *ids[-4:]]
    assert left.encode("in 1990, it was said", max_length=6) == [2, *ids[-5:]]
    assert left.encode("in 1990, it was said") == ids
    assert left.encode("in 1990, it was said", max_length=6, padding="do_not_pad") == ids  # as in transformers
    assert [left.max_len_single_sentence, left.max_len_sentences_pair] == [3, 2]


@settings(max_examples=300, deadline=None)
@given(
    length=st.integers(0, 60),
    kept=st.integers(1, 20),
    stride=st.integers(0, 19),
    side=st.sampled_from(["left", "right"]),
)
def test_windows_cover_a_text_and_share_the_stride(length: int, kept: int, stride: int, side: str) -> None:
    if stride >= kept < length:
        with pytest.raises(ValueError, match=f"stride: expected less than {kept}.* got {stride}"):
            windows(length, kept, stride, side, overflow=True)
        return
    found = [range(length)[part] for part in windows(length, kept, stride, side, overflow=True)]
    ordered = found if side == "right" else found[::-1]
    assert sorted({place for window in found for place in window}) == list(range(length))
    assert all(len(window) == kept for window in found[:-1])
    shared = [len(set(one) & set(two)) for one, two in pairwise(ordered)]
    assert all(count >= stride for count in shared)
    assert found[0] == range(length)[windows(length, kept, stride, side, overflow=False)[0]]


def test_windows_of_a_batch_name_their_text(tokenizer: Any) -> None:
    batch = tokenizer(
        [LONG, "said it"],
        truncation=True,
        max_length=20,
        stride=6,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_tensors="np",
        padding=True,
    )
    assert batch.overflow_to_sample_mapping.tolist() == [0] * (len(batch.input_ids) - 1) + [1]
    assert batch.offset_mapping.shape == (*batch.input_ids.shape, 2)
    whole = tokenizer(LONG, return_offsets_mapping=True)
    assert batch.input_ids[1][1:19].tolist() == whole.input_ids[13:31]
    assert batch.offset_mapping[1][1:19].tolist() == [list(span) for span in whole.offset_mapping[13:31]]
    assert batch.word_ids(1)[1:19] == whole.word_ids()[13:31]


# -- padding and arrays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "length"),
    [
        ({"padding": True}, 8),
        ({"padding": "longest", "pad_to_multiple_of": 5}, 10),
        ({"padding": "max_length", "max_length": 12}, 12),
        ({"padding": "max_length", "truncation": True, "max_length": 5}, 5),
    ],
)
def test_padding(tokenizer: Any, arguments: dict, length: int) -> None:
    texts = [". . .", ".", ""]  # each "." is "▁" and "."
    batch = tokenizer(texts, return_special_tokens_mask=True, **arguments)
    for name, fill in {"input_ids": 0, "token_type_ids": 0, "attention_mask": 0, "special_tokens_mask": 1}.items():
        assert [len(row) for row in batch[name]] == [length] * 3
        assert batch[name][2][2:] == [fill] * (length - 2)
    assert batch.input_ids[2][:2] == [2, 3]
    assert [sum(row) for row in batch.attention_mask] == [min(8, length), 4, 2]


def test_counts_may_be_those_of_numpy(cls: Any, folder: Path) -> None:
    given = {"max_length": 20, "stride": 6, "pad_to_multiple_of": 4}
    how = {"truncation": True, "padding": True, "return_overflowing_tokens": True}
    tokenizer = cls(folder / "spiece.model", model_max_length=np.int64(24))
    as_numpy = {name: np.int64(value) for name, value in given.items()}
    assert tokenizer(LONG, **how, **as_numpy) == tokenizer(LONG, **how, **given)
    assert tokenizer.model_max_length == 24


def test_pad_takes_rows_and_batches(tokenizer: Any) -> None:
    rows = [tokenizer("in 1990,"), tokenizer("said it", return_attention_mask=False)]
    expected = tokenizer(["in 1990,", "said it"], padding=True)
    assert tokenizer.pad(rows) == expected
    assert tokenizer.pad(tokenizer(["in 1990,", "said it"])) == expected
    one = tokenizer.pad({"input_ids": [2, 3], "labels": 7}, padding="max_length", max_length=4)
    assert one == {"input_ids": [2, 3, 0, 0], "labels": 7, "attention_mask": [1, 1, 0, 0]}
    with pytest.raises(ValueError, match="expected 'input_ids' in every row, got labels"):
        tokenizer.pad([{"labels": 1}])


@pytest.mark.parametrize(("kind", "package"), [("np", "numpy"), ("pt", "torch"), ("tf", "tensorflow"), ("jax", "jax")])
def test_arrays_of_each_framework(tokenizer: Any, kind: str, package: str) -> None:
    importlib.import_module(package)
    texts = ["in 1990,", "said"]
    batch, lists = tokenizer(texts, padding=True, return_tensors=kind), tokenizer(texts, padding=True)
    for name, value in batch.items():
        assert type(value).__module__.split(".")[0] in (package, "jaxlib")
        np.testing.assert_array_equal(np.asarray(value), lists[name])
    assert tuple(tokenizer("said", return_tensors=kind).input_ids.shape) == (1, len(tokenizer.encode("said")))
    assert tokenizer.batch_decode(batch.input_ids) == tokenizer.batch_decode(lists.input_ids)
    assert tokenizer.pad(batch, padding="max_length", max_length=20).input_ids[1][:3] == lists.input_ids[1][:3]
    rows = [{"input_ids": batch.input_ids[0]}, {"input_ids": batch.input_ids[1]}]
    assert tuple(tokenizer.pad(rows, return_tensors=kind).input_ids.shape) == tuple(batch.input_ids.shape)


@pytest.mark.parametrize("kind", ["np", "pt", "tf", "jax"])
@pytest.mark.parametrize("labels", [[2.75, 0.5], [[0.0, 0.5], [1.0, 0.0]], [1, 2.5], np.array([1.5, -0.5])])
def test_labels_that_are_not_whole_stay_what_they_are(tokenizer: Any, kind: str, labels: Any) -> None:
    rows = [{**tokenizer("said"), "labels": label} for label in labels]
    found = tokenizer.pad(rows, return_tensors=kind)
    assert np.asarray(found.labels).dtype == (np.float64 if kind == "np" else np.float32)  # as in transformers 4.57.6
    np.testing.assert_array_equal(np.asarray(found.labels), labels)
    assert "int" in str(found.input_ids.dtype)


@pytest.mark.parametrize("labels", [[True, False], np.array([1, 2], np.int32), [[], []]])
def test_whole_numbers_are_the_frameworks_integers(labels: Any) -> None:
    assert BatchEncoding({"labels": labels}).convert_to_tensors("np").labels.dtype == np.int64


@pytest.mark.parametrize(("value", "kind"), [(["a", "b"], "<U1"), ([None, 1], "object"), ([2.5j], "complex128")])
def test_what_is_no_number_is_refused_by_name(value: Any, kind: str) -> None:
    with pytest.raises(ValueError, match=f"expected numbers in note, got {kind}"):
        BatchEncoding({"note": value}).convert_to_tensors("np")


def test_torch_inputs_move_to_a_device(tokenizer: Any) -> None:
    torch = importlib.import_module("torch")
    batch = tokenizer("said", return_tensors="pt")
    batch["note"] = ["stays"]
    assert batch.to("meta").input_ids.device == torch.device("meta")
    assert batch.note == ["stays"]
    arrays = tokenizer("said", return_tensors="np")
    assert arrays.to("cpu") is arrays
    for values in (tokenizer("said"), arrays):
        with pytest.raises(TypeError, match="input_ids"):
            values.to("cpu" if isinstance(values.input_ids, list) else "cuda")


def test_an_encoding_is_made_and_asked_as_in_transformers(tokenizer: Any) -> None:
    one = BatchEncoding({"input_ids": [2, 3]}, tensor_type="np", prepend_batch_axis=True)
    assert one.input_ids.shape == (1, 2)
    assert [one.is_fast, one.n_sequences, dict(BatchEncoding(None))] == [False, None, {}]
    found = [tokenizer(*texts) for texts in ([["a"]], ["a", "b"], [""], [["a"], ["b"]])]
    assert [encoding.n_sequences for encoding in found] == [1, 2, 1, 2]
    assert all(encoding.is_fast for encoding in found)


def test_a_tokenizer_is_made_and_asked_as_in_transformers(cls: Any, folder: Path) -> None:
    by_position = ("spiece.model", False, True, True) if cls.slow else ("spiece.model", None, False, True, True)
    tokenizer = cls(folder / by_position[0], *by_position[1:])
    flags = {"do_lower_case": False, "remove_space": True, "keep_accents": True}
    assert {name: getattr(tokenizer, name) for name in flags} == flags
    assert flags.items() <= tokenizer.init_kwargs.items()
    ids = tokenizer("in it").input_ids
    assert tokenizer.batch_decode([ids], True) == ["in it"]
    assert tokenizer.decode(ids, spaces_between_special_tokens=False) == tokenizer.decode(ids)
    tokenizer.additional_special_tokens = ["▁in"]
    assert tokenizer.special_tokens_map["additional_special_tokens"] == ["▁in"]
    with pytest.raises(TokenizerError, match=r"additional_special_tokens: expected a token .* got '\[X\]'"):
        tokenizer.additional_special_tokens = ["▁in", "[X]"]


# -- sampling --------------------------------------------------------------------------------------------------------


def test_subword_sampling_is_for_sentencepiece_alone(folder: Path) -> None:
    sampling = {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}
    tokenizer = AlbertTokenizer(folder / "spiece.model", sp_model_kwargs=sampling)
    assert len({tuple(tokenizer.encode("in it said so it was")) for _ in range(50)}) > 1
    for _ in range(20):
        encoding = tokenizer("in it said so it was", return_offsets_mapping=True)
        assert encoding.tokens() == tokenizer.convert_ids_to_tokens(encoding.input_ids)
        assert len(encoding.offset_mapping) == len(encoding.word_ids()) == len(encoding.input_ids)
