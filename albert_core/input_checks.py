"""Refusing wrong inputs before any arithmetic: shapes, dtypes, and indices where their values are known."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from albert_core.numerics import IGNORED_LABEL

if TYPE_CHECKING:
    from albert_core.signature import Input

__all__ = ["check_dtype", "check_ids", "check_shape", "count", "dtype_name", "is_integer"]


def count(argument: str, value: Any, least: int) -> int:
    """A whole number that a user gave, of Python or of an array library.

    Raises:
        ValueError: It is none, or below `least`; names the argument.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if isinstance(value, bool) or number is None or number < least:
        raise ValueError(f"{argument}: expected a whole number, at least {least}, got {value!r}")
    return number


def dtype_name(array: Any) -> str:
    """The dtype of any framework's array as NumPy names it, for example "int64"."""
    dtype = getattr(array, "dtype", None)
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def is_integer(dtype: str) -> bool:
    """Whether a dtype's name is that of integers."""
    return dtype.startswith(("int", "uint"))


_FLOATS = ("float", "bfloat")
_ACCEPTS = {
    "int": is_integer,
    "mask": lambda d: is_integer(d) or d.startswith(("bool", *_FLOATS)),
    "float": lambda d: d.startswith(_FLOATS),
    "label": lambda d: is_integer(d) or d.startswith(("bool", *_FLOATS)),
}
_KINDS = {
    "int": "integers",
    "mask": "integers, booleans or floats of 0 and 1",
    "float": "floats",
    "label": "integers or floats",
}


def check_dtype(spec: Input, value: Any) -> None:
    """Raise a ValueError when an input is no array, or one of the wrong kind."""
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise ValueError(f"{spec.name}: expected an array of {_KINDS[spec.dtype]}, got {type(value).__name__}")
    name = dtype_name(value)
    if not _ACCEPTS[spec.dtype](name):
        raise ValueError(f"{spec.name}: expected an array of {_KINDS[spec.dtype]}, got {name}")
    if spec.dtype == "mask" and len(value.shape) == 4 and name.startswith(_FLOATS):
        raise ValueError(
            f"{spec.name}: expected a 4-D mask of integers or booleans (1 attends, 0 does not), got {name}"
        )


def check_shape(name: str, value: Any, accepted: tuple[str, ...], sizes: dict[str, Any]) -> None:
    """Compare a shape with the accepted ones; the first input to name B, C, S or P decides it for the rest.

    Args:
        name: Of the input, for the error.
        value: The array.
        accepted: Dimension strings.
        sizes: Known sizes by dimension letter; grows by what this shape decides.

    Raises:
        ValueError: None of them fits.
    """
    shape = tuple(value.shape)
    for letters in accepted:
        if len(letters) == len(shape) and all(_same(sizes.get(d), n) for d, n in zip(letters, shape, strict=True)):
            for letter, n in zip(letters, shape, strict=True):
                sizes.setdefault(letter, n)
            return
    wanted = " or ".join("[" + ", ".join(_described(d, sizes) for d in letters) + "]" for letters in accepted)
    raise ValueError(f"{name}: expected shape {wanted}, got {list(shape)}")


def _same(expected: Any, got: Any) -> bool:
    return expected is None or got is None or expected == got


def _described(letter: str, sizes: dict[str, Any]) -> str:
    return letter if letter.isdigit() or sizes.get(letter) is None else f"{letter}={sizes[letter]}"


def check_ids(name: str, ids: np.ndarray, limit: int, what: str, ignores: bool = False) -> None:
    """Raise a ValueError when indices leave their range.

    Args:
        name: Of the input.
        ids: Its values.
        limit: One more than the largest index.
        what: What the limit is called, for example "vocab_size".
        ignores: Whether the ignored label may stand among them.
    """
    if ignores:
        ids = ids[ids != IGNORED_LABEL]
    if not ids.size:
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= limit:
        kind, also = ("labels", f" or {IGNORED_LABEL}") if ignores else ("ids", "")
        raise ValueError(
            f"{name}: expected {kind} from 0 to {limit - 1} ({what} = {limit}){also}, got {low if low < 0 else high}"
        )
