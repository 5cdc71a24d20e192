"""A model as a program that runs without this package: a TensorFlow SavedModel.

    export_model(model, "exported")

and, in a process that has TensorFlow alone,

    program = tf.saved_model.load("exported").signatures["serving_default"]
    logits = program(input_ids=ids, attention_mask=mask, token_type_ids=segments)["logits"]

Source of the format: https://www.tensorflow.org/guide/saved_model.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from albert_core.atomic import write_file, write_folder
from albert_core.export_inputs import EXPORT_INPUTS, ExportInput, export_inputs
from albert_tf.base import TFAlbertPreTrainedModel, variable_of

__all__ = ["export_model", "exported_program"]

_PROGRAM = "saved_model.pb"


def export_model(
    model: TFAlbertPreTrainedModel,
    path: str | Path,
    *,
    inputs: Iterable[str] = EXPORT_INPUTS,
    batch: int | None = None,
    length: int | None = None,
) -> None:
    """Write a model's forward pass, as it is in evaluation mode, with its weights.

    The outputs are the present fields of the head's output by name; of a field that is a tuple, each array by the
    field's name and its place, `hidden_states_0`.

    Args:
        model: Any model of this package; its dtypes become the program's.
        path: The folder.
        inputs: The inputs that the program takes, each of them at every call; whole numbers are int32.
        batch: The only batch size that it takes; any when None.
        length: The only length; any up to max_position_embeddings when None.

    Raises:
        ValueError: The model has no such input, does not know such a length, or runs on another framework.
        SaveError: The system refused.
    """
    program = exported_program(model, inputs=inputs, batch=batch, length=length)
    module = tf.Module()
    names = {id(variable_of(model.leaf(p))): p.name for p in model.own_parameters()}
    module.weights = {names.get(id(v), f"{v.name}_{n}"): v.value for n, v in enumerate(model.weights)}  # adapters' too
    module.serve = program
    with TemporaryDirectory() as made:
        tf.saved_model.save(module, made, signatures=program.get_concrete_function())
        with write_folder(Path(path)) as folder:
            _copy(Path(made), folder)


def exported_program(
    model: TFAlbertPreTrainedModel,
    *,
    inputs: Iterable[str] = EXPORT_INPUTS,
    batch: int | None = None,
    length: int | None = None,
) -> Any:
    """What `export_model` writes, as a `tf.function` of the inputs in order; arguments and errors as there."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"expected Keras on tensorflow to write a SavedModel, got {keras.backend.backend()}")
    given = export_inputs(model.signature, model.config, tuple(inputs), batch, length)

    @tf.function(input_signature=[_spec(name, spec) for name, spec in given.items()], autograph=False)
    def serve(*arrays: tf.Tensor) -> dict[str, tf.Tensor]:
        out = model(**dict(zip(given, arrays, strict=True)), return_dict=True, training=False)
        return dict(_flat(out.items()))

    return serve


def _spec(name: str, spec: ExportInput) -> tf.TensorSpec:
    shape = [None if axis in spec.open else size for axis, size in enumerate(spec.example.shape)]
    return tf.TensorSpec(shape, tf.float32 if np.issubdtype(spec.example.dtype, np.floating) else tf.int32, name)


def _flat(fields: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, tf.Tensor]]:
    """Named arrays; a signature holds no tuples."""
    for name, value in fields:
        if isinstance(value, tuple):
            yield from ((f"{name}_{place}", array) for place, array in enumerate(value))
        else:
            yield name, value


def _copy(source: Path, target: Path) -> None:
    """Every file, the program last: it is what a reader looks for."""
    found = sorted((path for path in source.rglob("*") if path.is_file()), key=lambda path: path.name == _PROGRAM)
    for path in found:
        place = target / path.relative_to(source)
        place.parent.mkdir(exist_ok=True)
        with path.open("rb") as file:
            write_file(place, lambda out, file=file: shutil.copyfileobj(file, out))
