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

__all__ = ["export_as_keras", "export_model", "exported_program"]

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
    _save(model, exported_program(model, inputs=inputs, batch=batch, length=length), path)


def _save(model: TFAlbertPreTrainedModel, program: Any, path: str | Path) -> None:
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
    return _program(model, _specs(model, tuple(inputs), batch, length))


def export_as_keras(
    model: TFAlbertPreTrainedModel,
    path: str | Path,
    format: str,  # as Keras calls it
    verbose: bool | None,
    input_signature: Any,
    **options: Any,
) -> None:
    """What `keras.Model.export` does, whose arguments these are; the outputs have the names of `export_model`.

    Args:
        model: Any model of this package.
        path: The folder or file.
        format: See Keras; a SavedModel is written as by `export_model`, any other format by Keras.
        verbose: See there.
        input_signature: Arrays or specs of the inputs, by name or in order; those of `export_model` when None.
        **options: Of the format.

    Raises:
        TypeError: The model has no such input.
        ValueError: There is no such format, or it needs another framework.
        ImportError: It needs a library that is not there.
    """
    specs = _specs(model) if input_signature is None else _asked(model, input_signature)
    if format == "tf_saved_model" and not options:
        return _save(model, _program(model, specs), path)
    kinds = {name: {"dtype": spec.dtype.name, "name": name} for name, spec in specs.items()}
    inputs = {name: keras.Input(batch_shape=tuple(spec.shape), **kinds[name]) for name, spec in specs.items()}
    sizes = {name: keras.InputSpec(shape=tuple(spec.shape), **kinds[name]) for name, spec in specs.items()}
    plain = keras.Model(inputs, dict(_flat(model(**inputs, return_dict=True).items())), name=model.name)
    return plain.export(path, format, verbose, [sizes], **options)


def _asked(model: TFAlbertPreTrainedModel, signature: Any) -> dict[str, tf.TensorSpec]:
    """A signature as Keras takes it: one spec or a dict of them, alone or in a list, or a list of specs in order."""
    alone = isinstance(signature, list | tuple) and len(signature) == 1
    named = model.signature.named((signature[0] if alone else signature,), {})
    return {name: tf.TensorSpec(spec.shape, spec.dtype or tf.int32, name) for name, spec in named.items()}


def _program(model: TFAlbertPreTrainedModel, specs: dict[str, tf.TensorSpec]) -> Any:
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"expected Keras on tensorflow to write a SavedModel, got {keras.backend.backend()}")

    @tf.function(input_signature=[*specs.values()], autograph=False)
    def serve(*arrays: tf.Tensor) -> dict[str, tf.Tensor]:
        out = model(**dict(zip(specs, arrays, strict=True)), return_dict=True, training=False)
        return dict(_flat(out.items()))

    return serve


def _specs(model: TFAlbertPreTrainedModel, *asked: Any) -> dict[str, tf.TensorSpec]:
    given = export_inputs(model.signature, model.config, *asked)
    return {name: _spec(name, spec) for name, spec in given.items()}


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
