"""What every Flax model here shares: construction, the way into `__call__`, and the hooks of `albert_core`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from albert_core.config import AlbertConfig
from albert_core.core_model import given
from albert_core.dtypes import DTYPES, dtype_by_name
from albert_core.outputs import ModelOutput, register_with_jax
from albert_core.parameters import WORDS, Kind, Parameter
from albert_core.pretrained import PreTrained, check_attn_implementation
from albert_core.signature import Inputs
from albert_core.surgery import check_embeddings
from albert_core.walker import Leaf
from albert_flax import functional

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

    def _how(self, rngs: nnx.Rngs | None, seed: int) -> dict[str, Any]:
        """What every layer is built with."""
        return {"rngs": nnx.Rngs(seed) if rngs is None else rngs, "dtype": self.dtype, "param_dtype": self.param_dtype}

    def __call__(
        self, *args: Any, params: Any = None, dropout_rng: Any = None, train: bool | None = None, **kwargs: Any
    ) -> ModelOutput | tuple[Any, ...]:
        if not (params is None and dropout_rng is None and train is None):
            return functional.bound(self, params, dropout_rng, train)(*args, **kwargs)
        functional.check_filled(self)
        _checked_dtype(self.dtype)
        inputs = self.signature.bind(self.config, args, kwargs)
        self._check_ids(inputs)  # before NumPy's 64-bit ids wrap around in JAX's 32
        output = self.compute(_as_arrays(inputs))
        return output if inputs.return_dict else output.to_tuple()

    def init_weights(self, rngs: Any, parts: Iterable[Any] | None = None, params: Any = None) -> Any:
        if not isinstance(rngs, nnx.Rngs):  # as in transformers: a key, an input shape, and what there is already
            return functional.initial_params(self, rngs, params)
        for p in self.own_parameters(parts):
            self.leaf(p).value.set_value(self.draw(p, rngs))
        return None

    def _begin(self, rngs: nnx.Rngs, parts: Iterable[str] | None, do_init: bool) -> None:
        """Draw the first weights, or have none."""
        self.init_weights(rngs, parts) if do_init else self._empty()

    def draw(self, parameter: Parameter, rngs: nnx.Rngs) -> Array:
        """Initial values of a parameter, as stored; the stream moves on only where they are random."""
        shape = self.leaf(parameter).value.shape
        if not parameter.decay:
            one = parameter.kind is Kind.NORM and parameter.leaf == "weight"
            return jnp.full(shape, float(one), self.param_dtype)
        normal = nnx.initializers.truncated_normal(self.config.initializer_range, lower=-2.0, upper=2.0)
        wide = jnp.promote_types(self.param_dtype, jnp.float32)
        value = normal(rngs.params(), shape, wide).astype(self.param_dtype)
        pad = self.config.pad_token_id
        return value.at[pad].set(0.0) if parameter.name == WORDS and pad is not None else value

    # -- as transformers' Flax classes are used ------------------------------------------------------------------

    @property
    def params(self) -> dict[str, Any]:
        """The parameters as a nested dict, in the names of transformers' Flax classes; it can be assigned to."""
        return functional.get_params(self)

    def __setattr__(self, name: str, value: Any) -> None:
        functional.set_params(self, value) if name == "params" else super().__setattr__(name, value)

    def to_bf16(self, params: dict[str, Any], mask: Any = None) -> dict[str, Any]:
        """Parameters in bfloat16; those that are True in a tree `mask` where one is given."""
        return functional.cast(params, jnp.bfloat16, mask)

    def to_fp16(self, params: dict[str, Any], mask: Any = None) -> dict[str, Any]:
        """Parameters in float16, see `to_bf16`."""
        return functional.cast(params, jnp.float16, mask)

    def to_fp32(self, params: dict[str, Any], mask: Any = None) -> dict[str, Any]:
        """Parameters in float32, see `to_bf16`."""
        return functional.cast(params, jnp.float32, mask)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *args: Any,
        seed: int = 0,
        input_shape: Any = None,
        _do_init: bool = True,
        output_loading_info: bool = False,
        **options: Any,
    ) -> Any:
        """As `PreTrained.from_pretrained`, and what transformers' Flax classes take.

        Args:
            name_or_path: As there; so is everything that is not named here.
            *args: By position.
            seed: Of the parameters that the checkpoint has not.
            input_shape: Not needed here.
            _do_init: False returns the model without parameters, and them beside it: (model, params).
            output_loading_info: As there.
            **options: By name. `device` may also be a `jax.sharding.Sharding`: every array is put there as it is read,
                so that no device holds more than its share, and nothing is drawn first.
        """
        model, report = super().from_pretrained(name_or_path, *args, output_loading_info=True, **options)
        if seed:
            model._draw_again(nnx.Rngs(seed), {*report["missing_keys"], *(k for k, _, _ in report["mismatched_keys"])})
        found: tuple[Any, ...] = (model,)
        if not _do_init:
            found = model, functional.get_params(model)
            model._empty()
        found = (*found, report) if output_loading_info else found
        return found if len(found) > 1 else model

    def save_pretrained(self, path: str | Path, max_shard_size: int | str = "5GB", params: Any = None) -> None:
        """As `PreTrained.save_pretrained`; with `params` these are saved in the place of the model's own."""
        model = self if params is None else functional.bound(self, params, None, None)
        super(FlaxAlbertPreTrainedModel, model).save_pretrained(path, max_shard_size)

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
        return cls(config, dtype=dtype, param_dtype=dtype, **given(options))

    @classmethod
    def _prepare(cls, config: AlbertConfig, dtype: str, device: Any, **options: Any) -> Self:
        model = nnx.eval_shape(lambda: cls._construct(config, dtype, **options))
        functional.seed_dropout(model, jax.random.key(0))
        model._empty(_sharding(device))
        return model

    def _empty(self, sharding: Any = None) -> None:
        """Leave of each parameter its shape, its dtype, and where it is to be."""
        for p in self.own_parameters():
            value = self.leaf(p).value
            value.set_value(jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding))

    def _get_array(self, leaf: Leaf) -> np.ndarray:
        return np.asarray(leaf.value[...])

    def _stage(self, leaf: Leaf, array: np.ndarray) -> Any:
        """On its device at once where nothing is there to be kept."""
        if not functional.is_empty(leaf.value):
            return array
        _checked_dtype(array.dtype)
        return put(array, leaf.value.get_value().sharding)

    def _set_array(self, leaf: Leaf, array: Any) -> None:
        if isinstance(array, np.ndarray):
            _checked_dtype(array.dtype)
            current = leaf.value.get_value()
            array = put(array, current.sharding if current.committed else None)
        leaf.value.set_value(array)

    def _draw_again(self, rngs: nnx.Rngs, names: Container[str]) -> None:
        for p in self.own_parameters():
            if p.name in names:
                current = self.leaf(p).value.get_value()
                self.leaf(p).value.set_value(put(self.draw(p, rngs), current.sharding))

    def _set_vocabulary(self, config: AlbertConfig, words: np.ndarray, bias: np.ndarray | None) -> nnx.Embed:
        table = self.get_input_embeddings()
        table.embedding, table.num_embeddings = nnx.Param(jnp.asarray(words)), len(words)
        if bias is not None:
            self.predictions.bias = nnx.Param(jnp.asarray(bias))
        self._set_config(config)
        return table

    def _finish(self, device: Any) -> Self:
        empty = {p.name for p in self.own_parameters() if functional.is_empty(self.leaf(p).value)}
        self._draw_again(nnx.Rngs(0), empty)
        if (sharding := _sharding(device)) is not None:
            nnx.update(self, jax.tree.map(lambda array: put(array, sharding), nnx.state(self)))
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

    def _added(self) -> list[str]:
        return self._beyond_table(".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(self, nnx.Param)))

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


def _sharding(device: Any) -> Sharding | None:
    """Where a model's arrays go; None leaves it to JAX."""
    found = None if device in (None, "auto") else _find_device(device)
    return SingleDeviceSharding(found) if isinstance(found, jax.Device) else found


def put(array: Any, sharding: Sharding | None) -> Array:
    """An array where a sharding says, which may span processes that all hold the array; scalars go everywhere."""
    if isinstance(sharding, NamedSharding) and not array.shape:
        sharding = NamedSharding(sharding.mesh, PartitionSpec())
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
