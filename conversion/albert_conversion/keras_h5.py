"""Keras 3 `.weights.h5` files: of this project's Keras models and of keras-hub, alone or in a keras-hub preset.

A preset is a folder of JSON files that say what to build, the backbone's weights, and the weights of a task's own
layers. Nothing in it is ever built or imported. Source: `keras/src/saving/saving_lib.py` and
`keras_hub/src/utils/preset_utils.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from albert_conversion.extra import require
from albert_conversion.hdf5 import open_datasets
from albert_conversion.source import Source, Stored
from albert_core.config import AlbertConfig
from albert_core.errors import AlbertError, FormatError
from albert_core.keras_names import HUB_BACKBONE
from albert_core.strict_json import clip

__all__ = [
    "TASK_FILES",
    "TASK_WEIGHTS",
    "WEIGHTS_NAME",
    "from_keras_hub",
    "keras_hub_json",
    "kind_of_h5",
    "open_keras",
    "write_weights",
]

WEIGHTS_NAME, TASK_WEIGHTS = "model.weights.h5", "task.weights.h5"
TASK_FILES = (TASK_WEIGHTS, "task.json")
_OWN_PREFIX = "albert/"  # absent in the file of a bare encoder
_FIELDS = {
    "vocab_size": "vocabulary_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "num_hidden_groups": "num_groups",
    "inner_group_num": "num_inner_repetitions",
    "embedding_size": "embedding_dim",
    "hidden_size": "hidden_dim",
    "intermediate_size": "intermediate_dim",
    "max_position_embeddings": "max_sequence_length",
    "type_vocab_size": "num_segments",
    "hidden_dropout_prob": "dropout",
}


def kind_of_h5(path: Path) -> str:
    """Which format's names an HDF5 file holds; the one that says best what is wrong where it cannot be read."""
    try:
        file, datasets = open_datasets(path)
    except AlbertError:
        return "keras" if path.name.endswith(".weights.h5") else "h5"
    file.close()
    if not any("/vars/" in name for name in datasets):
        return "h5"
    hub = any(part in name for name in datasets for part in ("transformer_encoder", "masked_lm_head"))
    return "keras-hub" if hub or path.name == TASK_WEIGHTS else "keras"


def open_keras(path: Path, kind: str) -> Source:
    """Open a `.weights.h5` file; in a keras-hub preset, with the weights of its task; see `open_datasets`.

    Args:
        path: The file.
        kind: "keras" or "keras-hub".
    """
    with ExitStack() as opened:
        tensors: dict[str, Stored] = {}
        for each in _files(path, kind):
            file, datasets = open_datasets(each)
            opened.callback(file.close)
            found = _whole_paths(datasets, kind, each)
            if twice := tensors.keys() & found.keys():
                raise FormatError(each, clip(min(twice)), f"expected every variable once, {path.name} has it too")
            tensors |= {name: replace(stored, same_as=(each.name, stored.same_as)) for name, stored in found.items()}
        return Source(kind, path, tensors, opened.pop_all().close)


def _files(path: Path, kind: str) -> list[Path]:
    task = path.with_name(TASK_WEIGHTS)
    return [path, task] if kind == "keras-hub" and path.name == WEIGHTS_NAME and task.is_file() else [path]


def _whole_paths(datasets: Mapping[str, Stored], kind: str, path: Path) -> dict[str, Stored]:
    """The datasets with the prefix that the file of a bare encoder leaves out."""
    prefix = HUB_BACKBONE if kind == "keras-hub" else _OWN_PREFIX
    bare = path.name != TASK_WEIGHTS and not any(name.startswith(prefix) for name in datasets)
    keep = ("optimizer/",)
    return {prefix + n if bare and not n.startswith(keep) else n: stored for n, stored in datasets.items()}


def write_weights(file: BinaryIO, tensors: Mapping[str, Any], prefix: str = "") -> None:
    """Write a `.weights.h5` file that Keras's load_weights opens.

    Args:
        file: A seekable binary file.
        tensors: Arrays by path; read one after the other.
        prefix: What to leave out in front of paths that begin with it.
    """
    h5py = require("h5py")
    with h5py.File(file, "w") as target:
        for name in tensors:
            array = np.ascontiguousarray(tensors[name])
            brain = array.dtype.name == "bfloat16"  # HDF5 has no such type: two opaque bytes, and an attribute
            dataset = target.create_dataset(name.removeprefix(prefix), data=array.view("V2") if brain else array)
            if brain:
                dataset.attrs["dtype"] = "bfloat16"


# -- the JSON of a preset ------------------------------------------------------------------------------------------


def from_keras_hub(values: Mapping[str, Any], path: Path, kept: AlbertConfig | None = None) -> AlbertConfig:
    """A config from a preset's config.json; a sidecar's fields hold where the file says what was written for them.

    Raises:
        ConfigError: A value is out of range.
    """
    inner = values.get("config")
    inner = inner if isinstance(inner, dict) else {}
    found = {field: inner[name] for field, name in _FIELDS.items() if name in inner}
    if kept is not None:
        changed = {field: value for field, value in found.items() if getattr(kept, field) != value}
        return kept.replace(**changed) if changed else kept
    dropout = found.get("hidden_dropout_prob", 0.0)
    return AlbertConfig.from_dict({**found, "attention_probs_dropout_prob": dropout}, path)


def keras_hub_json(config: AlbertConfig, head: str, dtype: str) -> dict[str, bytes]:
    """The JSON files of a preset by name."""
    backbone = _object("keras_hub.src.models.albert.albert_backbone", "AlbertBackbone", _backbone(config, dtype))
    files = {"config.json": backbone, "metadata.json": {"keras_version": "3.15.1", "keras_hub_version": "0.32.0"}}
    task = {"backbone": backbone, "preprocessor": None}
    if head == "AlbertForMaskedLM":
        values = {**task, "name": "albert_masked_lm"}
        files["task.json"] = _object("keras_hub.src.models.albert.albert_masked_lm", "AlbertMaskedLM", values)
    elif head == "AlbertForSequenceClassification":
        values = {**task, "name": "albert_text_classifier", "num_classes": config.num_labels, "activation": "linear"}
        values["dropout"] = config.classifier_dropout_prob
        module = "keras_hub.src.models.albert.albert_text_classifier"
        files["task.json"] = _object(module, "AlbertTextClassifier", values)
    return {name: (json.dumps(values, indent=4, sort_keys=True) + "\n").encode() for name, values in files.items()}


def hub_tokenizer(has_vocabulary: bool) -> dict[str, bytes]:
    """The JSON file that makes a preset's vocabulary a tokenizer."""
    if not has_vocabulary:
        return {}
    values = {"name": "albert_tokenizer", "trainable": True, "config_file": "tokenizer.json", "proto": None}
    tokenizer = _object("keras_hub.src.models.albert.albert_tokenizer", "AlbertTokenizer", values)
    return {"tokenizer.json": (json.dumps(tokenizer, indent=4, sort_keys=True) + "\n").encode()}


def _object(module: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": f"keras_hub>{name}"}


def _backbone(config: AlbertConfig, dtype: str) -> dict[str, Any]:
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype}, "registered_name": None}
    values = {name: getattr(config, field) for field, name in _FIELDS.items()}
    return {"name": "albert_backbone", "trainable": True, "dtype": policy, **values}
