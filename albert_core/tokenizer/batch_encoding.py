"""What a tokenizer returns, and its way into the frameworks."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from albert_core.errors import BackendMissing

__all__ = ["BatchEncoding", "TENSOR_KINDS"]

# return_tensors -> our backend, its package, the integer type its users expect
TENSOR_KINDS = {
    "np": ("numpy", "numpy", np.int64),
    "pt": ("torch", "torch", np.int64),
    "tf": ("tf", "tensorflow", np.int32),
    "jax": ("flax", "jax", np.int32),
}


class BatchEncoding(dict[str, Any]):
    """The inputs of a model by name; `encoding.input_ids` is `encoding["input_ids"]`.

    Values are lists, or arrays of the framework that `return_tensors` named, of shape [S] or [B, S].
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"BatchEncoding has no {name!r}, only {', '.join(self)}") from None

    def to(self, device: Any) -> BatchEncoding:
        """Move torch tensors to a device, in place.

        Args:
            device: Anything torch takes for a device.

        Raises:
            TypeError: The values are no torch tensors.
        """
        if still := [name for name, value in self.items() if not hasattr(value, "to")]:
            raise TypeError(f'to: expected torch tensors (return_tensors="pt"), got others in {", ".join(still)}')
        for name, value in self.items():
            self[name] = value.to(device)
        return self

    def convert_to_tensors(self, tensor_type: str | None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Turn every value into an array of one framework, in place.

        Args:
            tensor_type: "np", "pt", "tf" or "jax"; None leaves lists.
            prepend_batch_axis: Make one row [S] a batch [1, S].

        Raises:
            ValueError: Another name, or rows of different lengths.
            BackendMissing: The framework is not installed.
        """
        if tensor_type is None:
            return self
        if tensor_type not in TENSOR_KINDS:
            raise ValueError(f"return_tensors: expected one of {', '.join(TENSOR_KINDS)}, got {tensor_type!r}")
        dtype = TENSOR_KINDS[tensor_type][2]
        convert = _converter(tensor_type)
        for name, rows in self.items():
            self[name] = convert(_rectangle(name, [rows] if prepend_batch_axis else rows, dtype))
        return self


def _rectangle(name: str, rows: Iterable[Any], dtype: Any) -> np.ndarray:
    try:
        return np.asarray(rows, dtype)
    except ValueError as error:
        raise ValueError(
            f"return_tensors: the rows of {name} differ in length; ask for padding=True, or truncation=True as well"
        ) from error


def _converter(tensor_type: str) -> Any:
    backend, package, _ = TENSOR_KINDS[tensor_type]
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise BackendMissing(backend, package) from error
    functions = {"np": "asarray", "pt": "from_numpy", "tf": "constant"}
    return module.numpy.asarray if tensor_type == "jax" else getattr(module, functions[tensor_type])
