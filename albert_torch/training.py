"""Pretraining in plain torch: the step that `albert_core.training` calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albert_core import training
from albert_core.config import AlbertConfig
from albert_core.parameters import Parameter
from albert_core.recipes import PretrainingRecipe, clip_by_global_norm
from albert_core.training import Part, evaluate, pretrain
from albert_torch.base import from_numpy, to_numpy
from albert_torch.losses import cross_entropy
from albert_torch.models import AlbertForPreTraining
from albert_torch.optim import make_optimizer

__all__ = ["Trainer", "evaluate", "pretrain"]


class Trainer(training.Trainer):
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
        self.recipe, self.autocast = recipe, autocast
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = self.model_class._construct(config, dtype).to(self.device).train()
        self.optimizer = make_optimizer(recipe, self.model.named_parameters())

    def step(self, parts: Sequence[Part], step: int) -> Tensor:
        torch.manual_seed((self.recipe.seed << 32) + step)  # dropout as a function of the step, for resumes
        losses = [self._backward(part) for part in parts]
        self._clip()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return torch.stack(losses).sum()

    def _backward(self, part: Part) -> Tensor:
        with self._autocast():
            out = self.model(**{name: self._tensor(array) for name, array in part.inputs.items()})
            masked = cross_entropy(out.prediction_logits, self._tensor(part.labels))
            order = cross_entropy(out.sop_logits, self._tensor(part.order))
            loss = masked * part.masked_share + order * part.order_share
        loss.backward()
        return loss.detach()

    def _clip(self) -> None:
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        clipped, _ = clip_by_global_norm(torch, [p.grad for p in parameters], self.recipe.max_gradient_norm)
        for p, gradient in zip(parameters, clipped, strict=True):
            p.grad = gradient

    def get_moment(self, kind: str, parameter: Parameter) -> np.ndarray:
        return to_numpy(self.optimizer.state[self.model.leaf(parameter).value][kind])

    def set_moments(self, moments: Mapping[str, np.ndarray], step: int) -> None:
        for p in self.model.own_parameters():
            found = {kind: from_numpy(moments[f"{kind}.{p.name}"]).to(self.device) for kind in training.MOMENTS}
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
