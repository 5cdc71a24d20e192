"""What a tokenizer returns, and its way into the frameworks."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from albert_core.errors import BackendMissing
from albert_core.tokenizer.token_maps import CharSpan, RowMaps, TokenSpan

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

    Values are lists, or arrays of the framework that `return_tensors` named, of shape [S] or [B, S]. A number or slice
    instead of a name gives these rows of every value.

    The maps between tokens, words and characters take a row's number first, or leave it out for the first row. They
    stay behind when an encoding is pickled or copied: what a model needs travels light.
    """

    def __init__(
        self,
        data: Any = (),
        maps: Sequence[RowMaps] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
    ) -> None:
        super().__init__(data or ())
        self._maps = maps
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of a half-made copy
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"BatchEncoding has no {name!r}, only {', '.join(self)}") from None

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | slice):
            return BatchEncoding({name: value[key] for name, value in self.items()})
        return super().__getitem__(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchEncoding, (dict(self),)

    @property
    def data(self) -> dict[str, Any]:
        """The values by name, as a plain dict."""
        return dict(self)

    @property
    def is_fast(self) -> bool:
        """Whether the maps came along."""
        return self._maps is not None

    @property
    def n_sequences(self) -> int | None:
        """Texts in a row, 1 or 2, by its first row; None where the maps did not come along."""
        if self._maps is None:
            return None
        return 1 + max((number or 0 for number in self._row(0).sequences), default=0)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row 0, 1, or None: of the first text, the second, or added."""
        return self._row(batch_index).sequences

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row the number of its word in its text, None for added tokens.

        Words are what white space separates, or the words of pre-split text.
        """
        return self._row(batch_index).words

    words = word_ids

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row."""
        return self._row(batch_index).tokens

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """0 or 1 for a token of the first or second text, None for an added one."""
        row, token = _row_and(batch_or_token_index, token_index)
        return self._row(row).sequences[token]

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The number of a token's word, None for an added token."""
        row, token = _row_and(batch_or_token_index, token_index)
        return self._row(row).words[token]

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters of a token, None for an added one."""
        row, token = _row_and(batch_or_token_index, token_index)
        return self._row(row).chars(token)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word, None if it has none in this row."""
        row, word = _row_and(batch_or_word_index, word_index)
        return self._row(row).tokens_of_word(word, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word, None if it has no token in this row."""
        row, word = _row_and(batch_or_word_index, word_index)
        return self._row(row).chars_of_word(word, sequence_index)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that covers a character, None for white space, what is dropped, and what is not in this row."""
        row, character = _row_and(batch_or_char_index, char_index)
        return self._row(row).token_at(character, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The number of the word that covers a character, or None."""
        row, character = _row_and(batch_or_char_index, char_index)
        maps = self._row(row)
        token = maps.token_at(character, sequence_index)
        return None if token is None else maps.words[token]

    def to(self, device: Any, *, non_blocking: bool = False) -> BatchEncoding:
        """Move torch tensors to a device, in place; other values stay as they are, NumPy's on the CPU.

        Args:
            device: Anything torch takes for a device.
            non_blocking: Let the host go on meanwhile.

        Raises:
            TypeError: No value is a torch tensor.
        """
        movable = [name for name, value in self.items() if hasattr(value, "to")]
        there = str(device) == "cpu" and all(isinstance(value, np.ndarray) for value in self.values())
        if not movable and not there:
            raise TypeError(f'to: expected torch tensors (return_tensors="pt"), got others in {", ".join(self)}')
        for name in movable:
            self[name] = self[name].to(device, non_blocking=non_blocking)
        return self

    def _row(self, row: int) -> RowMaps:
        if self._maps is None:
            raise ValueError("the maps between tokens, words and characters did not come along with this encoding")
        return self._maps[row]

    def convert_to_tensors(self, tensor_type: str | None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Turn every value into an array of one framework, in place; numbers that are not whole stay what they are.

        Args:
            tensor_type: "np", "pt", "tf" or "jax"; None leaves lists.
            prepend_batch_axis: Make one row [S] a batch [1, S].

        Raises:
            ValueError: Another name, rows of different lengths, or values that are no numbers.
            BackendMissing: The framework is not installed.
        """
        if tensor_type is None:
            return self
        if tensor_type not in TENSOR_KINDS:
            raise ValueError(f"return_tensors: expected one of {', '.join(TENSOR_KINDS)}, got {tensor_type!r}")
        convert = _converter(tensor_type)
        for name, rows in self.items():
            array = _rectangle(name, [rows] if prepend_batch_axis else rows)
            self[name] = convert(array.astype(_dtype_in(tensor_type, array), copy=False))
        return self


def _row_and(row_or_index: int, index: int | None) -> tuple[int, int]:
    return (0, row_or_index) if index is None else (row_or_index, index)


def _rectangle(name: str, rows: Iterable[Any]) -> np.ndarray:
    try:
        array = np.asarray(rows)
    except ValueError as error:
        raise ValueError(
            f"return_tensors: the rows of {name} differ in length; ask for padding=True, or truncation=True as well"
        ) from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"return_tensors: expected numbers in {name}, got {array.dtype}: {str(rows)[:60]}")
    return array


def _dtype_in(tensor_type: str, array: np.ndarray) -> Any:
    """As transformers has it: floats are float32 but in NumPy; what is empty holds no floats."""
    if array.dtype.kind != "f" or not array.size:
        return TENSOR_KINDS[tensor_type][2]
    return array.dtype if tensor_type == "np" else np.float32


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
