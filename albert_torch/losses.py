"""The losses of `albert_core.reference` in torch, in float32 or wider; None without labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from albert_core.config import AlbertConfig
from albert_core.numerics import IGNORED_LABEL
from albert_core.signature import problem_type


def cross_entropy(logits: Tensor, labels: Tensor | None, ignored: int = IGNORED_LABEL) -> Tensor | None:
    if labels is None:
        return None
    labels = labels.reshape(-1).long()
    wide = torch.promote_types(logits.dtype, torch.float32)
    total = F.cross_entropy(logits.flatten(0, -2).to(wide), labels, ignore_index=ignored, reduction="sum")
    return total / (labels != ignored).sum().clamp(min=1)


def sequence_loss(config: AlbertConfig, logits: Tensor, labels: Tensor | None) -> Tensor | None:
    kind = None if labels is None else problem_type(config, labels)
    if labels is None or kind == "single_label_classification":
        return cross_entropy(logits, labels)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labels = labels.to(logits.dtype).view_as(logits)
    compare = F.binary_cross_entropy_with_logits if kind == "multi_label_classification" else F.mse_loss
    return compare(logits, labels)


def span_loss(start_logits: Tensor, end_logits: Tensor, start: Tensor | None, end: Tensor | None) -> Tensor | None:
    if start is None or end is None:
        return None
    length = start_logits.shape[1]
    ends = ((start_logits, start), (end_logits, end))
    return sum(cross_entropy(logits, place.clamp(0, length), ignored=length) for logits, place in ends) / 2
