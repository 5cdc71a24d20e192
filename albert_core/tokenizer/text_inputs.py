"""The forms in which a user may hand over text, sorted out once."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Sample", "samples_of", "well_formed"]


class Sample(NamedTuple):
    """One row of a batch.

    Args:
        first: The text, as a list of one text or of pre-split words.
        second: The second text likewise, or None.
    """

    first: list[str]
    second: list[str] | None = None


def samples_of(text: Any, text_pair: Any, words: bool) -> tuple[list[Sample], bool]:
    """Samples, and whether they were given as a batch.

    Args:
        text: A text or a list of texts; with `words` a list of words or a list of such lists. Instead of a text in a
            list also a pair of texts.
        text_pair: The second texts in the same form, or None.
        words: Texts come as lists of words.

    Raises:
        TypeError: Something that is no text; names the argument and the place.
        ValueError: Unequally many first and second texts.
    """
    batched = _is_batch(text, words)
    firsts = list(text) if batched else [text]
    if text_pair is None:
        seconds = [None] * len(firsts)
        if batched and not words:
            pairs = [item if _is_pair(item) else (item, None) for item in firsts]
            firsts, seconds = [a for a, _ in pairs], [b for _, b in pairs]
    else:
        seconds = list(text_pair) if batched and not isinstance(text_pair, str) else [text_pair]
    if len(firsts) != len(seconds):
        raise ValueError(f"text_pair: expected {len(firsts)} texts, as many as in text, got {len(seconds)}")
    samples = [
        Sample(_texts("text", a, place, words), None if b is None else _texts("text_pair", b, place, words))
        for place, (a, b) in enumerate(zip(firsts, seconds, strict=True))
    ]
    return samples, batched


def _is_batch(text: Any, words: bool) -> bool:
    if not isinstance(text, list | tuple):
        return False
    return not words or (len(text) > 0 and not isinstance(text[0], str))


def _is_pair(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2


def _texts(argument: str, value: Any, place: int, words: bool) -> list[str]:
    texts = value if words else [value]
    if not isinstance(texts, list | tuple):
        raise TypeError(f"{argument}: expected a list of words at position {place}, got {type(value).__name__}")
    for item in texts:
        if not isinstance(item, str):
            raise TypeError(f"{argument}: expected str at position {place}, got {type(item).__name__}")
    return [well_formed(item) for item in texts]


def well_formed(text: str) -> str:
    """The text with each lone surrogate, which no UTF-8 can hold, replaced by U+FFFD; pairs of them are joined."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
