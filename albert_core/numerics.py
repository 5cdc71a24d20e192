"""Numbers and formulas that every backend shares: the masked score, the ignored label, the activations.

Activations are written once over an array namespace `xp`, which is anything with `exp`, `tanh`, `maximum`, `minimum`,
`where`, `log1p`, `abs` and `erf`. A backend uses its framework's own kernel where float64 agrees to 1e-15.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from albert_core.config import AlbertConfig

__all__ = ["ACTIVATIONS", "IGNORED_LABEL", "activation", "kept_heads", "masked_score"]

IGNORED_LABEL = -100


def masked_score(dtype: str) -> float:
    """What is added to an attention score that must not count, in an array of this dtype.

    Large enough to absorb every real score, so that a row in which all are masked attends uniformly, and far enough
    from the end of the range that a kernel which works in base 2 does not overflow.
    """
    return -3e4 if dtype == "float16" else -1e30


def kept_heads(config: AlbertConfig) -> list[list[float]] | None:
    """0 for each pruned attention head of each virtual layer and 1 for the rest, [L, N]; None when none is pruned."""
    if not config.albert_pruned_heads:
        return None
    heads = range(config.num_attention_heads)
    pruned = [config.albert_pruned_heads.get(layer, ()) for layer in range(config.num_hidden_layers)]
    return [[float(head not in found) for head in heads] for found in pruned]


Array = Any


def _sigmoid(xp: Any, x: Array) -> Array:
    return 0.5 * (1.0 + xp.tanh(0.5 * x))


def _softplus(xp: Any, x: Array) -> Array:
    return xp.maximum(x, x * 0) + xp.log1p(xp.exp(-xp.abs(x)))


def _gelu(xp: Any, x: Array) -> Array:
    return 0.5 * x * (1.0 + xp.erf(x / math.sqrt(2.0)))


def _gelu_new(xp: Any, x: Array) -> Array:
    """Hendrycks and Gimpel's tanh form, which Google's code always ran."""
    return 0.5 * x * (1.0 + xp.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))))


def _quick_gelu(xp: Any, x: Array) -> Array:
    return x * _sigmoid(xp, 1.702 * x)


def _relu(xp: Any, x: Array) -> Array:
    return xp.maximum(x, x * 0)


def _silu(xp: Any, x: Array) -> Array:
    return x * _sigmoid(xp, x)


def _leaky_relu(xp: Any, x: Array) -> Array:
    return xp.where(x >= 0, x, 0.01 * x)


_FORMULAS: dict[str, Callable[[Any, Array], Array]] = {
    "gelu": _gelu,
    "gelu_new": _gelu_new,
    "gelu_10": lambda xp, x: xp.minimum(xp.maximum(_gelu(xp, x), x * 0 - 10.0), x * 0 + 10.0),
    "gelu_accurate": _gelu_new,
    "gelu_fast": _gelu_new,
    "gelu_pytorch_tanh": _gelu_new,
    "gelu_python": _gelu,
    "gelu_python_tanh": _gelu_new,
    "quick_gelu": _quick_gelu,
    "relu": _relu,
    "relu2": lambda xp, x: _relu(xp, x) * _relu(xp, x),
    "relu6": lambda xp, x: xp.minimum(_relu(xp, x), x * 0 + 6.0),
    "leaky_relu": _leaky_relu,
    "silu": _silu,
    "swish": _silu,
    "mish": lambda xp, x: x * xp.tanh(_softplus(xp, x)),
    "laplace": lambda xp, x: 0.5 * (1.0 + xp.erf((x - 0.707107) / (0.282095 * math.sqrt(2.0)))),
    "sigmoid": _sigmoid,
    "tanh": lambda xp, x: xp.tanh(x),
    "linear": lambda xp, x: x,
}

ACTIVATIONS = tuple(_FORMULAS)


def activation(xp: Any, act: str | Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The activation that a config's `hidden_act` means, as a function of one array of any shape."""
    if not isinstance(act, str):
        return act
    formula = _FORMULAS[act]
    return lambda x: formula(xp, x)
