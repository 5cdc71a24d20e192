"""What a model adds to `compile`, `fit`, `evaluate` and `predict` of Keras: its own loss, and logits for a user's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from albert_core.outputs import ModelOutput
from albert_core.signature import LABELS, Signature


class Fitting(keras.Model):
    """A Keras model whose output is a `ModelOutput`."""

    signature: ClassVar[Signature]
    output_class: ClassVar[type[ModelOutput]]

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The model's own loss where `compile` got none, else the user's on the logits."""
        if self.loss is not None:
            made = dict if isinstance(self.loss, Mapping) else OrderedDict  # Keras wants the kind of its losses
            return super().compute_loss(x, *self._compared(x, y, y_pred, sample_weight, made), training)
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
        return super().compute_metrics(x, *self._compared(x, y, y_pred, sample_weight, OrderedDict))

    def _compared(self, x: Any, y: Any, output: Any, weight: Any, made: Any) -> tuple[Any, Any, Any]:
        """What a user's loss or metric gets: the targets, or else the labels among the inputs; the logits; weights.

        Several of each stand by the name of the logits, in the output's order: Keras sorts what has no order.
        """
        if not isinstance(output, ModelOutput):
            return y, output, weight
        logits = made((n.removesuffix("_logits"), value) for n, value in output.items() if n.endswith("logits"))
        if y is None and isinstance(x, Mapping):
            y = {name: x[name] for name in self._labels if name in x}
            y = y if len(y) == len(logits) else None
        names = dict(zip(self._labels, logits, strict=False))
        y, weight = (made(_by_name(value, names).items()) if _nested(value) else value for value in (y, weight))
        return _single(y), _single(logits), _single(weight)

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
        """The targets among the inputs too, where the model's own loss is to read them."""
        *state, data = args
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if self.loss is not None or y is None or not self._labels:
            return args
        given = _by_name(y if _nested(y) else [y], {name: name for name in self._labels})
        return *state, (self._named((x,), {}) | given, y, sample_weight)

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
        found = super().predict_step(*state, keras.utils.pack_x_y_sample_weight(x, y, sample_weight))
        output, *rest = found if state else (found,)  # on JAX the state comes back too
        output = dict(output.items()) if isinstance(output, ModelOutput) else output
        return (output, *rest) if state else output  # several devices' outputs are joined in what TensorFlow knows

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        return self._joined(super().predict(*args, **kwargs))

    def predict_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        return self._joined(super().predict_on_batch(*args, **kwargs))

    def _joined(self, found: Any) -> Any:
        return self.output_class(**found) if isinstance(found, dict) else found


def _nested(values: Any) -> bool:
    return isinstance(values, Mapping | list | tuple)


def _by_name(values: Any, names: dict[str, str]) -> dict[str, Any]:
    """Values in order, or by the keys of `names`, as a dict by the values of `names` and in their order."""
    if isinstance(values, Mapping):
        renamed = {names.get(name, name): value for name, value in values.items()}
        return {name: renamed[name] for name in names.values() if name in renamed} | renamed
    if len(values) != len(names):
        raise ValueError(f"targets: expected {len(names)}, for {' and '.join(names)}, got {len(values)}")
    return dict(zip(names.values(), values, strict=True))


def _single(values: Any) -> Any:
    """The value of a dict of one; anything else as it is."""
    return next(iter(values.values())) if isinstance(values, dict) and len(values) == 1 else values
