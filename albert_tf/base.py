"""What every Keras model here shares: construction, the way into `call`, `fit`, and the hooks of `albert_core`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np
import optree
from keras import initializers, ops

from albert_core.config import AlbertConfig
from albert_core.core_model import given
from albert_core.dtypes import dtype_by_name
from albert_core.outputs import OUTPUTS, ModelOutput, flatten, register_with_jax, unflatten
from albert_core.parameters import WORDS, Parameter
from albert_core.pretrained import PreTrained, check_attn_implementation
from albert_core.signature import LABELS
from albert_core.surgery import BIAS, check_embeddings
from albert_core.walker import Leaf
from albert_tf.gradients import loss_gradients

for _output in OUTPUTS:
    optree.register_pytree_node(
        _output, flatten, lambda names, values, kind=_output: unflatten(kind, names, values), namespace="keras"
    )
if keras.backend.backend() == "jax":
    register_with_jax()


class TFAlbertPreTrainedModel(PreTrained, keras.Model):
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
        given = self._named(args, kwargs)
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
            leaf.value.assign(initializer.clone()(leaf.value.shape, dtype=leaf.value.dtype))

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
        """The values of the word embeddings, [V, E]."""
        return ops.convert_to_tensor(self.get_input_embeddings().embeddings)

    # -- compile, fit, predict, .keras ---------------------------------------------------------------------------

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The model's own loss where `compile` got none, else the user's on the logits."""
        if self.loss is not None:
            return super().compute_loss(x, *self._compared(x, y, y_pred), sample_weight, training)
        loss = y_pred.get("loss") if isinstance(y_pred, ModelOutput) else None
        if loss is None:
            wanted = f"{' and '.join(self._labels)} among the inputs, or " if self._labels else ""
            raise ValueError(f"{type(self).__name__} has no loss: expected {wanted}a loss in compile()")
        if sample_weight is not None:
            raise ValueError(f"sample_weight: expected a loss in compile(), {type(self).__name__}'s own has no weights")
        # As Keras adds what is no loss of compile(): divided by the number of replicas, over which it sums.
        shares = (self._aggregate_additional_loss(ops.cast(share, loss.dtype)) for share in (loss, *self.losses))
        return ops.sum(ops.stack([*shares]))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        return super().compute_metrics(x, *self._compared(x, y, y_pred), sample_weight)

    def _compared(self, x: Any, y: Any, output: Any) -> tuple[Any, Any]:
        """What a user's loss or metric gets: the targets, or else the labels among the inputs, and the logits."""
        if not isinstance(output, ModelOutput):
            return y, output
        logits = {name.removesuffix("_logits"): value for name, value in output.items() if name.endswith("logits")}
        if y is None and isinstance(x, Mapping):
            found = [x[name] for name in self._labels if name in x]
            y = dict(zip(logits, found, strict=False)) if len(found) == len(logits) else None
        return _single(y), _single(logits)

    @property
    def _labels(self) -> list[str]:
        return [name for name in self.signature.names if name in LABELS]

    def train_step(self, *args: Any) -> Any:
        return self._logged(super().train_step(*self._labelled(*args)))

    def test_step(self, *args: Any) -> Any:
        return self._logged(super().test_step(*self._labelled(*args)))

    def _logged(self, logs: Any) -> Any:
        """Keras takes the mean over the first axis where several hosts train, and fails at a number that has none."""
        strategy = getattr(self, "_distribute_strategy", None)
        if strategy is None or not strategy.extended._in_multi_worker_mode():
            return logs
        return {name: ops.reshape(value, (1,)) for name, value in logs.items()}

    def _labelled(self, *args: Any) -> tuple[Any, ...]:
        """The targets among the inputs where the model's own loss is to read them."""
        *state, data = args
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if self.loss is not None or y is None or not self._labels:
            return args
        given = y if isinstance(y, Mapping | list | tuple) else [y]
        given = given if isinstance(given, Mapping) else dict(zip(self._labels, given, strict=True))
        return *state, (self._named((x,), {}) | given, None, sample_weight)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """On several devices Keras looks at the mean of the first batch; over several hosts it fails at a dict."""
        strategy = getattr(self, "_distribute_strategy", None)
        if iterator is None or strategy is None:
            return super()._maybe_symbolic_build(iterator, data_batch)
        _, _, batches = next(iter(iterator))
        first = keras.tree.map_structure(lambda value: strategy.experimental_local_results(value)[0], next(batches))
        return super()._maybe_symbolic_build(data_batch=first)

    def predict_step(self, *args: Any) -> Any:
        *state, data = args
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(x, Mapping):  # a loss of each batch cannot be joined into one array
            x = {name: value for name, value in x.items() if name not in LABELS}
        return super().predict_step(*state, keras.utils.pack_x_y_sample_weight(x, y, sample_weight))

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",  # as Keras calls it
        verbose: bool | None = None,
        input_signature: Any = None,
        **options: Any,
    ) -> None:
        """As in Keras; a SavedModel without `input_signature` is that of `albert_tf.export.export_model`."""
        if (format, input_signature, options) == ("tf_saved_model", None, {}):
            importlib.import_module("albert_tf.export").export_model(self, filepath)
        else:
            super().export(filepath, format, verbose, input_signature, **options)

    def get_config(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "attn_implementation": self.attn_implementation,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any] | AlbertConfig, custom_objects: Any = None, **options: Any) -> Self:
        if isinstance(config, AlbertConfig):
            return super().from_config(config, **options)
        return cls(**(config | {"config": AlbertConfig.from_dict(config["config"])}))

    # -- the hooks -----------------------------------------------------------------------------------------------

    @classmethod
    def _construct(cls, config: AlbertConfig, dtype: str, **options: Any) -> Self:
        return cls(config, dtype=dtype_by_name(dtype), **given(options))

    def _get_array(self, leaf: Leaf) -> np.ndarray:
        return np.asarray(leaf.value.value)

    def _set_array(self, leaf: Leaf, array: np.ndarray) -> None:
        leaf.value.assign(array)

    def _set_vocabulary(self, config: AlbertConfig, words: np.ndarray, bias: np.ndarray | None) -> Self:
        resized = type(self).from_config(self.get_config() | {"config": config.to_dict()})
        resized.load_numpy_state(self.numpy_state() | {WORDS: words} | ({} if bias is None else {BIAS: bias}))
        resized.base_model.encoder.checkpointing = self.base_model.encoder.checkpointing
        return resized

    def _finish(self, device: Any) -> Self:
        if device in (None, "auto"):
            return self
        with keras.device(_device_name(device)):  # a Keras variable stays where it was made
            moved = type(self).from_config(self.get_config())
            moved.load_numpy_state(self.numpy_state())
        return moved

    def _known(self, array: Any) -> np.ndarray | None:
        if isinstance(array, np.ndarray):
            return array
        known = hasattr(array, "numpy") or hasattr(array, "addressable_data")  # a tensor or array, but no symbol
        return np.asarray(array) if known and "cpu" in str(getattr(array, "device", "")).lower() else None

    def _is_trainable(self, leaf: Leaf) -> bool:
        return leaf.value.trainable

    def _gradients(self, inputs: dict[str, Any], parameters: Sequence[Parameter]) -> list[np.ndarray | None]:
        found = loss_gradients(self, inputs)
        return [found.get(id(self.leaf(p).value)) for p in parameters]

    def _added(self) -> list[str]:
        known = {id(variable) for p in self.own_parameters() for variable in self.leaf(p).owner.variables}
        return [variable.path for variable in self.weights if id(variable) not in known]

    def _changed(self) -> None:
        self.train_function = self.test_function = self.predict_function = None  # Keras makes them anew

    def run_numpy(self, **inputs: Any) -> ModelOutput:
        return self(**inputs, return_dict=True, training=False).map(ops.convert_to_numpy)


def _single(values: Any) -> Any:
    """The value of a dict of one; anything else as it is."""
    return next(iter(values.values())) if isinstance(values, dict) and len(values) == 1 else values


def _device_name(device: Any) -> str:
    """A device as Keras names it: 0 and "cuda" are "gpu:0"."""
    kind, _, number = (f"gpu:{device}" if isinstance(device, int) else str(device)).lower().partition(":")
    return f"{'gpu' if kind == 'cuda' else kind}:{number or 0}"
