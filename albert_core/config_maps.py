"""The config fields that are maps: label names, and the attention heads that are switched off.

JSON has string keys only, so every map is read with "0" for 0 as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from albert_core.config_fields import is_int

__all__ = [
    "DEFAULT_LABELS",
    "agreed_labels",
    "int_keys",
    "is_id2label",
    "is_label2id",
    "is_pruned",
    "named",
    "pruned_heads",
]

DEFAULT_LABELS = 2


def int_keys(values: Any) -> dict[int, Any] | None:
    """The map with its keys as ints, in order; None when it is no such map."""
    if not isinstance(values, Mapping):
        return None
    try:
        return {int(k): v for k, v in sorted(values.items(), key=lambda item: int(item[0]))}
    except (TypeError, ValueError):
        return None


def named(values: Any) -> Any:
    """The map with numbers among its names as text: where labels were numbers, files of transformers hold them so."""
    if not isinstance(values, Mapping):
        return values
    return {key: str(name) if isinstance(name, int | float) else name for key, name in values.items()}


def is_id2label(value: Any) -> bool:
    """Whether a map goes from 0 to K - 1 to names."""
    return bool(value) and sorted(value) == list(range(len(value))) and all(isinstance(v, str) for v in value.values())


def is_label2id(value: Any) -> bool:
    """Whether a map goes from names to ints."""
    return isinstance(value, Mapping) and all(isinstance(k, str) and is_int(i) for k, i in value.items())


def agreed_labels(
    num_labels: int | None, id2label: Mapping[int, str] | None, label2id: Mapping[str, int] | None
) -> tuple[dict[int, str], dict[str, int]]:
    """The two maps when id2label decides, then label2id, then the number; as in transformers."""
    if id2label is None:
        inverse = {index: name for name, index in (label2id or {}).items()}
        count = num_labels or len(inverse) or DEFAULT_LABELS
        id2label = inverse if len(inverse) == count else {i: f"LABEL_{i}" for i in range(count)}
    names = dict(id2label)
    given = label2id is not None and len(label2id) == len(names)
    return names, dict(label2id) if label2id and given else {name: i for i, name in names.items()}


def is_pruned(value: Any) -> bool:
    """Whether a map goes from layers to lists of heads."""
    collections = (list, tuple, set, frozenset)
    return isinstance(value, Mapping) and all(
        isinstance(heads, collections) and all(map(is_int, heads)) for heads in value.values()
    )


def pruned_heads(value: Mapping[int, Any] | None) -> dict[int, list[int]]:
    """The map in its one form: layers in order, heads in order and once, no layer without heads."""
    return {layer: sorted(set(heads)) for layer, heads in sorted((value or {}).items()) if heads}
