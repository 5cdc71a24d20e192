"""Code as it is written for transformers' Flax classes: python flax_snippet.py PACKAGE FOLDER NUMBERS.json

The package is `transformers` or `albert_flax`; but for that one import line the code is the same. What it finds goes
into a JSON file: numbers of the outputs, of gradients over the parameters, and of a training under pmap and under jit.
"""

import importlib
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import jax_utils, traverse_util
from flax.training import train_state
from flax.training.common_utils import shard

IDS = np.array([[2, 9, 17, 30, 3, 0, 0], [2, 5, 7, 11, 13, 36, 3]])
BATCH = {"input_ids": IDS, "attention_mask": (IDS != 0).astype("i4"), "token_type_ids": np.zeros_like(IDS)}
LABELS = np.array([2, 0])


def numbers(tree: object) -> dict[str, list[float]]:
    """Sum and norm of every array, by path."""
    flat = traverse_util.flatten_dict(tree, sep="/")
    return {name: [float(jnp.sum(x)), float(jnp.sqrt(jnp.sum(x * x)))] for name, x in sorted(flat.items())}


def trained(model: object, params: object, parallel: bool) -> tuple[list[float], object]:
    """Three steps of the training loop of transformers' examples."""

    def loss_fn(params: object, batch: dict, labels: object, dropout_rng: object) -> object:
        logits = model(**batch, params=params, dropout_rng=dropout_rng, train=True)[0]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def train_step(state: object, batch: dict, labels: object, dropout_rng: object) -> tuple:
        dropout_rng, new_rng = jax.random.split(dropout_rng)
        loss, grad = jax.value_and_grad(loss_fn)(state.params, batch, labels, dropout_rng)
        if parallel:
            loss, grad = jax.lax.pmean((loss, grad), "batch")
        return state.apply_gradients(grads=grad), loss, new_rng

    state = train_state.TrainState.create(apply_fn=model.__call__, params=params, tx=optax.sgd(0.1))
    rng, batch, labels = jax.random.PRNGKey(0), BATCH, LABELS
    if parallel:
        step, state = jax.pmap(train_step, "batch"), jax_utils.replicate(state)
        rng, batch, labels = jax.random.split(rng, jax.local_device_count()), shard(batch), shard(labels)
    else:
        step = jax.jit(train_step)
    losses = []
    for _ in range(3):
        state, loss, rng = step(state, batch, labels, rng)
        losses.append(float(jnp.mean(loss)))
    return losses, jax_utils.unreplicate(state.params) if parallel else state.params


def main(package: str, folder: str, target: str) -> None:
    cls = importlib.import_module(package).FlaxAlbertForSequenceClassification
    model = cls.from_pretrained(folder, seed=0)
    out = model(**BATCH, output_hidden_states=True)
    found = {"params": numbers(model.params), "logits": out.logits.tolist()}
    found["hidden"] = [float(jnp.abs(x).sum()) for x in out.hidden_states]

    bare, params = cls.from_pretrained(folder, _do_init=False)
    assert np.array_equal(bare(**BATCH, params=params).logits, model(**BATCH).logits)
    doubled = jax.tree.map(lambda x: 2 * x, model.params)
    found["doubled"] = model(**BATCH, params=doubled)[0].tolist()

    def loss(params: object) -> object:
        return jnp.square(model(**BATCH, params=params, train=False).logits).sum()

    found["gradients"] = numbers(jax.grad(loss)(model.params))
    for name, parallel in (("pmap", True), ("jit", False)):
        found[name], params = trained(model, model.params, parallel)
    found["trained"] = numbers(params)
    model.params = params
    found["after"] = model(**BATCH).logits.tolist()
    half = model.to_bf16(params)
    found["half"] = sorted({str(x.dtype) for x in jax.tree.leaves(half)})
    fresh = model.init_weights(jax.random.PRNGKey(1), (1, 1))
    found["fresh"] = {name: list(x.shape) for name, x in sorted(traverse_util.flatten_dict(fresh, sep="/").items())}
    Path(target).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
