"""What each checkpoint format can hold: the one table that decides what a conversion would lose.

A format holds names, shapes and bytes of tensors; what it says about the rest of a config differs. "Held" means that
the format's own reader computes what this project computes. What a format cannot say but does not compute with (label
names, ids of special pieces, dropout in front of a classifier) travels in a sidecar and is no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from albert_core.dtypes import DTYPES
from albert_core.heads import HEADS

if TYPE_CHECKING:
    from albert_core.config import AlbertConfig

__all__ = ["FORMATS", "SIDECAR_NAME", "Format", "losses"]

SIDECAR_NAME = "albert_models.json"  # beside a format whose own config cannot hold an AlbertConfig

_ALL_HEADS = frozenset(HEADS)
_ALL_DTYPES = frozenset(DTYPES)
_NO_BFLOAT16 = _ALL_DTYPES - {"bfloat16"}
_GOOGLE_HEADS = _ALL_HEADS - {"AlbertForTokenClassification"}
_KERAS_HUB_HEADS = frozenset({"AlbertModel", "AlbertForMaskedLM", "AlbertForSequenceClassification"})
_TANH_GELUS = frozenset("gelu_new gelu_accurate gelu_fast gelu_pytorch_tanh gelu_python_tanh".split())
_GOOGLE_ACTIVATIONS = _TANH_GELUS | {"relu", "tanh", "linear"}


def _transformers_group(layer: int, layers: int, groups: int) -> int:
    return int(layer / (layers / groups))


def _google_group(layer: int, layers: int, groups: int) -> int:
    return int(layer / layers * groups)


def _keras_hub_group(layer: int, layers: int, groups: int) -> int:
    return layer // (layers // groups)  # it demands that the groups divide the layers


@dataclass(frozen=True)
class Format:
    """One checkpoint format.

    Attributes:
        name: As `albert convert --to` takes it.
        title: What it is.
        scheme: Its naming, a key of `albert_core.foreign_names.SCHEMES`.
        weights: The usual name of the file or folder that holds its tensors, or "".
        heads: Class names whose tensors it can hold.
        dtypes: Floating-point types its tensors can have.
        writable: Whether there is a writer.
        whole_config: Whether a config.json beside it holds every field; otherwise there is a sidecar.
        relative_positions: Whether it has tensors of relative positions.
        activations: The activations its own readers run; None for all.
        layer_norm_eps: The epsilon that its own readers run; None for any.
        remarks: By class name: how its own readers compute something a little differently, though every tensor is held.
        group_of: Which layer group its own readers apply in a layer; None where that is `AlbertConfig.group_of`.
    """

    name: str
    title: str
    scheme: str
    weights: str
    heads: frozenset[str] = _ALL_HEADS
    dtypes: frozenset[str] = _ALL_DTYPES
    writable: bool = True
    whole_config: bool = True
    relative_positions: bool = False
    activations: frozenset[str] | None = None
    layer_norm_eps: float | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)
    group_of: Callable[[int, int, int], int] | None = None


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("safetensors", "safetensors", "torch", "model.safetensors", relative_positions=True),
        Format("bin", "PyTorch .bin", "torch", "pytorch_model.bin", relative_positions=True),
        Format(
            "h5",
            "TensorFlow .h5 of transformers 4",
            "tf_h5",
            "tf_model.h5",
            dtypes=_NO_BFLOAT16,
            group_of=_transformers_group,
        ),
        Format(
            "msgpack",
            "Flax .msgpack of transformers 4",
            "flax",
            "flax_model.msgpack",
            group_of=_transformers_group,
        ),
        Format(
            "tf1",
            "Google's TensorFlow 1 checkpoint",
            "tf1",
            "model.ckpt-best.index",
            heads=_GOOGLE_HEADS,
            whole_config=False,
            activations=_GOOGLE_ACTIVATIONS,
            layer_norm_eps=1e-12,
            group_of=_google_group,
        ),
        Format(
            "keras-hub",
            "keras-hub preset",
            "keras_hub",
            "model.weights.h5",
            heads=_KERAS_HUB_HEADS,
            whole_config=False,
            activations=_TANH_GELUS,
            layer_norm_eps=1e-12,
            remarks={
                "AlbertForMaskedLM": "keras-hub's masked-LM head has the layer norm epsilon 1e-5, here it is 1e-12"
            },
            group_of=_keras_hub_group,
        ),
        Format(
            "keras",
            "Keras 3 .weights.h5 of this project",
            "keras",
            "model.weights.h5",
            relative_positions=True,
        ),
        Format(
            "tf-models",
            "encoder of tensorflow/models",
            "official",
            "",
            heads=frozenset({"AlbertModel"}),
            whole_config=False,
            writable=False,
        ),
        Format("orbax", "orbax checkpoint of this project", "nnx", "orbax", relative_positions=True),
    )
}


def losses(target: Format, config: AlbertConfig, head: str, dtype: str) -> list[str]:
    """What of a model a format cannot hold, one sentence each; empty when it holds everything.

    Args:
        target: The format.
        config: The model's config.
        head: Its class name, as in `albert_core.heads`.
        dtype: Name of its tensors' type.
    """
    found = []
    if head not in target.heads:
        found.append(f"the head of {head}")
    if dtype not in target.dtypes:
        found.append(f"the dtype {dtype}")
    if config.position_embedding_type != "absolute" and not target.relative_positions:
        found.append(f"position_embedding_type {config.position_embedding_type!r} and its distance embeddings")
    if target.activations is not None and config.hidden_act not in target.activations:
        found.append(f"hidden_act {config.hidden_act!r}")
    if target.layer_norm_eps not in (None, config.layer_norm_eps):
        found.append(f"layer_norm_eps {config.layer_norm_eps} (its readers use {target.layer_norm_eps})")
    if target.group_of is not None and not _same_groups(target.group_of, config):
        found.append(f"{config.num_hidden_groups} groups in {config.num_hidden_layers} layers (its readers round off)")
    return found


def _same_groups(group_of: Callable[[int, int, int], int], config: AlbertConfig) -> bool:
    layers, groups = config.num_hidden_layers, config.num_hidden_groups
    return all(group_of(layer, layers, groups) == config.group_of(layer) for layer in range(layers))
