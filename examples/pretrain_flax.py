"""Pretraining in JAX: a jitted step over nnx.split state, with optax.

    python examples/pretrain_flax.py TEXT [--steps 200]

`albert_flax.training.pretrain` does the same with checkpoints, held-out text and resumes; this is for loops of one's
own. pretrain_torch.py and pretrain_tf.py take the same steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import click
import jax
import numpy as np
import optax
from flax import nnx

from albert_core.config import AlbertConfig
from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.data_loaders import EpochBatches
from albert_core.parameters import initial_state
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe
from albert_flax import AlbertTokenizer, FlaxAlbertForPreTraining
from albert_flax.optim import make_optimizer


def batches(data: PretrainingData) -> Iterator[dict[str, np.ndarray]]:
    """One epoch after the other, each with masks of its own."""
    for epoch in itertools.count():
        yield from EpochBatches(data, epoch)


def train(model: FlaxAlbertForPreTraining, data: PretrainingData, recipe: PretrainingRecipe) -> list[float]:
    """Take the recipe's steps and give the loss of each."""
    optimizer = optax.chain(optax.clip_by_global_norm(recipe.max_gradient_norm), make_optimizer(recipe))
    model.train()
    structure, parameters, rest = nnx.split(model, nnx.Param, ...)
    state, losses = optimizer.init(parameters), []

    @jax.jit
    def update(parameters, rest, state, batch):
        def loss_of(parameters):
            model = nnx.merge(structure, parameters, rest, copy=True)
            return model(**batch).loss, nnx.state(model, nnx.RngState)  # dropout has moved on

        (loss, rng), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters)
        moved, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, moved), nnx.merge_state(rest, rng), state, loss

    for step, batch in enumerate(itertools.islice(batches(data), recipe.total_steps)):
        given = {name: array.astype(np.int32) for name, array in batch.items()}
        parameters, rest, state, loss = update(parameters, rest, state, given)
        losses.append(loss)
        if step % 10 == 9:
            print(f"step {step + 1}/{recipe.total_steps}  loss {float(loss):.3f}", flush=True)
    nnx.update(model, parameters)
    return [float(loss) for loss in losses]


@click.command()
@click.argument("text", type=click.Path(exists=True, path_type=Path))
@click.option("--tokenizer", default="albert-openstax", help="Folder of a vocabulary.  [default: the bundled one]")
@click.option("--steps", default=200, show_default=True)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--autocast", is_flag=True, help="Matrix products in bfloat16.")
def main(text: Path, tokenizer: str, steps: int, batch_size: int, autocast: bool) -> None:
    """Pretrain a small model on a text file."""
    words = AlbertTokenizer.from_pretrained(tokenizer)
    recipe = PretrainingRecipe(
        batch_size=batch_size, sequence_length=64, max_predictions=None, total_steps=steps, warmup_steps=steps // 10
    )
    config = AlbertConfig(
        vocab_size=len(words), hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
        max_position_embeddings=64, classifier_dropout_prob=0.0,
    )  # fmt: skip
    data = PretrainingData(TokenizedCorpus.read([text], words), Vocabulary.of(words), recipe)
    model = FlaxAlbertForPreTraining(config, dtype="bfloat16" if autocast else "float32", param_dtype="float32")
    model.load_numpy_state(initial_state(config, model.all_parts(), recipe.seed))  # the same in every framework
    train(model, data, recipe)


if __name__ == "__main__":
    main()
