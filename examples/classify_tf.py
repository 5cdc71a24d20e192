"""Fine-tune a text classifier with Keras: a tf.data pipeline of strings, compile, fit with callbacks, predict.

    python examples/classify_tf.py train.tsv dev.tsv test.tsv --output classifier

classify_torch.py and classify_flax.py do the same in plain loops: the same start, texts, order and rates.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from polarity import EXAMPLES, LABELS, Settings, Texts, begin, command

from albert_tf import AutoTokenizer, TFAlbertForSequenceClassification
from albert_tf.optim import AdamW


def strings(data: Texts, settings: Settings, shuffled: bool = False) -> tf.data.Dataset:
    """Texts and labels; where shuffled, another order each time that the dataset is gone through."""
    epochs = itertools.count()

    def rows() -> Iterator[tuple[str, int]]:
        places = data.order(settings.seed, next(epochs)) if shuffled else range(len(data.texts))
        return ((data.texts[i], data.labels[i]) for i in places)

    kinds = (tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int32))
    dataset = tf.data.Dataset.from_generator(rows, output_signature=kinds)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(data.texts))).batch(settings.batch_size)


def encoded(dataset: tf.data.Dataset, tokenizer: Any, settings: Settings) -> tf.data.Dataset:
    """Strings as what the model takes."""

    def tokenize(texts: np.ndarray) -> list[np.ndarray]:
        return list(settings.tokenize(tokenizer, [text.decode() for text in texts]).values())

    def encode(texts: tf.Tensor, labels: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        ids, mask = tf.numpy_function(tokenize, [texts], [tf.int32, tf.int32])
        inputs = {"input_ids": ids, "attention_mask": mask}
        return {name: tf.ensure_shape(array, (None, None)) for name, array in inputs.items()}, labels

    return dataset.map(encode).prefetch(2)


@keras.saving.register_keras_serializable("albert-examples")
class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The rate that the settings give each step."""

    def __init__(self, texts: int, **settings: Any) -> None:
        super().__init__()
        self.texts, self.settings = texts, settings

    def __call__(self, step: Any) -> Any:
        """A tensor, as Keras wants it."""
        step = keras.ops.cast(step, "float32")
        return Settings(**self.settings).rate_of(SimpleNamespace(where=keras.ops.where), step, self.texts)

    def get_config(self) -> dict[str, Any]:
        """For `.keras` files."""
        return {"texts": self.texts, **self.settings}


def train(settings: Settings, training: Texts, dev: Texts, test: Texts, output: Path) -> float:
    """Fine-tune with Keras, on files with the columns text and label."""
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    model = TFAlbertForSequenceClassification.from_pretrained(settings.model, dtype="float32")
    begin(model, settings.seed)
    model.compile(
        optimizer=AdamW(Rate(len(training.texts), **vars(settings)), bias_correction=True),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    best = output / "best.keras"
    callbacks = [
        keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=settings.patience),
        keras.callbacks.ModelCheckpoint(best, "val_accuracy", mode="max", save_best_only=True),
    ]
    take = partial(encoded, tokenizer=tokenizer, settings=settings)
    model.fit(
        take(strings(training, settings, shuffled=True)),
        validation_data=take(strings(dev, settings)),
        epochs=settings.epochs,
        shuffle=False,  # the dataset has its own order
        callbacks=callbacks,
        verbose=2,
    )
    model = keras.saving.load_model(best)
    _, accuracy = model.evaluate(take(strings(test, settings)), verbose=0)
    scores = model.predict(settings.tokenize(tokenizer, EXAMPLES), verbose=0).logits
    for text, row in zip(EXAMPLES, scores, strict=True):
        print(f"{LABELS[row.argmax()]}: {text}")
    return accuracy


main = command(train)

if __name__ == "__main__":
    main()
