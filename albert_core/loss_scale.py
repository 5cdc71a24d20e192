"""The loss scale of float16 training: torch.amp.GradScaler's rule, as a pure function that each backend calls.

The loss is multiplied by the scale, so that small gradients do not vanish in float16, and the gradients are divided
by it. A step whose gradients are not finite is left out and halves the scale; after 2000 steps in a row that went
well it doubles. Source: https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["LossScale", "initial_loss_scale", "next_loss_scale"]

INITIAL, GROWTH, BACKOFF, GROWTH_INTERVAL = 2.0**16, 2.0, 0.5, 2000


class LossScale(NamedTuple):
    """The scale and what its rule needs to know; scalars of a backend or of NumPy.

    Attributes:
        scale: What the loss is multiplied by.
        good_steps: Steps that went well since the scale last changed.
        skipped: Steps left out so far.
    """

    scale: Any
    good_steps: Any
    skipped: Any


def initial_loss_scale() -> LossScale:
    """Where a run begins."""
    return LossScale(np.float32(INITIAL), np.int32(0), np.int32(0))


def next_loss_scale(xp: Any, state: LossScale, finite: Any) -> LossScale:
    """The state after a step.

    Args:
        xp: Array namespace.
        state: Before the step.
        finite: Whether its gradients were, a boolean scalar.
    """
    good = state.good_steps + 1
    grown = xp.where(good >= GROWTH_INTERVAL, state.scale * GROWTH, state.scale)
    return LossScale(
        xp.where(finite, grown, state.scale * BACKOFF),
        xp.where(finite, good % GROWTH_INTERVAL, 0 * good),
        xp.where(finite, state.skipped, state.skipped + 1),
    )
