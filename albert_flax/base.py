"""What every Flax model here shares: construction, the way into `__call__`, and the four hooks of `from_pretrained`."""

from __future__ import annotations

from collections.abc import Iterable
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
from albert_core.parameters import Kind
from albert_core.pretrained import PreTrained, check_attn_implementation
from albert_core.signature import CHECKED_IDS, Inputs, check_ids
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
    base_model_prefix: ClassVar[str] = "albert"

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

    def compute(self, inputs: Inputs) -> ModelOutput:
        """The head's own arithmetic on checked inputs."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def _check_ids(self, inputs: Inputs) -> None:
        """Refuse ids outside their tables where that needs no device sync: values that are known, on a CPU."""
        for name in CHECKED_IDS:
            ids = getattr(inputs, name)
            if ids is not None and _is_at_hand(ids) and ids.size:
                check_ids(self.config, name, int(np.min(ids)), int(np.max(ids)))

    def init_weights(self, rngs: nnx.Rngs, parts: Iterable[str] | None = None) -> None:
        """Draw arrays anew: normal cut at two standard deviations, norms one, biases and the pad row zero.

        Args:
            rngs: Its `params` stream is drawn from.
            parts: Parts of the parameter table; all that this model has when None.
        """
        draw = nnx.initializers.truncated_normal(self.config.initializer_range, lower=-2.0, upper=2.0)
        wide = jnp.promote_types(self.param_dtype, jnp.float32)
        parts = self.all_parts(self._has_pooler()) if parts is None else parts
        for p in (p for p in self.parameter_table.values() if p.tied_to is None and p.part in parts):
            value = self.leaf(p).value
            if p.decay:
                value[...] = draw(rngs.params(), value.shape, wide).astype(self.param_dtype)
            else:
                value[...] = jnp.full_like(value[...], p.kind is Kind.NORM and p.leaf == "weight")
        words = self.get_input_embeddings().embedding
        if self.config.pad_token_id is not None:
            words[...] = words[...].at[self.config.pad_token_id].set(0.0)

    @property
    def base_model(self) -> nnx.Module:
        """The encoder."""
        return getattr(self, self.base_model_prefix, self)

    def get_input_embeddings(self) -> nnx.Embed:
        """The word embeddings."""
        return self.base_model.embeddings.word_embeddings

    def get_output_embeddings(self) -> nnx.Embed | None:
        """The word embeddings again, which are the masked-LM decoder; None for a head without one."""
        return self.get_input_embeddings() if hasattr(self, "predictions") else None

    # -- the four hooks ------------------------------------------------------------------------------------------

    @classmethod
    def _construct(cls, config: AlbertConfig, dtype: str, **options: Any) -> Self:
        return cls(config, dtype=dtype, param_dtype=dtype, **options)

    def _get_array(self, leaf: Leaf) -> np.ndarray:
        return np.asarray(leaf.value[...])

    def _set_array(self, leaf: Leaf, array: np.ndarray) -> None:
        _checked_dtype(array.dtype)
        current = leaf.value[...]
        leaf.value[...] = jax.device_put(array, current.sharding if current.committed else None)

    def _finish(self, device: Any) -> Self:
        if device not in (None, "auto"):
            nnx.update(self, jax.device_put(nnx.state(self), _find_device(device)))
        self.eval()
        return self

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


def _is_at_hand(ids: Any) -> bool:
    if not isinstance(ids, Array):
        return isinstance(ids, np.ndarray)
    return not isinstance(ids, jax.core.Tracer) and all(d.platform == "cpu" for d in ids.devices())


def _find_device(device: Any) -> Any:
    """A JAX device or sharding as it is; 0 by number, "cpu" and "cuda:1" by name and number."""
    if isinstance(device, int):
        return jax.devices()[device]
    if not isinstance(device, str):
        return device
    platform, _, number = device.partition(":")
    return jax.devices(platform)[int(number or 0)]
