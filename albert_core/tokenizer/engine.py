"""What a tokenizer asks of the library that cuts text into pieces."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["Encoded", "Engine"]


class Encoded(NamedTuple):
    """One encoded text.

    Args:
        ids: The ids of its pieces.
        offsets: Start and end of each piece in the text, in characters; None if they were not asked for.
    """

    ids: list[int]
    offsets: list[tuple[int, int]] | None = None


class Engine(Protocol):
    """Turns text into ids; knows nothing of batches, pairs or padding."""

    tokens: list[str]  # by id
    ids: dict[str, int]

    @property
    def vocab_size(self) -> int:
        """Number of pieces of the model, added tokens not counted."""
        ...

    def encode(self, texts: list[str], offsets: bool = False) -> list[Encoded]:
        """Ids of each text, special tokens in the text included, none added; offsets if asked for."""
        ...

    def tokenize(self, text: str) -> list[str]:
        """Pieces as they stand in the cleaned text; an unknown one is its own text."""
        ...

    def to_json(self) -> str:
        """The text of a tokenizer.json with these ids, but for the digit-comma rule."""
        ...
