"""What every PyTorch model here shares: construction, the way into forward, and the hooks of `albert_core`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from albert_core.config import AlbertConfig
from albert_core.core_model import given
from albert_core.dtypes import dtype_by_name
from albert_core.outputs import OUTPUTS, ModelOutput
from albert_core.parameters import ADDED_PART, PREFIX, TIED, Kind, Parameter
from albert_core.pretrained import PreTrained, check_attn_implementation
from albert_core.surgery import check_embeddings
from albert_core.walker import Leaf
from albert_torch.layers import known
from albert_torch.placement import default_device, find_device
from albert_torch.transformers_face import TransformersFace

for _output in OUTPUTS:
    torch.export.register_dataclass(_output, serialized_type_name=f"albert.{_output.__name__}")
ModelOutput.dict_of = (Tensor,)


class AlbertPreTrainedModel(TransformersFace, PreTrained, nn.Module):
    """Base of the PyTorch models."""

    framework: ClassVar[str] = "torch"

    def __init__(self, config: AlbertConfig, attn_implementation: str | None = None) -> None:
        super().__init__()
        self.config = config
        self.attn_implementation = check_attn_implementation(attn_implementation)

    def forward(self, *args: Any, **kwargs: Any) -> ModelOutput | tuple[Any, ...]:
        inputs = self.signature.bind(self.config, *self._as_tensors(args, kwargs))
        self._check_ids(inputs)
        output = self.compute(inputs)
        return output if inputs.return_dict else output.to_tuple()

    def _as_tensors(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[()], dict[str, Any]]:
        """NumPy arrays, as tokenizers return them, become tensors on the model's device."""
        given = self.signature.named(args, kwargs)
        return (), {
            k: torch.as_tensor(v, device=self.device) if isinstance(v, np.ndarray) else v for k, v in given.items()
        }

    @property
    def parameter_table(self) -> dict[str, Parameter]:
        """As everywhere, and what a user added: saved under its own name, for the same class to read."""
        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors()}
        added = {name: Parameter(name, shapes[name], name, "", Kind.VECTOR, ADDED_PART) for name in self._added()}
        return super().parameter_table | added

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_parameters()
        yield from ((name, buffer) for name, buffer in self.named_buffers() if buffer.is_floating_point())

    def init_weights(self, parts: Iterable[str] | None = None) -> None:
        std = self.config.initializer_range
        with torch.no_grad():
            for p in (p for p in self.own_parameters(parts) if p.part != ADDED_PART):
                value = self.leaf(p).value
                if p.start is None:
                    nn.init.trunc_normal_(value, std=std, a=-2 * std, b=2 * std)
                else:
                    value.fill_(p.start)
            if self.config.pad_token_id is not None:
                self.get_input_embeddings().weight[self.config.pad_token_id] = 0.0

    def get_output_embeddings(self) -> nn.Linear | None:
        predictions = getattr(self, "predictions", None)
        return None if predictions is None else predictions.decoder

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Take other word embeddings of the same shape; the masked-LM decoder follows."""
        check_embeddings(self.config, value.weight)
        self.base_model.embeddings.word_embeddings = value
        self.tie_weights()

    def tie_weights(self) -> None:
        if (decoder := self.get_output_embeddings()) is not None:
            decoder.weight = self.get_input_embeddings().weight
            decoder.bias = self.predictions.bias

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        with self._kept_tied():
            result = super().load_state_dict(state_dict, strict, assign)
        if not strict:  # safetensors' `load_model`, which accelerate calls, asks which tied names a file leaves out
            given = {*state_dict, *result.missing_keys}
            result.missing_keys.extend(name for name in self._tied_weights_keys if name not in given)
        return result

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """A tied array may stand under its first name alone, as in the files that `save_pretrained` writes."""
        for name, source in self._tied_weights_keys.items():
            if prefix + source in state_dict:
                state_dict.setdefault(prefix + name, state_dict[prefix + source])
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        with self._kept_tied():
            return super()._apply(fn, recurse)

    @contextmanager
    def _kept_tied(self) -> Iterator[None]:
        """Weights that are tied stay so where torch gives each name a tensor of its own: `assign`, `to_empty`."""
        decoder, words = self.get_output_embeddings(), self.get_input_embeddings()
        tied = decoder is not None and decoder.weight is words.weight  # quantised ones are not
        yield
        if tied and decoder.weight is not words.weight:
            self.tie_weights()

    def numpy_state(self) -> dict[str, np.ndarray]:
        """As everywhere; a decoder that somebody has untied is there with its own values."""
        table = self.parameter_table
        leaves = {p.name: self.leaf(p) for p in table.values() if p.tied_to is not None}
        untied = {n: leaf for n, leaf in leaves.items() if leaf.value is not self.leaf(table[TIED[n]]).value}
        return super().numpy_state() | {name: self._get_array(leaf) for name, leaf in untied.items()}

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """As `PreTrained.save_pretrained`, in transformers' order.

        Args:
            save_directory: As there.
            is_main_process: As there.
            state_dict: What `state` is there, in torch's form.
            **options: As there.
        """
        if state_dict is not None and is_main_process:
            options["state"] = {name: to_numpy(tensor) for name, tensor in state_dict.items()}
        super().save_pretrained(save_directory, is_main_process=is_main_process, **options)

    def enable_input_require_grads(self) -> None:
        """Let what the word embeddings give require gradients, as some adapters want where the table is frozen."""
        self.disable_input_require_grads()
        self._input_hook = self.get_input_embeddings().register_forward_hook(_require_gradients)

    def disable_input_require_grads(self) -> None:
        """Undo `enable_input_require_grads`."""
        if hook := vars(self).pop("_input_hook", None):
            hook.remove()

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Bytes of the parameters, and of the buffers."""
        return sum(tensor.nbytes for tensor in (*self.parameters(), *(self.buffers() if return_buffers else ())))

    def compile_repeated_blocks(self, **options: Any) -> Self:
        """Compile each layer group, in place, rather than the whole model.

        A group is one program however often it is applied: compiling takes the same time for 12 layers and for 48.

        Args:
            **options: Those of `torch.compile`.

        Returns:
            This model.
        """
        for group in self.base_model.encoder.albert_layer_groups:
            group.compile(**options)
        return self

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the parameters are stored and computed in."""
        return next(self.parameters()).dtype

    # -- the hooks -----------------------------------------------------------------------------------------------

    @classmethod
    def _construct(cls, config: AlbertConfig, dtype: str, **options: Any) -> Self:
        return cls(config, **given(options)).to(getattr(torch, dtype_by_name(dtype)))

    def _get_array(self, leaf: Leaf) -> np.ndarray:
        return to_numpy(leaf.value)

    def _set_array(self, leaf: Leaf, array: np.ndarray) -> None:
        with torch.no_grad():
            leaf.value.copy_(from_numpy(array))

    def _beside_the_table(self) -> list[str]:
        """What an adapter keeps inside a layer; a parametrisation's own are read through it."""
        table = self.parameter_table
        owners = {id(self.leaf(p).owner) for p in table.values()}
        modules = ((name, name.rpartition(".")[0]) for name, _ in self.named_parameters() if name not in table)
        others = (name for name, module in modules if id(self.get_submodule(module)) not in owners)
        return [name for name in others if ".parametrizations." not in name]

    def _set_vocabulary(self, config: AlbertConfig, words: np.ndarray, bias: np.ndarray | None) -> nn.Embedding:
        old, rows = self.get_input_embeddings(), len(words)
        how = {"device": self.device, "dtype": self.dtype}
        table = nn.Embedding(*words.shape, padding_idx=config.pad_token_id, _weight=from_numpy(words).to(**how))
        self.base_model.embeddings.word_embeddings = table.requires_grad_(old.weight.requires_grad)
        if bias is not None:
            trained = self.predictions.bias.requires_grad
            self.predictions.bias = nn.Parameter(from_numpy(bias).to(**how), requires_grad=trained)
            self.predictions.decoder.out_features = rows
        self._set_config(config)
        self.tie_weights()
        return table

    def _finish(self, device: Any) -> Self:
        if device == "auto":
            device = default_device()
        return (self if device is None else self.to(find_device(device))).eval()

    def _known(self, array: Tensor) -> np.ndarray | None:
        return known(array)

    def _is_trainable(self, leaf: Leaf) -> bool:
        return leaf.value.requires_grad

    def _gradients(self, inputs: dict[str, Any], parameters: Sequence[Parameter]) -> list[np.ndarray | None]:
        leaves = [self.leaf(p).value for p in parameters]
        found = torch.autograd.grad(self(**inputs, return_dict=True).loss, leaves, allow_unused=True)
        return [None if gradient is None else to_numpy(gradient) for gradient in found]

    def _added(self) -> list[str]:
        """Names of the arrays that lead to no module of the table, nor to what an adapter keeps inside one."""
        prefix = PREFIX if self.base_model is self else ""
        known = tuple(f"{p.module.removeprefix(prefix)}." for p in super().parameter_table.values())
        return [name for name, _ in self._tensors() if not f"{name}.".startswith(known)]

    def run_numpy(self, **inputs: Any) -> ModelOutput:
        with torch.inference_mode():
            return self(**inputs, return_dict=True).map(to_numpy)


def _require_gradients(module: nn.Module, given: Any, output: Tensor) -> None:
    output.requires_grad_(True)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A tensor of any device as NumPy, bfloat16 included.

    Raises:
        TypeError: It is quantised, or one process of several has only its share of it.
    """
    if hasattr(type(tensor), "__tensor_flatten__"):
        raise TypeError(f"expected a plain tensor, got {type(tensor).__name__}; save a model before it is quantised")
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def from_numpy(array: np.ndarray) -> Tensor:
    """The inverse of `to_numpy`; the tensor never shares memory with a read-only array."""
    array = np.array(array, order="C")
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
