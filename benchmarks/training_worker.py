"""One runner of training.py: holds a model with its optimizer and answers, one line of JSON each, on standard input:

    start TASK SHAPE   a new model takes its first step: seconds, loss, and MiB at the peak above the imports
    step               another step on the same batch: seconds and loss
    depth LAYERS       our Flax step compiled for so many layers: instructions and seconds

TASK is float32 or bfloat16. It runs in our environment and in that of transformers 4.57.6, so it imports nothing
before it knows its part.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from worker import flax_tree

Batch = dict[str, np.ndarray]
Step = Callable[[], float]
RATE, DECAY, BETAS, EPSILON, NORM = 1e-4, 0.01, (0.9, 0.999), 1e-6, 1.0


def decays(name: str) -> bool:
    return "bias" not in name and "norm" not in name.lower()


# -- ours ------------------------------------------------------------------------------------------------------------


def our_trainer(backend: str, folder: Path, task: str, batch: Batch, layers: int | None = None) -> Any:
    import importlib

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from albert_core.backends import BACKENDS
    from albert_core.config import AlbertConfig
    from albert_core.recipes import PretrainingRecipe

    config = AlbertConfig.from_json_file(folder / "config.json")
    recipe = PretrainingRecipe(
        batch_size=len(batch["labels"]), sequence_length=batch["input_ids"].shape[1], optimizer="adamw",
        learning_rate=RATE, warmup_steps=0, total_steps=10**9, beta1=BETAS[0], beta2=BETAS[1], epsilon=EPSILON,
        weight_decay=DECAY, max_gradient_norm=NORM, bias_correction=True,
    )  # fmt: skip
    kind = importlib.import_module(f"{BACKENDS[backend].package}.training").Trainer
    config = config if layers is None else config.replace(num_hidden_layers=layers)
    return kind(config, recipe, device="cpu", autocast=None if task == "float32" else task)


def ours(backend: str, checkpointing: bool = False) -> Callable[..., Step]:
    def start(folder: Path, task: str, batch: Batch, weights: Batch) -> Step:
        trainer, taken = our_trainer(backend, folder, task, batch), [0]
        if checkpointing:
            trainer.model.gradient_checkpointing_enable()
        trainer.model.load_numpy_state(weights)
        from albert_core.trainer import parts_of

        def step() -> float:
            metrics = trainer.step(parts_of(batch, 1), taken[0])
            taken[0] += 1
            return float(metrics.loss)

        return step

    return start


def depth(folder: Path, layers: int, batch: Batch) -> dict[str, float]:
    trainer = our_trainer("flax", folder, "float32", batch, layers)
    import jax

    from albert_core.trainer import parts_of

    jax.clear_caches()
    began = time.perf_counter()
    text = trainer.lower(parts_of(batch, 1)).compile().as_text()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "instructions": sum(" = " in line for line in text.splitlines())}


# -- peers -----------------------------------------------------------------------------------------------------------


def labels_everywhere(batch: Batch) -> np.ndarray:
    """Labels as transformers takes them, [B, S]."""
    labels = np.full(batch["input_ids"].shape, -100)
    rows, slots = np.nonzero(batch["labels"] != -100)
    labels[rows, batch["masked_positions"][rows, slots]] = batch["labels"][rows, slots]
    return labels


def transformers5_torch(folder: Path, task: str, batch: Batch, weights: Batch) -> Step:
    import torch
    import transformers

    model = transformers.AlbertForPreTraining(transformers.AlbertConfig.from_pretrained(folder)).train()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    groups = [
        {"params": [p for n, p in model.named_parameters() if decays(n)], "weight_decay": DECAY},
        {"params": [p for n, p in model.named_parameters() if not decays(n)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, eps=EPSILON)
    names = ("input_ids", "attention_mask", "token_type_ids", "sentence_order_label")
    given = {name: torch.from_numpy(batch[name]) for name in names}
    given["labels"] = torch.from_numpy(labels_everywhere(batch))

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=task == "bfloat16"):
            loss = model(**given).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), NORM)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def transformers4_flax(folder: Path, task: str, batch: Batch, weights: Batch) -> Step:
    import jax
    import jax.numpy as jnp
    import optax
    import transformers

    config = transformers.AlbertConfig.from_pretrained(folder)
    model = transformers.FlaxAlbertForPreTraining(config, _do_init=False, dtype=getattr(jnp, task))
    params = jax.tree_util.tree_map(jnp.asarray, flax_tree("pretraining", weights))
    mask = jax.tree_util.tree_map_with_path(lambda path, _: decays(jax.tree_util.keystr(path)), params)
    mask = jax.tree_util.tree_map_with_path(lambda path, kept: kept and "scale" not in str(path[-1]), mask)
    optimizer = optax.chain(
        optax.clip_by_global_norm(NORM), optax.adamw(RATE, *BETAS, EPSILON, weight_decay=DECAY, mask=mask)
    )
    state = [params, optimizer.init(params)]
    given = {n: a.astype(np.int32) for n, a in {**batch, "labels": labels_everywhere(batch)}.items()}

    def loss_of(params: Any, given: Any) -> Any:
        inputs = (given["input_ids"], given["attention_mask"], given["token_type_ids"])
        out = model(*inputs, params=params, train=True, dropout_rng=jax.random.key(0))

        def mean(logits: Any, labels: Any) -> Any:
            counted = labels != -100
            losses = optax.softmax_cross_entropy_with_integer_labels(
                logits.astype(jnp.float32), jnp.where(counted, labels, 0)
            )
            return (losses * counted).sum() / counted.sum()

        return mean(out.prediction_logits, given["labels"]) + mean(out.sop_logits, given["sentence_order_label"])

    def update(params: Any, state: Any, given: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, given)
        moved, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, moved), state, loss

    compiled = jax.jit(update, donate_argnums=(0, 1))

    def step() -> float:
        *state[:], loss = compiled(*state, given)
        return float(loss)

    return step


RUNNERS: dict[str, tuple[str, Callable[..., Step]]] = {
    "torch": ("albert_torch.training", ours("torch")),
    "torch-checkpointing": ("albert_torch.training", ours("torch", checkpointing=True)),
    "tf": ("albert_tf.training", ours("tf")),
    "flax": ("albert_flax.training", ours("flax")),
    "transformers5-torch": ("transformers.models.albert.modeling_albert", transformers5_torch),
    "transformers4-flax": ("transformers.models.albert.modeling_flax_albert", transformers4_flax),
}


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(step: Step) -> dict[str, float]:
    began = time.perf_counter()
    loss = step()
    return {"seconds": time.perf_counter() - began, "loss": loss}


def main(name: str, folder: Path) -> None:
    import importlib

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    module, start = RUNNERS[name]
    importlib.import_module(module)
    if "torch" in name:
        importlib.import_module("torch._dynamo")  # which torch imports with a process's first optimizer
    imported, step = peak(), None
    for line in sys.stdin:
        what, *rest = line.split()
        if what == "start":
            step = None  # the model before this one goes first
            batch, weights = (dict(np.load(folder / f"{name}.npz")) for name in (rest[1], "weights"))
            step = start(folder, rest[0], batch, weights)
            del weights
        if what == "depth":
            answer = depth(folder, int(rest[0]), dict(np.load(folder / f"{rest[1]}.npz")))
        else:
            assert step is not None
            answer = timed(step) | {"mib": peak() - imported}
        print("answer", json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
