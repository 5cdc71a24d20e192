"""What classify_tf.py, classify_torch.py and classify_flax.py share: the files, the settings, the order of the texts.

A file has a line of column names, among them `text` and `label`, and tabs between its columns. Labels are negative and
positive, or 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from albert_core.parameters import initial_state
from albert_core.recipes import learning_rate

LABELS = ("negative", "positive")
EXAMPLES = ["a moving film , beautifully made .", "dull , loud and far too long ."]


@dataclass(frozen=True)
class Settings:
    """The hyper-parameters of all three scripts."""

    model: str = "albert-openstax"
    epochs: int = 5
    patience: int = 1
    batch_size: int = 32
    length: int = 64
    rate: float = 3e-4
    seed: int = 0

    def rate_of(self, xp: Any, step: Any, texts: int) -> Any:
        """The learning rate of a step: a climb over a tenth of all steps, then a fall to zero."""
        total = self.epochs * -(-texts // self.batch_size)
        return learning_rate(
            xp, step, peak=self.rate, warmup_steps=total // 10, total_steps=total, offset_by_warmup=True
        )

    def tokenize(self, tokenizer: Any, texts: list[str]) -> dict[str, np.ndarray]:
        """Ids and mask, [B, S]; few different lengths, because a compiled program is made for each."""
        found = tokenizer(
            texts, padding=True, truncation=True, max_length=self.length, pad_to_multiple_of=16, return_tensors="np"
        )
        return {name: found[name].astype(np.int32) for name in ("input_ids", "attention_mask")}


@dataclass(frozen=True)
class Texts:
    """Texts with their labels."""

    texts: list[str]
    labels: list[int]

    @classmethod
    def read(cls, path: Path, limit: int | None = None) -> Texts:
        """The first `limit` rows of every label, or all."""
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # a text may hold other characters that end a line
        names, *rows = [line.split("\t") for line in lines if line.strip()] or [[]]
        if not {"text", "label"} <= set(names):
            raise ValueError(f"{path}: expected the columns text and label, got {', '.join(names)}")
        if odd := [row for row in rows if len(row) != len(names)]:
            raise ValueError(f"{path}: expected {len(names)} columns in every row, got {odd[0]}")
        known = {name: place for place, word in enumerate(LABELS) for name in (word, str(place))}
        found = [(row[names.index("text")], row[names.index("label")]) for row in rows]
        if strange := {label for _, label in found} - known.keys():
            raise ValueError(f"{path}: expected the labels {', '.join(known)}, got {', '.join(sorted(strange))}")
        kept = [[text for text, label in found if known[label] == place][:limit] for place in range(len(LABELS))]
        return cls(
            [text for group in kept for text in group], [place for place, group in enumerate(kept) for _ in group]
        )

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The places of all texts as an epoch sees them, the same in every framework."""
        return np.random.default_rng([seed, epoch]).permutation(len(self.texts))

    def batches(self, size: int, order: np.ndarray | None = None) -> Iterator[tuple[list[str], np.ndarray]]:
        """Texts and labels, as they stand or in an order."""
        order = np.arange(len(self.texts)) if order is None else order
        for start in range(0, len(order), size):
            places = order[start : start + size]
            yield [self.texts[i] for i in places], np.array([self.labels[i] for i in places], np.int32)


def begin(model: Any, seed: int) -> None:
    """Draw the classifier, which the checkpoint has not, with the same values in every framework."""
    drawn = initial_state(model.config, ("classifier",), seed)
    model.load_numpy_state(model.numpy_state() | drawn)


def command(train: Callable[[Settings, Texts, Texts, Texts, Path], float]) -> click.Command:
    """A command line around a script's `train`, which gives the accuracy on the test file."""

    @click.command(help=train.__doc__)
    @click.argument("files", nargs=3, type=click.Path(exists=True, path_type=Path), metavar="TRAIN DEV TEST")
    @click.option("--output", type=click.Path(path_type=Path), required=True, help="Where the best classifier goes.")
    @click.option("--model", default=Settings.model, show_default=True)
    @click.option("--epochs", default=Settings.epochs, show_default=True)
    @click.option("--limit", type=int, help="Texts of each label to read from each file.")
    @click.option("--seed", default=Settings.seed, show_default=True)
    def main(files: tuple[Path, ...], output: Path, model: str, epochs: int, limit: int | None, seed: int) -> float:
        output.mkdir(parents=True, exist_ok=True)
        settings = Settings(model=model, epochs=epochs, seed=seed)
        accuracy = train(settings, *(Texts.read(path, limit) for path in files), output)
        print(f"test accuracy {accuracy:.4f}")
        return accuracy

    return main
