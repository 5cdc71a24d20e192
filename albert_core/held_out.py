"""Held-out numbers of a pretraining run."""

from __future__ import annotations

from typing import Any

import numpy as np

from albert_core.numerics import IGNORED_LABEL
from albert_core.pretraining_data import PretrainingData

__all__ = ["evaluate"]


def evaluate(model: Any, data: PretrainingData) -> dict[str, float]:
    """Held-out numbers over every batch of epoch 0.

    Args:
        model: An AlbertForPreTraining of any backend, in evaluation mode.
        data: Held-out batches.

    Returns:
        masked_loss and masked_accuracy over the masked pieces; order_accuracy over the pairs; guess_accuracy, what
        always naming the most frequent of the masked pieces would reach.
    """
    loss = right = in_order = 0.0
    wanted, pairs = [], 0
    for index in range(data.batches(0)):
        batch = data.batch(0, index)
        labels, order = batch.pop("labels"), batch.pop("sentence_order_label")
        out = model.run_numpy(**batch)
        used, told = labels != IGNORED_LABEL, order != IGNORED_LABEL
        logits, targets = out.prediction_logits[used].astype(np.float32), labels[used]  # [masked, V]
        top = logits.max(-1)
        chosen = logits[np.arange(len(targets)), targets]
        loss += float((top + np.log(np.exp(logits - top[:, None]).sum(-1)) - chosen).sum(dtype=np.float64))
        right += int((logits.argmax(-1) == targets).sum())
        in_order += int((out.sop_logits.argmax(-1) == order)[told].sum())
        pairs += int(told.sum())
        wanted.append(targets)
    pieces = np.concatenate(wanted)
    return {
        "masked_loss": loss / len(pieces),
        "masked_accuracy": right / len(pieces),
        "guess_accuracy": float(np.bincount(pieces).max()) / len(pieces),
        "order_accuracy": in_order / max(pairs, 1),
    }
