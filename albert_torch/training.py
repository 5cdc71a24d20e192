"""Pretraining in plain torch: the step that `albert_core.training` calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albert_core import trainer
from albert_core.config import AlbertConfig
from albert_core.loss_scale import next_loss_scale
from albert_core.numerics import IGNORED_LABEL
from albert_core.parameters import Parameter
from albert_core.recipes import PretrainingRecipe, clipping_factor
from albert_core.trainer import Part, StepMetrics
from albert_core.training import evaluate, pretrain
from albert_torch.base import from_numpy, to_numpy
from albert_torch.losses import cross_entropy
from albert_torch.models import AlbertForPreTraining
from albert_torch.optim import make_optimizer
from albert_torch.placement import default_device, find_device

__all__ = ["Trainer", "evaluate", "pretrain"]


class Trainer(trainer.Trainer):
    model_class = AlbertForPreTraining

    def __init__(
        self,
        config: AlbertConfig,
        recipe: PretrainingRecipe,
        *,
        device: Any = None,
        dtype: str = "float32",
        autocast: str | None = None,
    ) -> None:
        self.recipe, self.autocast, self.loss_scale = recipe, autocast, self._first_scale(autocast)
        self.device = find_device(device or default_device())
        self.model = self.model_class._construct(config, dtype).to(self.device).train()
        self.optimizer = make_optimizer(recipe, self.model.named_parameters())

    def step(self, parts: Sequence[Part], step: int) -> StepMetrics:
        self._seed(step)
        metrics = self._gradients(parts)
        self._apply(self.rate(step))
        return metrics

    def _seed(self, step: int) -> None:
        """Dropout as a function of the step, for resumes."""
        torch.manual_seed((self.recipe.seed << 32) + step)

    def _gradients(self, parts: Sequence[Part]) -> StepMetrics:
        """The sum over the parts, left in each parameter's `grad`, times the loss scale."""
        found = torch.stack([torch.stack(self._backward(part)) for part in parts])
        return StepMetrics(*found.sum(0))

    def _backward(self, part: Part) -> StepMetrics:
        labels, order = self._tensor(part.labels), self._tensor(part.order)
        with self._autocast():
            out = self.model(**{name: self._tensor(array) for name, array in part.inputs.items()})
            masked = cross_entropy(out.prediction_logits, labels)
            swapped = cross_entropy(out.sop_logits, order)
            loss = masked * part.masked_share + swapped * part.order_share
        (loss if self.loss_scale is None else loss * float(self.loss_scale.scale)).backward()
        right = accuracy(out.prediction_logits, labels), accuracy(out.sop_logits, order)
        return StepMetrics(loss.detach(), right[0] * part.masked_share, right[1] * part.order_share)

    def _apply(self, rate: float) -> None:
        """Clip and update; with a loss scale only where the gradients are finite."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if self.loss_scale is not None:
            _multiply(gradients, 1 / float(self.loss_scale.scale))
        factor, norm = clipping_factor(torch, gradients, self.recipe.max_gradient_norm)
        if self._goes_on(norm):
            _multiply(gradients, factor)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad()

    def _goes_on(self, norm: Tensor) -> bool:
        if self.loss_scale is None:
            return True
        finite = bool(norm.isfinite())  # waits for the device, as torch.amp.GradScaler does
        self.loss_scale = next_loss_scale(np, self.loss_scale, finite)
        return finite

    def get_moment(self, kind: str, parameter: Parameter) -> np.ndarray:
        return to_numpy(self.optimizer.state_of(self.model.leaf(parameter).value)[kind])

    def set_moments(self, moments: Mapping[str, np.ndarray], step: int) -> None:
        for p in self.model.own_parameters():
            found = {kind: from_numpy(moments[f"{kind}.{p.name}"]).to(self.device) for kind in trainer.MOMENTS}
            self.optimizer.state[self.model.leaf(p).value].update(step=step, **found)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        self.model.eval()
        try:
            with self._autocast():
                yield
        finally:
            self.model.train()

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.autocast))


@torch.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the counted labels that have the highest logit."""
    counted = labels != IGNORED_LABEL
    right = (logits.argmax(-1) == labels) & counted
    return right.sum() / counted.sum().clamp(min=1)


def _multiply(gradients: Sequence[Tensor], factor: Any) -> None:
    """In place: the gradients of a large model are not copied."""
    for gradient in gradients:
        gradient.mul_(factor)
