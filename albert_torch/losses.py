"""The losses of the heads, in float32 or wider."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from albert_core.numerics import IGNORED_LABEL


def cross_entropy(logits: Tensor, labels: Tensor | None, ignored: int = IGNORED_LABEL) -> Tensor | None:
    """Mean over the labels that are not ignored, 0 when all are; None without labels."""
    if labels is None:
        return None
    labels = labels.reshape(-1).long()
    wide = torch.promote_types(logits.dtype, torch.float32)
    total = F.cross_entropy(logits.flatten(0, -2).to(wide), labels, ignore_index=ignored, reduction="sum")
    return total / (labels != ignored).sum().clamp(min=1)
