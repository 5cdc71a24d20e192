"""Compile another backend's encoder for a TPU: python tpu_lane.py keras|torchax

Prints the operations of the compiled program, which is cut over the chips of a v5e:2x2 by its batch.
"""

import os
import sys

os.environ.update(JAX_PLATFORMS="cpu", KERAS_BACKEND="jax")

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from albert_core.config import AlbertConfig
from albert_core.parity_suite import TINY
from albert_flax.parallel import BY_PART, EVERYWHERE
from albert_flax.tpu_plan import tpu_mesh

MESH = tpu_mesh("v5e:2x2")
IDS = jax.ShapeDtypeStruct((4, 8), jnp.int32, sharding=NamedSharding(MESH, BY_PART))


def shapes(tree: object) -> object:
    everywhere = NamedSharding(MESH, EVERYWHERE)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), tree)


def keras() -> jax.stages.Lowered:
    from albert_tf import TFAlbertModel

    model = TFAlbertModel(AlbertConfig(**TINY))

    def run(trained: list, rest: list, ids: jax.Array) -> jax.Array:
        return model.stateless_call(trained, rest, {"input_ids": ids}, training=False)[0]["last_hidden_state"]

    state = ([v.value for v in variables] for variables in (model.trainable_variables, model.non_trainable_variables))
    return jax.jit(run).lower(*map(shapes, state), IDS)


def torchax() -> jax.stages.Lowered:
    import torch

    packet = type(torch.ops.aten.prod)
    named = packet.__getattr__

    def lenient(self: object, name: str) -> object:
        """torchax 0.0.13 lists operators that torch 2.13 no longer has; nobody calls them."""
        try:
            return named(self, name)
        except AttributeError:
            if name.startswith("_"):
                raise
            return type("Absent", (), {})()

    packet.__getattr__ = lenient
    import torchax

    from albert_torch import AlbertModel

    weights, run = torchax.extract_jax(AlbertModel(AlbertConfig(**TINY)).eval())
    return jax.jit(lambda weights, ids: run(weights, (ids,))).lower(shapes(weights), IDS)


if __name__ == "__main__":
    compiled = {"keras": keras, "torchax": torchax}[sys.argv[1]]().compile()
    print(compiled.as_text().count(" = "))
