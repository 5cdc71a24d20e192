"""A model as a program that runs without this package: `torch.export`, in one `.pt2` file.

    export_model(model, "model.pt2")

and, in a process that has PyTorch alone,

    program = torch.export.load("model.pt2").module()
    logits = program(input_ids=ids, attention_mask=mask, token_type_ids=segments)["logits"]

Source of the format: https://docs.pytorch.org/docs/stable/export.html.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from albert_core.atomic import write_file
from albert_core.export_inputs import EXPORT_INPUTS, ExportInput, export_inputs
from albert_torch.base import AlbertPreTrainedModel

__all__ = ["export_model", "exported_program"]


def export_model(
    model: AlbertPreTrainedModel,
    path: str | Path,
    *,
    inputs: Iterable[str] = EXPORT_INPUTS,
    batch: int | None = None,
    length: int | None = None,
) -> None:
    """Write a model's forward pass, as it is in evaluation mode, with its weights.

    Args:
        model: Any model of this package; its device and dtype become the program's.
        path: The file; by custom it ends in `.pt2`.
        inputs: The inputs that the program takes, each of them at every call.
        batch: The only batch size that it takes; any when None.
        length: The only length; any up to max_position_embeddings when None.

    Raises:
        ValueError: The model has no such input, or does not know such a length.
        SaveError: The system refused; what was there before is intact.
    """
    program = exported_program(model, inputs=inputs, batch=batch, length=length)
    write_file(path, lambda file: torch.export.save(program, file))


def exported_program(
    model: AlbertPreTrainedModel,
    *,
    inputs: Iterable[str] = EXPORT_INPUTS,
    batch: int | None = None,
    length: int | None = None,
) -> ExportedProgram:
    """What `export_model` writes, for `torch.onnx.export` or a compiler; arguments and errors as there."""
    given = export_inputs(model.signature, model.config, tuple(inputs), batch, length)
    dims = {"sequence": Dim("sequence", max=model.config.max_position_embeddings)}
    shapes = {
        name: {axis: dims.setdefault(letter, Dim(letter.split()[0])) for axis, letter in spec.open.items()}
        for name, spec in given.items()
    }
    examples = {name: _example(model, spec) for name, spec in given.items()}
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            return torch.export.export(_Named(model.eval(), given), (), examples, dynamic_shapes=shapes)
    finally:
        for module, training in modes:
            module.training = training


def _example(model: AlbertPreTrainedModel, spec: ExportInput) -> Tensor:
    tensor = torch.from_numpy(spec.example).to(model.device)
    return tensor.to(model.dtype) if tensor.is_floating_point() else tensor


class _Named(nn.Module):
    """A model with the given inputs alone, whose output is a plain dict: a program knows no classes of ours."""

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        super().__init__()
        self.model = model

        def forward(*args: Any, **kwargs: Any) -> dict[str, Any]:
            given = dict(zip(names, args, strict=False))
            return dict(model(**given, **kwargs, return_dict=True).items())

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        forward.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])  # type: ignore[attr-defined]
        self.forward = forward
