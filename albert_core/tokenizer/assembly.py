"""From the ids of texts to the rows of a batch: truncation, special tokens, padding. Plain lists throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from albert_core.errors import TokenizerError
from albert_core.input_checks import count

__all__ = ["PADDING", "TRUNCATION", "kept_lengths", "pad_rows", "strategy", "windows"]

PADDING = {True: "longest", False: "do_not_pad", "longest": "longest", "max_length": "max_length"}
PADDING |= {"do_not_pad": "do_not_pad"}
TRUNCATION = {True: "longest_first", False: "do_not_truncate"}
TRUNCATION |= {name: name for name in ("longest_first", "only_first", "only_second", "do_not_truncate")}


def strategy(argument: str, value: Any, table: Mapping[Any, str]) -> str:
    """The strategy that a user's value of `padding` or `truncation` means.

    Raises:
        ValueError: It means none.
    """
    value = str(getattr(value, "value", value)) if not isinstance(value, bool) else value  # an enum of transformers
    if value not in table:
        names = ", ".join(repr(name) for name in table)
        raise ValueError(f"{argument}: expected one of {names}, got {value!r}")
    return table[value]


def kept_lengths(first: int, second: int, room: int, how: str) -> tuple[int, int]:
    """How much of each of two texts stays so that both fit.

    Args:
        first: Length of the first text, in tokens.
        second: Length of the second; 0 if there is none.
        room: Tokens to be had by both.
        how: "longest_first" shortens the longer one, and the second where they are equal, token by token;
            "only_first" and "only_second" shorten that one alone.

    Raises:
        TokenizerError: The text that may be shortened is not long enough.
    """
    excess = first + second - room
    if excess <= 0 or how == "do_not_truncate":
        return first, second
    if how == "longest_first":
        shorter = min(first, second)
        if room < 2 * shorter:
            return (room + 1) // 2, room // 2
        return (room - second, second) if first > second else (first, room - first)
    length = first if how == "only_first" else second
    if length < excess:
        raise TokenizerError(
            None, f"truncation: {how!r} would have to take {excess} tokens from a text of {length}; try 'longest_first'"
        )
    return (first - excess, second) if how == "only_first" else (first, second - excess)


def windows(length: int, kept: int, stride: int, side: str, overflow: bool) -> list[slice]:
    """The stretches of a text that become rows: the one that stays or, with `overflow`, all of them.

    Args:
        length: Tokens of the text.
        kept: Tokens of a stretch.
        stride: Tokens that a stretch shares with the one before.
        side: "right" or "left", where tokens are cut off.
        overflow: Give the others too, in the order in which they are cut.

    Raises:
        ValueError: `stride` leaves no way forward.
    """
    if kept >= length:
        return [slice(0, length)]
    if not overflow:
        return [slice(length - kept, length) if side == "left" else slice(0, kept)]
    step = kept - stride
    if step <= 0:
        raise ValueError(f"stride: expected less than {kept}, the tokens of the text in a row, got {stride}")
    count = 1 + -(-(length - kept) // step)
    if side == "left":
        return [slice(max(0, length - i * step - kept), length - i * step) for i in range(count)]
    return [slice(i * step, min(length, i * step + kept)) for i in range(count)]


def pad_rows(
    rows: Sequence[dict[str, list[Any]]],
    fill: Mapping[str, int],
    how: str,
    max_length: Callable[[], int],
    multiple: int | None,
) -> None:
    """Lengthen, in place, the fields of every row to one length.

    Args:
        rows: The rows; "input_ids" gives the length of each.
        fill: What each field is filled with; other fields stay as they are.
        how: "longest" of the rows, "max_length" or "do_not_pad".
        max_length: The length for "max_length", in tokens.
        multiple: The length is rounded up to a multiple of it.

    Raises:
        ValueError: `multiple` is no positive number.
    """
    multiple = 1 if multiple is None else count("pad_to_multiple_of", multiple, 1)
    if how == "do_not_pad" or not rows:
        return
    length = max_length() if how == "max_length" else max(len(row["input_ids"]) for row in rows)
    length += -length % multiple
    for row in rows:
        missing = length - len(row["input_ids"])
        for name in fill.keys() & row.keys() if missing > 0 else ():
            row[name] = [*row[name], *[fill[name]] * missing]
