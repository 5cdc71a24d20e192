"""Which characters and words a row's tokens come from, worked out when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["BatchMaps", "CharSpan", "RowMaps", "TokenSpan"]


class CharSpan(NamedTuple):
    """Characters from `start` up to, not including, `end`."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens from `start` up to, not including, `end`."""

    start: int
    end: int


class RowMaps(NamedTuple):
    """The maps of one row; special tokens and padding belong to no text.

    Args:
        tokens: The tokens.
        spans: The first character of each token in its text and the one after its last, or None.
        words: The number of each token's word in its text, or None.
        sequences: 0 for a token of the first text, 1 for one of the second, or None.
    """

    tokens: list[str]
    spans: list[tuple[int, int] | None]
    words: list[int | None]
    sequences: list[int | None]

    def chars(self, token: int) -> CharSpan | None:
        """The characters of a token, counted from the end if negative.

        Raises:
            IndexError: There is no such token.
        """
        span = self.spans[token]
        return None if span is None else CharSpan(*span)

    def tokens_of_word(self, word: int, sequence: int) -> TokenSpan | None:
        """The tokens of a word."""
        found = [number for number, _ in self._of(sequence) if self.words[number] == word]
        return TokenSpan(found[0], found[-1] + 1) if found else None

    def chars_of_word(self, word: int, sequence: int) -> CharSpan | None:
        """The characters of a word."""
        found = [span for number, span in self._of(sequence) if self.words[number] == word]
        return CharSpan(min(found)[0], max(end for _, end in found)) if found else None

    def token_at(self, character: int, sequence: int) -> int | None:
        """The token that covers a character; None for white space and what the tokenizer drops."""
        return next((number for number, (start, end) in self._of(sequence) if start <= character < end), None)

    def _of(self, sequence: int) -> Iterator[tuple[int, tuple[int, int]]]:
        for number, (span, own) in enumerate(zip(self.spans, self.sequences, strict=True)):
            if span is not None and own == sequence:
                yield number, span


class BatchMaps(Sequence[RowMaps]):
    """The maps of a batch.

    Args:
        count: Number of rows.
        make: Makes those of one row.
    """

    def __init__(self, count: int, make: Callable[[int], RowMaps]) -> None:
        self._made: list[RowMaps | None] = [None] * count
        self._make = make

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, row: int) -> RowMaps:  # pyright: ignore[reportIncompatibleMethodOverride]
        made = self._made[row]
        if made is None:
            made = self._made[row] = self._make(row % len(self))
        return made
