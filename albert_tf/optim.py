"""The optimizers of `albert_core.recipes` for Keras."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from albert_core.recipes import (
    BETAS,
    EPSILON,
    LEARNING_RATE,
    WEIGHT_DECAY,
    PretrainingRecipe,
    adamw_update,
    decays,
    lamb_update,
    learning_rate,
)

__all__ = ["AdamW", "Lamb", "RecipeSchedule", "make_optimizer"]

_NORMS = ("gamma", "beta", "scale")  # the variables of Keras' norms


class _NamedOptimizer(keras.optimizers.Optimizer):
    """An optimizer that knows variables by name, and so which of them decay.

    Args:
        learning_rate: A number or a schedule.
        betas: Decay of the first and of the second moment.
        eps: Added to the root of the second moment.
        weight_decay: On everything but norms, biases and what `exclude_from_weight_decay` names; Lamb's trust ratio
            too. Kept from Keras' own decay, which would come on top.
        bias_correction: Differs from Google: correct the moments' bias towards zero, as Adam does.
        **kwargs: Of every Keras optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = LEARNING_RATE,
        betas: tuple[float, float] = BETAS,
        eps: float = EPSILON,
        weight_decay: float = WEIGHT_DECAY,
        bias_correction: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.betas, self.eps, self.decay, self.bias_correction = tuple(betas), eps, weight_decay, bias_correction
        self.m: list[Any] = []
        self.v: list[Any] = []

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.m, self.v = ([self.add_variable_from_reference(x, name=name) for x in variables] for name in ("m", "v"))

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """As in Keras, but a table's gradient that comes as slices is added up before Keras takes the norm to clip."""
        trainable_variables = None if trainable_variables is None else list(trainable_variables)
        if known := trainable_variables or self._trainable_variables:
            grads = [_whole(g, v) for g, v in zip(grads, known, strict=True)]
        return super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        place = self._get_variable_index(variable)
        known, m, v = self._trainable_variables[place], self.m[place], self.v[place]
        dtype, decaying = known.dtype, self._decays(known)  # `fit` hands over TensorFlow's own variable, without a path
        new, first, second = self._rule(decaying)(
            ops,
            ops.convert_to_tensor(variable),
            ops.cast(gradient, dtype),
            m.value,
            v.value,
            lr=ops.cast(learning_rate, dtype),
            beta1=self.betas[0],
            beta2=self.betas[1],
            epsilon=self.eps,
            weight_decay=self.decay if decaying else 0.0,
            bias_correction=self.bias_correction,
            step=ops.cast(self.iterations + 1, dtype),
        )
        self.assign(variable, new)
        self.assign(m, first)
        self.assign(v, second)

    def _decays(self, variable: Any) -> bool:
        """Not what Keras' `exclude_from_weight_decay` named, and no norm of the user's, however it is called."""
        return variable.name not in _NORMS and decays(variable.path) and self._use_weight_decay(variable)

    def _rule(self, adapt: bool) -> Any:
        raise TypeError(f"{type(self).__name__} is abstract")

    def get_config(self) -> dict[str, Any]:
        own = {"betas": self.betas, "eps": self.eps, "weight_decay": self.decay}
        return super().get_config() | own | {"bias_correction": self.bias_correction}


def _whole(gradient: Any, variable: Any) -> Any:
    """A gradient as a dense tensor; None for a variable that has none."""
    return ops.add(gradient, ops.zeros_like(variable)) if hasattr(gradient, "indices") else gradient


@keras.saving.register_keras_serializable("albert")
class AdamW(_NamedOptimizer):
    """`albert_core.recipes.adamw_update` as a Keras optimizer."""

    def _rule(self, adapt: bool) -> Any:
        return adamw_update


@keras.saving.register_keras_serializable("albert")
class Lamb(_NamedOptimizer):
    """`albert_core.recipes.lamb_update` as a Keras optimizer."""

    def _rule(self, adapt: bool) -> Any:
        return lambda *args, **settings: lamb_update(*args, adapt=adapt, **settings)


@keras.saving.register_keras_serializable("albert")
class RecipeSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a recipe, see `albert_core.recipes.learning_rate`."""

    def __init__(self, peak: float, warmup_steps: int, total_steps: int, offset_by_warmup: bool = False) -> None:
        super().__init__()
        self.settings = {
            "peak": peak,
            "warmup_steps": warmup_steps,
            "total_steps": total_steps,
            "offset_by_warmup": offset_by_warmup,
        }

    def __call__(self, step: Any) -> Any:
        return learning_rate(ops, ops.cast(step, keras.backend.floatx()), **self.settings)

    def get_config(self) -> dict[str, Any]:
        return dict(self.settings)


def make_optimizer(recipe: PretrainingRecipe) -> keras.optimizers.Optimizer:
    """What a recipe names, as a Keras optimizer; in `fit` it clips as the recipe says."""
    names = ("warmup_steps", "total_steps", "offset_by_warmup")
    schedule = RecipeSchedule(recipe.learning_rate, **{name: getattr(recipe, name) for name in names})
    return {"lamb": Lamb, "adamw": AdamW}[recipe.optimizer](
        schedule,
        global_clipnorm=recipe.max_gradient_norm,
        **recipe.optimizer_options(),
    )
