"""Pretraining with Keras: compile, a tf.data pipeline, fit.

    python examples/pretrain_tf.py TEXT [--steps 200]

`albert_tf.training.pretrain` does the same with checkpoints, held-out text and resumes; this is for loops of one's
own. pretrain_torch.py and pretrain_flax.py take the same steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import tensorflow as tf

from albert_core.config import AlbertConfig
from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.data_loaders import EpochBatches, tf_dataset
from albert_core.parameters import initial_state
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe
from albert_tf import AlbertTokenizer, TFAlbertForPreTraining
from albert_tf.optim import make_optimizer


def batches(data: PretrainingData) -> tf.data.Dataset:
    """One epoch after the other, each with masks of its own."""

    def all_epochs() -> Iterator[dict[str, np.ndarray]]:
        return itertools.chain.from_iterable(EpochBatches(data, epoch) for epoch in itertools.count())

    return tf.data.Dataset.from_generator(all_epochs, output_signature=tf_dataset(data).element_spec)


class Losses(keras.callbacks.Callback):
    """The loss of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: list[float] = [0.0]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by `fit`, whose loss is the mean of the batches so far."""
        self.sums.append((batch + 1) * float((logs or {})["loss"]))
        if batch % 10 == 9:
            print(f"step {batch + 1}  loss {self.sums[-1] - self.sums[-2]:.3f}", flush=True)


def train(model: TFAlbertForPreTraining, data: PretrainingData, recipe: PretrainingRecipe) -> list[float]:
    """Take the recipe's steps and give the loss of each."""
    model.compile(optimizer=make_optimizer(recipe))  # the loss is the model's own, of the labels among its inputs
    seen = Losses()
    steps = {"steps_per_epoch": recipe.total_steps, "epochs": 1, "shuffle": False, "verbose": 0}
    model.fit(batches(data).prefetch(2), **steps, callbacks=[seen])
    return np.diff(seen.sums).tolist()


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
    model = TFAlbertForPreTraining(config, dtype="mixed_bfloat16" if autocast else "float32")
    model.load_numpy_state(initial_state(config, model.all_parts(), recipe.seed))  # the same in every framework
    train(model, data, recipe)


if __name__ == "__main__":
    main()
