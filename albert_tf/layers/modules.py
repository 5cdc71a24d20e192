"""What the layers are made of: activations, and tables, linear maps and norms that exist at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import backend, initializers, layers, ops

from albert_core.config import AlbertConfig
from albert_core.numerics import activation

Tensor = Any
_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {"relu": ops.relu, "silu": ops.silu}
_FLOAT32_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {  # TensorFlow's hold a constant of 32 bits
    "gelu": partial(ops.gelu, approximate=False),
    "gelu_new": partial(ops.gelu, approximate=True),
}


def activation_of(config: AlbertConfig) -> Callable[[Tensor], Tensor]:
    """The activation a config names; Keras' kernel where it has one that agrees in float64."""
    act = config.hidden_act
    if not isinstance(act, str):
        return act
    return _KERNELS.get(act) or _widened(act)


def _widened(act: str) -> Callable[[Tensor], Tensor]:
    """Several steps in float32 or wider: each step in half precision would round, and backward again."""
    formula = activation(ops, act)
    kernel = _FLOAT32_KERNELS.get(act, formula)

    def wide(x: Tensor) -> Tensor:
        dtype = backend.standardize_dtype(x.dtype)
        name = backend.result_type(dtype, "float32")
        with keras.name_scope(act):  # TensorFlow fuses it into a product only if its name sorts behind "dense", "ffn"
            return ops.cast((kernel if name == "float32" else formula)(ops.cast(x, name)), dtype)

    return wide


class WordInitializer(initializers.TruncatedNormal):
    """The normal of every matrix, with a row of zeros for the padding."""

    def __init__(self, stddev: float, pad: int | None) -> None:
        super().__init__(stddev=stddev)
        self.pad = pad

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        values = super().__call__(shape, dtype=dtype)
        return values if self.pad is None else ops.where(ops.arange(shape[0])[:, None] == self.pad, 0.0, values)

    def get_config(self) -> dict[str, Any]:
        return {"stddev": self.stddev, "pad": self.pad}


def embedding(
    config: AlbertConfig, rows: int, width: int, name: str, dtype: Any, pad: int | None = None
) -> layers.Embedding:
    """A table that exists at once."""
    table = layers.Embedding(
        rows, width, embeddings_initializer=WordInitializer(config.initializer_range, pad), dtype=dtype, name=name
    )
    table.build((None,))
    return table


def dense(config: AlbertConfig, width_in: int, width_out: int, name: str, dtype: Any) -> layers.Dense:
    """A linear map that exists at once."""
    layer = layers.Dense(
        width_out,
        kernel_initializer=initializers.TruncatedNormal(stddev=config.initializer_range),
        bias_initializer="zeros",
        dtype=dtype,
        name=name,
    )
    layer.build((None, width_in))
    return layer


def norm(config: AlbertConfig, width: int, name: str, dtype: Any) -> layers.LayerNormalization:
    """A layer norm that exists at once; Keras takes its statistics in float32 or wider."""
    layer = layers.LayerNormalization(
        epsilon=config.layer_norm_eps, gamma_initializer="ones", beta_initializer="zeros", dtype=dtype, name=name
    )
    layer.build((None, width))
    return layer


def is_plain(layer: layers.Layer) -> bool:
    """Whether a product with the layer's kernel and its bias is all that calling it does.

    A subclass, an adapter or a quantised layer does more.
    """
    plain = type(layer) is layers.Dense and layer.use_bias
    return plain and not layer.lora_enabled and layer.quantization_mode is None


def as_rows(x: Tensor) -> Tensor:
    """[B, S, W] as [B * S, W]: a product of two matrices takes bias, activation and residual into its kernel."""
    return ops.reshape(x, (-1, x.shape[-1]))


class _Drawn(keras.random.SeedGenerator):
    """A seed that has been drawn already; whoever asks twice gets the same."""

    def __init__(self, seed: Tensor) -> None:
        self.seed = seed

    def next(self, ordered: bool = True) -> Tensor:
        return self.seed


def dropped(dropout: layers.Dropout, x: Tensor, seeds: list[Tensor] | None, place: int) -> Tensor:
    """The layer's dropout, with a drawn seed where there are some."""
    if seeds is None or dropout.rate == 0:
        return dropout(x)
    return keras.random.dropout(x, dropout.rate, seed=_Drawn(seeds[place]))
