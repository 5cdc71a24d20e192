"""Rows of one length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from albert_core.input_checks import count
from albert_core.tokenizer.assembly import PADDING, pad_rows, strategy
from albert_core.tokenizer.batch_encoding import BatchEncoding
from albert_core.tokenizer.sequences import Sequences
from albert_core.tokenizer.vocabulary import as_list

__all__ = ["Padding"]

_NO_LENGTH = 10**9  # a model_max_length above it means that nobody gave one


class Padding(Sequences):
    """The part of a tokenizer that pads, always on the right."""

    @property
    def padding_side(self) -> str:
        """Always "right"; "left" is refused, because ALBERT counts positions from the left."""
        return "right"

    @padding_side.setter
    def padding_side(self, side: str | None) -> None:
        if side not in (None, "right"):
            raise ValueError(
                f"padding_side: expected 'right', got {side!r}; ALBERT counts positions from the left, padding there"
                " would move the text to other positions"
            )

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad rows that were encoded without padding, for instance in a data loader.

        Args:
            encoded_inputs: One encoding, a batch of them as a dict of lists, or a list of encodings.
            padding: As in `__call__`.
            max_length: As in `__call__`.
            pad_to_multiple_of: As in `__call__`.
            padding_side: "right".
            return_attention_mask: Add "attention_mask" where it is missing; None means yes.
            return_tensors: As in `__call__`.
            verbose: Accepted; there is nothing to be silent about.

        Raises:
            ValueError: No "input_ids", or an argument's value is not one of those of `__call__`.
        """
        self.padding_side = padding_side
        rows, batched = _rows_of(encoded_inputs)
        for row in rows if return_attention_mask is not False else ():
            row.setdefault("attention_mask", [1] * len(row["input_ids"]))
        self._pad_rows(rows, strategy("padding", padding, PADDING), max_length, pad_to_multiple_of)
        if not batched:
            return BatchEncoding(rows[0]).convert_to_tensors(return_tensors, prepend_batch_axis=True)
        batch = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        return BatchEncoding(batch).convert_to_tensors(return_tensors)

    def _pad_rows(self, rows: list[dict[str, Any]], how: str, max_length: int | None, multiple: int | None) -> None:
        fill = {
            "input_ids": self.pad_token_id,
            "token_type_ids": self.pad_token_type_id,
            "attention_mask": 0,
            "special_tokens_mask": 1,
            "offset_mapping": (0, 0),
        }
        pad_rows(rows, fill, how, lambda: self._padded_length(max_length), multiple)

    def _limit(self, max_length: int | None) -> int | None:
        limit = self.model_max_length if max_length is None else count("max_length", max_length, 0)
        return limit if limit < _NO_LENGTH else None

    def _padded_length(self, max_length: int | None) -> int:
        limit = self._limit(max_length)
        if limit is None:
            raise ValueError("max_length: padding='max_length' needs one, and this tokenizer has no model_max_length")
        return limit


def _rows_of(encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """Encodings as rows of lists, and whether they are a batch."""
    if not isinstance(encoded, Mapping):
        rows = [{name: as_list(value) for name, value in row.items()} for row in encoded]
        batched = True
    else:
        columns = {name: as_list(value) for name, value in encoded.items()}
        ids = columns.get("input_ids", [])
        batched = bool(ids) and not isinstance(ids[0], int)
        rows = [columns]
        if batched:
            columns = {name: [as_list(row) for row in column] for name, column in columns.items()}
            rows = [{name: column[place] for name, column in columns.items()} for place in range(len(ids))]
    if missing := [row for row in rows if "input_ids" not in row]:
        raise ValueError(f"encoded_inputs: expected 'input_ids' in every row, got {', '.join(missing[0]) or 'nothing'}")
    return rows, batched
