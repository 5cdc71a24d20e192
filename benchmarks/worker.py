"""One runner of encoder.py: holds a model, answers "time TASK SHAPE" and the like on standard input.

It runs in our environment and in those of the peers, so it imports nothing before it knows its part.
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

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]  # ids and mask [B, S] to the field below
HEAD = {
    "encoder": "AlbertModel",
    "masked-lm": "AlbertForMaskedLM",
    "classification": "AlbertForSequenceClassification",
}
FIELD = {"encoder": "last_hidden_state", "masked-lm": "logits", "classification": "logits"}
PARTS = {
    "encoder": ("albert.",),
    "masked-lm": ("albert.", "predictions."),
    "classification": ("albert.", "classifier."),
}
RAGGED_BATCH = 32
STEP = 16  # of lengths in JAX, ours and the peer's, which compile a program for each


def state_for(task: str, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights that a task's class holds."""
    if task == "pretraining":
        return weights
    found = {n: w for n, w in weights.items() if n.startswith(PARTS[task])}
    return {n: w for n, w in found.items() if task != "masked-lm" or not n.startswith("albert.pooler")}


# -- ours ------------------------------------------------------------------------------------------------------------


def our_model(backend: str, task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str):
    from albert_core.backends import BACKENDS, load
    from albert_core.config import AlbertConfig

    cls = getattr(load(backend), BACKENDS[backend].prefix + HEAD[task])
    model = cls._construct(AlbertConfig.from_json_file(folder / "config.json"), dtype)
    model.load_numpy_state(state_for(task, weights))
    return model._finish(None)


def ours_torch(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    return torch_run(our_model("torch", task, folder, weights, dtype), FIELD[task])


def ours_torch_compiled(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    import torch

    return torch_run(torch.compile(our_model("torch", task, folder, weights, dtype), dynamic=True), FIELD[task])


def torch_run(model, field: str) -> Run:
    import torch

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            out = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
            return getattr(out, field).float().numpy()

    return run


def ours_tf(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    return tf_run(our_model("tf", task, folder, weights, dtype), FIELD[task])


def tf_run(model, field: str) -> Run:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)  # texts of all lengths are one program, not one for each length
    def step(ids, mask):
        return getattr(model(input_ids=ids, attention_mask=mask, training=False), field)

    return lambda ids, mask: step(*as_int32(tf.constant, ids, mask)).numpy().astype(np.float32)


def as_int32(make: Callable, *arrays: np.ndarray) -> list:
    return [make(array.astype(np.int32)) for array in arrays]


def ours_flax(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    import jax
    from flax import nnx

    structure, state = nnx.split(our_model("flax", task, folder, weights, dtype))

    @jax.jit  # over the arrays, as the peer's; nnx.jit would walk the whole module at every call
    def step(state, ids, mask):
        return getattr(nnx.merge(structure, state)(input_ids=ids, attention_mask=mask), FIELD[task])

    return flax_run(step, state)


def flax_run(step, state) -> Run:
    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.asarray(step(state, *as_int32(np.asarray, ids, mask)), np.float32)

    run.lower = lambda ids, mask: step.lower(state, *as_int32(np.asarray, ids, mask))
    return run


# -- our graph in other engines ----------------------------------------------------------------------------------------


def openvino(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    import openvino

    program = exported(task, folder, weights)
    hint = {"INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[dtype]}
    compiled = openvino.compile_model(openvino.convert_model(program), "CPU", hint)
    return lambda ids, mask: next(iter(compiled({"input_ids": ids, "attention_mask": mask}).values()))


def onnxruntime(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    import onnxruntime
    import torch

    path = folder / f"{task}.onnx"
    torch.onnx.export(exported(task, folder, weights), f=str(path), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def exported(task: str, folder: Path, weights: dict[str, np.ndarray]):
    from albert_torch.export import exported_program

    model = our_model("torch", task, folder, weights, "float32")
    return exported_program(model, inputs=("input_ids", "attention_mask"))


# -- peers -----------------------------------------------------------------------------------------------------------


def transformers5_torch(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    return torch_run(transformers5_model(task, folder, weights, dtype), FIELD[task])


def transformers5_torch_compiled(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    import torch

    return torch_run(torch.compile(transformers5_model(task, folder, weights, dtype), dynamic=True), FIELD[task])


def transformers5_model(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str):
    import torch
    import transformers

    config = transformers.AlbertConfig.from_pretrained(folder)
    config._attn_implementation = "sdpa"
    model = getattr(transformers, HEAD[task])(config).eval()
    prefix = "albert." if task == "encoder" else ""
    state = {n.removeprefix(prefix): torch.from_numpy(w) for n, w in state_for(task, weights).items()}
    model.load_state_dict(state)
    return model.to(getattr(torch, dtype))


def transformers4_tf(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
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


def transformers4_flax(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    import jax
    import transformers

    config = transformers.AlbertConfig.from_pretrained(folder)
    model = getattr(transformers, "Flax" + HEAD[task])(config, dtype=jax.numpy.dtype(dtype), _do_init=False)
    params = jax.tree_util.tree_map(jax.numpy.asarray, flax_tree(task, weights))

    @jax.jit
    def step(params, ids, mask):
        return getattr(model(ids, attention_mask=mask, params=params, train=False), FIELD[task])

    return flax_run(step, params)


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


def keras_hub(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    import keras_hub
    import tensorflow as tf

    model = keras_hub.models.AlbertBackbone.from_preset(str(folder / "keras-hub"))

    @tf.function
    def step(ids, mask):
        given = {"token_ids": ids, "padding_mask": mask, "segment_ids": tf.zeros_like(ids)}
        return model(given, training=False)["sequence_output"]

    return lambda ids, mask: step(*as_int32(tf.constant, ids, mask)).numpy()


# -- the matrix products alone -----------------------------------------------------------------------------------------


def matmul(task: str, folder: Path, weights: dict[str, np.ndarray], dtype: str) -> Run:
    """Every product of the forward pass at its shape, and nothing else, each by the fastest call that PyTorch has."""
    import torch

    E, H, F, N, V, layers = 128, 768, 3072, 12, 30000, 12
    kind = getattr(torch, dtype)
    shapes = {
        "in": (E, H),
        "qkv": (H, 3 * H),
        "out": (H, H),
        "up": (H, F),
        "down": (F, H),
        "head": (H, E),
        "words": (E, V),
    }
    w = {name: torch.randn(shape).to(kind) for name, shape in shapes.items()}
    calls: dict[tuple[int, str], Callable] = {}

    def product(x: torch.Tensor, name: str) -> torch.Tensor:
        key = (len(x), name)
        if key not in calls:
            calls[key] = fastest_product(x, w[name])
        return calls[key](x)

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        (B, S), tokens = ids.shape, ids.size
        with torch.inference_mode():
            x = product(torch.randn(tokens, E).to(kind), "in")
            for _ in range(layers):
                qkv = product(x, "qkv")
                q, k, v = (t.reshape(B, S, N, H // N).transpose(1, 2) for t in qkv.chunk(3, dim=1))
                context = (q @ k.transpose(-1, -2) @ v).transpose(1, 2).reshape(tokens, H)
                x = product(product(product(context, "out"), "up"), "down") * 1e-9
            x = product(product(x, "head"), "words") if task == "masked-lm" else x
            return x.float().numpy().reshape(B, S, -1)

    return run


def fastest_product(x, w) -> Callable:
    """x @ w by the library and with the layout that takes least time here: as it is, transposed, or packed before."""
    import torch

    transposed = w.T.contiguous()
    packed = torch.ops.mkldnn._reorder_linear_weight(transposed, len(x))
    calls = (
        lambda x: x @ w,
        lambda x: x @ transposed.T,
        lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], ""),
    )

    def seconds(call: Callable) -> float:
        found = []
        for _ in range(5):
            began = time.perf_counter()
            call(x)
            found.append(time.perf_counter() - began)
        return min(found)

    return min(calls, key=seconds)


# -- texts of all lengths ----------------------------------------------------------------------------------------------


def ragged(run: Run, rows: list[np.ndarray], name: str) -> np.ndarray:
    """The first place's output for each text: batches of like length for ours, in the given order for a peer."""
    order = np.argsort([len(row) for row in rows], kind="stable") if name in REGROUPS else np.arange(len(rows))
    step = STEP if "flax" in name else 1
    found: list[np.ndarray] = [np.zeros(0)] * len(rows)
    for begin in range(0, len(rows), RAGGED_BATCH):
        places = order[begin : begin + RAGGED_BATCH]
        for place, output in zip(places, run(*padded([rows[p] for p in places], step)), strict=True):
            found[place] = output[0] if output.ndim == 2 else output
    return np.stack(found)


def padded(rows: list[np.ndarray], step: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask [B, S] with S the longest row, rounded up to a multiple of `step`."""
    lengths = np.array([len(row) for row in rows])
    mask = (np.arange(-(-lengths.max() // step) * step) < lengths[:, None]).astype(np.int64)
    ids = np.zeros_like(mask)
    ids[mask == 1] = np.concatenate(rows)
    return ids, mask


RUNNERS = {
    "torch": ours_torch,
    "torch-compiled": ours_torch_compiled,
    "tf": ours_tf,
    "flax": ours_flax,
    "openvino": openvino,
    "onnxruntime": onnxruntime,
    "transformers5-torch": transformers5_torch,
    "transformers5-torch-compiled": transformers5_torch_compiled,
    "transformers4-tf": transformers4_tf,
    "transformers4-flax": transformers4_flax,
    "keras-hub": keras_hub,
    "matmul": matmul,
}
REGROUPS = ("torch", "torch-compiled", "tf", "flax", "openvino", "onnxruntime", "matmul")


class Worker:
    """A runner's models by task, built when first asked for."""

    def __init__(self, name: str, folder: Path, dtype: str) -> None:
        self.name, self.folder, self.dtype = name, folder, dtype
        self.weights, self.ids = dict(np.load(folder / "weights.npz")), dict(np.load(folder / "ids.npz"))
        self.built: dict[str, Run] = {}

    def run(self, task: str) -> Run:
        if task not in self.built:
            self.built[task] = RUNNERS[self.name](task, self.folder, self.weights, self.dtype)
        return self.built[task]

    def output(self, task: str, shape: str) -> tuple[np.ndarray, float]:
        """The answer, and the seconds it took from NumPy to NumPy."""
        run = self.run(task)
        rows = np.split(self.ids["ragged"], np.cumsum(self.ids["lengths"])[:-1]) if shape == "ragged" else []
        ids = self.ids.get(shape)
        began = time.perf_counter()
        result = ragged(run, rows, self.name) if rows else run(ids, np.ones_like(ids))
        return result, time.perf_counter() - began

    def temporary(self, task: str, shape: str) -> int:
        """Bytes of temporary memory of a program of JAX; 0 where there is none."""
        lower = getattr(self.run(task), "lower", None)
        if lower is None or shape == "ragged":
            return 0
        ids = self.ids[shape]
        return lower(ids, np.ones_like(ids)).compile().memory_analysis().temp_size_in_bytes


def main(name: str, folder: Path, dtype: str) -> None:
    if not name.startswith(("transformers4", "keras-hub")):
        sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
    worker = Worker(name, folder, dtype)
    for line in sys.stdin:
        what, task, shape = line.split()
        if what == "memory":
            print("answer", worker.temporary(task, shape), flush=True)
            continue
        result, seconds = worker.output(task, shape)
        if what == "output":
            np.save(folder / f"{name}.npy", result)
        print("answer", seconds, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
