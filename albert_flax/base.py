"""What every Flax model here shares: construction, the way into `__call__`, and the hooks of `albert_core`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from albert_core.config import AlbertConfig
from albert_core.dtypes import DTYPES, dtype_by_name
from albert_core.outputs import ModelOutput, register_with_jax
from albert_core.parameters import Kind, Parameter
from albert_core.pretrained import PreTrained, check_attn_implementation
from albert_core.signature import Inputs
from albert_core.surgery import check_embeddings
from albert_core.walker import Leaf

register_with_jax()


class FlaxAlbertPreTrainedModel(PreTrained, nnx.Module):
    """Base of the Flax models.

    Attributes:
        config: A static attribute. What has been compiled does not see a field of it change: assign a new config,
            `model.config = model.config.replace(...)`, or pass the flag with the call.
        dtype: What is computed in.
        param_dtype: What the parameters are stored in.
    """

    framework: ClassVar[str] = "flax"
    checkpoint_policies: ClassVar[tuple[str, ...]] = (
        "nothing_saveable",
        "dots_saveable",
        "dots_with_no_batch_dims_saveable",
        "everything_saveable",
    )

    def __init__(
        self, config: AlbertConfig, dtype: Any = None, param_dtype: Any = None, attn_implementation: str | None = None
    ) -> None:
        self.config = config
        self.param_dtype = _checked_dtype("float32" if param_dtype is None else param_dtype)
        self.dtype = _checked_dtype(self.param_dtype if dtype is None else dtype)
        self.attn_implementation = check_attn_implementation(attn_implementation)

    def _how(self, rngs: nnx.Rngs | None) -> dict[str, Any]:
        """What every layer is built with."""
        return {"rngs": nnx.Rngs(0) if rngs is None else rngs, "dtype": self.dtype, "param_dtype": self.param_dtype}

    def __call__(self, *args: Any, **kwargs: Any) -> ModelOutput | tuple[Any, ...]:
        _checked_dtype(self.dtype)
        inputs = self.signature.bind(self.config, args, kwargs)
        self._check_ids(inputs)  # before NumPy's 64-bit ids wrap around in JAX's 32
        output = self.compute(_as_arrays(inputs))
        return output if inputs.return_dict else output.to_tuple()

    def init_weights(self, rngs: nnx.Rngs, parts: Iterable[str] | None = None) -> None:
        draw = nnx.initializers.truncated_normal(self.config.initializer_range, lower=-2.0, upper=2.0)
        wide = jnp.promote_types(self.param_dtype, jnp.float32)
        for p in self.own_parameters(parts):
            value = self.leaf(p).value
            if p.decay:
                value[...] = draw(rngs.params(), value.shape, wide).astype(self.param_dtype)
            else:
                value[...] = jnp.full_like(value[...], p.kind is Kind.NORM and p.leaf == "weight")
        words = self.get_input_embeddings().embedding
        if self.config.pad_token_id is not None:
            words[...] = words[...].at[self.config.pad_token_id].set(0.0)

    def word_matrix(self) -> Array:
        """What the masked-LM head multiplies with, [V, E]."""
        return self.get_input_embeddings().embedding[...]

    def set_input_embeddings(self, value: nnx.Embed) -> None:
        """Take other word embeddings of the same shape; the masked-LM head follows."""
        check_embeddings(self.config, value.embedding)
        self.base_model.embeddings.word_embeddings = value

    @property
    def device(self) -> jax.Device:
        """Where the parameters are; the first of several."""
        return min(self.get_input_embeddings().embedding[...].devices(), key=lambda device: device.id)

    # -- the hooks -----------------------------------------------------------------------------------------------

    @classmethod
    def _construct(cls, config: AlbertConfig, dtype: str, **options: Any) -> Self:
        return cls(config, dtype=dtype, param_dtype=dtype, **options)

    def _get_array(self, leaf: Leaf) -> np.ndarray:
        return np.asarray(leaf.value[...])

    def _set_array(self, leaf: Leaf, array: np.ndarray) -> None:
        _checked_dtype(array.dtype)
        current = leaf.value[...]
        leaf.value[...] = jax.device_put(array, current.sharding if current.committed else None)

    def _set_vocabulary(self, config: AlbertConfig, words: np.ndarray, bias: np.ndarray | None) -> nnx.Embed:
        table = self.get_input_embeddings()
        table.embedding, table.num_embeddings = nnx.Param(jnp.asarray(words)), len(words)
        if bias is not None:
            self.predictions.bias = nnx.Param(jnp.asarray(bias))
        self._set_config(config)
        return table

    def _finish(self, device: Any) -> Self:
        if device not in (None, "auto"):
            nnx.update(self, jax.device_put(nnx.state(self), _find_device(device)))
        self.eval()
        return self

    def _known(self, array: Any) -> np.ndarray | None:
        if isinstance(array, Array) and not isinstance(array, jax.core.Tracer):
            return np.asarray(array) if all(d.platform == "cpu" for d in array.devices()) else None
        return array if isinstance(array, np.ndarray) else None

    def _is_trainable(self, leaf: Leaf) -> bool:
        return isinstance(leaf.value, nnx.Param)

    def _gradients(self, inputs: dict[str, Any], parameters: Sequence[Parameter]) -> list[np.ndarray | None]:
        structure, _, rest = nnx.split(self, nnx.Param, ...)
        found = nnx.grad(lambda model: model(**inputs, return_dict=True).loss)(self)
        shadow = nnx.merge(structure, found, rest)
        return [np.asarray(shadow.leaf(p).value[...]) for p in parameters]

    def run_numpy(self, **inputs: Any) -> ModelOutput:
        return self(**inputs, return_dict=True).map(np.asarray)


def _checked_dtype(dtype: Any) -> np.dtype:
    """A dtype a model can be computed in, given as a name or as an object.

    Raises:
        ValueError: There is no such dtype, or it is float64 while JAX is held to 32 bits.
    """
    found = DTYPES[dtype_by_name(dtype)]
    if found == np.float64 and not jax.config.jax_enable_x64:
        raise ValueError("dtype: float64 needs 64-bit JAX, `with jax.enable_x64(True):`, but x64 is off")
    return found


def _as_arrays(inputs: Inputs) -> Inputs:
    """NumPy arrays, as tokenizers return them, become JAX arrays; 64-bit integers quietly become 32-bit ones."""
    return replace(inputs, **{name: jnp.asarray(value) for name, value in inputs.arrays().items()})


def _find_device(device: Any) -> Any:
    """A JAX device or sharding as it is; 0 by number, "cpu" and "cuda:1" by name and number."""
    if isinstance(device, int):
        return jax.devices()[device]
    if not isinstance(device, str):
        return device
    platform, _, number = device.partition(":")
    return jax.devices(platform)[int(number or 0)]
