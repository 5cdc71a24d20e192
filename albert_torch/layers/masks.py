"""Masks as what is added to scores, heads that are left out, and when a fused kernel is not to be trusted with them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from albert_core.config import AlbertConfig
from albert_core.input_checks import dtype_name
from albert_core.numerics import kept_heads, masked_score


def attention_bias(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    if mask is None:
        return None
    mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    wide = torch.promote_types(dtype, torch.float32)  # float16 could not absorb a score
    bias = torch.zeros(mask.shape, dtype=wide, device=mask.device)
    return bias.masked_fill(mask == 0, masked_score(dtype_name(bias)))


def head_mask_rows(config: AlbertConfig, mask: Tensor | None, like: Tensor) -> Tensor | None:
    kept = kept_heads(config)
    if kept is not None:
        kept = torch.tensor(kept, dtype=like.dtype, device=like.device)
        mask = kept if mask is None else kept * mask
    return None if mask is None else mask.to(like.dtype).expand(config.num_hidden_layers, -1)


def loses_gradients(mask: Tensor | None) -> bool:
    """Whether the backward pass of PyTorch's fused kernels may be wrong under this mask.

    It recovers probabilities as exp(score - log-sum-exp), and in a row whose mask is all zero the masked score absorbs
    the logarithm: every gradient of that row comes out S times too large. Where rows cannot be looked at without a
    device sync or a graph break, any mask counts.
    """
    if mask is None or not torch.is_grad_enabled():
        return False
    rows = known(mask)
    return rows is None or bool((rows == 0).all(-1).any())


def loses_time(x: Tensor) -> bool:
    """Whether PyTorch's fused kernels are the slower ones: backward in bfloat16 on a CPU, by 1.5 to 3.6 times."""
    if x.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    return (torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype) is torch.bfloat16


def known(array: Tensor) -> np.ndarray | None:
    """An array's values, or None where they are not at hand: on a device, or in a program being traced."""
    if array.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return None
    with suppress(RuntimeError, TypeError):  # inside torch.func.grad or vmap there are none; bfloat16 is not NumPy's
        return array.detach().numpy()
    return None
