"""Runs in a process of its own with eight virtual devices, and prints what it measured as JSON."""

import json
import os
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from test_training import HEAD, RECIPE, STILL, data_of, moved

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parameters import count, initial_state
from albert_core.parity_suite import TINY
from albert_core.recipes import PretrainingRecipe
from albert_core.trainer import parts_of
from albert_flax.hlo import Program
from albert_flax.models import FlaxAlbertModel
from albert_flax.parallel import ParallelTrainer, _device_key, data_mesh
from albert_flax.tpu_plan import trace_step
from albert_flax.training import Trainer

START = initial_state(STILL, HEADS[HEAD].all_parts(), 3)
# Batches of 21 leave some devices a row short; steps take 2 and 16 parts.
UNEVEN = RECIPE.replace(optimizer="lamb", batch_size=21, bias_correction=False)


def compared() -> dict:
    """Six steps on eight devices beside six on one."""
    data, found = data_of(UNEVEN), {}
    mesh = jax.make_mesh((8,), ("batch",))  # as JAX makes one: explicit, and of any name
    one, eight = Trainer(STILL, UNEVEN, dtype="float64"), ParallelTrainer(STILL, UNEVEN, device=mesh, dtype="float64")
    for trainer in (one, eight):
        trainer.model.load_numpy_state(START)
    differences = []
    for step in range(6):
        batch = data.batch(0, step % data.batches(0))
        here = one.step(parts_of(batch, 1), step)
        there = eight.step(parts_of(batch, (2, 16)[step % 2]), step)
        differences += [abs(float(a) - float(b)) for a, b in zip(here, there, strict=True)]
    found["metrics"] = max(differences)
    found["weights"] = moved(eight.model.numpy_state(), START, one.model.numpy_state())
    ours, theirs = eight.numpy_moments(), one.numpy_moments()
    real = [n for n in theirs if "key.bias" not in n]  # whose gradient is nothing but rounding
    found["moments"] = max(np.abs(ours[n] - theirs[n]).max() / np.abs(theirs[n]).max() for n in real)
    eight.load_numpy_moments(theirs, 6)
    again = eight.numpy_moments()
    found["moments_kept"] = all(np.array_equal(again[n], theirs[n]) for n in theirs)
    leaves = jax.tree.leaves((eight.state.m, eight.state.v))
    found["state_share"] = sum(x.addressable_data(0).size for x in leaves) / sum(x.size for x in leaves)
    parameters = jax.tree.leaves(nnx.state(eight.model, nnx.Param))
    found["replicated"] = all(len(x.devices()) == 8 and x.sharding.is_fully_replicated for x in parameters)
    with eight.evaluating():
        logits = eight.model.run_numpy(input_ids=data.batch(0, 0)["input_ids"]).prediction_logits
    one.model.eval()
    expected = one.model.run_numpy(input_ids=data.batch(0, 0)["input_ids"]).prediction_logits
    found["evaluated"] = float(np.abs(logits - expected).max())
    return found


def keys() -> int:
    """How many different keys the devices draw their dropouts from."""

    def own(seed: jax.Array) -> jax.Array:
        return jax.random.key_data(_device_key(seed))[None]

    run = jax.shard_map(own, mesh=data_mesh(), in_specs=PartitionSpec(), out_specs=PartitionSpec("data"))
    return len(np.unique(np.asarray(run(np.array([3, 1], np.uint32))), axis=0))


def compiled(layers: int) -> dict:
    """Collectives of the compiled step, without the passes that could move one out of a loop."""
    config = AlbertConfig(**{**TINY, "num_hidden_layers": layers, "hidden_size": 24, "intermediate_size": 32})
    recipe = PretrainingRecipe(batch_size=16, sequence_length=16)
    program = Program.parse(trace_step(config, recipe, data_mesh(), "float32", None).lower().compile().as_text())
    found = program.collectives()
    loops = {program.trips(i) for c in program.computations.values() for i in c.values() if i.opcode == "while"}
    reduced = [c for c in found if c.kind in ("all-reduce", "reduce-scatter")]
    return {
        "loops": sorted(loops),
        "in_loops": sum(c.in_loop for c in found),
        "reduced": sum(c.bytes * c.times for c in reduced),
        "parameters": 4 * count(config, HEADS[HEAD].all_parts()),
    }


def summed_in_loop() -> dict:
    """What the check must be able to see: a loop that sums over the devices in each of its 12 turns."""
    mesh = data_mesh()

    def body(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (jax.lax.psum(c * c, "data") / 8, None), x, length=12)[0]

    run = jax.jit(jax.shard_map(body, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec()))
    found = Program.parse(run.lower(np.ones(4, np.float32)).compile().as_text()).collectives()
    return {"times": [c.times for c in found], "in_loop": [c.in_loop for c in found], "bytes": [c.bytes for c in found]}


def loaded(folder: Path) -> dict:
    """Where a loaded model's arrays are."""
    two = Mesh(np.array(jax.devices()[:2]), ("data",))
    found = {}
    FlaxAlbertModel(AlbertConfig(**{**TINY, "vocab_size": 38, "hidden_size": 24})).save_pretrained(folder)
    for name, mesh, spec in (("everywhere", data_mesh(), PartitionSpec()), ("cut", two, PartitionSpec("data"))):
        asked = NamedSharding(mesh, spec)
        model = FlaxAlbertModel.from_pretrained(folder, device=asked)
        kept = nnx.state(model, nnx.Param)
        found[name] = {str(x.sharding == asked) for x in jax.tree.leaves(kept)} == {"True"}
        found[name] &= np.isfinite(np.asarray(model(np.ones((2, 4), np.int32)).last_hidden_state)).all().item()
    return found


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.enable_x64(True):
        numbers = compared()
    numbers["keys"] = keys()
    numbers["loaded"] = loaded(Path(sys.argv[1]))
    numbers |= {"layers": {n: compiled(n) for n in (12, 48)}, "control": summed_in_loop()}
    print(json.dumps(numbers))
