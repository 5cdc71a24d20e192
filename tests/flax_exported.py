"""Runs an exported folder in a process without this project: python flax_exported.py FOLDER BATCH.npz OUT.npz"""

import sys
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy

folder, batch, target = map(Path, sys.argv[1:])
program = jax.export.deserialize(bytearray((folder / "program.jax_export").read_bytes()))
weights = safetensors.numpy.load_file(folder / "weights.safetensors")
found = {}
with np.load(batch) as arrays:
    inputs = {name: arrays[name] for name in arrays.files}
for name, size in {"all": None, "one": 1}.items():
    outputs = program.call(weights, {key: value[:size] for key, value in inputs.items()})
    found |= {f"{name}.{key}": np.asarray(value) for key, value in outputs.items()}
np.savez(target, **found)
assert not [name for name in sys.modules if name.startswith("albert")]
