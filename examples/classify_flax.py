"""Fine-tune a text classifier in a plain Flax loop, with early stopping and checkpoints.

    python examples/classify_flax.py train.tsv dev.tsv test.tsv --output classifier

classify_tf.py and classify_torch.py take the same steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from polarity import EXAMPLES, LABELS, Settings, Texts, begin, command

from albert_flax import AutoTokenizer, FlaxAlbertForSequenceClassification
from albert_flax.optim import adamw


@nnx.jit
def take_step(
    model: FlaxAlbertForSequenceClassification, optimizer: nnx.Optimizer, inputs: dict[str, Any], labels: Any
) -> Any:
    """One update; the loss before it."""
    loss, gradients = nnx.value_and_grad(lambda model: model(**inputs, labels=labels).loss)(model)
    optimizer.update(model, gradients)
    return loss


@nnx.jit
def labels_of(model: FlaxAlbertForSequenceClassification, inputs: dict[str, Any]) -> Any:
    """The label of each text, [B]."""
    return model(**inputs).logits.argmax(-1)


def accuracy_of(model: FlaxAlbertForSequenceClassification, tokenizer: Any, data: Texts, settings: Settings) -> float:
    """Share of the texts whose label is right."""
    model.eval()
    batches = data.batches(settings.batch_size)
    right = [labels_of(model, settings.tokenize(tokenizer, texts)) == labels for texts, labels in batches]
    return float(np.mean(np.concatenate(right)))


def train(settings: Settings, training: Texts, dev: Texts, test: Texts, output: Path) -> float:
    """Fine-tune in Flax, on files with the columns text and label."""
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    model = FlaxAlbertForSequenceClassification.from_pretrained(settings.model, dtype="float32")
    begin(model, settings.seed)
    rate = adamw(lambda step: settings.rate_of(jnp, step, len(training.texts)), bias_correction=True)
    optimizer = nnx.Optimizer(model, rate, wrt=nnx.Param)
    best, waited = -1.0, 0
    for epoch in range(settings.epochs):
        model.train()
        batches = training.batches(settings.batch_size, training.order(settings.seed, epoch))
        losses = [take_step(model, optimizer, settings.tokenize(tokenizer, texts), labels) for texts, labels in batches]
        accuracy = accuracy_of(model, tokenizer, dev, settings)
        print(f"epoch {epoch + 1}  loss {np.mean(losses):.4f}  accuracy {accuracy:.4f}", flush=True)
        waited = 0 if accuracy > best else waited + 1
        if accuracy > best:
            best = accuracy
            model.save_pretrained(output / "best")
        if waited >= settings.patience:
            break
    model = FlaxAlbertForSequenceClassification.from_pretrained(output / "best")
    for text, label in zip(EXAMPLES, labels_of(model, settings.tokenize(tokenizer, EXAMPLES)), strict=True):
        print(f"{LABELS[label]}: {text}")
    return accuracy_of(model, tokenizer, test, settings)


main = command(train)

if __name__ == "__main__":
    main()
