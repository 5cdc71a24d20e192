"""What a backend supplies to pretraining: one optimizer step on one batch, in its framework's idiom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from albert_core.config import AlbertConfig
from albert_core.core_model import CoreModel
from albert_core.errors import MissingKeys, ShapeMismatch
from albert_core.loss_scale import LossScale, initial_loss_scale
from albert_core.numerics import IGNORED_LABEL
from albert_core.parameters import Parameter
from albert_core.recipes import PretrainingRecipe

__all__ = ["MOMENTS", "Part", "StepMetrics", "Trainer", "dealt", "parts_of"]

MOMENTS = ("m", "v")
_LABELS = ("labels", "sentence_order_label")


class Part(NamedTuple):
    """A share of a batch, for gradient accumulation and for several devices.

    Attributes:
        inputs: What the model takes, without labels.
        labels: Ids of the masked pieces, [B, P].
        order: Sentence order, [B].
        masked_share: Its share of the batch's counted labels; weighs its masked-LM loss and accuracy.
        order_share: The same for sentence order.
    """

    inputs: dict[str, Any]
    labels: Any
    order: Any
    masked_share: Any
    order_share: Any


class StepMetrics(NamedTuple):
    """What a step says of its batch, before the update: scalars of the backend, which nobody has waited for.

    Each part adds its own, weighted by its shares, so that parts and devices sum to the batch's numbers.

    Attributes:
        loss: Masked-LM loss plus sentence-order loss.
        masked_accuracy: Share of the masked pieces that were named.
        order_accuracy: Share of the pairs whose order was told.
    """

    loss: Any
    masked_accuracy: Any
    order_accuracy: Any


def parts_of(batch: Mapping[str, np.ndarray], count: int) -> list[Part]:
    """A batch cut into `count` parts whose weighted losses, and so gradients, add up to the batch's own."""
    cut = [{name: np.array_split(array, count)[i] for name, array in batch.items()} for i in range(count)]
    return [
        Part(
            {n: a for n, a in rows.items() if n not in _LABELS},
            rows["labels"],
            rows["sentence_order_label"],
            *_shares(rows, batch),
        )
        for rows in cut
    ]


def dealt(parts: Sequence[Part], count: int) -> list[list[Part]]:
    """What each of `count` processes or devices takes of a batch's parts.

    Its own ones where their number divides, otherwise a share of each.
    """
    if len(parts) % count == 0:
        own = len(parts) // count
        return [list(parts[i * own : (i + 1) * own]) for i in range(count)]
    return [list(each) for each in zip(*(_cut(part, count) for part in parts), strict=True)]


def _cut(part: Part, count: int) -> list[Part]:
    """A part as several that add up to it."""
    rows = {**part.inputs, "labels": part.labels, "sentence_order_label": part.order}
    return [
        each._replace(
            masked_share=each.masked_share * part.masked_share, order_share=each.order_share * part.order_share
        )
        for each in parts_of(rows, count)
    ]


def _shares(rows: Mapping[str, np.ndarray], batch: Mapping[str, np.ndarray]) -> list[np.float64]:
    counted = [[int((b[name] != IGNORED_LABEL).sum()) for b in (rows, batch)] for name in _LABELS]
    return [np.float64(part / max(whole, 1)) for part, whole in counted]


class Trainer:
    """One model with its optimizer. The abstract methods are what a backend supplies.

    Args:
        config: The model.
        recipe: Optimizer and its settings.
        device: Where to train; the framework's choice when None.
        dtype: What weights and moments are kept in.
        autocast: "bfloat16" or "float16" for matrix products in that dtype; float16 scales the loss.

    Attributes:
        model: The model that learns.
        recipe: As given.
        loss_scale: Where the scale of the loss stands; None where the loss is not scaled.
        writes: Whether this process writes checkpoints and prints; one of several does.
    """

    model_class: ClassVar[type[CoreModel]]
    model: Any
    recipe: PretrainingRecipe
    loss_scale: LossScale | None
    writes: bool = True

    def __init__(
        self,
        config: AlbertConfig,
        recipe: PretrainingRecipe,
        *,
        device: Any = None,
        dtype: str = "float32",
        autocast: str | None = None,
    ) -> None:
        raise TypeError(f"{type(self).__name__} is abstract")

    def step(self, parts: Sequence[Part], step: int) -> StepMetrics:
        """Forward, backward, clip, update. Returns numbers that are not waited for.

        Args:
            parts: The batch.
            step: Steps taken before this one; decides the rate and, with the recipe's seed, the dropout.
        """
        raise TypeError(f"{type(self).__name__} is abstract")

    def get_moment(self, kind: str, parameter: Parameter) -> np.ndarray:
        """A moment, "m" or "v", as its parameter is stored."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def set_moments(self, moments: Mapping[str, np.ndarray], step: int) -> None:
        """Take both moments of every parameter, "m.<name>" as stored, and the number of updates they are from."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def evaluating(self) -> AbstractContextManager[None]:
        """The model without dropout."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def agree(self, code: int) -> int:
        """The highest of what all processes say; each asks after each step whether to stop."""
        return code

    def close(self) -> None:
        """End what ties this process to others. The model stays; `contextlib.closing` calls it."""

    def rate(self, step: int) -> float:
        """The recipe's learning rate of a step."""
        return float(self.recipe.rate(np, step))

    def numpy_moments(self) -> dict[str, np.ndarray]:
        """Both moments of every parameter, in canonical layout, "m.<canonical name>"."""
        return {f"{kind}.{p.name}": self._turned(p, self.get_moment(kind, p)) for p in self._own() for kind in MOMENTS}

    def load_numpy_moments(self, moments: Mapping[str, np.ndarray], step: int, path: str | Path = "moments") -> None:
        """The inverse of `numpy_moments`.

        Args:
            moments: Both of every parameter, in canonical layout.
            step: Number of updates they are from.
            path: Where they come from, for errors.

        Raises:
            MissingKeys: A moment is missing.
            ShapeMismatch: One has not its parameter's shape.
        """
        wanted = {f"{kind}.{p.name}": p for p in self._own() for kind in MOMENTS}
        if missing := wanted.keys() - moments.keys():
            raise MissingKeys(path, keys=sorted(missing))
        if wrong := [name for name, p in wanted.items() if moments[name].shape != p.shape]:
            raise ShapeMismatch(path, keys=wrong)
        self.set_moments({name: self._turned(p, moments[name]) for name, p in wanted.items()}, step)

    def _own(self) -> list[Parameter]:
        return self.model.own_parameters()

    def _turned(self, parameter: Parameter, array: np.ndarray) -> np.ndarray:
        return array.T if self.model.leaf(parameter).transposed else array

    @staticmethod
    def _first_scale(autocast: str | None) -> LossScale | None:
        return initial_loss_scale() if autocast == "float16" else None
