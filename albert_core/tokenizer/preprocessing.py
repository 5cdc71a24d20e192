"""What happens to text before and after the unigram model, as plain string functions.

Source: `tokenization.preprocess_text` and `tokenization.encode_pieces` of https://github.com/google-research/albert,
plus the quote rule and the lower-casing of single characters of transformers' AlbertTokenizer (4.57).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["WORD_START", "Preprocessing", "digit_comma_ids", "ends_in_digit_comma", "resplit_digit_comma"]

WORD_START = "\u2581"  # sentencepiece's mark of a word's first piece


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
        if self.remove_space:
            text = " ".join(text.split())
        text = text.replace("``", '"').replace("''", '"')
        if self.do_lower_case:
            text = text.replace("Σ", "σ")  # transformers lower-cases character by character: never a final ς
        if not self.keep_accents and not text.isascii():
            text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        return text.lower() if self.do_lower_case else text


def ends_in_digit_comma(piece: str) -> bool:
    """Whether the digit-comma rule applies: "9," and "▁1990," but not a lone ","."""
    return piece.endswith(",") and piece[-2:-1].isdigit()


def digit_comma_ids(ids: dict[str, int], unk_id: int) -> frozenset[int]:
    """Ids that call for a look at the pieces; the unknown one too where a comma is itself unknown."""
    found = {number for piece, number in ids.items() if ends_in_digit_comma(piece)}
    return frozenset(found if "," in ids else found | {unk_id})


def resplit_digit_comma(piece: str, encode: Callable[[str], list[str]]) -> list[str]:
    """Take the comma off a piece such as "▁1990," and encode the rest anew.

    Args:
        piece: A piece for which `ends_in_digit_comma` holds.
        encode: The unigram model, text to pieces.
    """
    pieces = encode(piece[:-1].replace(WORD_START, ""))
    if not piece.startswith(WORD_START) and pieces and pieces[0].startswith(WORD_START):
        pieces = [pieces[0][1:], *pieces[1:]] if len(pieces[0]) > 1 else pieces[1:]
    return [*pieces, ","]
