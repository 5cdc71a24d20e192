"""Names of parameters in files of Keras models: of this project's, of keras-hub's and of tensorflow/models'.

In a `.weights.h5` file Keras 3 names a variable by the attributes that lead to its layer, or by class where a list
leads there, and numbers the variables of a layer. Sources: `keras/src/saving/saving_lib.py` of
https://github.com/keras-team/keras, `keras_hub/src/models/albert` of https://github.com/keras-team/keras-hub, and
`official/nlp/modeling/networks/albert_encoder.py` of https://github.com/tensorflow/models.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from albert_core.parameters import Kind, Parameter
from albert_core.walker import LAYOUTS

if TYPE_CHECKING:
    from albert_core.config import AlbertConfig

__all__ = ["HUB_BACKBONE", "hub_name", "official_name", "own_name"]

HUB_BACKBONE = "layers/albert_backbone/"  # what a task of keras-hub puts in front of its backbone's paths

_OWN_MODULES = {
    "albert.pooler": "albert/layers/dense",
    "predictions": "layers/albert_mlm_head",
    "predictions.dense": "layers/albert_mlm_head/dense",
    "predictions.LayerNorm": "layers/albert_mlm_head/LayerNorm",
    "sop_classifier.classifier": "layers/albert_sop_head/classifier",
    "qa_outputs": "layers/dense",
}
_HUB_MODULES = {
    "albert.embeddings.word_embeddings": HUB_BACKBONE + "layers/reversible_embedding",
    "albert.embeddings.position_embeddings": HUB_BACKBONE + "layers/position_embedding",
    "albert.embeddings.token_type_embeddings": HUB_BACKBONE + "layers/embedding",
    "albert.embeddings.LayerNorm": HUB_BACKBONE + "layers/layer_normalization",
    "albert.encoder.embedding_hidden_mapping_in": HUB_BACKBONE + "layers/dense",
    "albert.pooler": HUB_BACKBONE + "layers/dense_1",
    "predictions": "layers/masked_lm_head",
    "predictions.dense": "layers/masked_lm_head/_intermediate_dense",
    "predictions.LayerNorm": "layers/masked_lm_head/_intermediate_layer_norm",
    "classifier": "layers/dense",
}
_HUB_LAYER = {
    "attention.query": "_self_attention_layer/query_dense",
    "attention.key": "_self_attention_layer/key_dense",
    "attention.value": "_self_attention_layer/value_dense",
    "attention.dense": "_self_attention_layer/output_dense",
    "attention.LayerNorm": "_self_attention_layer_norm",
    "ffn": "_feedforward_intermediate_dense",
    "ffn_output": "_feedforward_output_dense",
    "full_layer_layer_norm": "_feedforward_layer_norm",
}
_OFFICIAL_MODULES = {
    "albert.embeddings.word_embeddings": "word_embeddings",
    "albert.embeddings.position_embeddings": "position_embedding",
    "albert.embeddings.token_type_embeddings": "type_embeddings",
    "albert.embeddings.LayerNorm": "embeddings/layer_norm",
    "albert.encoder.embedding_hidden_mapping_in": "embedding_projection",
    "albert.pooler": "pooler_transform",
}
_OFFICIAL_LAYER = {  # of the one layer that it shares
    "attention.query": "transformer/self_attention/query",
    "attention.key": "transformer/self_attention/key",
    "attention.value": "transformer/self_attention/value",
    "attention.dense": "transformer/self_attention/attention_output",
    "attention.LayerNorm": "transformer/self_attention_layer_norm",
    "ffn": "transformer/intermediate",
    "ffn_output": "transformer/output",
    "full_layer_layer_norm": "transformer/output_layer_norm",
}
_LAYER = re.compile(r"albert\.encoder\.albert_layer_groups\.(\d+)\.albert_layers\.(\d+)\.(.+)")
_SPLIT = ("attention.query", "attention.key", "attention.value")  # kernels that keras-hub holds as [H, N, D]


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _variable(p: Parameter) -> tuple[str, bool]:
    """The number of a variable in its layer, and whether it is a kernel, which Keras holds [in, out]."""
    transposed = p.leaf == "weight" and p.kind in (Kind.LINEAR, Kind.OUTPUT)
    return f"/vars/{int(p.leaf == 'bias')}", transposed


def _module(p: Parameter) -> str:
    return p.module.removesuffix(".bias") if p.kind is Kind.VECTOR else p.module


def own_name(p: Parameter) -> tuple[str, bool, tuple[int, ...] | None]:
    """Where a Keras model of this project holds a parameter: path, whether transposed, and no shape of its own."""
    module = _module(p)
    path = _OWN_MODULES.get(module)
    if path is None and (match := _LAYER.fullmatch(module)):
        group, inner = _numbered("albert_layer_group", int(match[1])), _numbered("albert_layer", int(match[2]))
        rest = match[3].replace(".", "/")
        path = f"albert/encoder/albert_layer_groups/{group}/albert_layers/{inner}/{rest}"
    variable, transposed = _variable(p)
    return (path or module.replace(".", "/")) + variable, transposed, None


def hub_name(p: Parameter, config: AlbertConfig) -> tuple[str, bool, tuple[int, ...] | None] | None:
    """Where keras-hub holds a parameter: path, whether transposed, and its shape where that has heads in it."""
    module, variable = _module(p), _variable(p)
    if match := _LAYER.fullmatch(module):
        if match[3] not in _HUB_LAYER:
            return None
        number = int(match[1]) * config.inner_group_num + int(match[2])
        layer = _numbered("transformer_encoder", number)
        path = f"{HUB_BACKBONE}layers/{layer}/{_HUB_LAYER[match[3]]}"
        return path + variable[0], variable[1], _split_by_heads(p, match[3], config)
    if module not in _HUB_MODULES:
        return None
    return _HUB_MODULES[module] + variable[0], variable[1], None


def official_name(p: Parameter, config: AlbertConfig) -> tuple[str, bool, tuple[int, ...] | None] | None:
    """The name of a variable of tensorflow/models' encoder, which has one layer and no heads."""
    match = _LAYER.fullmatch(p.module)
    if match and (match[1], match[2]) != ("0", "0"):
        return None
    path = _OFFICIAL_LAYER.get(match[3]) if match else _OFFICIAL_MODULES.get(p.module)
    if path is None:
        return None
    leaf, transposed = LAYOUTS["tf"][p.kind][p.leaf]
    return f"{path}/{leaf}", transposed, _split_by_heads(p, match[3], config) if match else None


def _split_by_heads(p: Parameter, name: str, config: AlbertConfig) -> tuple[int, ...] | None:
    heads = (config.num_attention_heads, config.head_size)
    if name in _SPLIT:
        return (config.hidden_size, *heads) if p.leaf == "weight" else heads
    if name == "attention.dense" and p.leaf == "weight":
        return (*heads, config.hidden_size)
    return None
