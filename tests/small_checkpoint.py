"""Two small checkpoints of the same names, and how to tell which of them a path holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from albert_core.safetensors_io import open_safetensors, read_checkpoint

STATE = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True, False]), "c": np.float16(2) + 0}
OTHER = {name: np.zeros_like(array) for name, array in STATE.items()}


def state_of(path: Path) -> dict[str, bytes]:
    with read_checkpoint(path) if path.is_dir() else open_safetensors(path) as source:
        read = source.read if hasattr(source, "read") else source.__getitem__
        return {name: read(name).tobytes() for name in source}


def raw(state) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.items()}
