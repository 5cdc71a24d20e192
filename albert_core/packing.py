"""Several sequences in one row, none of which sees the others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from albert_core.numerics import IGNORED_LABEL

__all__ = ["pack", "real_tokens"]


def pack(
    batch: Mapping[str, np.ndarray], rows: np.ndarray, *, length: int, predictions: int, pad: int
) -> dict[str, np.ndarray]:
    """Lay sequences one after the other into rows, see `PretrainingData.batch`.

    Args:
        batch: C sequences.
        rows: Where each row starts among them, and the end of the last, int64 [B + 1].
        length: Of a row, S.
        predictions: Of a row at most, P.
        pad: Id of the padding piece.
    """
    shape = len(rows) - 1, length
    row = np.repeat(np.arange(shape[0]), np.diff(rows))  # of each sequence, [C]
    lengths = batch["attention_mask"].sum(axis=1)
    before = np.cumsum(lengths) - lengths  # tokens of all sequences before, [C]
    offset = before - before[rows[:-1]][row]  # where each sequence starts in its row, [C]
    sequence, column = np.nonzero(batch["attention_mask"])
    places = row[sequence], offset[sequence] + column

    def laid(values: np.ndarray, empty: int = 0) -> np.ndarray:
        grid = np.full(shape, empty, np.int64)
        grid[places] = values
        return grid

    mask = np.zeros((*shape, length), bool)
    for at, start, end in zip(row.tolist(), offset.tolist(), (offset + lengths).tolist(), strict=True):
        mask[at, start:end, start:end] = True
    return {
        "input_ids": laid(batch["input_ids"][sequence, column], pad),
        "attention_mask": mask,
        "token_type_ids": laid(batch["token_type_ids"][sequence, column]),
        "position_ids": laid(column),
        **_predictions(batch, row, offset, (shape[0], predictions)),
        "sentence_order_label": batch["sentence_order_label"][rows[:-1]],
    }


def _predictions(
    batch: Mapping[str, np.ndarray], row: np.ndarray, offset: np.ndarray, shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    """The sequences' predictions side by side."""
    sequence, slot = np.nonzero(batch["labels"] != IGNORED_LABEL)
    rows = row[sequence]
    to = rows, np.arange(len(rows)) - np.searchsorted(rows, rows)  # after the row's earlier ones
    positions, labels = np.zeros(shape, np.int64), np.full(shape, IGNORED_LABEL)
    positions[to] = batch["masked_positions"][sequence, slot] + offset[sequence]
    labels[to] = batch["labels"][sequence, slot]
    return {"masked_positions": positions, "labels": labels}


def real_tokens(batch: Mapping[str, np.ndarray]) -> int:
    """How many tokens of a batch are not padding, whether it is packed or not."""
    mask = batch["attention_mask"]
    return int((mask if mask.ndim == 2 else np.diagonal(mask, axis1=1, axis2=2)).sum())
