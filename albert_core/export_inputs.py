"""The inputs of an exported program: which they are, and what is left open in their shapes; the same in every backend.

`albert_<backend>.export.export_model` hands them to the framework's own exporter. The outputs of a program are the
present fields of the head's output, by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from albert_core.config import AlbertConfig
from albert_core.signature import DIMENSIONS, FLAGS, INPUTS, LABELS, PER_CHOICE, Signature, dimension_sizes

__all__ = ["EXPORT_INPUTS", "ExportInput", "export_inputs"]

EXPORT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OPEN = {"B": 3, "C": 2, "S": 8, "P": 2}  # sizes of an example where a program is open; 1 would be taken for fixed


@dataclass(frozen=True)
class ExportInput:
    """One input.

    Attributes:
        example: An array that the program accepts: int64, or float32 where fractions are meant.
        open: The axes that may have another length at each call, with the name of their dimension.
    """

    example: np.ndarray
    open: dict[int, str]


def export_inputs(
    signature: Signature,
    config: AlbertConfig,
    names: Iterable[str] = EXPORT_INPUTS,
    batch: int | None = None,
    length: int | None = None,
) -> dict[str, ExportInput]:
    """The inputs of a program by name.

    Args:
        signature: Of the head.
        config: Of the model.
        names: Which of the head's inputs the program takes; a flag comes from the config, and labels it has none.
        batch: The only batch size that it takes; any when None.
        length: The only length; any up to max_position_embeddings when None.

    Raises:
        ValueError: The head has no such input, or the length is more than the model knows.
    """
    longest = config.max_position_embeddings
    if length is not None and not 1 <= length <= longest:
        raise ValueError(f"length: expected 1 to max_position_embeddings = {longest}, got {length}")
    known = [name for name in signature.names if name not in (*FLAGS, *LABELS)]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"inputs: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    fixed = {"B": batch, "S": length}
    sizes = {**dimension_sizes(config), **_OPEN, "S": min(_OPEN["S"], longest)}
    sizes |= {letter: size for letter, size in fixed.items() if size is not None}
    return {name: _input(name, _dims(name, signature.choices), sizes, fixed) for name in names}


def _dims(name: str, choices: bool) -> str:
    """Its first shape; of a head mask the one with a row for each layer."""
    dims = _BY_NAME[name].shapes[-1 if name == "head_mask" else 0]
    return "BC" + dims[1:] if choices and name in PER_CHOICE else dims


def _input(name: str, dims: str, sizes: dict[str, int], fixed: dict[str, int | None]) -> ExportInput:
    kind = np.float32 if _BY_NAME[name].dtype == "float" else np.int64
    shape = tuple(sizes[letter] for letter in dims)
    example = (np.ones if name.endswith("_mask") else np.zeros)(shape, kind)
    free = {axis: DIMENSIONS[d] for axis, d in enumerate(dims) if d in _OPEN and fixed.get(d) is None}
    return ExportInput(example, free)


_BY_NAME = {spec.name: spec for spec in INPUTS}
