"""Where models go: devices, however they are named."""

from __future__ import annotations

from typing import Any

__all__ = ["find_device"]


def find_device(device: Any) -> str:
    """A device as Keras names it: 0 and "cuda" are "gpu:0". `keras.device` refuses what no framework knows."""
    kind, _, number = (f"gpu:{device}" if isinstance(device, int) else str(device)).lower().partition(":")
    return f"{'gpu' if kind == 'cuda' else kind}:{number or 0}"
