"""Where tokenizers come from and go to, and files that are damaged, hostile or missing."""

from __future__ import annotations

import importlib
import json
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizer_cases import BUNDLED, CLASSES, GOLDEN
from tokenizer_texts import CASED

from albert_core.errors import FormatError, NotFound, TokenizerError
from albert_core.tokenizer import AlbertTokenizer, AlbertTokenizerFast, AutoTokenizer

pytest_plugins = ["tokenizer_fixtures"]


@pytest.mark.parametrize("loader", [*CLASSES, AutoTokenizer])
def test_save_and_load(cls: Any, loader: Any, folder: Path, tmp_path: Path) -> None:
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
    for text in GOLDEN["texts"]:
        assert loaded.encode(text) == saved.encode(text), text
    assert loaded.save_vocabulary(tmp_path, "my") == (
        str(tmp_path / "my-spiece.model"),
        str(tmp_path / "my-tokenizer.json"),
    )
    assert (tmp_path / "my-spiece.model").read_bytes() == (folder / "spiece.model").read_bytes()


def test_auto_tokenizer_and_an_existing_tokenizer_json(folder: Path, tmp_path: Path) -> None:
    text = "in <PAD> it was"
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    foreign = AutoTokenizer.from_pretrained(tmp_path)
    assert foreign.tokenize(text)[:3] == ["▁in", "▁", "<pad>"], "that file's ids hold, and it finds <pad> too late"
    assert AutoTokenizer.from_pretrained(folder).tokenize(text)[:2] == ["▁in", "<pad>"]
    foreign.save_pretrained(tmp_path / "again")
    assert AutoTokenizer.from_pretrained(tmp_path / "again").encode(text) == foreign.encode(text)
    (tmp_path / "spiece.model").write_bytes((folder / "spiece.model").read_bytes())
    assert AutoTokenizer.from_pretrained(tmp_path).encode(text) == foreign.encode(text), "the tokenizer.json wins"
    (tmp_path / "spiece.model").unlink()
    assert isinstance(AutoTokenizer.from_pretrained(folder, use_fast=False), AlbertTokenizer)
    with pytest.raises(TokenizerError, match=r"expected a spiece\.model, there is none"):
        AutoTokenizer.from_pretrained(tmp_path, use_fast=False)


def test_options_of_the_call_win_over_the_files(cls: Any, folder: Path) -> None:
    assert cls.from_pretrained(folder, do_lower_case=False).tokenize("IN") != cls.from_pretrained(folder).tokenize("IN")


def test_a_tokenizer_config_of_transformers(cls: Any, folder: Path, tmp_path: Path) -> None:
    """As 4.57 writes it, with every special token under "added_tokens_decoder"."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    tokens = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    decoder = {str(n): {**flags, "content": t, "lstrip": t == "[MASK]"} for n, t in enumerate(tokens)}
    config = {
        "added_tokens_decoder": decoder,
        "extra_special_tokens": {},
        "model_max_length": 512,
        "bos_token": "[CLS]",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"mask_token": {**flags, "content": "[MASK]"}}))
    (tmp_path / "spiece.model").write_bytes((folder / "spiece.model").read_bytes())
    loaded = cls.from_pretrained(tmp_path)
    assert loaded.encode("in [MASK] it") == cls(folder / "spiece.model").encode("in [MASK] it")
    assert len(loaded) == loaded.vocab_size


def test_a_vocabulary_larger_than_the_models_is_warned_of(cls: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes((folder / "spiece.model").read_bytes())
    (tmp_path / "config.json").write_text('{"vocab_size": 330}')
    assert len(cls.from_pretrained(tmp_path)) == 330
    (tmp_path / "config.json").write_text('{"vocab_size": 300}')
    with pytest.warns(UserWarning, match=r"config\.json: vocab_size is 300, but the tokenizer has 330 tokens"):
        cls.from_pretrained(tmp_path)


def test_tokenizers_travel_between_processes(tokenizer: Any) -> None:
    tokenizer.add_tokens(["[NEW]"])
    assert pickle.loads(pickle.dumps(tokenizer)).encode("in 1990, said [NEW]") == tokenizer.encode(
        "in 1990, said [NEW]"
    )


def test_import_is_cheap() -> None:
    code = "import albert_core.tokenizer, sys; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("sentencepiece", "tokenizers", "huggingface_hub", "torch", "tensorflow", "jax"):
        assert f"'{heavy}'" not in loaded


def test_the_tokenizer_module_reexports_its_names() -> None:
    names = {
        "AddedToken",
        "AlbertTokenizer",
        "AlbertTokenizerFast",
        "AutoTokenizer",
        "BatchEncoding",
        "WordPieceTokenizer",
    }
    assert names <= set(dir(importlib.import_module("albert_core.tokenizer")))


# -- bad files and options -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x0a\x03abc", b"\xff" * 100, None])
def test_a_corrupt_model_is_an_error_that_names_it(
    cls: Any, content: bytes | None, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes((folder / "spiece.model").read_bytes()[:-1000] if content is None else content)
    with pytest.raises(TokenizerError, match=r"spiece\.model"):
        cls(path)


def test_a_field_that_only_sentencepiece_can_skip_is_an_error_that_names_the_file(folder: Path, tmp_path: Path) -> None:
    group = b"\xa3\x06\xa4\x06"  # field 100 begins and ends
    (tmp_path / "spiece.model").write_bytes(group + (folder / "spiece.model").read_bytes())
    with pytest.raises(TokenizerError, match=r"spiece\.model: expected a sentencepiece model, got a field of kind 3"):
        AlbertTokenizerFast(tmp_path / "spiece.model")


def test_a_model_with_any_byte_wrong_is_read_or_refused(cls: Any, folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / "spiece.model").read_bytes())
    path, refused = tmp_path / "spiece.model", 0
    for place in [*range(0, 200, 7), *range(len(content) - 300, len(content), 11), *range(200, len(content), 9973)]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            cls(path).encode("in 1990, it was said", return_offsets_mapping=True)
        except TokenizerError as error:
            refused += "spiece.model" in str(error)
    assert refused > 10


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"do_lower_case": "yes"}, "do_lower_case: expected True or False, got 'yes'"),
        ({"mask_token": ""}, "mask_token: expected a non-empty string, got ''"),
        ({"pad_token": 5}, "pad_token: expected a non-empty string, got 5"),
        ({"mask_token": "<mask>"}, r"spiece\.model: expected a vocabulary with the mask_token '<mask>'"),
        ({"model_max_length": -1}, "model_max_length: expected .* got -1"),
        ({"sp_model_kwargs": [1]}, r"sp_model_kwargs: expected a dict, got \[1\]"),
        ({"sp_model_kwargs": {"model_file": "x"}}, "sp_model_kwargs: expected .*"),
        ({"truncation_side": "top"}, "truncation_side: expected .* got 'top'"),
        ({"padding_side": "left"}, "padding_side: expected 'right', got 'left'"),
        ({"additional_special_tokens": [""]}, "additional_special_tokens: expected a non-empty string, got ''"),
        ({"additional_special_tokens": 5}, "additional_special_tokens: expected a list of tokens, got 5"),
    ],
)
def test_a_bad_option_is_named_with_its_file(
    cls: Any, options: dict, pattern: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=pattern):
        cls(folder / "spiece.model", **options)
    (tmp_path / "spiece.model").write_bytes((folder / "spiece.model").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    with pytest.raises(ValueError, match=pattern):
        cls.from_pretrained(tmp_path)


def test_subword_sampling_is_refused_by_the_fast_class() -> None:
    with pytest.raises(TokenizerError, match="sp_model_kwargs: expected none, only AlbertTokenizer samples"):
        AlbertTokenizerFast(BUNDLED, sp_model_kwargs={"enable_sampling": True})


def test_a_folder_without_a_readable_vocabulary(cls: Any, tmp_path: Path) -> None:
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
    with pytest.raises(TokenizerError, match=r"vocab_file: expected a spiece\.model"):
        cls()


def test_files_named_by_a_config_are_not_opened(cls: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes((folder / "spiece.model").read_bytes())
    hostile = {
        "self": 1,
        "vocab_file": "/etc/passwd",
        "tokenizer_file": "../x",
        "auto_map": {"AutoTokenizer": ["a.b", None]},
        "special_tokens": {"mask_token": "x"},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(hostile))
    assert cls.from_pretrained(tmp_path).vocab_file == tmp_path / "spiece.model"


# -- hostile tokenizer.json ------------------------------------------------------------------------------------------

_TEMPLATE = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}], "pair": []}
_BPE = {"type": "BPE", "vocab": {"a": 0, "é": 1, "b": 2}, "merges": ["é b"], "continuing_subword_prefix": "##é"}


def crafted(folder: Path, tmp_path: Path, change: dict) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**json.loads((folder / "tokenizer.json").read_text()), **change}))
    return path


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
def test_a_tokenizer_json_that_panics_is_an_error(
    change: dict, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    path = crafted(folder, tmp_path, change)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        AlbertTokenizerFast(tokenizer_file=path)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_a_stride_that_would_panic_is_not_used(folder: Path, tmp_path: Path) -> None:
    truncation = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 2}
    tokenizer = AlbertTokenizerFast(tokenizer_file=crafted(folder, tmp_path, {"truncation": truncation}))
    assert tokenizer.decode(tokenizer.encode("in it said so"), skip_special_tokens=True) == "in it said so"


def test_a_decoder_that_panics_is_an_error(folder: Path, tmp_path: Path) -> None:
    strip = {"type": "Strip", "content": "s", "start": 9, "stop": 9}
    tokenizer = AlbertTokenizerFast(tokenizer_file=crafted(folder, tmp_path, {"decoder": strip}))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: .*failed on it"):
        tokenizer.decode(tokenizer.convert_tokens_to_ids(["s", "it"]))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"version": "1.0"}', b"null"])
def test_a_tokenizer_json_that_is_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        AlbertTokenizerFast(tokenizer_file=path)
    with pytest.raises((TokenizerError, FormatError), match=r"tokenizer\.json"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_any_change_of_a_tokenizer_json_is_read_or_refused(folder: Path, tmp_path: Path) -> None:
    whole = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    draw, refused = random.Random(5), []
    for _ in range(120):
        changed = json.loads(json.dumps(whole))
        place, key = draw.choice(list(_places(changed)))
        place[key] = draw.choice([None, 0, -1, 1, 2**64, 1.5, "", "▁", [], {}, True, [["a", 0.0]]])
        try:
            tokenizer = AlbertTokenizerFast(tokenizer_file=crafted(folder, tmp_path, changed))
            tokenizer(["in it", "日本 [MASK]"], truncation=True, max_length=4, return_offsets_mapping=True)
            tokenizer.decode([5, 60, 7, 13])
        except TokenizerError as error:
            refused.append(str(error))
    assert 20 < len(refused) < 120
    assert all("tokenizer.json" in message for message in refused)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON value that can be set, long lists apart."""
    if not isinstance(value, dict | list) or len(value) > 60:
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        yield from _places(value[key])
