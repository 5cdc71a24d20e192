"""albert_config.json, as Google's code writes and reads it.

Google's "gelu" always was the tanh form, which is "gelu_new" here. Source: `AlbertConfig` and `get_activation` in
https://github.com/google-research/albert/blob/master/modeling.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert_core.config import AlbertConfig
from albert_core.formats import FORMATS

__all__ = ["NAME", "from_google", "google_json"]

NAME = "albert_config.json"
_FIELDS = (
    "attention_probs_dropout_prob hidden_act hidden_dropout_prob embedding_size hidden_size initializer_range "
    "intermediate_size max_position_embeddings num_attention_heads num_hidden_layers num_hidden_groups "
    "inner_group_num type_vocab_size vocab_size"
).split()
_EXTRAS = {"net_structure_type": 0, "gap_size": 0, "num_memory_blocks": 0, "down_scale_factor": 1}
_GELU, _TANH_GELU = "gelu", "gelu_new"
_OWN_NAMES = ("relu", "tanh", "linear")  # activations that Google's code calls the same


def _values(config: AlbertConfig) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in _FIELDS}
    act = values["hidden_act"]
    values["hidden_act"] = act if act in _OWN_NAMES or act not in _gelus() else _GELU
    return values | {name: config.extra.get(name, default) for name, default in _EXTRAS.items()}


def _gelus() -> frozenset[str]:
    """What is written as "gelu": the tanh forms, and the erf form where the loss was allowed."""
    return (FORMATS["tf1"].activations or frozenset()) | {_GELU}


def google_json(config: AlbertConfig) -> bytes:
    """The text of albert_config.json."""
    return (json.dumps(_values(config), indent=2, sort_keys=True) + "\n").encode()


def from_google(
    values: Mapping[str, Any], path: Path, kept: AlbertConfig | None = None, **overrides: Any
) -> AlbertConfig:
    """A config from the keys of an albert_config.json.

    Args:
        values: The keys.
        path: The file, for errors.
        kept: The config of a sidecar. Its fields hold where the file says what would be written for them; where the
            file says something else, the file holds.
        **overrides: Fields that win over both.

    Raises:
        ConfigError: A value is out of range.
    """
    values = dict(values)
    if kept is not None:
        written = _values(kept)
        changed = {name: value for name, value in values.items() if name in written and written[name] != value}
        return kept.replace(**{**_translated(changed), **overrides}) if changed or overrides else kept
    return AlbertConfig.from_dict(_translated({"hidden_act": _GELU, **values}), path, **overrides)


def _translated(values: Mapping[str, Any]) -> dict[str, Any]:
    act = values.get("hidden_act", ...)
    if act is ...:
        return dict(values)
    return {**values, "hidden_act": _TANH_GELU if act == _GELU else act or "linear"}
