"""What every Keras model here shares: construction, the way into `call`, files, and the hooks of `albert_core`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np
import optree
from keras import initializers, ops
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from albert_core.config import AlbertConfig
from albert_core.core_model import given
from albert_core.outputs import OUTPUTS, ModelOutput, flatten, register_with_jax, unflatten
from albert_core.parameters import TIED, WORDS, Parameter
from albert_core.pretrained import PreTrained, check_attn_implementation
from albert_core.signature import WHOLE
from albert_core.surgery import BIAS, check_embeddings
from albert_core.walker import Leaf
from albert_tf.fitting import Fitting
from albert_tf.gradients import loss_gradients
from albert_tf.placement import find_device

for _output in OUTPUTS:
    optree.register_pytree_node(
        _output, flatten, lambda names, values, kind=_output: unflatten(kind, names, values), namespace="keras"
    )
if keras.backend.backend() == "jax":
    register_with_jax()


class TFAlbertPreTrainedModel(PreTrained, Fitting):
    """Base of the Keras models."""

    framework: ClassVar[str] = "tf"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable("albert")(cls)  # `.keras` files load without custom_objects

    def __init__(
        self, config: AlbertConfig, attn_implementation: str | None = None, dtype: Any = None, name: str | None = None
    ) -> None:
        # Each block casts its own inputs; casting all of them here would round labels and masks as well.
        super().__init__(dtype=dtype, autocast=False, name=name)
        if self.compute_dtype == "float64" != keras.backend.result_type("float64", "float32"):
            raise ValueError(f"dtype: float64 needs Keras on TensorFlow; on {keras.backend.backend()} it is float32")
        self.config = config
        self.attn_implementation = check_attn_implementation(attn_implementation)

    def __call__(self, *args: Any, training: bool | None = None, **kwargs: Any) -> ModelOutput | tuple[Any, ...]:
        given = {name: _typed(name, value) for name, value in self._named(args, kwargs).items()}
        return super().__call__(**given, **({} if training is None else {"training": training}))

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The inputs by name, as Keras likes them: in a dict or by position it takes no flag beside tensors."""
        if all(arg is None for arg in args[1:]):
            args = args[:1]  # TensorFlow's `function` passes every default after a dict or a list
        return self.signature.named(args, kwargs)

    def call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> ModelOutput | tuple[Any, ...]:
        inputs = self.signature.bind(self.config, args, kwargs)
        self._check_ids(inputs)
        output = self.compute(inputs)
        return output if inputs.return_dict else output.to_tuple()

    def init_weights(self, parts: Iterable[str] | None = None) -> None:
        for p in self.own_parameters(parts):
            leaf = self.leaf(p)
            initializer = getattr(leaf.owner, f"{leaf.attribute}_initializer", initializers.Zeros())
            variable = variable_of(leaf)
            variable.assign(initializer.clone()(variable.shape, dtype=variable.dtype))

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name != "base_model"]  # Keras' loader would walk in a circle

    def set_input_embeddings(self, value: keras.layers.Embedding) -> None:
        """Take the values of other word embeddings of the same shape; a built Keras model takes no other layer."""
        check_embeddings(self.config, value.embeddings)
        self.get_input_embeddings().embeddings.assign(value.embeddings)

    @property
    def device(self) -> str:
        """The device of the parameters, as TensorFlow names it."""
        return str(self.get_input_embeddings().embeddings.value.device)

    def word_matrix(self) -> Any:
        """The values of the word embeddings, [V, E]; what the layer makes of them where they are quantised."""
        table = self.get_input_embeddings()
        if table.quantization_mode is None:
            return ops.convert_to_tensor(table.embeddings)
        return table(ops.arange(self.config.vocab_size))

    # -- files ---------------------------------------------------------------------------------------------------

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",  # as Keras calls it
        verbose: bool | None = None,
        input_signature: Any = None,
        **options: Any,
    ) -> None:
        """As in Keras, see `albert_tf.export.export_as_keras`."""
        export = importlib.import_module("albert_tf.export").export_as_keras
        export(self, filepath, format, verbose, input_signature, **options)

    def get_config(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "attn_implementation": self.attn_implementation,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "name": self.name,
            "frozen": [p.name for p in self.own_parameters() if not self._is_trainable(self.leaf(p))],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any] | AlbertConfig, custom_objects: Any = None, **options: Any) -> Self:
        if isinstance(config, AlbertConfig):
            return super().from_config(config, **options)
        frozen, options = config.get("frozen", ()), {name: x for name, x in config.items() if name != "frozen"}
        made = cls(**(options | {"config": AlbertConfig.from_dict(config["config"])}))
        made._freeze(frozen)
        return made

    def _freeze(self, names: Iterable[str]) -> None:
        """Take parameters out of training; a layer that has no others says so, or it could not be put back."""
        for name in names:
            variable_of(self.leaf(self.parameter_table[name])).trainable = False
        for layer in self._flatten_layers():
            if layer.weights and not layer.trainable_weights:
                layer.trainable = False

    # -- the hooks -----------------------------------------------------------------------------------------------

    @classmethod
    def _dtype_name(cls, dtype: Any) -> str | None:
        """Also that of a policy of two dtypes, be it the global one where nothing is asked for."""
        policy = keras.config.dtype_policy() if dtype is None else dtype
        name = getattr(policy, "name", policy)
        return name if str(name).startswith("mixed_") else super()._dtype_name(dtype)

    @classmethod
    def _construct(cls, config: AlbertConfig, dtype: str, **options: Any) -> Self:
        return cls(config, dtype=dtype, **given(options))

    def _get_array(self, leaf: Leaf) -> np.ndarray:
        array = _as_numpy(leaf.value)
        if not keras.backend.is_float_dtype(variable_of(leaf).dtype):
            mode = leaf.owner.quantization_mode
            raise ValueError(f"{leaf.owner.path}.{leaf.attribute}: expected floats, got those of `quantize`, {mode}")
        return array

    def _set_array(self, leaf: Leaf, array: np.ndarray) -> None:
        variable = variable_of(leaf)
        if variable is not leaf.value:  # LoRA adds to it
            array = array - (_as_numpy(leaf.value) - _as_numpy(variable))
        variable.assign(array)

    def _beside_the_table(self) -> list[str]:
        owners = {id(self.leaf(p).owner) for p in self.own_parameters()}
        others = (layer for layer in self._flatten_layers() if id(layer) not in owners)
        inner = {id(w) for layer in self._flatten_layers() if id(layer) in owners for w in layer.weights}
        return sorted({w.path for layer in others for w in layer.weights if id(w) not in inner})

    def _set_vocabulary(self, config: AlbertConfig, words: np.ndarray, bias: np.ndarray | None) -> Self:
        resized = type(self).from_config(self.get_config() | {"config": config.to_dict()})
        state = self.numpy_state() | {WORDS: words} | ({} if bias is None else {BIAS: bias})
        resized.load_numpy_state({name: array for name, array in state.items() if name not in TIED})
        resized.base_model.encoder.checkpointing = self.base_model.encoder.checkpointing
        return resized

    def _finish(self, device: Any) -> Self:
        if device in (None, "auto"):
            return self
        with keras.device(find_device(device)):  # a Keras variable stays where it was made
            moved = type(self).from_config(self.get_config())
            moved.load_numpy_state(self.numpy_state())
        return moved

    def _known(self, array: Any) -> np.ndarray | None:
        if isinstance(array, np.ndarray):
            return array
        known = hasattr(array, "numpy") or hasattr(array, "addressable_data")  # a tensor or array, but no symbol
        return np.asarray(array) if known and "cpu" in str(getattr(array, "device", "")).lower() else None

    def _is_trainable(self, leaf: Leaf) -> bool:
        return getattr(variable_of(leaf), "trainable", True)

    def _gradients(self, inputs: dict[str, Any], parameters: Sequence[Parameter]) -> list[np.ndarray | None]:
        found = loss_gradients(self, inputs)
        return [found.get(id(variable_of(self.leaf(p)))) for p in parameters]

    def _changed(self) -> None:
        self.train_function = self.test_function = self.predict_function = None  # Keras makes them anew

    def run_numpy(self, **inputs: Any) -> ModelOutput:
        return self(**inputs, return_dict=True, training=False).map(ops.convert_to_numpy)


def variable_of(leaf: Leaf) -> Any:
    """The layer's own variable, where `leaf.value` may be what LoRA makes of it; None in a layer of another kind."""
    return getattr(leaf.owner, f"_{leaf.attribute}", getattr(leaf.owner, leaf.attribute, None))


def _as_numpy(value: Any) -> np.ndarray:
    """Of a variable or a tensor; Keras' own way through a variable warns under NumPy 2."""
    return np.asarray(getattr(value, "value", value))


def _typed(name: str, value: Any) -> Any:
    """Keras builds models with symbols of float32, whatever the input: whole numbers where they are to be."""
    symbolic = keras.backend.is_keras_tensor(value) or (in_symbolic_scope() and hasattr(value, "dtype"))
    wrong = symbolic and name in WHOLE and keras.backend.is_float_dtype(value.dtype)
    return ops.cast(value, "int32") if wrong else value
