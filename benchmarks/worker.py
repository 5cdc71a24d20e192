"""One runner of encoder.py: holds a model, answers "time TASK SHAPE" and "output TASK SHAPE" on standard input.

It runs in our environment and in that of transformers 4.57.6, so it imports nothing before it knows its part.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

Run = Callable[[np.ndarray], np.ndarray]
HEAD = {"encoder": "AlbertModel", "masked-lm": "AlbertForMaskedLM"}
FIELD = {"encoder": "last_hidden_state", "masked-lm": "logits"}


def state_for(task: str, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights that a task's class holds."""
    if task == "encoder":
        return {n: w for n, w in weights.items() if n.startswith("albert.")}
    return {n: w for n, w in weights.items() if not n.startswith("albert.pooler")}


# -- ours ------------------------------------------------------------------------------------------------------------


def our_model(backend: str, task: str, folder: Path, weights: dict[str, np.ndarray]):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from albert_core.backends import BACKENDS, load
    from albert_core.config import AlbertConfig

    cls = getattr(load(backend), BACKENDS[backend].prefix + HEAD[task])
    model = cls._construct(AlbertConfig.from_json_file(folder / "config.json"), "float32")
    model.load_numpy_state(state_for(task, weights))
    return model._finish(None)


def ours_torch(task: str, folder: Path, weights: dict[str, np.ndarray]) -> Run:

    return torch_run(our_model("torch", task, folder, weights), FIELD[task])


def torch_run(model, field: str) -> Run:
    import torch

    def run(ids: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            ids = torch.from_numpy(ids)
            return getattr(model(input_ids=ids, attention_mask=torch.ones_like(ids)), field).numpy()

    return run


def ours_tf(task: str, folder: Path, weights: dict[str, np.ndarray]) -> Run:
    return tf_run(our_model("tf", task, folder, weights), FIELD[task])


def tf_run(model, field: str) -> Run:
    import tensorflow as tf

    @tf.function
    def step(ids, mask):
        return getattr(model(input_ids=ids, attention_mask=mask, training=False), field)

    return lambda ids: step(tf.constant(ids, tf.int32), tf.ones(ids.shape, tf.int32)).numpy()


def ours_flax(task: str, folder: Path, weights: dict[str, np.ndarray]) -> Run:
    import jax
    from flax import nnx

    structure, state = nnx.split(our_model("flax", task, folder, weights))

    @jax.jit  # over the arrays, as the peer's; nnx.jit would walk the whole module at every call
    def step(state, ids, mask):
        return getattr(nnx.merge(structure, state)(input_ids=ids, attention_mask=mask), FIELD[task])

    return lambda ids: np.asarray(step(state, ids.astype(np.int32), np.ones(ids.shape, np.int32)))


# -- peers -----------------------------------------------------------------------------------------------------------


def transformers5_torch(task: str, folder: Path, weights: dict[str, np.ndarray]) -> Run:
    import torch
    import transformers

    config = transformers.AlbertConfig.from_pretrained(folder)
    config._attn_implementation = "sdpa"
    model = getattr(transformers, HEAD[task])(config).eval()
    prefix = "albert." if task == "encoder" else ""
    state = {n.removeprefix(prefix): torch.from_numpy(w) for n, w in state_for(task, weights).items()}
    model.load_state_dict(state)
    return torch_run(model, FIELD[task])


def transformers4_tf(task: str, folder: Path, weights: dict[str, np.ndarray]) -> Run:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import transformers

    model = getattr(transformers, "TF" + HEAD[task])(transformers.AlbertConfig.from_pretrained(folder))
    model.build_in_name_scope()
    for variable in model.variables:
        name, transposed = canonical_name(variable.name)
        weight = weights[name]
        variable.assign(weight.T if transposed else weight)
    return tf_run(model, FIELD[task])


def canonical_name(name: str) -> tuple[str, bool]:
    """A TF variable's name as a canonical one, and whether its matrix is transposed."""
    path = re.sub(r"_\._(\d+)", r"/\1", name.split(":")[0]).split("/")[1:]
    leaf = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight"}.get(path[-1], path[-1])
    return ".".join([*path[:-1], leaf]), path[-1] == "kernel"


def transformers4_flax(task: str, folder: Path, weights: dict[str, np.ndarray]) -> Run:
    import jax
    import transformers

    model = getattr(transformers, "Flax" + HEAD[task])(
        transformers.AlbertConfig.from_pretrained(folder), _do_init=False
    )
    params = jax.tree_util.tree_map(jax.numpy.asarray, flax_tree(task, weights))

    @jax.jit
    def step(params, ids, mask):
        return getattr(model(ids, attention_mask=mask, params=params, train=False), FIELD[task])

    return lambda ids: np.asarray(step(params, ids.astype(np.int32), np.ones(ids.shape, np.int32)))


def flax_tree(task: str, weights: dict[str, np.ndarray]) -> dict:
    """Canonical names as the nested names of transformers' Flax classes; tied leaves are left out."""
    tree: dict = {}
    for name, weight in state_for(task, weights).items():
        if "decoder" in name:
            continue
        *path, leaf = name.removeprefix("albert." if task == "encoder" else "").split(".")
        if leaf == "weight" and path[-1].endswith("_embeddings"):
            leaf = "embedding"
        elif leaf == "weight" and "norm" in path[-1].lower():
            leaf = "scale"
        elif leaf == "weight":
            leaf, weight = "kernel", weight.T
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = np.ascontiguousarray(weight)
    return tree


# -- the matrix products alone -----------------------------------------------------------------------------------------


def matmul(task: str, folder: Path, weights: dict[str, np.ndarray]) -> Run:
    """Every product of the forward pass at its shape, and nothing else."""
    import torch

    E, H, F, N, V, layers = 128, 768, 3072, 12, 30000, 12
    shapes = {
        "in": (E, H),
        "qkv": (H, 3 * H),
        "out": (H, H),
        "up": (H, F),
        "down": (F, H),
        "head": (H, E),
        "words": (E, V),
    }
    w = {name: torch.randn(shape) for name, shape in shapes.items()}

    def run(ids: np.ndarray) -> np.ndarray:
        (B, S), tokens = ids.shape, ids.size
        with torch.inference_mode():
            x = torch.randn(tokens, E) @ w["in"]
            for _ in range(layers):
                qkv = x @ w["qkv"]
                q, k, v = (t.reshape(B, S, N, H // N).transpose(1, 2) for t in qkv.chunk(3, dim=1))
                context = (q @ k.transpose(-1, -2) @ v).transpose(1, 2).reshape(tokens, H)
                x = (context @ w["out"]) @ w["up"] @ w["down"] * 1e-9
            return (x @ w["head"] @ w["words"] if task == "masked-lm" else x).numpy()

    return run


RUNNERS = {
    "torch": ours_torch,
    "tf": ours_tf,
    "flax": ours_flax,
    "transformers5-torch": transformers5_torch,
    "transformers4-tf": transformers4_tf,
    "transformers4-flax": transformers4_flax,
    "matmul": matmul,
}


def main(name: str, folder: Path) -> None:
    weights, ids = dict(np.load(folder / "weights.npz")), dict(np.load(folder / "ids.npz"))
    built: dict[str, Run] = {}
    for line in sys.stdin:
        what, task, shape = line.split()
        if task not in built:
            built[task] = RUNNERS[name](task, folder, weights)
        began = time.perf_counter()
        result = built[task](ids[shape])
        took = time.perf_counter() - began
        if what == "output":
            np.save(folder / f"{name}.npy", result)
        print("answer", took if what == "time" else "saved", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
