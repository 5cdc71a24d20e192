"""Build a `tokenizers` pipeline, and so a tokenizer.json, that does what a spiece.model does.

The symbols Google declared as user-defined are ordinary pieces here. As added tokens, which is how transformers
converts them, each would start a new word behind it.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from albert_core.errors import TokenizerError
from albert_core.protobuf import Malformed, fields
from albert_core.tokenizer.files import VocabularyFile
from albert_core.tokenizer.preprocessing import WORD_START, Preprocessing, ends_in_digit_comma
from albert_core.tokenizer.sentencepiece_segmenter import load_sentencepiece
from albert_core.tokenizer.special_tokens import AddedToken
from albert_core.tokenizer.tokenizers_library import add_template, library_errors

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.normalizers import Normalizer

__all__ = ["build_model", "build_tokenizer", "read_pieces", "spans_words"]

_TRAINER_SPEC, _NORMALIZER_SPEC = 2, 3  # fields of sentencepiece.ModelProto
_MODEL_TYPE, _UNIGRAM = 3, 1  # field of TrainerSpec and its value
_DEMOTION = 100.0  # more than any way to cut the same characters costs
_CHARSMAP, _DUMMY_PREFIX, _REMOVE_SPACES = 2, 3, 4  # fields of NormalizerSpec


def build_tokenizer(
    file: VocabularyFile,
    preprocess: Preprocessing,
    special_tokens: Mapping[str, AddedToken],
    added: Iterable[AddedToken],
) -> Tokenizer:
    """The pipeline for a spiece.model.

    No pipeline can take a comma off a piece; pieces that end in a digit and a comma are demoted instead, so far that
    they are not chosen.

    Args:
        file: The spiece.model.
        preprocess: How text is cleaned.
        special_tokens: The special tokens by attribute name.
        added: Tokens that are cut out of the text first, the special ones among them.

    Raises:
        TokenizerError: The file is no unigram sentencepiece model, or the library refuses it.
    """
    from tokenizers import AddedToken as LibraryToken, Tokenizer, decoders, pre_tokenizers

    model, tokens = load_sentencepiece(file)
    pieces = read_pieces(file, model, tokens)
    demoted = [(piece, score - _DEMOTION * ends_in_digit_comma(piece)) for piece, score in pieces]
    spec = _message(file, _NORMALIZER_SPEC)
    scheme = "always" if _first(file, spec, _DUMMY_PREFIX, 1) else "never"
    metaspace: dict[str, Any] = {"replacement": WORD_START, "prepend_scheme": scheme, "split": not spans_words(pieces)}
    with library_errors(file.path):
        tokenizer = Tokenizer(build_model(file, demoted, model.unk_id()))
        tokenizer.normalizer = _normalizer(preprocess, file, spec)
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**metaspace)
        tokenizer.decoder = decoders.Metaspace(**metaspace)
        for token in dict.fromkeys(added):
            # found before the text is normalised, or the space before one would become a piece
            tokenizer.add_tokens([LibraryToken(**{**vars(token), "normalized": False})])
        add_template(tokenizer, special_tokens["cls_token"].content, special_tokens["sep_token"].content)
    return tokenizer


def read_pieces(file: VocabularyFile, model: Any, tokens: list[str]) -> list[tuple[str, float]]:
    """The pieces of a unigram model and their scores.

    Args:
        file: The spiece.model.
        model: The same as a SentencePieceProcessor.
        tokens: Its pieces.

    Raises:
        TokenizerError: It is no unigram model.
    """
    kind = _first(file, _message(file, _TRAINER_SPEC), _MODEL_TYPE, _UNIGRAM)
    if kind != _UNIGRAM:
        raise TokenizerError(file.path, f"expected a unigram model (type 1), got type {kind}")
    return [(token, model.get_score(number)) for number, token in enumerate(tokens)]


def build_model(file: VocabularyFile, pieces: list[tuple[str, float]], unk: int) -> Unigram:
    """The library's unigram model.

    Raises:
        TokenizerError: The library refuses it.
    """
    from tokenizers import models

    with library_errors(file.path):
        return models.Unigram(pieces, unk_id=unk, byte_fallback=False)


def spans_words(pieces: Iterable[tuple[str, float]]) -> bool:
    """Whether a piece spans two words, so that words cannot be cut apart."""
    return any(WORD_START in piece[1:] for piece, _ in pieces)


def _normalizer(preprocess: Preprocessing, file: VocabularyFile, spec: bytes) -> Normalizer:
    """`Preprocessing`, then sentencepiece's own normalisation."""
    from tokenizers import Regex, normalizers

    lower: list[Normalizer] = [normalizers.Lowercase()] if preprocess.do_lower_case else []
    steps = [*lower]
    if preprocess.remove_space:
        steps += [normalizers.Replace(Regex(f"{_WHITE_SPACE}+"), " "), normalizers.Strip()]
    steps += [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not preprocess.keep_accents:
        steps += [normalizers.NFKD(), normalizers.Replace(Regex(_combining()), ""), *lower]
    charsmap = _first(file, spec, _CHARSMAP, b"")
    if charsmap and isinstance(charsmap, bytes):
        steps += [normalizers.NFC(), normalizers.Precompiled(charsmap)]
    if _first(file, spec, _REMOVE_SPACES, 1):
        steps += [normalizers.Replace(Regex(" +"), " "), normalizers.Replace(Regex(r"\A | \z"), "")]
    return normalizers.Sequence(steps)


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


def _first(file: VocabularyFile, message: bytes, number: int, default: int | bytes) -> int | bytes:
    """The first value of a field of a message."""
    try:
        return next((value for field, value in fields(message) if field == number), default)
    except Malformed as error:
        raise TokenizerError(file.path, f"expected a sentencepiece model, got {error}") from None


def _message(file: VocabularyFile, number: int) -> bytes:
    """A message that is a field of the model's own."""
    value = _first(file, file.content, number, b"")
    return value if isinstance(value, bytes) else b""
