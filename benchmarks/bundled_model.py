"""Measure the bundled model on held-out text: masked-piece accuracy beside the fool's guess, and sentence order.

    python benchmarks/bundled_model.py HELD_OUT_FILE ...

Whole words are masked until 15 % of the pieces are; the fool names the most frequent of the masked pieces every time.
The text is cut and masked anew for each draw, and the numbers are means over the draws: one draw has few pairs.
Twenty common-knowledge sentences are filled, and shown as they are.
"""

from __future__ import annotations

import json
import statistics
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
from albert_torch import AlbertForPreTraining, pipeline

SENTENCES = (
    "Plants create [MASK] through a process known as photosynthesis.",
    "The heart pumps [MASK] through the body.",
    "The president of the United [MASK] spoke to congress.",
    "The Civil [MASK] ended in 1865.",
    "Supply and [MASK] determine the price of a good.",
    "The nurse should [MASK] the patient for signs of infection.",
    "Bacteria are single-celled [MASK].",
    "World War II began in [MASK].",
    "The constitution was written in the [MASK] century.",
    "Inflation is an increase in the general [MASK] level.",
    "Anthropologists study human [MASK].",
    "The Soviet [MASK] collapsed in 1991.",
    "Antibiotics kill [MASK].",
    "The Roman [MASK] fell in the fifth century.",
    "The capital of France is [MASK].",
    "Slavery was abolished in the United [MASK].",
    "A high [MASK] rate means that many people have no job.",
    "The immune [MASK] protects the body from disease.",
    "Columbus sailed across the [MASK] in 1492.",
    "Water is made of hydrogen and [MASK].",
)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--sequence-length", default=64, show_default=True)
@click.option("--draws", default=4, show_default=True)
def main(files: tuple[Path, ...], model: str, sequence_length: int, draws: int) -> None:
    """Print one JSON document."""
    tokenizer = AlbertTokenizer.from_pretrained(model)
    corpus = TokenizedCorpus.read(list(files), tokenizer)
    trained = AlbertForPreTraining.from_pretrained(model, dtype="float32")
    found = {}
    for ngram in (1, 3):
        recipe = PretrainingRecipe(
            batch_size=16, sequence_length=sequence_length, max_predictions=None, max_ngram=ngram
        )
        drawn = [
            evaluate(trained, PretrainingData(corpus, Vocabulary.of(tokenizer), recipe.replace(seed=seed)))
            for seed in range(2, 2 + draws)
        ]
        found[f"words masked alone or in runs of up to {ngram}"] = {
            name: statistics.fmean(numbers[name] for numbers in drawn) for name in drawn[0]
        }
    fill = pipeline("fill-mask", model=model, dtype="float32")
    fillings = {
        sentence: ", ".join(f"{filling['token_str']} {filling['score']:.2f}" for filling in fill(sentence, top_k=3))
        for sentence in SENTENCES
    }
    print(json.dumps({"model": model, "pieces": len(corpus.tokens), **found, "fillings": fillings}, indent=1))


if __name__ == "__main__":
    main()
