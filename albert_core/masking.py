"""Masking runs of whole words, as create_pretraining_data.py of https://github.com/google-research/albert does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from albert_core.corpus import Vocabulary
from albert_core.numerics import IGNORED_LABEL
from albert_core.recipes import PretrainingRecipe

__all__ = ["Masked", "choose", "mask"]


class Masked(NamedTuple):
    """Sequences with places to predict, int64.

    Attributes:
        ids: The ids with most of the chosen places changed [B, S].
        positions: The chosen places, ascending, then zeros [B, P].
        labels: The ids that stood there, then -100 [B, P].
    """

    ids: np.ndarray
    positions: np.ndarray
    labels: np.ndarray


def mask(
    rng: np.random.Generator,
    ids: np.ndarray,
    lengths: Sequence[np.ndarray],
    vocabulary: Vocabulary,
    recipe: PretrainingRecipe,
) -> Masked:
    """Choose places, and show 80 % of them as [MASK], 10 % as a random piece, 10 % as they were.

    Args:
        rng: Source of chance.
        ids: [CLS] a [SEP] b [SEP] and padding, or [CLS] a [SEP], int64 [B, S].
        lengths: Of each a, and of each b, 0 where there is none; int64 [B] each.
        vocabulary: Where words begin, and what may stand in a chosen place.
        recipe: How many places, and how long the runs.
    """
    shape = ids.shape
    order = rng.random(shape)
    weights = 1.0 / np.arange(1, recipe.max_ngram + 1)
    sizes = 1 + np.searchsorted(np.cumsum(weights / weights.sum())[:-1], rng.random(shape), side="right")
    begins = vocabulary.starts_word[ids]
    positions = np.zeros((len(ids), recipe.predictions(shape[1])), np.int64)
    labels = np.full_like(positions, IGNORED_LABEL)
    for row, (a, b) in enumerate(zip(*(each.tolist() for each in lengths), strict=True)):
        text = np.r_[1 : a + 1, a + 2 : a + 2 + b]  # places of text
        word = begins[row, text]
        word[0] = True
        if b and not recipe.original:
            word[a] = True
        budget = recipe.predictions(a + b + (3 if b else 2))
        bounds = [*np.flatnonzero(word).tolist(), a + b]
        chosen = choose(bounds, np.argsort(order[row, : len(bounds) - 1]).tolist(), sizes[row].tolist(), budget)
        places = text[chosen]
        positions[row, : len(places)] = places
        labels[row, : len(places)] = ids[row, places]
    return Masked(_replace(rng, ids, positions, labels != IGNORED_LABEL, vocabulary, recipe), positions, labels)


def _replace(
    rng: np.random.Generator,
    ids: np.ndarray,
    positions: np.ndarray,
    used: np.ndarray,
    vocabulary: Vocabulary,
    recipe: PretrainingRecipe,
) -> np.ndarray:
    """Put [MASK], a random piece or nothing new at the chosen places."""
    pool = np.arange(len(vocabulary.starts_word)) if recipe.original else vocabulary.ordinary
    fate = rng.random(positions.shape)
    random = pool[rng.integers(len(pool), size=positions.shape)]
    kept = np.take_along_axis(ids, positions, axis=1)
    new = np.where(fate < 0.8, vocabulary.mask, np.where(fate < 0.9, kept, random))
    row, place = np.nonzero(used)
    ids = ids.copy()
    ids[row, positions[row, place]] = new[row, place]
    return ids


def choose(bounds: list[int], order: list[int], sizes: list[int], budget: int) -> list[int]:
    """Take runs of words in random order until the budget is spent; a run too long for the rest is tried shorter.

    Args:
        bounds: Where each word starts, and the end of the last.
        order: Words to start a run at, each once.
        sizes: How many words the run at each word wants.
        budget: How many places may be chosen.

    Returns:
        Chosen places, ascending.
    """
    chosen: set[int] = set()
    last = len(bounds) - 1
    for word in order:
        left = budget - len(chosen)
        if not left:
            break
        start, end = bounds[word], min(word + sizes[word], last)
        while end > word and bounds[end] - start > left:
            end -= 1
        run = range(start, bounds[end])
        if end > word and chosen.isdisjoint(run):
            chosen.update(run)
    return sorted(chosen)
