"""ALBERTs with BERT's vocabulary, the Chinese checkpoints."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizer_cases import GOLDEN
from tokenizer_texts import chinese

from albert_core.errors import NotFound, TokenizerError
from albert_core.tokenizer import AlbertTokenizer, AutoTokenizer, WordPieceTokenizer

pytest_plugins = ["tokenizer_fixtures"]
OPTIONS = {"default": {}, "cased": {"do_lower_case": False, "tokenize_chinese_chars": False}}


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()[:8]


@pytest.fixture
def tokenizer(wordpiece_folder: Path) -> WordPieceTokenizer:
    loaded = AutoTokenizer.from_pretrained(wordpiece_folder)
    assert isinstance(loaded, WordPieceTokenizer)
    return loaded


@pytest.mark.parametrize("name", OPTIONS)
def test_ids_and_offsets_are_those_of_transformers_fast_class(name: str, wordpiece_folder: Path) -> None:
    tokenizer = WordPieceTokenizer(wordpiece_folder / "vocab.txt", **OPTIONS[name])
    texts = chinese(1000, seed=2)
    batch = tokenizer(texts, return_offsets_mapping=True)
    rows = zip(batch.input_ids, batch.offset_mapping, strict=True)
    got = [digest([ids, [list(span) for span in spans]]) for ids, spans in rows]
    assert [t for t, g, e in zip(texts, got, GOLDEN["wordpiece"][name], strict=True) if g != e] == []


def test_chinese_characters_words_and_special_tokens(tokenizer: WordPieceTokenizer) -> None:
    text = "我们Said [MASK]unsaid，龘"
    tokens = ["[CLS]", "我", "们", "said", "[MASK]", "un", "##said", "，", "[UNK]", "[SEP]"]
    encoding = tokenizer(text, "中国", return_special_tokens_mask=True)
    assert encoding.tokens() == [*tokens, "中", "国", "[SEP]"]
    assert encoding.token_type_ids == [0] * len(tokens) + [1] * 3
    assert tokenizer.decode(encoding.input_ids, skip_special_tokens=True) == "我 们 said unsaid ， 中 国"
    assert tokenizer.convert_tokens_to_string(["un", "##said", "[UNK]", "##ing"]) == "unsaid [UNK]ing"
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (0, 1, 4)
    assert tokenizer.bos_token is tokenizer.bos_token_id is None
    assert tokenizer.is_fast


def test_the_call_is_the_same(tokenizer: WordPieceTokenizer) -> None:
    batch = tokenizer(
        ["我们的学生" * 4, "said"],
        padding=True,
        truncation=True,
        max_length=10,
        stride=2,
        return_overflowing_tokens=True,
        return_tensors="np",
    )
    assert batch.input_ids.shape == (4, 10)
    assert batch.overflow_to_sample_mapping.tolist() == [0, 0, 0, 1]
    assert batch.input_ids[0, 7:9].tolist() == batch.input_ids[1, 1:3].tolist()


@pytest.mark.parametrize("keep", ["both", "vocab.txt", "tokenizer.json"])
def test_save_and_load(keep: str, wordpiece_folder: Path, tmp_path: Path) -> None:
    saved = WordPieceTokenizer(wordpiece_folder / "vocab.txt", do_lower_case=False, model_max_length=99)
    saved.add_tokens(["[NEW]"])
    files = [Path(file).name for file in saved.save_pretrained(tmp_path)]
    assert files == ["vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
    for name in {"vocab.txt", "tokenizer.json"} - {keep} if keep != "both" else ():
        (tmp_path / name).unlink()
    loaded = AutoTokenizer.from_pretrained(tmp_path, use_fast=False)
    assert isinstance(loaded, WordPieceTokenizer)
    assert (loaded.model_max_length, len(loaded)) == (99, len(saved))
    for text in ["Paris café 我们 [NEW]", *chinese(50, seed=3)]:
        assert loaded.encode(text) == saved.encode(text)


def test_a_saved_folder_opens_in_transformers(tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
    import transformers

    tokenizer.save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in chinese(50, seed=4):
        assert theirs(text)["input_ids"] == tokenizer(text).input_ids


@pytest.mark.parametrize(
    ("content", "options", "pattern"),
    [
        (b"", {}, r"vocab\.txt: expected a vocabulary with the unk_token '\[UNK\]'"),
        (b"[UNK]\n[SEP]\n[PAD]\n[CLS]\n", {}, r"vocab\.txt: expected a vocabulary with the mask_token"),
        ("[UNK]\n中".encode("gb2312"), {}, r"vocab\.txt: expected UTF-8 text, got a wrong byte at 6"),
        (b"x", {"do_lower_case": 1}, "do_lower_case: expected True or False, got 1"),
        (b"x", {"strip_accents": "no"}, "strip_accents: expected True or False, got 'no'"),
    ],
)
def test_bad_vocabularies_and_options(content: bytes, options: dict, pattern: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(TokenizerError, match=pattern):
        WordPieceTokenizer(tmp_path / "vocab.txt", **options)


def test_missing_files(wordpiece_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"expected a vocab\.txt or tokenizer\.json, there is none"):
        WordPieceTokenizer.from_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match=r"expected a spiece\.model.*, there is none"):
        AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(NotFound, match="none"):
        WordPieceTokenizer(tmp_path / "none")
    with pytest.raises(TokenizerError, match=r"expected a spiece\.model.*WordPiece"):
        AlbertTokenizer.from_pretrained(wordpiece_folder)
