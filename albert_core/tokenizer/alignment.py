"""Where the characters of cleaned text, and pieces of it, come from in the text as it was given."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from albert_core.tokenizer.engine import Places
from albert_core.tokenizer.preprocessing import WORD_START, Preprocessing, decomposed

__all__ = ["Aligned", "align", "locate"]


_IS_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])  # the last white space is U+3000


class Aligned(NamedTuple):
    """Text, and where each of its characters came from.

    Args:
        text: The characters.
        starts: Start of what each came from.
        ends: End of what each came from.
    """

    text: str
    starts: np.ndarray
    ends: np.ndarray

    def kept(self, text: str, keep: np.ndarray) -> Aligned:
        """Some of the characters, under other names."""
        return Aligned(text, self.starts[keep], self.ends[keep])


def align(preprocess: Preprocessing, text: str) -> Aligned:
    """What `preprocess(text)` gives, step by step the same, with the way back."""
    places = np.arange(len(text))
    aligned = Aligned(text, places, places + 1)
    if preprocess.do_lower_case:
        aligned = _lower(aligned)
    if preprocess.remove_space:
        aligned = _join_words(aligned)
    aligned = _join_quotes(_join_quotes(aligned, "``"), "''")
    if not preprocess.keep_accents and not aligned.text.isascii():
        aligned = _each(aligned, decomposed)
        aligned = _lower(aligned) if preprocess.do_lower_case else aligned
    return aligned._replace(text=preprocess(text))  # a Σ is lower-cased by what stands beside it


def _lower(aligned: Aligned) -> Aligned:
    lower = aligned.text.lower()  # no character becomes none
    return aligned._replace(text=lower) if len(lower) == len(aligned.text) else _each(aligned, str.lower)


def _each(aligned: Aligned, change: Callable[[str], str]) -> Aligned:
    changed = [change(character) for character in aligned.text]
    sizes = np.fromiter(map(len, changed), np.intp, len(changed))
    return Aligned("".join(changed), np.repeat(aligned.starts, sizes), np.repeat(aligned.ends, sizes))


def _join_words(aligned: Aligned) -> Aligned:
    text = aligned.text
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    space = _IS_SPACE[np.minimum(codes, len(_IS_SPACE) - 1)]
    if not space.any():
        return aligned
    first = space & ~np.append(False, space[:-1])  # of each run of white space
    last = space & ~np.append(space[1:], False)
    ends = aligned.ends.copy()
    ends[first] = ends[last]
    places, words = np.arange(len(text)), np.flatnonzero(~space)
    between = (places > words[0]) & (places < words[-1]) if len(words) else False
    return aligned._replace(ends=ends).kept(" ".join(text.split()), ~space | (first & between))


def _join_quotes(aligned: Aligned, marks: str) -> Aligned:
    found = np.array([match.start() for match in re.finditer(marks, aligned.text)], np.intp)
    if not len(found):
        return aligned
    keep = np.ones(len(aligned.text), bool)
    keep[found + 1] = False
    ends = aligned.ends.copy()
    ends[found] = ends[found + 1]
    return aligned._replace(ends=ends).kept(aligned.text.replace(marks, '"'), keep)


def locate(pieces: list[str], origins: list[int], clean: Aligned, start: int, word: int) -> Places:
    """Where each piece stands: first in the normalised text, from there in the cleaned one, from there in the text.

    A piece does not cover the white space before it; a `▁` alone is an empty span where its word begins.

    Args:
        pieces: The pieces; together they are the normalised text.
        origins: For each character of the normalised text, and for its end, where in the cleaned text it came from.
        clean: The cleaned text.
        start: What to add to every place in the text.
        word: The number of the first word.
    """
    if not pieces:
        return Places([], [])
    sizes = np.fromiter(map(len, pieces), np.intp, len(pieces))
    marks = np.array([piece[0] == WORD_START for piece in pieces])
    first, last = np.cumsum(sizes) - sizes + marks, np.cumsum(sizes) - 1
    source = np.asarray(origins)
    following = np.searchsorted(source, source[last], side="right")  # the next character that comes from elsewhere
    stop = source[np.minimum(following, len(source) - 1)]
    starts = np.append(clean.starts, clean.ends[-1:])[source[first]]
    ends = np.where(first > last, starts, np.maximum(starts, clean.ends[stop - 1]))
    words = word + np.cumsum(marks) - marks[0]
    spans = zip((starts + start).tolist(), (ends + start).tolist(), strict=True)
    return Places(list(spans), words.tolist())
