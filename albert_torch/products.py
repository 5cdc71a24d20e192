"""A product with a weight matrix, by the faster of PyTorch's two CPU libraries.

PyTorch gives float32 matrix products to MKL, which keeps its AVX-512 kernels for Intel's processors; on others half of
the machine lies idle (an AMD EPYC: 190 GFLOP/s by MKL; by oneDNN 420 forward, 270 to 370 backward). The public way to
oneDNN in float32 is a convolution whose kernel is one pixel: the same sums, differentiable as ever.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["linear"]

# Measured: below these, reordering the weight costs more than it gives.
ROWS = {"forward": 128, "backward": 256}
WEIGHTS = 2**17


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """X @ weight.T + bias.

    Args:
        x: [B, S, I].
        weight: [O, I].
        bias: [O].

    Returns:
        [B, S, O].
    """
    return _by_onednn(x, weight, bias) if _pays(x, weight) else F.linear(x, weight, bias)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    image = x.unsqueeze(2).permute(0, 3, 1, 2)  # [B, I, S, 1], channels last as it lies
    return F.conv2d(image, weight[:, :, None, None], bias).permute(0, 2, 3, 1).flatten(1, 2)


def _pays(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN is the faster one; decided by shapes and the machine alone, so that runs repeat."""
    if torch.compiler.is_exporting() or torch.jit.is_tracing() or torch.is_autocast_enabled("cpu"):
        return False  # a program for elsewhere keeps its plain product, and autocast its own kernels
    if not _allowed() or x.device.type != "cpu" or {x.dtype, weight.dtype} != {torch.float32}:
        return False
    rows = ROWS["backward" if torch.is_grad_enabled() else "forward"]
    return x.ndim == 3 and x.shape[0] * x.shape[1] >= rows and weight.numel() >= WEIGHTS


@torch.compiler.assume_constant_result
def _allowed() -> bool:
    """Whether this machine gains by it; who allows fewer bits is served by the product."""
    return _mkl_lacks_avx512() and torch.get_float32_matmul_precision() == "highest"


@cache
def _mkl_lacks_avx512() -> bool:
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return wide and both and "GenuineIntel" not in _processor()


def _processor() -> str:
    """What the system tells of its processor."""
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return os.environ.get("PROCESSOR_IDENTIFIER", "GenuineIntel")
