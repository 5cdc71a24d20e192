"""Small checkpoints of random weights, written by the systems whose formats this project reads.

Run in the environments of `make peers`: transformers 4.57.6 with its three frameworks, and keras-hub 0.32 beside
tf-models-official 2.20:

    cd tests/foreign
    for kind in bin h5 msgpack safetensors-tf safetensors-flax tf1; do
        ../../.venv-peers/bin/python make_foreign.py $kind .; done
    for kind in keras-hub tf-models; do ../../.venv-peers-keras/bin/python make_foreign.py $kind .; done

Each folder gets the checkpoint as its owner writes it and `outputs.npz`, what its owner computes with it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1", "3"

import numpy as np  # noqa: E402

SIZES = {
    "vocab_size": 11,
    "embedding_size": 3,
    "hidden_size": 4,
    "num_attention_heads": 2,
    "intermediate_size": 5,
    "num_hidden_layers": 3,
    "max_position_embeddings": 6,
    "initializer_range": 0.5,
}
HEAD = "AlbertForPreTraining"
INPUTS = {
    "input_ids": np.array([[2, 5, 7, 3, 0], [2, 8, 1, 9, 3]]),
    "attention_mask": np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),
    "token_type_ids": np.array([[0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]),
}


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values for a vector, which every framework starts at 0 or 1, where a mistake would not show."""
    return np.random.default_rng(sum(name.encode())).normal(size=shape).astype(np.float32)


def make_bin(folder: Path) -> dict[str, np.ndarray]:
    import torch
    import transformers

    torch.manual_seed(0)
    model = transformers.AlbertForPreTraining(transformers.AlbertConfig(**SIZES)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.copy_(torch.from_numpy(draw(name, tuple(parameter.shape))))
        model.save_pretrained(folder, safe_serialization=False)
        return {k: v.numpy() for k, v in model(**{k: torch.from_numpy(v) for k, v in INPUTS.items()}).items()}


def make_h5(folder: Path, safe: bool = False) -> dict[str, np.ndarray]:
    import tensorflow as tf
    import transformers

    tf.random.set_seed(0)
    model = transformers.TFAlbertForPreTraining(transformers.AlbertConfig(**SIZES))
    model(INPUTS)
    for variable in model.weights:
        if len(variable.shape) == 1:
            variable.assign(draw(variable.name, tuple(variable.shape)))
    model.save_pretrained(folder, safe_serialization=safe)
    return {k: np.asarray(v) for k, v in model(INPUTS, training=False).items()}


def make_msgpack(folder: Path, safe: bool = False) -> dict[str, np.ndarray]:
    import transformers
    from flax.traverse_util import flatten_dict, unflatten_dict

    model = transformers.FlaxAlbertForPreTraining(transformers.AlbertConfig(**SIZES), seed=0)
    flat = {name: np.asarray(value) for name, value in flatten_dict(model.params).items()}
    model.params = unflatten_dict({n: draw("/".join(n), v.shape) if v.ndim == 1 else v for n, v in flat.items()})
    model.save_pretrained(folder, safe_serialization=safe)
    return {k: np.asarray(v) for k, v in model(**INPUTS).items()}


def make_tf1(folder: Path) -> dict[str, np.ndarray]:
    """Google's variable names with the slots of its optimizer, through TensorFlow's own Saver.

    The values and the outputs are those of the torch model, so this must run after `bin`.
    """
    import tensorflow as tf
    import torch

    state = torch.load(folder.parent / "bin/pytorch_model.bin", weights_only=True)
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        values = {google: convert(state[name].numpy()) for name, google, convert in _google_names()}
        values |= {f"{n}/{slot}": np.ones_like(v) for n, v in values.items() for slot in ("adam_m", "adam_v")}
        values["global_step"] = np.asarray(7, np.int64)
        for name, value in values.items():
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(folder / "model.ckpt-best"), write_meta_graph=False)
    (folder / "checkpoint").unlink()
    config = {k: v for k, v in SIZES.items()} | {"hidden_act": "gelu", "type_vocab_size": 2, "num_hidden_groups": 1}
    (folder / "albert_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return dict(np.load(folder.parent / "bin/outputs.npz"))


def _google_names():
    layer, inner = (
        "albert.encoder.albert_layer_groups.0.albert_layers.0.",
        "bert/encoder/transformer/group_0/inner_group_0/",
    )
    for table in ("word", "position", "token_type"):
        yield f"albert.embeddings.{table}_embeddings.weight", f"bert/embeddings/{table}_embeddings", np.asarray
    for module, scope in {
        "albert.embeddings.LayerNorm": "bert/embeddings/LayerNorm",
        layer + "attention.LayerNorm": inner + "LayerNorm",
        layer + "full_layer_layer_norm": inner + "LayerNorm_1",
        "predictions.LayerNorm": "cls/predictions/transform/LayerNorm",
    }.items():
        yield f"{module}.weight", f"{scope}/gamma", np.asarray
        yield f"{module}.bias", f"{scope}/beta", np.asarray
    for module, scope in {
        "albert.encoder.embedding_hidden_mapping_in": "bert/encoder/embedding_hidden_mapping_in",
        layer + "attention.query": inner + "attention_1/self/query",
        layer + "attention.key": inner + "attention_1/self/key",
        layer + "attention.value": inner + "attention_1/self/value",
        layer + "attention.dense": inner + "attention_1/output/dense",
        layer + "ffn": inner + "ffn_1/intermediate/dense",
        layer + "ffn_output": inner + "ffn_1/intermediate/output/dense",
        "albert.pooler": "bert/pooler/dense",
        "predictions.dense": "cls/predictions/transform/dense",
    }.items():
        yield f"{module}.weight", f"{scope}/kernel", np.transpose
        yield f"{module}.bias", f"{scope}/bias", np.asarray
    yield "predictions.bias", "cls/predictions/output_bias", np.asarray
    yield "sop_classifier.classifier.weight", "cls/seq_relationship/output_weights", np.asarray
    yield "sop_classifier.classifier.bias", "cls/seq_relationship/output_bias", np.asarray


def make_keras_hub(folder: Path) -> dict[str, np.ndarray]:
    """A preset of the masked LM, which holds the backbone and a head."""
    import keras_hub

    model = _written(keras_hub.models.AlbertMaskedLM(_hub_backbone()), folder)
    return {"logits": np.asarray(model({**hub_inputs(), "mask_positions": np.tile(np.arange(5), (2, 1))}))}


def make_keras_hub_classifier(folder: Path) -> dict[str, np.ndarray]:
    import keras_hub

    model = _written(keras_hub.models.AlbertTextClassifier(_hub_backbone(), num_classes=3), folder)
    return {"logits": np.asarray(model(hub_inputs()))}


def make_keras_hub_backbone(folder: Path) -> dict[str, np.ndarray]:
    outputs = _written(_hub_backbone(), folder)(hub_inputs())
    return {"last_hidden_state": outputs["sequence_output"], "pooler_output": outputs["pooled_output"]}


def _hub_backbone():
    import keras_hub

    sizes = {"vocabulary_size": 11, "embedding_dim": 3, "hidden_dim": 4, "num_heads": 2, "intermediate_dim": 5}
    more = {"num_layers": 4, "num_groups": 2, "num_inner_repetitions": 1, "max_sequence_length": 6}
    return keras_hub.models.AlbertBackbone(**sizes, **more, dropout=0.0)


def _written(model, folder: Path):
    """The model with values of its own in every variable, saved as a preset."""
    for variable in model.weights:
        if "seed" not in variable.path:
            variable.assign(draw(variable.path, tuple(variable.shape)) * 0.5)
    model.save_to_preset(str(folder))
    return model


def hub_inputs() -> dict[str, np.ndarray]:
    names = {"input_ids": "token_ids", "attention_mask": "padding_mask", "token_type_ids": "segment_ids"}
    return {names[name]: value for name, value in INPUTS.items()}


def make_tf_models(folder: Path) -> dict[str, np.ndarray]:
    import tensorflow as tf
    from official.nlp.modeling.networks.albert_encoder import AlbertEncoder

    model = AlbertEncoder(
        vocab_size=11,
        embedding_width=3,
        hidden_size=4,
        num_layers=3,
        num_attention_heads=2,
        max_sequence_length=6,
        type_vocab_size=2,
        intermediate_size=5,
        activation=lambda x: tf.nn.gelu(x, approximate=True),
        dict_outputs=True,
    )
    for variable in model.weights:
        variable.assign(draw(variable.name, tuple(variable.shape)) * 0.5)
    outputs = model([INPUTS["input_ids"], INPUTS["attention_mask"], INPUTS["token_type_ids"]])
    tf.train.Checkpoint(encoder=model).write(str(folder / "ckpt"))
    config = {k: v for k, v in SIZES.items()} | {"hidden_act": "gelu", "type_vocab_size": 2}
    (folder / "albert_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return {"last_hidden_state": outputs["sequence_output"], "pooler_output": outputs["pooled_output"]}


def main(kind: str, root: str) -> None:
    folder = Path(root) / kind
    folder.mkdir(parents=True, exist_ok=True)
    outputs = MAKERS[kind](folder)
    np.savez(folder / "outputs.npz", **{k: np.asarray(v, np.float32) for k, v in outputs.items()})


MAKERS = {
    "bin": make_bin,
    "h5": make_h5,
    "msgpack": make_msgpack,
    "safetensors-tf": lambda folder: make_h5(folder, safe=True),
    "safetensors-flax": lambda folder: make_msgpack(folder, safe=True),
    "tf1": make_tf1,
    "keras-hub": make_keras_hub,
    "keras-hub-classifier": make_keras_hub_classifier,
    "keras-hub-backbone": make_keras_hub_backbone,
    "tf-models": make_tf_models,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
