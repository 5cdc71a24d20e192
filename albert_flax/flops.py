"""How many operations the matrix products of a traced program take; loops count as often as they turn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

__all__ = ["matrix_flops"]


def matrix_flops(jaxpr: Any, times: int = 1) -> tuple[float, float]:
    """Operations of all matrix products on one device, and of those among them that have a head axis, attention's."""
    total = attention = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), (batched, _) = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            found = 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
            total, attention = total + times * found, attention + times * found * (len(batched) > 1)
        inner = times * equation.params.get("length", 1) if equation.primitive.name == "scan" else times
        for each in _inner(equation.params.values()):
            found, heads = matrix_flops(each, inner)
            total, attention = total + found, attention + heads
    return total, attention


def _inner(values: Any) -> Iterator[Any]:
    """The programs inside of an operation's parameters."""
    for value in values:
        value = getattr(value, "jaxpr", value)
        if hasattr(value, "eqns"):
            yield value
        elif isinstance(value, tuple | list):
            yield from _inner(value)
