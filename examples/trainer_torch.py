"""Fine-tune a text classifier with transformers' Trainer.

    python examples/trainer_torch.py train.tsv dev.tsv --output classifier

Both files have a line of column names, among them `text` and `label`; the separator is a tab in `.tsv` and a comma in
`.csv`. The folder written opens with `from_pretrained`, here and in transformers. It needs transformers and accelerate.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

from albert_torch import AlbertForSequenceClassification, AutoTokenizer


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table, by column name."""
    comma = path.suffix == ".csv"
    how: dict[str, Any] = {"delimiter": ","} if comma else {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, **how))
    if not rows or not {"text", "label"} <= rows[0].keys():
        raise SystemExit(
            f"{path}: expected rows with the columns text and label, got {list(rows[0]) if rows else rows}"
        )
    if short := [row for row in rows if row["text"] is None or row["label"] is None]:
        raise SystemExit(f"{path}: expected a text and a label in every row, got {short[0]}")
    return rows


def accuracy(prediction: Any) -> dict[str, float]:
    """Share of the texts whose label is right."""
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


def encoded(
    rows: list[dict[str, str]], tokenizer: Any, label2id: Mapping[str, int], length: int
) -> list[dict[str, Any]]:
    """Ids, mask and segments of each text, with the number of its label."""
    if strange := sorted({row["label"] for row in rows} - label2id.keys()):
        raise SystemExit(f"expected the labels of the training texts, {', '.join(label2id)}, got {strange[0]!r}")
    batch = tokenizer([row["text"] for row in rows], truncation=True, max_length=length)
    return [
        {**{name: values[i] for name, values in batch.items()}, "labels": label2id[row["label"]]}
        for i, row in enumerate(rows)
    ]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="where the classifier goes")
    parser.add_argument("--model", default="albert-openstax", help="a folder, the bundled model or a hub id")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Read, train, measure, save."""
    options = arguments()
    set_seed(options.seed)
    train, dev = read(options.train), read(options.dev)
    labels = sorted({row["label"] for row in train})
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AlbertForSequenceClassification.from_pretrained(
        options.model, dtype="float32", num_labels=len(labels), id2label=dict(enumerate(labels))
    )
    datasets = [encoded(rows, tokenizer, model.config.label2id, options.max_length) for rows in (train, dev)]
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(options.output / "checkpoints"),
            num_train_epochs=options.epochs,
            per_device_train_batch_size=options.batch_size,
            per_device_eval_batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            warmup_steps=0.1,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=1,
            load_best_model_at_end=True,
            metric_for_best_model="accuracy",
            dataloader_pin_memory=torch.cuda.is_available(),
            report_to="none",
            seed=options.seed,
        ),
        train_dataset=datasets[0],
        eval_dataset=datasets[1],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
    )
    trainer.train()
    print(f"accuracy {trainer.evaluate()['eval_accuracy']:.4f}")
    trainer.save_model(str(options.output))


if __name__ == "__main__":
    main()
