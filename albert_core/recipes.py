"""How ALBERT is trained: the published hyper-parameters, the learning rate, and the optimizers' update rules.

Every update is a pure function of arrays over a namespace `xp` (numpy, torch, jax.numpy or keras.ops; only functions
that all four have are used), so that each backend's optimizer calls the same lines. No stock LAMB reproduces
Google's. Sources, in https://github.com/google-research/albert: optimization.py, lamb_optimizer.py and
run_pretraining.py; the LAMB paper is https://arxiv.org/abs/1904.00962.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from albert_core.config_fields import is_int, is_number

__all__ = [
    "OPTIMIZERS",
    "RECIPES",
    "PretrainingRecipe",
    "adamw_update",
    "clip_by_global_norm",
    "clipping_factor",
    "decays",
    "lamb_update",
    "learning_rate",
]

# what a value may be, by the word of its annotation
_KINDS: dict[str, Callable[[Any], bool]] = {
    "int": is_int,
    "float": is_number,
    "bool": lambda v: isinstance(v, bool),
    "str": lambda v: isinstance(v, str),
    "None": lambda v: v is None,
}
OPTIMIZERS = ("lamb", "adamw")
LEARNING_RATE = 0.00176
BETAS = (0.9, 0.999)
EPSILON = 1e-6
WEIGHT_DECAY = 0.01
_EXCLUDED = re.compile("LayerNorm|layer_norm|bias")  # lamb_optimizer.py's default list, matched anywhere in a name


def decays(name: str) -> bool:
    """Whether weight decay and LAMB's trust ratio apply to the parameter of this name; not to norms and biases."""
    return _EXCLUDED.search(name) is None


def learning_rate(
    xp: Any, step: Any, *, peak: float, warmup_steps: int, total_steps: int, offset_by_warmup: bool = False
) -> Any:
    """The rate of one step: a linear climb to `peak`, then a linear fall to zero at `total_steps`.

    Google's fall starts at step 0, not where the climb ends, so the rate jumps down at the end of warm-up (from
    0.00176 to 0.001716 in the published recipe). `offset_by_warmup` starts the fall at `peak` instead.

    Args:
        xp: Array namespace.
        step: Steps taken before this one, a number or an integer scalar array; the rate at 0 is 0 with warm-up.
        peak: Highest rate.
        warmup_steps: Length of the climb; 0 for none.
        total_steps: Where the rate reaches zero and stays.
        offset_by_warmup: Differs from Google: fall from `peak`, without the jump.
    """
    start = warmup_steps if offset_by_warmup else 0
    remaining = (total_steps - step) / max(total_steps - start, 1)
    falling = peak * xp.where(step < total_steps, remaining, 0.0)
    return xp.where(step < warmup_steps, peak * step / max(warmup_steps, 1), falling)


def clip_by_global_norm(xp: Any, gradients: Sequence[Any], max_norm: float) -> tuple[list[Any], Any]:
    """Scale all gradients by one factor so that their joint L2 norm is at most `max_norm`.

    Returns:
        The gradients, and the norm they had.
    """
    factor, norm = clipping_factor(xp, gradients, max_norm)
    return [g * factor for g in gradients], norm


def clipping_factor(xp: Any, gradients: Sequence[Any], max_norm: float) -> tuple[Any, Any]:
    """What `clip_by_global_norm` multiplies the gradients by, and the norm they have."""
    norm = xp.sqrt(sum(xp.sum(xp.square(g)) for g in gradients))
    return max_norm / xp.where(norm > max_norm, norm, max_norm), norm


def adamw_update(
    xp: Any,
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    *,
    lr: Any,
    beta1: float = BETAS[0],
    beta2: float = BETAS[1],
    epsilon: float = EPSILON,
    weight_decay: float = WEIGHT_DECAY,
    bias_correction: bool = False,
    step: Any = None,
) -> tuple[Any, Any, Any]:
    """One step of Google's AdamWeightDecayOptimizer, which does not correct the moments' bias towards zero.

    Args:
        xp: Array namespace.
        p: Parameter.
        g: Its gradient.
        m: First moment.
        v: Second moment.
        lr: Learning rate of this step.
        beta1: Decay of `m`.
        beta2: Decay of `v`.
        epsilon: Added to the root of `v`.
        weight_decay: Share of `p` added to the update; 0 where `decays` says no.
        bias_correction: Differs from Google: divide each moment by one minus the power of its decay, as Adam does.
        step: Steps taken including this one; needed with `bias_correction` only.

    Returns:
        The new p, m and v.
    """
    update, m, v = _adam_direction(xp, g, m, v, beta1, beta2, epsilon, step if bias_correction else None)
    return p - lr * (update + weight_decay * p), m, v


def lamb_update(
    xp: Any,
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    *,
    lr: Any,
    beta1: float = BETAS[0],
    beta2: float = BETAS[1],
    epsilon: float = EPSILON,
    weight_decay: float = WEIGHT_DECAY,
    adapt: bool = True,
    bias_correction: bool = False,
    step: Any = None,
) -> tuple[Any, Any, Any]:
    """One step of Google's LAMB: `adamw_update` with each update scaled to the length of its parameter.

    The trust ratio ||p|| / ||update|| is not limited, and is 1 where either length is zero.

    Args:
        xp: Array namespace.
        p: Parameter.
        g: Its gradient.
        m: First moment.
        v: Second moment.
        lr: Learning rate of this step.
        beta1: Decay of `m`.
        beta2: Decay of `v`.
        epsilon: Added to the root of `v`.
        weight_decay: Share of `p` added to the update; 0 where `decays` says no.
        adapt: Whether the trust ratio applies; False where `decays` says no.
        bias_correction: As in `adamw_update`.
        step: As in `adamw_update`.

    Returns:
        The new p, m and v.
    """
    update, m, v = _adam_direction(xp, g, m, v, beta1, beta2, epsilon, step if bias_correction else None)
    update = update + weight_decay * p
    if adapt:
        update = _trust_ratio(xp, p, update) * update
    return p - lr * update, m, v


def _adam_direction(
    xp: Any, g: Any, m: Any, v: Any, beta1: float, beta2: float, epsilon: float, corrected_step: Any
) -> tuple[Any, Any, Any]:
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * xp.square(g)
    if corrected_step is None:
        return m / (xp.sqrt(v) + epsilon), m, v
    mean, square = m / (1.0 - beta1**corrected_step), v / (1.0 - beta2**corrected_step)
    return mean / (xp.sqrt(square) + epsilon), m, v


def _trust_ratio(xp: Any, p: Any, update: Any) -> Any:
    p_norm, update_norm = (xp.sqrt(xp.sum(xp.square(x))) for x in (p, update))
    divisor = xp.where(update_norm > 0, update_norm, 1.0)
    return xp.where(p_norm > 0, xp.where(update_norm > 0, p_norm / divisor, 1.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe:
    """Everything about a pretraining run that is neither the model nor the text. The defaults are Google's.

    Dropout belongs to the model's config.

    Attributes:
        batch_size: Sequences per step; rows per step with packing.
        sequence_length: Tokens per sequence, [CLS] and [SEP] included.
        masking_probability: Share of the tokens to predict.
        max_predictions: Upper limit of predictions per sequence, or None for no limit but the share. Google's 20
            masks 3.9 % of 512 tokens, not 15 %.
        max_ngram: Longest run of whole words masked together; a run of n is drawn in proportion to 1 / n.
        short_sequence_probability: How often a sequence aims at a random shorter length.
        length_buckets: How many lengths batches come in, in even steps up to sequence_length; a batch holds sequences
            of like length. 1 pads every batch to sequence_length.
        packing: How many sequences may share a row, each with positions and attention of its own, so that next to
            nothing is padding. 1 gives each a row. Differs from Google, as length_buckets does.
        optimizer: "lamb" or "adamw".
        learning_rate: Highest rate.
        warmup_steps: Length of the linear climb.
        total_steps: Where the linear fall reaches zero.
        offset_by_warmup: See `learning_rate`.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        bias_correction: See `adamw_update`.
        weight_decay: On everything but norms and biases.
        max_gradient_norm: Gradients are scaled down to this global norm.
        seed: Decides the batches, the initial weights and the dropout.
        original: Reproduce the known faults of Google's data code, see `albert_core.pretraining_data`.

    Raises:
        ValueError: A value is out of range; the message names it, what was expected and what came.
    """

    batch_size: int = 4096
    sequence_length: int = 512
    masking_probability: float = 0.15
    max_predictions: int | None = 20
    max_ngram: int = 3
    short_sequence_probability: float = 0.1
    length_buckets: int = 1
    packing: int = 1
    optimizer: str = "lamb"
    learning_rate: float = LEARNING_RATE
    warmup_steps: int = 3125
    total_steps: int = 125_000
    offset_by_warmup: bool = False
    beta1: float = BETAS[0]
    beta2: float = BETAS[1]
    epsilon: float = EPSILON
    bias_correction: bool = False
    weight_decay: float = WEIGHT_DECAY
    max_gradient_norm: float = 1.0
    seed: int = 12345
    original: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not any(_KINDS[kind](value) for kind in str(field.type).split(" | ")):
                raise ValueError(f"{field.name}: expected {field.type}, got {value!r}")
        positive = ("batch_size", "max_ngram", "total_steps", "learning_rate", "epsilon")
        self._check(positive, "a number above 0", lambda v: 0 < v < math.inf)
        self._check(("max_gradient_norm",), "a number above 0, or infinity for no limit", lambda v: v > 0)
        self._check(("sequence_length",), "at least 5: [CLS], two texts and two [SEP]", lambda v: v >= 5)
        self._check(("warmup_steps", "weight_decay"), "a number of at least 0", lambda v: v >= 0)
        self._check(("seed",), "a number from 0 to 2**32 - 1", lambda v: 0 <= v < 2**32)
        self._check(("masking_probability",), "a number above 0, at most 1", lambda v: 0 < v <= 1)
        self._check(("short_sequence_probability",), "a number from 0 to 1", lambda v: 0 <= v <= 1)
        self._check(("beta1", "beta2"), "a number from 0 up to, not including, 1", lambda v: 0 <= v < 1)
        self._check(("max_predictions",), "None or at least 1", lambda v: v is None or v >= 1)
        self._check(("packing",), "at least 1; 1 with original", lambda v: v == 1 or (v > 1 and not self.original))
        most = 1 if self.original or self.packing > 1 else self.sequence_length // 5
        buckets = f"from 1 to {most}: a fifth of sequence_length, or 1 with original or packing"
        self._check(("length_buckets",), buckets, lambda v: 1 <= v <= most)
        self._check(("optimizer",), "one of " + ", ".join(OPTIMIZERS), lambda v: v in OPTIMIZERS)

    def _check(self, names: Sequence[str], expected: str, accepts: Any) -> None:
        for name in names:
            value = getattr(self, name)
            if not accepts(value):
                raise ValueError(f"{name}: expected {expected}, got {value!r}")

    def replace(self, **changes: Any) -> PretrainingRecipe:
        """This recipe with some values changed."""
        return dataclasses.replace(self, **changes)

    def rate(self, xp: Any, step: Any) -> Any:
        """The learning rate of a step, see `learning_rate`."""
        return learning_rate(
            xp,
            step,
            peak=self.learning_rate,
            warmup_steps=self.warmup_steps,
            total_steps=self.total_steps,
            offset_by_warmup=self.offset_by_warmup,
        )

    def optimizer_options(self) -> dict[str, Any]:
        """What every backend's optimizer classes take beside the learning rate."""
        return {
            "betas": (self.beta1, self.beta2),
            "eps": self.epsilon,
            "weight_decay": self.weight_decay,
            "bias_correction": self.bias_correction,
        }

    @property
    def room(self) -> int:
        """Tokens of text in a sequence with its [CLS] and two [SEP]."""
        return self.sequence_length - 3

    @property
    def padded_lengths(self) -> list[int]:
        """The lengths that batches come in, ascending."""
        return [-(-self.sequence_length * step // self.length_buckets) for step in range(1, self.length_buckets + 1)]

    def predictions(self, length: int) -> int:
        """How many tokens of a sequence of `length`, special ones counted in, are predicted; rounded as Google does."""
        limit = self.sequence_length if self.max_predictions is None else self.max_predictions
        return min(limit, max(1, round(length * self.masking_probability)))

    def row_predictions(self, length: int) -> int:
        """How many tokens of a row of `length` are predicted at most, by all the sequences that share it."""
        if self.packing == 1:
            return self.predictions(length)
        # each sequence's share is rounded, by less than 1
        return min(self.packing * self.predictions(length), int(length * self.masking_probability) + self.packing)


# https://github.com/google-research/albert/blob/master/README.md and the flags of run_pretraining.py. Step counts
# of the first versions of base, large and xlarge are not published; the flags' default stands for them.
_V1 = PretrainingRecipe()
RECIPES = {
    "albert-base-v1": _V1,
    "albert-large-v1": _V1,
    "albert-xlarge-v1": _V1,
    "albert-xxlarge-v1": _V1.replace(total_steps=1_500_000),
    "albert-base-v2": _V1.replace(total_steps=10_000_000),
    "albert-large-v2": _V1.replace(total_steps=3_000_000),
    "albert-xlarge-v2": _V1.replace(total_steps=3_000_000),
    "albert-xxlarge-v2": _V1.replace(total_steps=3_000_000),
}
