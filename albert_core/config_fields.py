"""How a config field is declared: its default, its documentation and the values it allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import field
from typing import Any

__all__ = ["choice", "flag", "is_int", "is_number", "number", "rate", "size", "token_id"]

MAX_SIZE = 2**31 - 1  # what an int32 index can address


def is_int(value: Any) -> bool:
    """Whether a value is an int and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is an int or a float and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def size(default: int, doc: str) -> Any:
    """A count that shapes parameters and so is read-only."""
    return field(
        default=default,
        metadata={
            "doc": doc,
            "check": lambda v: is_int(v) and 1 <= v <= MAX_SIZE,
            "allowed": f"an int from 1 to {MAX_SIZE}",
            "shapes": True,
        },
    )


def number(default: float, doc: str, allowed: str, check: Callable[[float], bool]) -> Any:
    """A finite number with a range of its own."""

    def accepts(value: Any) -> bool:
        return is_number(value) and math.isfinite(value) and check(value)

    return field(default=default, metadata={"doc": doc, "check": accepts, "allowed": allowed})


def rate(default: float, doc: str) -> Any:
    """A probability of dropping."""
    return number(default, doc, "a number from 0 up to, not including, 1", lambda v: 0 <= v < 1)


def flag(default: bool, doc: str) -> Any:
    """A switch."""
    return field(default=default, metadata={"doc": doc, "check": lambda v: isinstance(v, bool), "allowed": "a bool"})


def token_id(default: int, doc: str) -> Any:
    """An id of the vocabulary, or None."""

    def is_id(value: Any) -> bool:
        return value is None or (is_int(value) and 0 <= value <= MAX_SIZE)

    return field(default=default, metadata={"doc": doc, "check": is_id, "allowed": "None or an int from 0"})


def choice(default: str | None, names: tuple[str | None, ...], doc: str, **more: Any) -> Any:
    """One name of a closed list."""

    def is_name(value: Any) -> bool:
        return (value is None or isinstance(value, str)) and value in names

    allowed = "one of " + ", ".join("None" if n is None else n for n in names)
    return field(default=default, metadata={"doc": doc, "check": is_name, "allowed": allowed, **more})
