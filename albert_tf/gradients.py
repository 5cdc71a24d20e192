"""Gradients of a Keras model's own loss, on whichever framework Keras runs."""

from __future__ import annotations

import importlib
from typing import Any

import keras
import numpy as np


def loss_gradients(model: keras.Model, inputs: dict[str, Any]) -> dict[int, np.ndarray | None]:
    """The gradient of the loss for each trained variable, by the variable's id; None where it has no part."""
    take = {"tensorflow": _with_tensorflow, "jax": _with_jax}[keras.backend.backend()]
    found = take(model, inputs, model.trainable_variables)
    return {id(variable): gradient for variable, gradient in zip(model.trainable_variables, found, strict=True)}


def _with_tensorflow(model: Any, inputs: dict[str, Any], variables: list[Any]) -> list[np.ndarray | None]:
    tf = importlib.import_module("tensorflow")
    with tf.GradientTape() as tape:
        loss = model(**inputs, return_dict=True).loss
    found = tape.gradient(loss, [variable.value for variable in variables])
    return [None if gradient is None else tf.convert_to_tensor(gradient).numpy() for gradient in found]


def _with_jax(model: Any, inputs: dict[str, Any], variables: list[Any]) -> list[np.ndarray]:
    jax = importlib.import_module("jax")
    rest = [variable.value for variable in model.non_trainable_variables]

    def loss(values: list[Any]) -> Any:
        output, _ = model.stateless_call(values, rest, **inputs, return_dict=True)
        return output.loss

    return [np.asarray(gradient) for gradient in jax.grad(loss)([variable.value for variable in variables])]
