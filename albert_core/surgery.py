"""Changes to a living model that keep its class: its vocabulary, its heads, and what backward keeps in memory.

Decided here in NumPy and by config; a backend supplies `_set_vocabulary`, which puts two arrays in place.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from albert_core.config import AlbertConfig
from albert_core.core_model import CoreModel
from albert_core.parameters import BIAS, WORDS, truncated_normal
from albert_core.walker import Leaf

__all__ = ["BIAS", "Surgery", "check_embeddings"]

ATTENTION_OUTPUT = re.compile(r"albert_layer_groups\.(?P<group>\d+)\..*attention\.dense\.weight$")


class Surgery(CoreModel):
    """Base of `PreTrained`.

    Attributes:
        checkpoint_policies: What backward may keep, by name; the first is the default, which keeps nothing but each
            layer's input.
    """

    checkpoint_policies: ClassVar[tuple[str, ...]] = ("nothing_saveable",)
    supports_gradient_checkpointing: ClassVar[bool] = True  # what transformers' Trainer asks

    # -- vocabulary ------------------------------------------------------------------------------------------------

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> Any:
        """Give the word embeddings, and the masked-LM bias, another number of rows; the first ones keep their values.

        Differs from HF: with `mean_resizing` a new row is the mean itself, without noise of scale 1e-9; drawn rows are
        the same in every backend.

        Args:
            new_num_tokens: Rows wanted, V; those there now when None.
            pad_to_multiple_of: Round the rows up to a multiple.
            mean_resizing: Start new rows at the mean of the old ones rather than from the initialiser.

        Returns:
            The word embeddings. In TensorFlow, where a built model cannot change, a new model; this one stays as it is.

        Raises:
            ConfigError: There cannot be so many rows, or the padding would have none; nothing has changed.
        """
        rows = self.config.vocab_size if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of is not None:
            rows = -(-rows // pad_to_multiple_of) * pad_to_multiple_of
        config = self.config.replace(vocab_size=rows)
        std = None if mean_resizing else config.initializer_range
        words, bias = self._vocabulary()
        return self._set_vocabulary(config, grown(words, rows, std), None if bias is None else grown(bias, rows, std))

    def _vocabulary(self) -> tuple[np.ndarray, np.ndarray | None]:
        words, bias = (self.parameter_table.get(name) for name in (WORDS, BIAS))
        assert words is not None  # every model has them
        return self._get_array(self.leaf(words)), None if bias is None else self._get_array(self.leaf(bias))

    # -- attention heads -------------------------------------------------------------------------------------------

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Switch attention heads off, for good and layer by layer, as a head mask of zeros would.

        Layers share their weights, so nothing can be cut out for one of them: the heads are kept in the config, under
        `albert_pruned_heads`. A head that every layer of a group switches off also loses its columns of
        `attention.dense`, which other readers of the checkpoint honour too.

        Args:
            heads_to_prune: Head numbers by virtual layer; added to what is pruned already.

        Raises:
            ConfigError: There is no such layer or head.
        """
        before = self.config.albert_pruned_heads
        merged = {int(layer): {*before.get(int(layer), ()), *heads} for layer, heads in heads_to_prune.items()}
        config = self.config.replace(albert_pruned_heads={**before, **merged})
        agreed = agreed_heads(config)
        for p in self.parameter_table.values():
            if found := ATTENTION_OUTPUT.search(p.name):
                self._zero_heads(self.leaf(p), agreed[int(found["group"])], config.head_size)
        self._set_config(config)
        pruned = config.albert_pruned_heads.items()
        alone = {layer: sorted(set(heads) - set(agreed[config.group_of(layer)])) for layer, heads in pruned}
        if alone := {layer: heads for layer, heads in alone.items() if heads}:
            warnings.warn(
                f"pruned in some of the layers that share weights, kept in others (heads by layer): {alone}; readers "
                "other than this project ignore the config's albert_pruned_heads and will use these heads",
                stacklevel=2,
            )

    def _zero_heads(self, leaf: Leaf, heads: Sequence[int], size: int) -> None:
        if not heads:
            return
        array = np.array(self._get_array(leaf))
        columns = array.T if leaf.transposed else array  # [H, N * D], a view
        for head in heads:
            columns[:, head * size : (head + 1) * size] = 0
        self._set_array(leaf, array)

    # -- memory ----------------------------------------------------------------------------------------------------

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None, policy: str | None = None
    ) -> None:
        """Let backward compute each layer again rather than keep what is inside; gradients stay the same.

        Args:
            gradient_checkpointing_kwargs: As transformers' Trainer passes them; `policy` may stand here, the rest says
                how PyTorch should do it and is not needed.
            policy: What may be kept, one of `checkpoint_policies`; the first of them when None.

        Raises:
            ValueError: There is no such policy in this backend.
        """
        policy = policy or dict(gradient_checkpointing_kwargs or {}).get("policy") or self.checkpoint_policies[0]
        if policy not in self.checkpoint_policies:
            raise ValueError(f"policy: expected one of {', '.join(self.checkpoint_policies)}, got {policy!r}")
        self.base_model.encoder.checkpointing = policy
        self._changed()

    def gradient_checkpointing_disable(self) -> None:
        """Let forward keep what it does at the start: what backward needs, in JAX the products with weights alone."""
        self.base_model.encoder.checkpointing = None
        self._changed()

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether backward computes layers again."""
        return self.base_model.encoder.checkpointing is not None


def grown(old: np.ndarray, rows: int, std: float | None) -> np.ndarray:
    """The first rows of an array, and new ones behind them: their mean, or drawn with `std` (a vector gets zeros)."""
    if rows <= len(old):
        return np.ascontiguousarray(old[:rows])
    shape = (rows - len(old), *old.shape[1:])
    if std is None:
        fresh = np.broadcast_to(old.mean(0, dtype=np.float64), shape)
    else:
        fresh = truncated_normal(np.random.default_rng(rows), shape, std) if old.ndim > 1 else np.zeros(shape)
    return np.concatenate([old, fresh.astype(old.dtype)])


def check_embeddings(config: AlbertConfig, table: Any) -> None:
    """Raise a ValueError when word embeddings that are to be put in have another shape than the config's [V, E]."""
    wanted, came = (config.vocab_size, config.embedding_size), tuple(table.shape)
    if came != wanted:
        raise ValueError(
            f"value: expected embeddings of shape {list(wanted)}, got {list(came)}; resize_token_embeddings changes V"
        )


def agreed_heads(config: AlbertConfig) -> list[list[int]]:
    """For each group the heads that all of its virtual layers switch off."""
    by_group: list[list[set[int]]] = [[] for _ in range(config.num_hidden_groups)]
    for layer in range(config.num_hidden_layers):
        by_group[config.group_of(layer)].append(set(config.albert_pruned_heads.get(layer, ())))
    return [sorted(set.intersection(*layers)) for layers in by_group]
