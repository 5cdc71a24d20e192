"""What a tokenizer asks of the libraries that cut text into pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from albert_core.tokenizer.special_tokens import AddedToken

__all__ = ["Encoded", "Engine", "Places"]


class Places(NamedTuple):
    """Where in its text each token stands.

    Args:
        spans: Its first character, and the one after its last.
        words: The number of its word.
    """

    spans: list[tuple[int, int]]
    words: list[int]


class Encoded(NamedTuple):
    """One encoded text.

    Args:
        ids: The ids of its pieces.
        places: Where they stand; None if nobody asked.
    """

    ids: list[int]
    places: Places | None = None


class Engine(Protocol):
    """Turns text into ids; knows nothing of batches, pairs or padding."""

    tokens: list[str]  # by id
    ids: dict[str, int]
    vocab_size: int  # added tokens not counted
    draws: bool  # encoding a text twice may give two answers

    def encode(self, texts: list[str], places: bool = False) -> list[Encoded]:
        """Ids of each text, special tokens in the text included, none added; places if asked for."""
        ...

    def tokenize(self, text: str) -> list[str]:
        """Pieces as they stand in the cleaned text; an unknown one is its own text."""
        ...

    def join(self, tokens: Iterable[str]) -> str:
        """The text of pieces, none of them special."""
        ...

    def add(self, tokens: list[AddedToken]) -> None:
        """Find these in text from now on; those the vocabulary lacks get the next ids, in order."""
        ...

    def to_json(self) -> str:
        """The text of a tokenizer.json with these ids, but for what docs/tokenizers.md lists."""
        ...
