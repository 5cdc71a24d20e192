"""Run every case through the PyTorch classes of transformers 4.57.6 in float64 and store what they answer.

    python tests/golden/make_golden.py [FOLDER]     # in the environment of requirements-peers.txt

Eager attention, evaluation mode, one CPU thread; two runs write equal bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from cases import CASES, FOLDER, Case, make_inputs
from safetensors.numpy import save

VERSION = "4.57.6"


def build(case: Case) -> torch.nn.Module:
    """The case's model with its drawn weights, float64."""
    config = transformers.AlbertConfig(**case.config, attn_implementation="eager")
    kwargs = {} if case.head != "AlbertModel" else {"add_pooling_layer": case.add_pooling_layer}
    model = getattr(transformers, case.head)(config, **kwargs).double().eval()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(value) for name, value in case.state(shapes).items()})
    return model


def put_mask_into_encoder(model: torch.nn.Module, mask: torch.Tensor) -> None:
    """Hand a 3-D or 4-D mask to the encoder as the model class does with a 2-D one; the class itself cannot."""
    mask = (mask if mask.ndim == 4 else mask[:, None]).double()
    additive = (1.0 - mask) * torch.finfo(torch.float64).min  # [B, 1 or N, S, S]
    encoder = getattr(model, "albert", model).encoder
    encoder.register_forward_pre_hook(lambda _, args: (args[0], additive))


def run(case: Case) -> dict[str, np.ndarray]:
    """Everything that is stored of a case."""
    model = build(case)
    inputs = {name: torch.from_numpy(value) for name, value in make_inputs(case).items()}
    if "attention_mask" in inputs and case.mask not in ("padded", "BS"):
        put_mask_into_encoder(model, inputs.pop("attention_mask"))
    out = model(**inputs, output_hidden_states=case.states, output_attentions=case.states)
    stored = named_tensors(out)
    if case.has_loss:
        stored |= gradients(model, out.loss)
    else:
        stored.pop("loss", None)
    return {name: checked(case, name, value) for name, value in stored.items()}


def named_tensors(out: transformers.utils.ModelOutput) -> dict[str, torch.Tensor]:
    """Output fields by name; the entries of tuples as `hidden_states.0` and so on."""
    stored = {name: value for name, value in out.items() if not isinstance(value, tuple)}
    for name, several in out.items():
        if isinstance(several, tuple):
            stored |= {f"{name}.{i}": value for i, value in enumerate(several)}
    return stored


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """d loss / d parameter, tied parameters once; zeros for a parameter that the loss does not see."""
    loss.backward()
    parameters = model.named_parameters()
    return {f"grad.{name}": torch.zeros_like(p) if p.grad is None else p.grad for name, p in parameters}


def checked(case: Case, name: str, value: torch.Tensor) -> np.ndarray:
    """A float64 array; safetensors 0.8.0 would write wrong bytes for one that is not contiguous."""
    array = np.ascontiguousarray(value.detach().numpy()).reshape(tuple(value.shape))
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ValueError(f"{case.name}: {name} is not finite float64")
    return array


def main(folder: Path = FOLDER) -> None:
    if transformers.__version__ != VERSION:
        raise SystemExit(f"expected transformers {VERSION}, got {transformers.__version__}")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    files: dict[str, dict[str, np.ndarray]] = {}
    for case in CASES:
        stored = files.setdefault(case.head, {})
        stored |= {f"{case.name}/{name}": value for name, value in run(case).items()}
    for head, tensors in files.items():
        (folder / f"{head}.safetensors").write_bytes(save(tensors))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
