"""The dimension letters, and the sizes that a config gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from albert_core.config import AlbertConfig

__all__ = ["DIMENSIONS", "dimension_sizes"]

DIMENSIONS = {
    "B": "batch",
    "C": "choices",
    "S": "sequence",
    "P": "masked positions per sequence",
    "E": "embedding size",
    "H": "hidden size",
    "N": "attention heads",
    "D": "head size",
    "F": "feed-forward size",
    "V": "vocabulary",
    "X": "position embeddings",
    "T": "segment types",
    "R": "relative distances, 2 X - 1",
    "L": "layers",
    "I": "inner layers of a group",
    "G": "layer groups",
    "K": "labels",
}


def dimension_sizes(config: AlbertConfig) -> dict[str, int]:
    """The sizes that a config fixes, by dimension letter; digits stand for themselves."""
    return {
        "E": config.embedding_size,
        "H": config.hidden_size,
        "N": config.num_attention_heads,
        "D": config.head_size,
        "F": config.intermediate_size,
        "V": config.vocab_size,
        "X": config.max_position_embeddings,
        "T": config.type_vocab_size,
        "R": 2 * config.max_position_embeddings - 1,
        "L": config.num_hidden_layers,
        "I": config.inner_group_num,
        "G": config.num_hidden_groups,
        "K": config.num_labels,
        "1": 1,
        "2": 2,
    }
