"""The ignore list: what files hold besides a model, and why no model needs it.

A PyTorch file may hold the slots and counters of Google's optimizers too, where a converter took them along.
"""

from __future__ import annotations

import re

__all__ = ["ignored"]

# naming schemes of `albert_core.foreign_names`, a pattern, what it is
_IGNORED = (
    (("torch",), r"(^|\.)embeddings\.position_ids$", "a buffer of old transformers versions, 0 to 511"),
    (
        ("tf1", "torch"),
        r"(^|/)(adam_[mv]|lamb_[mv]|Adam(_\d+)?|AdamWeightDecayOptimizer(_\d+)?|LAMBOptimizer(_\d+)?)$",
        "an optimizer's moment",
    ),
    (("tf1", "torch"), r"(^|/)(global_step|beta[12]_power(_\d+)?)$", "an optimizer's counter"),
    (("tf1", "official"), r"^(_CHECKPOINTABLE_OBJECT_GRAPH|save_counter/.*)$", "TensorFlow's own bookkeeping"),
    (("nnx",), r"\.(rngs|dropout_keys)\.", "the state of a dropout's random numbers"),
    (("tf_h5",), r"(^|/)optimizer_weights/", "an optimizer's moment"),
    (("keras", "keras_hub"), r"^optimizer/", "an optimizer's moment or counter"),
    (("keras", "keras_hub"), r"/seed_generator(_\d+)?/vars/0$", "the state of a dropout's random numbers"),
)


def ignored(scheme: str, raw: str) -> str | None:
    """Why a tensor of a file is not needed by any model, or None when it has to be used."""
    return next((why for schemes, pattern, why in _IGNORED if scheme in schemes and re.search(pattern, raw)), None)
