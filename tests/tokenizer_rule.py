"""The rule from text to pieces, written once more and plainly: what both tokenizer classes must do.

Sources: `preprocess_text` and `encode_pieces` in tokenization.py of https://github.com/google-research/albert; and what
transformers' AlbertTokenizer (4.57) does besides: special tokens are found first, text is lower-cased before they are
looked for, two backticks or apostrophes are a double quote. The unigram model itself is a function that is handed in.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

SPECIAL = ["[CLS]", "[SEP]", "[MASK]", "<unk>", "<pad>"]


def rule(
    text: str,
    unigram: Callable[[str], list[str]],
    *,
    do_lower_case: bool = True,
    remove_space: bool = True,
    keep_accents: bool = False,
) -> list[str]:
    """The pieces of a text."""
    result: list[str] = []
    for is_special, part in split_special(lower(text) if do_lower_case else text):
        if is_special:
            result.append(part)
            continue
        if remove_space:
            part = " ".join(part.strip().split())
        part = part.replace("``", '"').replace("''", '"')
        if not keep_accents:
            part = "".join(c for c in unicodedata.normalize("NFKD", part) if unicodedata.combining(c) == 0)
        result += encode_pieces(part.lower() if do_lower_case else part, unigram)
    return result


def lower(text: str) -> str:
    """Character by character, upper-case special tokens left alone."""
    done, place = "", 0
    while place < len(text):
        found = next((token for token in SPECIAL if text.startswith(token, place)), None)
        done += found or text[place].lower()
        place += len(found or " ")
    return done


def split_special(text: str) -> list[tuple[bool, str]]:
    """Special tokens and what stands between them; [MASK] swallows the white space before it."""
    parts: list[tuple[bool, str]] = []
    plain, place = "", 0
    while place < len(text):
        found = next((token for token in SPECIAL if text.startswith(token, place)), None)
        if found is None:
            plain += text[place]
            place += 1
            continue
        parts += [(False, plain.rstrip() if found == "[MASK]" else plain), (True, found)]
        plain, place = "", place + len(found)
    return [(special, part) for special, part in [*parts, (False, plain)] if part]


def encode_pieces(text: str, unigram: Callable[[str], list[str]]) -> list[str]:
    """A comma after a digit is taken off its piece, and the rest encoded anew."""
    result: list[str] = []
    for piece in unigram(text):
        if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
            again = unigram(piece[:-1].replace("▁", ""))
            if piece[0] != "▁" and again[0][0] == "▁":
                again = again[1:] if len(again[0]) == 1 else [again[0][1:], *again[1:]]
            result += [*again, ","]
        else:
            result.append(piece)
    return result
