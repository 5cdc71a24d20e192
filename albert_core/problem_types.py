"""What the labels of a sequence classifier mean, and which shapes they may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from albert_core.input_checks import dtype_name, is_integer

if TYPE_CHECKING:
    from albert_core.config import AlbertConfig

__all__ = ["LABEL_RULES", "PROBLEM_TYPES", "problem_type"]

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

# problem type: the accepted shapes of its labels, and the dimension that they count
LABEL_RULES: dict[str, tuple[tuple[str, ...], str]] = {
    "single_label_classification": (("B", "B1"), "K"),
    "multi_label_classification": (("BK",), ""),
    "regression": (("BK",), ""),
    "regression of one value": (("B", "B1"), ""),
}


def problem_type(config: AlbertConfig, labels: Any) -> str:
    """What a sequence classifier's labels mean: as the config says, or else as their number and dtype say.

    As in transformers, but for each call: the config is never written to.
    """
    kind = config.problem_type
    if kind is None and config.num_labels > 1:
        return "single_label_classification" if is_integer(dtype_name(labels)) else "multi_label_classification"
    if kind in (None, "regression"):
        return "regression" if config.num_labels > 1 else "regression of one value"
    return kind
