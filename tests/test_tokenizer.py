"""Both tokenizers against each other, against stored ids of transformers 4.57.6, and at their edges."""

from __future__ import annotations

import importlib
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_core.errors import BackendMissing, FormatError, NotFound, TokenizerError
from albert_core.tokenizer import AlbertTokenizer, AlbertTokenizerFast, AutoTokenizer
from albert_core.tokenizer.preprocessing import ends_in_digit_comma
from albert_core.tokenizer_training import train_tokenizer

CLASSES = [AlbertTokenizer, AlbertTokenizerFast]
PUBLISHED = SHARED / "data/tokenizer/spiece.model"
GOLDEN = json.loads((Path(__file__).parent / "golden_tokenizer.json").read_text())
CASED = {"do_lower_case": False, "keep_accents": True, "remove_space": False}
needs_published = pytest.mark.skipif(not PUBLISHED.exists(), reason="the published vocabulary is not in the project")


def sentences(count: int, seed: int = 0) -> list[str]:
    """Made-up text with a long tail of words, years and amounts that stand before commas, and every user symbol."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("aeioubdklmnprst", k=draw.randint(2, 8))) for _ in range(600)]
    lines = []
    for _ in range(count):
        picked = [words[min(int(draw.expovariate(0.01)), 599)] for _ in range(8)]
        year, amount = draw.choice([1914, 1990, 1990]), f"{draw.randint(1, 9)},000"
        lines.append(
            f'In {year}, {" ".join(picked)} (£{amount}, €5 – $7.50) "café-{picked[0]}" said Ωmega it\'s {year}, in 7,'
        )
    return lines


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(sentences(400)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that was trained here."""
    target = tmp_path_factory.mktemp("trained") / "tokenizer"
    train_tokenizer(text_file, target, vocab_size=330)
    return target


@pytest.fixture(scope="module", params=["trained", pytest.param("published", marks=needs_published)])
def vocab_file(request: pytest.FixtureRequest) -> Path:
    return PUBLISHED if request.param == "published" else request.getfixturevalue("folder") / "spiece.model"


@pytest.fixture(params=CLASSES, ids=["sentencepiece", "tokenizers"])
def cls(request: pytest.FixtureRequest) -> type:
    return request.param


@pytest.fixture
def tokenizer(cls: type, folder: Path) -> AlbertTokenizer:
    return cls(folder / "spiece.model")


# -- the same ids ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, CASED, {"keep_accents": True}], ids=["default", "cased", "accents"])
def test_both_engines_give_the_same_ids_and_pieces(vocab_file: Path, options: dict) -> None:
    slow, fast = AlbertTokenizer(vocab_file, **options), AlbertTokenizerFast(vocab_file, **options)
    texts = [row["text"] for row in GOLDEN["texts"]] + sentences(100, seed=1)
    ties = 0
    for text, expected, got in zip(texts, slow(texts)["input_ids"], fast(texts)["input_ids"], strict=True):
        assert_same_but_for_ties(slow.convert_ids_to_tokens(expected), slow.convert_ids_to_tokens(got))
        assert_same_but_for_ties(slow.tokenize(text), fast.tokenize(text))
        ties += got != expected
    assert ties <= 1


def assert_same_but_for_ties(expected: list[str], got: list[str]) -> None:
    """Equal, or the same pieces in another order: "000" may be "0" "00" or "00" "0", which score exactly the same."""
    assert "".join(got) == "".join(expected)
    assert sorted(got) == sorted(expected)


_PARTS = st.one_of(
    st.text(max_size=4),
    st.sampled_from(["[MASK]", "<pad>", "<PAD>", "``", "''", "1990,", "9,", ",", "(", ")", ".", "-", "–", "£", "€"]),
    st.sampled_from([" ", "  ", "\t", "\n", "\x00", "\x1f", "\x85", "\u00a0", "\u200b", "\u200d", "▁", "e\u0301", "Σ"]),
    st.sampled_from(["in", "the", "Ωmega", "said", "$7.50", "²,", "İ", "ß", "日本", "한국", "हिन्दी", "😀"]),
)


@settings(max_examples=400, deadline=None)
@given(text=st.lists(_PARTS, max_size=10).map("".join))
def test_both_engines_agree_on_any_text(pair_of_tokenizers: tuple, text: str) -> None:
    slow, fast = pair_of_tokenizers
    assert_same_but_for_ties(slow.tokenize(text), fast.tokenize(text))
    assert sorted(fast.encode(text)) == sorted(slow.encode(text))
    assert slow.encode(text) == slow.convert_tokens_to_ids(slow.tokenize(text, add_special_tokens=True))


@pytest.fixture(scope="module")
def pair_of_tokenizers(folder: Path) -> tuple:
    return tuple(cls(folder / "spiece.model") for cls in CLASSES)


@needs_published
@pytest.mark.parametrize(("key", "options"), [("ids", {}), ("cased_ids", CASED)])
def test_ids_are_those_of_transformers_slow_class(cls: type, key: str, options: dict) -> None:
    tokenizer = cls(PUBLISHED, **options)
    for row in GOLDEN["texts"]:
        assert tokenizer.encode(row["text"]) == row[key], row["text"]


@needs_published
def test_pairs_are_those_of_transformers_slow_class(cls: type) -> None:
    tokenizer = cls(PUBLISHED)
    for row in GOLDEN["pairs"]:
        assert dict(tokenizer(*row["pair"])) == {name: value for name, value in row.items() if name != "pair"}


def test_a_comma_after_a_digit_is_a_piece_of_its_own(tokenizer) -> None:
    assert any(map(ends_in_digit_comma, tokenizer.get_vocab())), "the vocabulary has no such piece, nothing is tested"
    pieces = tokenizer.tokenize("in 1990, 1914,1945, it was 5,000, or 7,")
    assert not any(map(ends_in_digit_comma, pieces))
    assert "".join(pieces) == "▁in▁1990,▁1914,1945,▁it▁was▁5,000,▁or▁7,"


def test_the_saved_pipeline_alone_gives_our_ids_but_for_digit_commas(folder: Path) -> None:
    from tokenizers import Tokenizer

    pipeline = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ours = AlbertTokenizerFast(folder / "spiece.model")
    differing = 0
    for text in [row["text"] for row in GOLDEN["texts"]]:
        ids = pipeline.encode(text).ids
        has_comma_piece = any(ends_in_digit_comma(pipeline.id_to_token(number)) for number in ids)
        other_case = "<PAD>" in text
        assert (ids == ours.encode(text)) != (has_comma_piece or other_case), text
        differing += has_comma_piece
    assert differing > 0


def test_special_tokens_in_text(tokenizer) -> None:
    assert tokenizer.tokenize("in  [MASK]in <PAD> [mask]")[:4] == ["▁in", "[MASK]", "▁in", "<pad>"]
    assert tokenizer.mask_token_id not in tokenizer.encode("[mask]")
    assert [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id] == [0, 1, 2]
    assert [tokenizer.sep_token_id, tokenizer.mask_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id] == [
        3,
        4,
        2,
        3,
    ]
    assert sorted(tokenizer.all_special_ids) == [0, 1, 2, 3, 4]


# -- the call --------------------------------------------------------------------------------------------------------


def test_one_text(tokenizer) -> None:
    encoding = tokenizer("in 1990", return_special_tokens_mask=True)
    count = len(tokenizer.tokenize("in 1990"))
    assert list(encoding) == ["input_ids", "token_type_ids", "attention_mask", "special_tokens_mask"]
    assert encoding.input_ids == tokenizer.build_inputs_with_special_tokens(
        tokenizer.encode("in 1990", add_special_tokens=False)
    )
    assert encoding.token_type_ids == [0] * (count + 2)
    assert encoding.attention_mask == [1] * (count + 2)
    assert encoding.special_tokens_mask == [1, *[0] * count, 1]


def test_a_pair_and_the_functions_that_describe_it(tokenizer) -> None:
    first, second = (tokenizer.encode(text, add_special_tokens=False) for text in ("in 1990", "said it"))
    encoding = tokenizer("in 1990", "said it", return_special_tokens_mask=True)
    assert encoding.input_ids == [2, *first, 3, *second, 3]
    assert encoding.input_ids == tokenizer.build_inputs_with_special_tokens(first, second)
    assert encoding.token_type_ids == tokenizer.create_token_type_ids_from_sequences(first, second)
    assert encoding.special_tokens_mask == tokenizer.get_special_tokens_mask(first, second)
    assert encoding.special_tokens_mask == tokenizer.get_special_tokens_mask(encoding.input_ids, None, True)
    assert [tokenizer.num_special_tokens_to_add(), tokenizer.num_special_tokens_to_add(pair=True)] == [2, 3]
    assert tokenizer([("in 1990", "said it")])["input_ids"] == [encoding.input_ids]
    plain = tokenizer("in 1990", "said it", add_special_tokens=False)
    assert plain.input_ids == first + second
    assert plain.token_type_ids == [0] * len(first) + [1] * len(second)


def test_words_that_are_split_already(tokenizer) -> None:
    words = ["in", "1990,", "said"]
    expected = [2, *(i for word in words for i in tokenizer.encode(word, add_special_tokens=False)), 3]
    assert tokenizer(words, is_split_into_words=True).input_ids == expected
    assert tokenizer([words, words[:1]], is_split_into_words=True).input_ids[0] == expected


def test_no_texts_give_an_empty_batch(tokenizer) -> None:
    assert tokenizer([]) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}


@pytest.mark.parametrize(
    ("arguments", "length"),
    [
        ({"padding": True}, 8),
        ({"padding": "longest", "pad_to_multiple_of": 5}, 10),
        ({"padding": "max_length", "max_length": 12}, 12),
        ({"padding": "max_length", "truncation": True, "max_length": 5}, 5),
    ],
)
def test_padding(tokenizer, arguments: dict, length: int) -> None:
    texts = [". . .", ".", ""]  # each "." is "▁" and "."
    batch = tokenizer(texts, return_special_tokens_mask=True, **arguments)
    for name, fill in {"input_ids": 0, "token_type_ids": 0, "attention_mask": 0, "special_tokens_mask": 1}.items():
        assert [len(row) for row in batch[name]] == [length] * 3
        assert batch[name][2][2:] == [fill] * (length - 2)
    assert batch.input_ids[2][:2] == [2, 3]
    assert [sum(row) for row in batch.attention_mask] == [min(8, length), 4, 2]


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
def test_truncation(tokenizer, first: int, second: int, how: bool | str, limit: int, kept: tuple[int, int]) -> None:
    texts = ["(" * (count - 1) for count in (first, second)]  # "▁" and one piece for each "("
    encoding = tokenizer(*texts, truncation=how, max_length=limit)
    assert encoding.token_type_ids == [0] * (kept[0] + 2) + [1] * (kept[1] + 1)
    if kept[1]:
        assert encoding.input_ids[kept[0] + 2] == tokenizer.convert_tokens_to_ids("▁"), "the end is cut, not the start"


def test_truncation_from_the_left_and_by_max_length_alone(cls: type, folder: Path) -> None:
    ids = cls(folder / "spiece.model").encode("in 1990, it was said")
    left = cls(folder / "spiece.model", truncation_side="left", model_max_length=5)
    assert left.encode("in 1990, it was said", truncation=True) == [2, *ids[-4:]]
    assert left.encode("in 1990, it was said", max_length=6) == [2, *ids[-5:]]
    assert left.encode("in 1990, it was said") == ids


@pytest.mark.parametrize(("kind", "package"), [("np", "numpy"), ("pt", "torch"), ("tf", "tensorflow"), ("jax", "jax")])
def test_arrays_of_each_framework(tokenizer, kind: str, package: str) -> None:
    importlib.import_module(package)
    texts = ["in 1990,", "said"]
    batch, lists = tokenizer(texts, padding=True, return_tensors=kind), tokenizer(texts, padding=True)
    for name, value in batch.items():
        assert type(value).__module__.split(".")[0] in (package, "jaxlib")
        np.testing.assert_array_equal(np.asarray(value), lists[name])
    assert tuple(tokenizer("said", return_tensors=kind).input_ids.shape) == (1, len(tokenizer.encode("said")))
    assert tokenizer.batch_decode(batch.input_ids) == tokenizer.batch_decode(lists.input_ids)
    assert tokenizer.pad(batch, padding="max_length", max_length=20).input_ids[1][:3] == lists.input_ids[1][:3]


def test_torch_inputs_move_to_a_device(tokenizer) -> None:
    torch = importlib.import_module("torch")
    batch = tokenizer("said", return_tensors="pt").to("meta")
    assert batch.input_ids.device == torch.device("meta")
    with pytest.raises(TypeError, match="input_ids"):
        tokenizer("said").to("cpu")


def test_pad_takes_rows_and_batches(tokenizer) -> None:
    rows = [tokenizer("in 1990,"), tokenizer("said it", return_attention_mask=False)]
    expected = tokenizer(["in 1990,", "said it"], padding=True)
    assert tokenizer.pad(rows) == expected
    assert tokenizer.pad(tokenizer(["in 1990,", "said it"])) == expected
    one = tokenizer.pad({"input_ids": [2, 3], "labels": 7}, padding="max_length", max_length=4)
    assert one == {"input_ids": [2, 3, 0, 0], "labels": 7, "attention_mask": [1, 1, 0, 0]}


def test_offsets_cover_the_text_they_name(folder: Path) -> None:
    fast = AlbertTokenizerFast(folder / "spiece.model")
    text = "In 1990, café said (it)"
    encoding = fast(text, return_offsets_mapping=True)
    named = [text[start:end].strip() for start, end in encoding.offset_mapping]
    pieces = [piece.replace("▁", "") for piece in fast.tokenize(text)]
    assert [name.lower().replace("é", "e") for name in named] == ["", *pieces, ""]


# -- back to text ----------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(words=st.lists(st.text("aeioubdklmnprst0123456789().,", min_size=1, max_size=6), max_size=8))
def test_decode_is_the_inverse_of_encode_on_known_characters(pair_of_tokenizers: tuple, words: list[str]) -> None:
    for tokenizer in pair_of_tokenizers:
        assert tokenizer.decode(tokenizer.encode(" ".join(words)), skip_special_tokens=True) == " ".join(words)


def test_decode_with_special_tokens_and_clean_up(tokenizer) -> None:
    ids = tokenizer.encode("in [MASK] , it")
    assert tokenizer.decode(ids) == "[CLS] in[MASK] , it[SEP]"  # as transformers 4.57's class writes it
    assert tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=True) == "in, it"
    assert tokenizer.decode(np.array(ids)) == tokenizer.decode(ids)
    assert tokenizer.decode(4) == "[MASK]"


def test_tokens_and_ids(tokenizer) -> None:
    assert len(tokenizer) == tokenizer.vocab_size == len(tokenizer.get_vocab()) == 330
    assert tokenizer.convert_ids_to_tokens([0, 5, 12], skip_special_tokens=True) == ["(", "€"]
    assert tokenizer.convert_tokens_to_ids(["(", "no such piece"]) == [5, tokenizer.unk_token_id]
    with pytest.raises(ValueError, match="got 330 at position 1"):
        tokenizer.decode([4, 330])


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loader", [*CLASSES, AutoTokenizer])
def test_save_and_load(cls: type, loader: type, folder: Path, tmp_path: Path) -> None:
    saved = cls(folder / "spiece.model", **CASED, model_max_length=77, mask_token={"content": "[MASK]"}, note="kept")
    files = saved.save_pretrained(tmp_path / "new" / "folder")
    names = ["spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
    assert [Path(file).name for file in files] == names
    loaded = loader.from_pretrained(tmp_path / "new" / "folder")
    assert isinstance(loaded, AlbertTokenizerFast if loader is AutoTokenizer else loader)
    assert loaded.preprocess == saved.preprocess
    assert loaded.model_max_length == 77
    assert loaded.special_tokens == saved.special_tokens
    assert loaded.extra["note"] == "kept"
    for row in GOLDEN["texts"]:
        assert loaded.encode(row["text"]) == saved.encode(row["text"]), row["text"]
    assert loaded.save_vocabulary(tmp_path, "my") == (
        str(tmp_path / "my-spiece.model"),
        str(tmp_path / "my-tokenizer.json"),
    )
    assert (tmp_path / "my-spiece.model").read_bytes() == (folder / "spiece.model").read_bytes()


def test_auto_tokenizer_and_an_existing_tokenizer_json(folder: Path, tmp_path: Path) -> None:
    text = "in 7, it was"
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    foreign = AutoTokenizer.from_pretrained(tmp_path)
    assert any(map(ends_in_digit_comma, foreign.tokenize(text))), "that file's ids hold, and it has no such rule"
    assert foreign.encode(text) != AutoTokenizer.from_pretrained(folder).encode(text)
    assert isinstance(AutoTokenizer.from_pretrained(folder, use_fast=False), AlbertTokenizer)
    with pytest.raises(TokenizerError, match=r"expected a spiece\.model, there is none"):
        AutoTokenizer.from_pretrained(tmp_path, use_fast=False)


def test_options_of_the_call_win_over_the_files(cls: type, folder: Path) -> None:
    assert cls.from_pretrained(folder, do_lower_case=False).tokenize("IN") != cls.from_pretrained(folder).tokenize("IN")


def test_tokenizers_travel_between_processes(tokenizer) -> None:
    assert pickle.loads(pickle.dumps(tokenizer)).encode("in 1990, said") == tokenizer.encode("in 1990, said")


def test_import_is_cheap() -> None:
    code = "import albert_core.tokenizer, sys; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("sentencepiece", "tokenizers", "huggingface_hub", "torch", "tensorflow", "jax"):
        assert f"'{heavy}'" not in loaded


# -- bad input -------------------------------------------------------------------------------------------------------


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
        ("a", {"max_length": "7"}, ValueError, "max_length: expected a number of tokens, got '7'"),
        ("a", {"truncation": "only_second", "max_length": 2}, TokenizerError, "only_second.* from a text of 0"),
        ("a", {"return_tensors": "mx"}, ValueError, "return_tensors: expected .* got 'mx'"),
        (["a", "a b c"], {"return_tensors": "np"}, ValueError, "input_ids differ in length; ask for padding=True"),
    ],
)
def test_a_bad_call_names_the_argument(tokenizer, text, arguments: dict, error: type, pattern: str) -> None:
    with pytest.raises(error, match=pattern):
        tokenizer(text, **arguments)


def test_a_missing_framework_says_what_to_install(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(BackendMissing, match=r"pip install .*\[flax\]"):
        tokenizer("a", return_tensors="jax")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x0a\x03abc", b"\xff" * 100, None])
def test_a_corrupt_model_is_an_error_that_names_it(
    cls: type, content: bytes | None, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes((folder / "spiece.model").read_bytes()[:-1000] if content is None else content)
    with pytest.raises(TokenizerError, match=r"spiece\.model"):
        cls(path)


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"do_lower_case": "yes"}, "do_lower_case: expected True or False, got 'yes'"),
        ({"mask_token": ""}, "mask_token: expected a non-empty string, got ''"),
        ({"pad_token": 5}, "pad_token: expected a non-empty string, got 5"),
        ({"mask_token": "<mask>"}, r"spiece\.model: expected a vocabulary with the mask_token '<mask>'"),
        ({"model_max_length": -1}, "model_max_length: expected .* got -1"),
        ({"sp_model_kwargs": [1]}, r"sp_model_kwargs: expected a dict, got \[1\]"),
        ({"truncation_side": "top"}, "truncation_side: expected .* got 'top'"),
        ({"padding_side": "left"}, "padding_side: expected 'right', got 'left'"),
    ],
)
def test_a_bad_option_is_named_with_its_file(
    cls: type, options: dict, pattern: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=pattern):
        cls(folder / "spiece.model", **options)
    (tmp_path / "spiece.model").write_bytes((folder / "spiece.model").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    with pytest.raises(ValueError, match=pattern):
        cls.from_pretrained(tmp_path)


def test_a_folder_without_a_readable_vocabulary(cls: type, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"expected a spiece\.model.*, there is none$"):
        cls.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(TokenizerError, match=r"vocab\.txt holds a WordPiece vocabulary"):
        cls.from_pretrained(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"x")
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(FormatError, match=r"tokenizer_config\.json"):
        cls.from_pretrained(tmp_path)
    with pytest.raises(NotFound, match=r"none\.model"):
        cls(tmp_path / "none.model")


def test_files_named_by_a_config_are_not_opened(cls: type, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes((folder / "spiece.model").read_bytes())
    hostile = {
        "self": 1,
        "vocab_file": "/etc/passwd",
        "tokenizer_file": "../x",
        "auto_map": {"AutoTokenizer": ["a.b", None]},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(hostile))
    assert cls.from_pretrained(tmp_path).vocab_file == tmp_path / "spiece.model"


_TEMPLATE = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}], "pair": []}
_BPE = {"type": "BPE", "vocab": {"a": 0, "é": 1, "b": 2}, "merges": ["é b"], "continuing_subword_prefix": "##é"}


@pytest.mark.parametrize(
    "change",
    [
        {"post_processor": {**_TEMPLATE, "special_tokens": {}}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": None}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////w=="}},
        {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
        {"model": _BPE},
        {"model": {"type": "Unigram", "unk_id": 5, "vocab": []}},
        {"model": None},
    ],
    ids=["template", "no charsmap", "bad charsmap", "length 0", "merges", "empty", "no model"],
)
def test_a_tokenizer_json_that_panics_is_an_error(change: dict, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**json.loads((folder / "tokenizer.json").read_text()), **change}))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        AlbertTokenizerFast(tokenizer_file=path)


@pytest.mark.parametrize(
    "change",
    [
        {"truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 2}},
        {"decoder": {"type": "Strip", "content": "a", "start": 9, "stop": 9}},
    ],
    ids=["stride", "strip"],
)
def test_what_would_panic_in_unused_parts_of_a_tokenizer_json_is_not_run(
    change: dict, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**json.loads((folder / "tokenizer.json").read_text()), **change}))
    tokenizer = AlbertTokenizerFast(tokenizer_file=path)
    assert tokenizer.decode(tokenizer.encode("in it said so"), skip_special_tokens=True) == "in it said so"


def test_lone_surrogates_count_as_the_replacement_character(tokenizer) -> None:
    assert tokenizer.encode("in \ud800 it\udfff") == tokenizer.encode("in \ufffd it\ufffd")
    assert tokenizer.tokenize("a\ud83d\ude00b") == tokenizer.tokenize("a\U0001f600b")


def test_a_line_of_a_megabyte(tokenizer) -> None:
    """Takes seconds; were the time quadratic, an hour."""
    line = tokenizer.encode("said it " * 125_000, add_special_tokens=False)
    assert line == tokenizer.encode("said it", add_special_tokens=False) * 125_000
    assert len(tokenizer.encode("(" * 1_000_000, add_special_tokens=False)) == 1_000_001


def test_subword_sampling_is_for_sentencepiece_alone(folder: Path) -> None:
    sampling = {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}
    tokenizer = AlbertTokenizer(folder / "spiece.model", sp_model_kwargs=sampling)
    assert len({tuple(tokenizer.encode("in it said so it was")) for _ in range(50)}) > 1
    with pytest.raises(TokenizerError, match="sp_model_kwargs"):
        AlbertTokenizerFast(folder / "spiece.model", sp_model_kwargs=sampling)
    with pytest.raises(TokenizerError, match="model_file"):
        AlbertTokenizer(folder / "spiece.model", sp_model_kwargs={"model_file": "x"})


# -- training --------------------------------------------------------------------------------------------------------


def test_training_lays_ids_out_as_published_and_repeats_itself(folder: Path, text_file: Path, tmp_path: Path) -> None:
    lines: list[int] = []
    again = train_tokenizer(text_file, tmp_path, vocab_size=330, progress=lines.append)
    assert lines == [400]
    assert (tmp_path / "spiece.model").read_bytes() == (folder / "spiece.model").read_bytes()
    expected = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", *'()"-.', "–", "£", "€"]
    assert again.convert_ids_to_tokens(range(13)) == expected
    assert not any(token != token.lower() for token in again.convert_ids_to_tokens(range(13, 330)))


def test_a_line_beyond_sentencepieces_limit_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("zyx wvu " * 2000)
    tokenizer = train_tokenizer(tmp_path / "long.txt", tmp_path / "out", vocab_size=21)
    assert tokenizer.unk_token_id not in tokenizer.encode("zyx wvu")


@pytest.mark.parametrize(
    ("files", "arguments", "error", "pattern"),
    [
        ([], {}, ValueError, "files: expected at least one"),
        (["none.txt"], {}, NotFound, r"none\.txt"),
        (["text.txt"], {"vocab_size": 0}, ValueError, "vocab_size: expected a positive integer, got 0"),
        (["text.txt"], {"vocab_size": 15}, TokenizerError, r"characters of the corpus alone need \d+ pieces, got 15"),
        (["text.txt"], {"vocab_size": 9000}, TokenizerError, r"the corpus gives at most \d+ pieces, got 9000"),
        (["text.txt"], {"character_coverage": 2}, ValueError, "character_coverage: expected .* got 2"),
        (["empty.txt"], {}, TokenizerError, "files: expected some text, got none"),
        (["latin1.txt"], {}, FormatError, r"latin1\.txt: expected UTF-8 text"),
    ],
)
def test_training_errors_leave_nothing_behind(
    tmp_path: Path, files, arguments: dict, error: type, pattern: str
) -> None:
    (tmp_path / "text.txt").write_text("\n".join(sentences(50)), encoding="utf-8")
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "latin1.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(error, match=pattern):
        train_tokenizer([tmp_path / name for name in files], tmp_path / "out", **{"vocab_size": 100, **arguments})
    assert not (tmp_path / "out").exists()


def test_the_tokenizer_module_reexports_its_names() -> None:
    module = importlib.import_module("albert_core.tokenizer")
    assert {"AlbertTokenizer", "AlbertTokenizerFast", "AutoTokenizer", "BatchEncoding"} <= set(dir(module))
