"""Reading and writing a model's arrays by canonical name: one walker for every framework.

A backend's attribute names are the canonical ones, so a path leads to its module by getattr and indexing; only the
last step, from a module of some kind to its array, differs between frameworks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from albert_core.parameters import PREFIX, Kind, Parameter

__all__ = ["LAYOUTS", "Leaf", "find"]

_TORCH = {kind: {"weight": ("weight", False), "bias": ("bias", False)} for kind in Kind}
_KERNEL = {"weight": ("kernel", True), "bias": ("bias", False)}

# framework -> kind -> canonical leaf -> (attribute, whether a matrix is stored transposed)
LAYOUTS: dict[str, dict[Kind, dict[str, tuple[str, bool]]]] = {
    "torch": _TORCH,
    "tf": {
        Kind.EMBEDDING: {"weight": ("embeddings", False)},
        Kind.NORM: {"weight": ("gamma", False), "bias": ("beta", False)},
        Kind.LINEAR: _KERNEL,
        Kind.OUTPUT: _KERNEL,
    },
    "flax": {
        Kind.EMBEDDING: {"weight": ("embedding", False)},
        Kind.NORM: {"weight": ("scale", False), "bias": ("bias", False)},
        Kind.LINEAR: _KERNEL,
        Kind.OUTPUT: _KERNEL,
    },
}


@dataclass(frozen=True)
class Leaf:
    """Where one array of a live model is.

    Attributes:
        owner: The module that holds it.
        attribute: Its name there.
        transposed: Whether it is stored as the transpose of its canonical layout.
    """

    owner: Any
    attribute: str
    transposed: bool

    @property
    def value(self) -> Any:
        """The framework's own variable."""
        return getattr(self.owner, self.attribute)


def find(model: Any, parameter: Parameter, layout: Mapping[Kind, Mapping[str, tuple[str, bool]]]) -> Leaf:
    """The leaf of a live model that holds a parameter.

    Raises:
        AttributeError: The model has no such module; its attribute names differ from the table's.
    """
    owner, parts = model, parameter.module.split(".")
    if not hasattr(model, PREFIX.rstrip(".")) and parameter.module.startswith(PREFIX):
        parts = parts[1:]  # a bare encoder
    if parameter.kind is Kind.VECTOR:
        return Leaf(_descend(owner, parts[:-1]), parts[-1], False)
    attribute, transposed = layout[parameter.kind][parameter.leaf]
    return Leaf(_descend(owner, parts), attribute, transposed)


def _descend(owner: Any, parts: list[str]) -> Any:
    for part in parts:
        owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
    return owner
