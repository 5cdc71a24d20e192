"""What happens to text before and after the unigram model, as plain string functions.

Source: `tokenization.preprocess_text` and `tokenization.encode_pieces` of https://github.com/google-research/albert,
plus what transformers' AlbertTokenizer (4.57) does besides: the quote rule, and lower-casing character by character
before anything else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["WORD_START", "Preprocessing", "decomposed", "ends_in_digit_comma", "resplit_digit_comma"]

WORD_START = "\u2581"  # sentencepiece's mark of a word's first piece
_MANY = 16  # characters, from which one pass over a text is quicker than one for each


@dataclass(frozen=True)
class Preprocessing:
    """How text is cleaned before the unigram model sees it.

    Args:
        do_lower_case: Lower-case everything but the special tokens.
        remove_space: Drop white space at both ends and join words by single spaces.
        keep_accents: Keep combining marks; otherwise text is decomposed (NFKD) and loses them.
    """

    do_lower_case: bool = True
    remove_space: bool = True
    keep_accents: bool = False

    def __call__(self, text: str) -> str:
        """The text as the unigram model gets it."""
        if self.do_lower_case:
            text = text.replace("Σ", "σ").lower()  # character by character there is no final ς
        if self.remove_space:
            text = " ".join(text.split())
        text = text.replace("``", '"').replace("''", '"')
        if self.keep_accents or text.isascii():
            return text
        text = _strip_accents(text)
        return text.lower() if self.do_lower_case else text


def _strip_accents(text: str) -> str:
    """NFKD without combining marks; by character, because putting long runs of marks in order takes quadratic time."""
    changes = {c: plain for c in set(text) if c > "\x7f" and (plain := decomposed(c)) != c}
    if len(changes) > _MANY:
        return text.translate({ord(c): plain for c, plain in changes.items()})
    for character, plain in changes.items():  # what comes out stays as it is, so the order does not matter
        text = text.replace(character, plain)
    return text


@lru_cache(maxsize=1 << 14)
def decomposed(character: str) -> str:
    """A character's NFKD without combining marks."""
    return "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))


def ends_in_digit_comma(piece: str) -> bool:
    """Whether the digit-comma rule applies: "9," and "▁1990," but not a lone ","."""
    return piece.endswith(",") and piece[-2:-1].isdigit()


def resplit_digit_comma(piece: str, pieces_of: Callable[[str], list[str]]) -> list[str]:
    """Take the comma off a piece such as "▁1990," and encode the rest anew.

    Args:
        piece: A piece for which `ends_in_digit_comma` holds.
        pieces_of: The unigram model, text to pieces.
    """
    pieces = pieces_of(piece[:-1].replace(WORD_START, ""))
    if not piece.startswith(WORD_START) and pieces and pieces[0].startswith(WORD_START):
        pieces = [pieces[0][1:], *pieces[1:]] if len(pieces[0]) > 1 else pieces[1:]
    return [*pieces, ","]
