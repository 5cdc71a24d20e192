"""A model as a program that runs without this package: `jax.export`, beside its weights in one folder.

    export_model(model, "exported")

and, in a process that has JAX and safetensors alone, on a CPU, a GPU or a TPU,

    program = jax.export.deserialize(open("exported/program.jax_export", "rb").read())
    weights = safetensors.numpy.load_file("exported/weights.safetensors")
    logits = program.call(weights, {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments})["logits"]

The weights are not in the program, which stays small and can be read by eye, `program.mlir_module()`. Source of the
format: https://docs.jax.dev/en/latest/export/export.html.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from albert_core.atomic import write_file, write_folder
from albert_core.export_inputs import EXPORT_INPUTS, ExportInput, export_inputs
from albert_core.safetensors_file import save_safetensors
from albert_flax.base import FlaxAlbertPreTrainedModel

__all__ = ["PLATFORMS", "PROGRAM", "WEIGHTS", "export_model", "exported_program"]

PROGRAM, WEIGHTS = "program.jax_export", "weights.safetensors"
PLATFORMS = ("cpu", "cuda", "tpu")


def export_model(
    model: FlaxAlbertPreTrainedModel,
    path: str | Path,
    *,
    inputs: Iterable[str] = EXPORT_INPUTS,
    batch: int | None = None,
    length: int | None = None,
) -> None:
    """Write a model's forward pass, as it is in evaluation mode, with its weights.

    Args:
        model: Any model of this package; its dtypes become the program's.
        path: The folder.
        inputs: The inputs that the program takes, each of them at every call; whole numbers are int32.
        batch: The only batch size that it takes; any when None.
        length: The only length; any up to max_position_embeddings when None.

    Raises:
        ValueError: The model has no such input, or does not know such a length.
        SaveError: The system refused; what was there before is intact.
    """
    program = exported_program(model, inputs=inputs, batch=batch, length=length).serialize()
    with write_folder(Path(path)) as folder:
        save_safetensors(folder / WEIGHTS, {name: np.asarray(array) for name, array in _weights(model).items()})
        write_file(folder / PROGRAM, bytes(program))


def exported_program(
    model: FlaxAlbertPreTrainedModel,
    *,
    inputs: Iterable[str] = EXPORT_INPUTS,
    batch: int | None = None,
    length: int | None = None,
) -> jax.export.Exported:
    """What `export_model` writes; arguments and errors as there."""
    given = export_inputs(model.signature, model.config, tuple(inputs), batch, length)
    structure, state = nnx.split(model)

    def run(weights: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        own = nnx.merge(structure, state, copy=True)
        own.eval()
        for p in own.own_parameters():
            own.leaf(p).value.set_value(weights[p.name])
        return dict(own(**inputs, return_dict=True).items())

    weights = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in _weights(model).items()}
    export = jax.export.export(jax.jit(run), platforms=PLATFORMS)
    return export(weights, _shapes(given, model.config.max_position_embeddings))


def _weights(model: FlaxAlbertPreTrainedModel) -> dict[str, jax.Array]:
    """By canonical name, each as the model stores it."""
    return {p.name: model.leaf(p).value[...] for p in model.own_parameters()}


def _shapes(given: dict[str, ExportInput], longest: int) -> dict[str, jax.ShapeDtypeStruct]:
    letters = {letter: letter.split()[0] for spec in given.values() for letter in spec.open.values()}
    limits = [f"sequence <= {longest}"] if "sequence" in letters.values() else []
    names = tuple(letters.values())
    sizes = dict(
        zip(letters, jax.export.symbolic_shape(",".join(names), constraints=limits) if names else (), strict=True)
    )
    return {
        name: jax.ShapeDtypeStruct(
            tuple(
                sizes[spec.open[axis]] if axis in spec.open else size for axis, size in enumerate(spec.example.shape)
            ),
            np.float32 if np.issubdtype(spec.example.dtype, np.floating) else np.int32,
        )
        for name, spec in given.items()
    }
