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

from albert_core.config import AlbertConfig
from albert_core.core_model import given
from albert_core.outputs import ModelOutput, register_with_jax
from albert_core.parameters import WORDS, Parameter
from albert_core.pretrained import PreTrained, check_attn_implementation
from albert_core.signature import Inputs
from albert_core.surgery import check_embeddings
from albert_core.walker import Leaf
from albert_flax import functional
from albert_flax.dtypes import checked_dtype, stored_in
from albert_flax.placement import beside, put, sharding_of

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
    compiles_shapes: ClassVar[bool] = True
    build_options: ClassVar[tuple[str, ...]] = (*PreTrained.build_options, "param_dtype", "seed")
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
        self.param_dtype = checked_dtype("float32" if param_dtype is None else param_dtype)
        self.dtype = checked_dtype(self.param_dtype if dtype is None else dtype)
        self.attn_implementation = check_attn_implementation(attn_implementation)

    def _how(self, rngs: nnx.Rngs | None, seed: int) -> dict[str, Any]:
        """What every layer is built with; the streams have names, by which `nnx.reseed` finds them."""
        rngs = nnx.Rngs(params=seed, dropout=seed) if rngs is None else rngs
        return {"rngs": rngs, "dtype": self.dtype, "param_dtype": self.param_dtype}

    def __call__(
        self, *args: Any, params: Any = None, dropout_rng: Any = None, train: bool | None = None, **kwargs: Any
    ) -> ModelOutput | tuple[Any, ...]:
        if not (params is None and dropout_rng is None and train is None):
            return functional.bound(self, params, dropout_rng, train)(*args, **kwargs)
        functional.check_filled(self)
        checked_dtype(self.dtype)
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
        if parameter.start is not None:
            return jnp.full(shape, parameter.start, self.param_dtype)
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
    def from_config(cls, config: AlbertConfig, *, param_dtype: Any = None, **options: Any) -> Self:
        """As `PreTrained.from_config`, with `param_dtype` as in `from_pretrained`."""
        options |= stored_in(param_dtype, options.get("dtype"), options.get("torch_dtype"))
        return super().from_config(config, **options)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        config: AlbertConfig | str | Path | None = None,
        dtype: Any = None,
        *args: Any,
        param_dtype: Any = None,
        seed: int = 0,
        input_shape: Any = None,
        _do_init: bool = True,
        output_loading_info: bool = False,
        **options: Any,
    ) -> Any:
        """As `PreTrained.from_pretrained`, and what transformers' Flax classes take.

        Args:
            pretrained_model_name_or_path: As there; so is everything that is not named here.
            config: As there.
            dtype: As there; half precision asked for by name is for computing alone, as in the constructor.
            *args: By position.
            param_dtype: What the parameters are stored in. When None, `dtype`, or float32 where that is half precision;
                the checkpoint's own where neither is given.
            seed: Of the parameters that the checkpoint has not, and of dropout.
            input_shape: Not needed here.
            _do_init: False returns the model without parameters, and them beside it: (model, params).
            output_loading_info: As there.
            **options: By name. `device` may also be a `jax.sharding.Sharding`: every array is put there as it is read,
                so that no device holds more than its share, and nothing is drawn first.
        """
        name = pretrained_model_name_or_path
        options |= {"seed": seed} | stored_in(param_dtype, dtype, options.get("torch_dtype"))
        model, report = super().from_pretrained(name, config, dtype, *args, output_loading_info=True, **options)
        if seed:
            model._draw_again(nnx.Rngs(seed), {*report["missing_keys"], *(k for k, _, _ in report["mismatched_keys"])})
        found: tuple[Any, ...] = (model,)
        if not _do_init:
            found = model, functional.get_params(model)
            model._empty()
        found = (*found, report) if output_loading_info else found
        return found if len(found) > 1 else model

    def save_pretrained(self, save_directory: str | Path, params: Any = None, **options: Any) -> None:
        """As `PreTrained.save_pretrained`; with `params` these are saved in the place of the model's own."""
        model = self if params is None else functional.bound(self, params, None, None)
        super(FlaxAlbertPreTrainedModel, model).save_pretrained(save_directory, **options)

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
        functional.check_filled(self)
        return min(self.get_input_embeddings().embedding[...].devices(), key=lambda device: device.id)

    # -- the hooks -----------------------------------------------------------------------------------------------

    @classmethod
    def _construct(cls, config: AlbertConfig, dtype: str, param_dtype: Any = None, **options: Any) -> Self:
        return cls(config, dtype=dtype, param_dtype=dtype if param_dtype is None else param_dtype, **given(options))

    @classmethod
    def _prepare(cls, config: AlbertConfig, dtype: str, device: Any, seed: int = 0, **options: Any) -> Self:
        model = nnx.eval_shape(lambda: cls._construct(config, dtype, **options))
        if model._beside_the_table():  # which nothing fills later
            model = cls._construct(config, dtype, **options)
        functional.seed_dropout(model, jax.random.key(seed))
        model._empty(sharding_of(device))
        return model

    def _empty(self, sharding: Any = None) -> None:
        """Leave of each parameter its shape, its dtype, and where it is to be."""
        for p in self.own_parameters():
            value = self.leaf(p).value
            value.set_value(jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding))

    def leaf(self, parameter: Parameter) -> Leaf:
        found = super().leaf(parameter)
        if not hasattr(found.owner, found.attribute):
            came = type(found.owner).__name__
            raise ValueError(f"{parameter.name}: expected a layer with {found.attribute!r}, got {came} around one")
        return found

    def _get_array(self, leaf: Leaf) -> np.ndarray:
        functional.check_filled(self)
        return np.asarray(leaf.value[...])

    def _stage(self, leaf: Leaf, array: np.ndarray) -> Any:
        """On its device at once where nothing is there to be kept."""
        if not functional.is_empty(leaf.value):
            return array
        checked_dtype(array.dtype)
        return put(array, leaf.value.get_value().sharding)

    def _set_array(self, leaf: Leaf, array: Any) -> None:
        if isinstance(array, np.ndarray):
            checked_dtype(array.dtype)
            array = beside(leaf.value, array)
        leaf.value.set_value(array)

    def _draw_again(self, rngs: nnx.Rngs, names: Container[str]) -> None:
        for p in self.own_parameters():
            if p.name in names:
                current = self.leaf(p).value.get_value()
                self.leaf(p).value.set_value(put(self.draw(p, rngs), current.sharding))

    def _set_vocabulary(self, config: AlbertConfig, words: np.ndarray, bias: np.ndarray | None) -> nnx.Embed:
        table = self.get_input_embeddings()
        found = nnx.Param(beside(table.embedding, words))
        if bias is not None:
            self.predictions.bias = nnx.Param(beside(self.predictions.bias, bias))
        table.embedding, table.num_embeddings = found, len(words)
        self._set_config(config)
        return table

    def _finish(self, device: Any) -> Self:
        empty = {p.name for p in self.own_parameters() if functional.is_empty(self.leaf(p).value)}
        self._draw_again(nnx.Rngs(0), empty)
        if (sharding := sharding_of(device)) is not None:
            nnx.update(self, jax.tree.map(lambda array: put(array, sharding), nnx.state(self)))
        self.eval()
        return self

    def _beside_the_table(self) -> list[str]:
        own = {id(getattr(at.owner, at.attribute, None)) for at in map(super().leaf, self.own_parameters())}
        return [
            ".".join(map(str, path))
            for path, node in nnx.iter_graph(self)
            if isinstance(node, nnx.Variable) and not isinstance(node, nnx.RngState | nnx.Intermediate)
            if id(node) not in own
        ]

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


def _as_arrays(inputs: Inputs) -> Inputs:
    """NumPy arrays, as tokenizers return them, become JAX arrays; 64-bit integers quietly become 32-bit ones."""
    return replace(inputs, **{name: jnp.asarray(value) for name, value in inputs.arrays().items()})
