"""Text as pretraining batches: sentence order, and masked runs of whole words.

A batch is a pure function of (recipe.seed, epoch, index), so every backend, host count and restart sees the same one.
Source: https://github.com/google-research/albert/blob/master/create_pretraining_data.py. Its known faults are
reproduced with `recipe.original` and mended without:

* a chunk of one segment gets a second text from another document and the label "swapped", so that topics give the
  answer away; here it stays a single text without a sentence-order label (-100);
* random replacements may be control tokens; here they are not;
* a second text that was cut inside a word counts as the rest of the first text's last word; here it does not.

Differs from Google: segments are sentences, see `corpus.split_sentences`; a shorter length is drawn for single chunks,
not for whole documents; the lengths of n-grams are seeded too; each epoch draws anew where Google wrote every text 40
times.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.numerics import IGNORED_LABEL
from albert_core.recipes import PretrainingRecipe

__all__ = ["PretrainingData"]

_PLAN, _BATCH = 0, 1  # separate random streams


class _Pairs(NamedTuple):
    """Two slices of the corpus for each sequence, int64 [B]; a length of 0 for no second text."""

    start_a: np.ndarray
    length_a: np.ndarray
    start_b: np.ndarray
    length_b: np.ndarray
    label: np.ndarray


class PretrainingData:
    """Batches of masked sequences with a sentence-order label.

    Args:
        corpus: The tokenized text.
        vocabulary: The facts of the tokenizer that made it.
        recipe: Batch size, lengths, masking and seed.

    Raises:
        ValueError: The text does not fill one batch.
    """

    def __init__(self, corpus: TokenizedCorpus, vocabulary: Vocabulary, recipe: PretrainingRecipe) -> None:
        self.corpus = corpus
        self.vocabulary = vocabulary
        self.recipe = recipe
        self._planned: tuple[int, np.ndarray] | None = None
        if (found := len(self._plan(0))) < recipe.batch_size:
            raise ValueError(
                f"batch_size: expected at most the {found} sequences of this text, got {recipe.batch_size}"
            )

    def batches(self, epoch: int) -> int:
        """How many whole batches an epoch has."""
        return len(self._plan(epoch)) // self.recipe.batch_size

    def batch(self, epoch: int, index: int) -> dict[str, np.ndarray]:
        """One batch, all int64.

        Args:
            epoch: Any number from 0.
            index: From 0 to `batches(epoch)` - 1.

        Returns:
            input_ids, attention_mask, token_type_ids [B, S]; masked_positions and labels [B, P], unused places 0 and
            -100; sentence_order_label [B], 0 in order, 1 swapped, -100 for a single text.

        Raises:
            IndexError: There is no such batch in this epoch.
        """
        if not 0 <= index < (count := self.batches(epoch)):
            raise IndexError(f"index: expected 0 to {count - 1} in epoch {epoch}, got {index}")
        size = self.recipe.batch_size
        chunks = self._plan(epoch)[index * size : (index + 1) * size]
        rng = np.random.default_rng([self.recipe.seed, _BATCH, epoch, index])
        pairs = self._cut(rng, self._pair(rng, chunks))
        batch = self._assemble(pairs)
        batch |= self._mask(rng, batch["input_ids"], pairs)
        return batch | {"sentence_order_label": pairs.label}

    def _plan(self, epoch: int) -> np.ndarray:
        """The chunks of an epoch in shuffled order: document, first segment, end segment, int64 [sequences, 3]."""
        if self._planned is None or self._planned[0] != epoch:
            rng = np.random.default_rng([self.recipe.seed, _PLAN, epoch])
            lengths = np.diff(self.corpus.segments).tolist()
            bounds = self.corpus.documents.tolist()
            chunks = [
                (document, *chunk)
                for document, (first, end) in enumerate(itertools.pairwise(bounds))
                for chunk in self._chunks(rng, lengths, first, end)
            ]
            self._planned = epoch, rng.permutation(np.array(chunks, np.int64).reshape(-1, 3))
        return self._planned[1]

    def _chunks(self, rng: np.random.Generator, lengths: list[int], first: int, end: int) -> list[tuple[int, int]]:
        """Gather the segments of one document until they fill a sequence."""
        chunks, total, target = [], 0, self._target(rng)
        for segment in range(first, end):
            total += lengths[segment]
            if total >= target or segment == end - 1:
                chunks.append((first, segment + 1))
                first, total, target = segment + 1, 0, self._target(rng)
        return chunks

    @property
    def _room(self) -> int:
        return self.recipe.sequence_length - 3  # [CLS] and two [SEP]

    def _target(self, rng: np.random.Generator) -> int:
        short = rng.random() < self.recipe.short_sequence_probability
        return int(rng.integers(2, self._room + 1)) if short else self._room

    def _pair(self, rng: np.random.Generator, chunks: np.ndarray) -> _Pairs:
        """Cut each chunk in two at a random segment and swap half of the pairs."""
        at = self.corpus.segments
        document, first, end = chunks.T
        alone = end - first == 1
        middle = first + 1 + (rng.random(len(chunks)) * (end - first - 1)).astype(np.int64)
        start_a, length_a = at[first], at[middle] - at[first]
        start_b, length_b = at[middle], at[end] - at[middle]
        swap = (rng.random(len(chunks)) < 0.5) & ~alone
        label = np.where(alone, IGNORED_LABEL, swap)
        if self.recipe.original and alone.any():
            foreign_start, foreign_length = self._foreign(rng, document, length_a)
            start_b, length_b = np.where(alone, foreign_start, start_b), np.where(alone, foreign_length, length_b)
            label = np.where(alone, 1, label)
        return _Pairs(
            np.where(swap, start_b, start_a),
            np.where(swap, length_b, length_a),
            np.where(swap, start_a, start_b),
            np.where(swap, length_a, length_b),
            label,
        )

    def _foreign(self, rng: np.random.Generator, document: np.ndarray, length_a: np.ndarray) -> tuple[np.ndarray, ...]:
        """For each sequence, text from another document (where there is one) that fills the room."""
        at, bounds = self.corpus.segments, self.corpus.documents
        others = max(len(bounds) - 2, 1)
        other = (document + 1 + (rng.random(len(document)) * others).astype(np.int64)) % (len(bounds) - 1)
        first = bounds[other] + (rng.random(len(other)) * (bounds[other + 1] - bounds[other])).astype(np.int64)
        wanted = at[first] + np.maximum(self._room - length_a, 1)
        end = np.minimum(np.searchsorted(at, wanted), bounds[other + 1])
        return at[first], at[end] - at[first]

    def _cut(self, rng: np.random.Generator, pairs: _Pairs) -> _Pairs:
        """Shorten the longer text, then both, token by token at a random end, until they fit."""
        room = self._room
        length_a = np.minimum(pairs.length_a, np.maximum(room - pairs.length_b, (room + 1) // 2))
        length_b = np.minimum(pairs.length_b, room - length_a)
        return pairs._replace(
            start_a=pairs.start_a + rng.binomial(pairs.length_a - length_a, 0.5),
            length_a=length_a,
            start_b=pairs.start_b + rng.binomial(pairs.length_b - length_b, 0.5),
            length_b=length_b,
        )

    def _assemble(self, pairs: _Pairs) -> dict[str, np.ndarray]:
        """[CLS] a [SEP] b [SEP], padded."""
        column = np.arange(self.recipe.sequence_length)  # [S]
        start_a, length_a, start_b, length_b = (x[:, None] for x in pairs[:4])  # [B, 1]
        second = column - length_a - 2  # place in the second text, [B, S]
        in_a = (column >= 1) & (column <= length_a)
        in_b = (second >= 0) & (second < length_b)
        source = np.where(in_a, start_a + column - 1, np.where(in_b, start_b + second, 0))
        ids = np.where(in_a | in_b, self.corpus.tokens[source], self.vocabulary.pad).astype(np.int64)
        ids[:, 0] = self.vocabulary.cls
        has_b = length_b > 0
        ids[(column == length_a + 1) | (has_b & (second == length_b))] = self.vocabulary.sep
        length = length_a + 2 + np.where(has_b, length_b + 1, 0)
        return {
            "input_ids": ids,
            "attention_mask": (column < length).astype(np.int64),
            "token_type_ids": ((second >= 0) & (column < length)).astype(np.int64),
        }

    def _mask(self, rng: np.random.Generator, ids: np.ndarray, pairs: _Pairs) -> dict[str, np.ndarray]:
        """Choose places, and give back the batch's ids with 80 % of them masked, 10 % random, 10 % as they were."""
        recipe, shape = self.recipe, ids.shape
        order = rng.random(shape)
        weights = 1.0 / np.arange(1, recipe.max_ngram + 1)
        sizes = 1 + np.searchsorted(np.cumsum(weights / weights.sum())[:-1], rng.random(shape), side="right")
        begins = self.vocabulary.starts_word[ids]
        positions = np.zeros((len(ids), recipe.predictions(recipe.sequence_length)), np.int64)
        labels = np.full_like(positions, IGNORED_LABEL)
        for row, (a, b) in enumerate(zip(pairs.length_a.tolist(), pairs.length_b.tolist(), strict=True)):
            text = np.r_[1 : a + 1, a + 2 : a + 2 + b]  # places of text
            word = begins[row, text]
            word[0] = True
            if b and not recipe.original:
                word[a] = True
            budget = recipe.predictions(a + b + (3 if b else 2))
            bounds = [*np.flatnonzero(word).tolist(), a + b]
            chosen = _choose(bounds, np.argsort(order[row, : len(bounds) - 1]).tolist(), sizes[row].tolist(), budget)
            places = text[chosen]
            positions[row, : len(places)] = places
            labels[row, : len(places)] = ids[row, places]
        return {
            "input_ids": self._replace(rng, ids, positions, labels != IGNORED_LABEL),
            "masked_positions": positions,
            "labels": labels,
        }

    def _replace(
        self, rng: np.random.Generator, ids: np.ndarray, positions: np.ndarray, used: np.ndarray
    ) -> np.ndarray:
        """Put [MASK], a random piece or nothing new at the chosen places."""
        words = self.vocabulary
        pool = np.arange(len(words.starts_word)) if self.recipe.original else words.ordinary
        fate = rng.random(positions.shape)
        random = pool[rng.integers(len(pool), size=positions.shape)]
        kept = np.take_along_axis(ids, positions, axis=1)
        new = np.where(fate < 0.8, words.mask, np.where(fate < 0.9, kept, random))
        row, place = np.nonzero(used)
        ids = ids.copy()
        ids[row, positions[row, place]] = new[row, place]
        return ids


def _choose(bounds: list[int], order: list[int], sizes: list[int], budget: int) -> list[int]:
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
