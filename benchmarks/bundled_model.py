"""Measure the bundled model on held-out text: masked-piece accuracy beside the fool's guess, and sentence order.

    python benchmarks/bundled_model.py HELD_OUT_FILE ...

Whole words are masked until 15 % of the pieces are; the fool names the most frequent of the masked pieces every time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.hub import BUNDLED_MODEL
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe
from albert_core.tokenizer import AlbertTokenizer
from albert_core.training import evaluate
from albert_torch import AlbertForPreTraining


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--sequence-length", default=64, show_default=True)
def main(files: tuple[Path, ...], model: str, sequence_length: int) -> None:
    """Print one JSON document."""
    tokenizer = AlbertTokenizer.from_pretrained(model)
    corpus = TokenizedCorpus.read(list(files), tokenizer)
    trained = AlbertForPreTraining.from_pretrained(model, dtype="float32")
    found = {}
    for ngram in (1, 3):
        recipe = PretrainingRecipe(
            batch_size=64, sequence_length=sequence_length, max_predictions=None, max_ngram=ngram, seed=2
        )
        data = PretrainingData(corpus, Vocabulary.of(tokenizer), recipe)
        found[f"words masked alone or in runs of up to {ngram}"] = evaluate(trained, data)
    print(json.dumps({"model": model, "pieces": len(corpus.tokens), **found}, indent=1))


if __name__ == "__main__":
    main()
