"""Where models go: devices, however they are named."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["default_device", "find_device"]


def default_device() -> torch.device:
    """The first GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def find_device(device: Any) -> torch.device:
    """A PyTorch device by number or name.

    Raises:
        ValueError: There is no such device here.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:  # AssertionError: a build without CUDA
        raise ValueError(f"device: expected one that PyTorch has here, got {device!r}") from error
    return found
