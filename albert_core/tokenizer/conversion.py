"""Build a `tokenizers` pipeline, and so a tokenizer.json, that does what a spiece.model does.

The symbols Google declared as user-defined are ordinary pieces here. As added tokens, which is how transformers
converts them, each would start a new word behind it.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from albert_core.errors import TokenizerError
from albert_core.tokenizer.files import VocabularyFile
from albert_core.tokenizer.preprocessing import WORD_START, Preprocessing
from albert_core.tokenizer.sentencepiece_engine import load_sentencepiece
from albert_core.tokenizer.special_tokens import SpecialToken, require_special_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

__all__ = ["build_tokenizer"]

_TRAINER_SPEC, _NORMALIZER_SPEC = 2, 3  # fields of sentencepiece.ModelProto
_MODEL_TYPE, _UNIGRAM = 3, 1  # field of TrainerSpec and its value
_CHARSMAP = 2  # field of NormalizerSpec


def build_tokenizer(
    file: VocabularyFile, preprocess: Preprocessing, special_tokens: Mapping[str, SpecialToken]
) -> Tokenizer:
    """The pipeline for a spiece.model, all but the digit-comma rule, which no pipeline can express.

    Args:
        file: The spiece.model.
        preprocess: How text is cleaned.
        special_tokens: Tokens that are cut out of the text first, by attribute name.

    Raises:
        TokenizerError: The file is no unigram sentencepiece model, or lacks a special token.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    model = load_sentencepiece(file)
    cls_token, sep_token = special_tokens["cls_token"].content, special_tokens["sep_token"].content
    model_type = _first(_field(file.content, _TRAINER_SPEC), _MODEL_TYPE, _UNIGRAM)
    if model_type != _UNIGRAM:
        raise TokenizerError(file.path, f"expected a unigram model (type 1), got type {model_type}")
    pieces = [(model.id_to_piece(i), model.get_score(i)) for i in range(len(model))]
    require_special_tokens(special_tokens, {piece for piece, _ in pieces}, file.path)
    metaspace = {"replacement": WORD_START, "prepend_scheme": "always", "split": _split_at_words(pieces)}
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=model.unk_id(), byte_fallback=False))
    tokenizer.normalizer = _normalizer(preprocess, _field(_field(file.content, _NORMALIZER_SPEC), _CHARSMAP))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**metaspace)
    tokenizer.decoder = decoders.Metaspace(**metaspace)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls_token}:0 $A:0 {sep_token}:0",
        pair=f"{cls_token}:0 $A:0 {sep_token}:0 $B:1 {sep_token}:1",
        special_tokens=[(token, model.piece_to_id(token)) for token in (cls_token, sep_token)],
    )
    added = {t.content: t for t in special_tokens.values()}.values()
    tokenizer.add_special_tokens(
        [AddedToken(t.content, lstrip=t.lstrip, rstrip=t.rstrip, normalized=False) for t in added]
    )
    return tokenizer


def _normalizer(preprocess: Preprocessing, charsmap: bytes) -> Normalizer:
    """`Preprocessing`, then sentencepiece's own normalisation."""
    from tokenizers import Regex, normalizers

    steps: list[Normalizer] = []
    if preprocess.remove_space:
        steps += [normalizers.Replace(Regex(f"{_WHITE_SPACE}+"), " "), normalizers.Strip()]
    steps += [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not preprocess.keep_accents:
        steps += [normalizers.NFKD(), normalizers.Replace(Regex(_combining()), "")]
    if preprocess.do_lower_case:
        steps += [normalizers.Lowercase()]
    if charsmap:
        steps += [normalizers.NFC(), normalizers.Precompiled(charsmap)]
    steps += [normalizers.Replace(Regex(" +"), " "), normalizers.Replace(Regex(r"\A | \z"), "")]
    return normalizers.Sequence(steps)


def _split_at_words(pieces: list[tuple[str, float]]) -> bool:
    """Whether no piece spans two words, so that words can be cut apart and cached."""
    return not any(WORD_START in piece[1:] for piece, _ in pieces)


def _character_class(characters: Iterable[int]) -> str:
    """A regular expression's class for code points, as ranges."""
    ranges: list[list[int]] = []
    for code in characters:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(rf"\x{{{first:X}}}-\x{{{last:X}}}" for first, last in ranges) + "]"


def _combining() -> str:
    """What `unicodedata.combining` takes as an accent, narrower than the library's StripAccents."""
    return _character_class(code for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code)))


_WHITE_SPACE = _character_class(ord(c) for c in re.findall(r"\s", "".join(map(chr, range(0x3001)))))  # as str.split


def _fields(proto: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol buffer message, its wire format read only as far as needed."""
    place = 0
    while place < len(proto):
        tag, place = _varint(proto, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(proto, place)
        else:
            size, place = _varint(proto, place) if kind == 2 else ({1: 8, 5: 4}[kind], place)
            value, place = proto[place : place + size], place + size
        yield tag >> 3, value


def _varint(proto: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = proto[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _first(proto: bytes, number: int, default: int | bytes) -> int | bytes:
    return next((value for field, value in _fields(proto) if field == number), default)


def _field(proto: bytes, number: int) -> bytes:
    value = _first(proto, number, b"")
    return value if isinstance(value, bytes) else b""
