"""What the layers are made of: activations, and linear maps that may run as a faster product."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from albert_core.config import AlbertConfig
from albert_core.numerics import activation
from albert_torch.products import linear

_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


def activation_of(config: AlbertConfig) -> Callable[[Tensor], Tensor]:
    """The activation a config names; PyTorch's kernel where it has one that agrees in float64."""
    act = config.hidden_act
    return (_KERNELS.get(act) if isinstance(act, str) else None) or partial(_formula, act)


def _formula(act: str | Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Of this module, so that a model can be pickled."""
    return activation(torch, act)(x)


def is_plain(module: nn.Module, kind: type[nn.Module] = nn.Linear) -> bool:
    """Whether a product with the module's weight and its bias, or rows of a table, are all that calling it gives.

    A subclass is an adapter, a parametrisation or sharding; a weight made of other tensors is quantised; a forward of
    the module's own is a wrapper.
    """
    if type(module) is not kind or hasattr(type(module.weight), "__tensor_flatten__") or "forward" in vars(module):
        return False
    if kind is nn.Linear and module.bias is None:
        return False
    own = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return not own and not _has_any_global_hook()


def through(module: nn.Module, x: Tensor) -> Tensor:
    """The module's own call, or the faster product where a product is all that it is."""
    return linear(x, module.weight, module.bias) if is_plain(module) else module(x)
