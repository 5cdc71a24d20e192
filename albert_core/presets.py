"""The hyper-parameters of the eight published models, as keywords of AlbertConfig.

Sources: table 1 of the paper (https://arxiv.org/abs/1909.11942) and the config.json files on the hub.
"""

from __future__ import annotations

from typing import Any

__all__ = ["PRESETS"]

# name: layers, hidden, heads, feed-forward (the paper's table 1; E = 128, V = 30000 throughout).
_SIZES = {
    "base": (12, 768, 12, 3072),
    "large": (24, 1024, 16, 4096),
    "xlarge": (24, 2048, 16, 8192),
    "xxlarge": (12, 4096, 64, 16384),
}


def _preset(size: str, version: str) -> dict[str, Any]:
    layers, hidden, heads, feed_forward = _SIZES[size]
    dropout = 0.1 if version == "v1" and size != "xxlarge" else 0.0  # v2 and xxlarge trained without dropout
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "intermediate_size": feed_forward,
        "hidden_act": "gelu" if version == "v1" else "gelu_new",
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }


PRESETS: dict[str, dict[str, Any]] = {
    f"albert-{size}-{version}": _preset(size, version) for version in ("v1", "v2") for size in _SIZES
}
