"""The optimizers of `albert_core.recipes` for torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from albert_core.recipes import (
    BETAS,
    EPSILON,
    WEIGHT_DECAY,
    PretrainingRecipe,
    adamw_update,
    decays,
    lamb_update,
)

__all__ = ["AdamW", "Lamb", "make_optimizer"]


class _NamedOptimizer(torch.optim.Optimizer):
    """An optimizer that knows parameters by name, and so which of them decay.

    Args:
        named_parameters: What `model.named_parameters()` gives.
        lr: Learning rate; a loop sets `group["lr"]` before each step.
        betas: Decay of the first and of the second moment.
        eps: Added to the root of the second moment.
        weight_decay: On everything but norms and biases.
        bias_correction: Differs from Google: correct the moments' bias towards zero, as Adam does.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
        lr: float,
        *,
        betas: tuple[float, float] = BETAS,
        eps: float = EPSILON,
        weight_decay: float = WEIGHT_DECAY,
        bias_correction: bool = False,
    ) -> None:
        named = [(name, p) for name, p in named_parameters if p.requires_grad]
        groups = [
            {"params": [(n, p) for n, p in named if decays(n)], "weight_decay": weight_decay, "adapt": True},
            {"params": [(n, p) for n, p in named if not decays(n)], "weight_decay": 0.0, "adapt": False},
        ]
        defaults = {"lr": lr, "betas": betas, "eps": eps, "bias_correction": bias_correction}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group)
        return loss

    def _update(self, p: torch.nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state_of(p)
        state["step"] += 1
        new, state["m"], state["v"] = self._rule(
            p,
            state,
            group,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            epsilon=group["eps"],
            weight_decay=group["weight_decay"],
            bias_correction=group["bias_correction"],
            step=state["step"],
        )
        p.copy_(new)

    def state_of(self, p: torch.nn.Parameter) -> dict[str, Any]:
        """A parameter's step and moments, made where there are none yet."""
        state = self.state[p]
        if not state:
            state.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
        return state

    def _rule(self, p: torch.nn.Parameter, state: dict[str, Any], group: dict[str, Any], **settings: Any) -> Any:
        raise TypeError(f"{type(self).__name__} is abstract")


class AdamW(_NamedOptimizer):
    """`albert_core.recipes.adamw_update` as a torch optimizer."""

    def _rule(self, p: torch.nn.Parameter, state: dict[str, Any], group: dict[str, Any], **settings: Any) -> Any:
        return adamw_update(torch, p, p.grad, state["m"], state["v"], **settings)


class Lamb(_NamedOptimizer):
    """`albert_core.recipes.lamb_update` as a torch optimizer."""

    def _rule(self, p: torch.nn.Parameter, state: dict[str, Any], group: dict[str, Any], **settings: Any) -> Any:
        return lamb_update(torch, p, p.grad, state["m"], state["v"], adapt=group["adapt"], **settings)


def make_optimizer(recipe: PretrainingRecipe, named_parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> Any:
    """What a recipe names, as a torch optimizer."""
    return {"lamb": Lamb, "adamw": AdamW}[recipe.optimizer](
        named_parameters,
        recipe.learning_rate,
        **recipe.optimizer_options(),
    )
