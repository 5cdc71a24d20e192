"""Fine-tune a text classifier in a plain PyTorch loop, with early stopping and checkpoints.

    python examples/classify_torch.py train.tsv dev.tsv test.tsv --output classifier

classify_tf.py and classify_flax.py take the same steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from polarity import EXAMPLES, LABELS, Settings, Texts, begin, command

from albert_torch import AlbertForSequenceClassification, AutoTokenizer
from albert_torch.optim import AdamW


def epoch_of(
    model: AlbertForSequenceClassification,
    optimizer: AdamW,
    tokenizer: Any,
    data: Texts,
    settings: Settings,
    epoch: int,
) -> float:
    """One pass over the training texts; the mean loss."""
    model.train()
    losses, step = [], epoch * -(-len(data.texts) // settings.batch_size)
    batches = data.batches(settings.batch_size, data.order(settings.seed, epoch))
    for step, (texts, labels) in enumerate(batches, step):  # noqa: B020  # it goes on counting
        for group in optimizer.param_groups:
            group["lr"] = float(settings.rate_of(np, step, len(data.texts)))
        inputs = {name: torch.from_numpy(array) for name, array in settings.tokenize(tokenizer, texts).items()}
        loss = model(**inputs, labels=torch.from_numpy(labels).long()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


def predicted(model: AlbertForSequenceClassification, tokenizer: Any, texts: list[str], settings: Settings) -> Any:
    """The label of each text, [B]."""
    inputs = {name: torch.from_numpy(array) for name, array in settings.tokenize(tokenizer, texts).items()}
    with torch.inference_mode():
        return model(**inputs).logits.argmax(-1).numpy()


def accuracy_of(model: AlbertForSequenceClassification, tokenizer: Any, data: Texts, settings: Settings) -> float:
    """Share of the texts whose label is right."""
    model.eval()
    batches = data.batches(settings.batch_size)
    right = [predicted(model, tokenizer, texts, settings) == labels for texts, labels in batches]
    return float(np.mean(np.concatenate(right)))


def train(settings: Settings, training: Texts, dev: Texts, test: Texts, output: Path) -> float:
    """Fine-tune in PyTorch, on files with the columns text and label."""
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    model = AlbertForSequenceClassification.from_pretrained(settings.model, dtype=torch.float32)
    begin(model, settings.seed)
    optimizer = AdamW(model.named_parameters(), lr=settings.rate, bias_correction=True)
    best, waited = -1.0, 0
    for epoch in range(settings.epochs):
        loss = epoch_of(model, optimizer, tokenizer, training, settings, epoch)
        accuracy = accuracy_of(model, tokenizer, dev, settings)
        print(f"epoch {epoch + 1}  loss {loss:.4f}  accuracy {accuracy:.4f}", flush=True)
        waited = 0 if accuracy > best else waited + 1
        if accuracy > best:
            best = accuracy
            model.save_pretrained(output / "best")
        if waited >= settings.patience:
            break
    model = AlbertForSequenceClassification.from_pretrained(output / "best")
    for text, label in zip(EXAMPLES, predicted(model, tokenizer, EXAMPLES, settings), strict=True):
        print(f"{LABELS[label]}: {text}")
    return accuracy_of(model, tokenizer, test, settings)


main = command(train)

if __name__ == "__main__":
    main()
