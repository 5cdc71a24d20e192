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

from typing import Any, NamedTuple

import numpy as np

from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.masking import mask
from albert_core.numerics import IGNORED_LABEL
from albert_core.packing import pack
from albert_core.pretraining_plan import EpochPlan, make_plan
from albert_core.recipes import PretrainingRecipe

__all__ = ["PretrainingData"]

_STREAM = 1  # of random numbers


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
        corpus: The tokenized text; it may stay on disk, see `TokenizedCorpus.read`.
        vocabulary: The facts of the tokenizer that made it.
        recipe: Batch size, lengths, masking and seed.

    Raises:
        ValueError: The text does not fill one batch.
    """

    def __init__(self, corpus: TokenizedCorpus, vocabulary: Vocabulary, recipe: PretrainingRecipe) -> None:
        self.corpus = corpus
        self.vocabulary = vocabulary
        self.recipe = recipe
        self._planned: tuple[int, EpochPlan] | None = None
        plan = self._plan(0)
        if not len(plan.shapes):
            kind = "sequences" if recipe.packing == 1 else "rows"
            found = f"at most the {len(plan.rows) - 1} {kind} of this text"
            raise ValueError(f"batch_size: expected {found}, got {recipe.batch_size}")

    def batches(self, epoch: int) -> int:
        """How many whole batches an epoch has."""
        return len(self._plan(epoch).shapes)

    def batch(self, epoch: int, index: int) -> dict[str, np.ndarray]:
        """One batch, all int64.

        Args:
            epoch: Any number from 0.
            index: From 0 to `batches(epoch)` - 1.

        Returns:
            input_ids, attention_mask, token_type_ids [B, S]; masked_positions and labels [B, P], unused places 0 and
            -100; sentence_order_label [B], 0 in order, 1 swapped, -100 for a single text.
            With packing attention_mask is bool [B, S, S], within each sequence of a row, there are position_ids [B, S],
            and the order that is asked for is that of a row's first sequence, whose [CLS] the models look at.

        Raises:
            IndexError: There is no such batch in this epoch.
        """
        if not 0 <= index < (count := self.batches(epoch)):
            raise IndexError(f"index: expected 0 to {count - 1} in epoch {epoch}, got {index}")
        plan, size = self._plan(epoch), self.recipe.batch_size
        rows = plan.rows[index * size : (index + 1) * size + 1]
        rng = np.random.default_rng([self.recipe.seed, _STREAM, epoch, index])
        pairs = self._cut(rng, self._pair(rng, plan.chunks[rows[0] : rows[-1]]))
        length = int(plan.shapes[index])
        batch = self._sequences(rng, pairs, length)
        if self.recipe.packing == 1:
            return batch
        predictions = self.recipe.row_predictions(length)
        return pack(batch, rows - rows[0], length=length, predictions=predictions, pad=self.vocabulary.pad)

    def __getstate__(self) -> dict[str, Any]:
        """Without the plan of an epoch, which is as large as it is easily made."""
        return self.__dict__ | {"_planned": None}

    def _plan(self, epoch: int) -> EpochPlan:
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, make_plan(self.corpus, self.recipe, epoch)
        return self._planned[1]

    def _pair(self, rng: np.random.Generator, chunks: np.ndarray) -> _Pairs:
        """Cut each chunk in two at a random segment and swap half of the pairs."""
        document, first, end, start, stop = chunks.T
        alone = end - first == 1
        middle = first + 1 + (rng.random(len(chunks)) * (end - first - 1)).astype(np.int64)
        cut = np.where(alone, stop, self.corpus.segments[middle])
        start_a, length_a, start_b, length_b = start, cut - start, cut, stop - cut
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
        last = bounds[other + 1]
        first = bounds[other] + (rng.random(len(other)) * (last - bounds[other])).astype(np.int64)
        wanted = at[first] + np.maximum(self.recipe.room - length_a, 1)
        end = [a + np.searchsorted(at[a : b + 1], w) for a, b, w in zip(first, last, wanted, strict=True)]
        return at[first], at[np.minimum(end, last)] - at[first]

    def _cut(self, rng: np.random.Generator, pairs: _Pairs) -> _Pairs:
        """Shorten the longer text, then both, token by token at a random end, until they fit."""
        room = self.recipe.room
        length_a = np.minimum(pairs.length_a, np.maximum(room - pairs.length_b, (room + 1) // 2))
        length_b = np.minimum(pairs.length_b, room - length_a)
        return pairs._replace(
            start_a=pairs.start_a + rng.binomial(pairs.length_a - length_a, 0.5),
            length_a=length_a,
            start_b=pairs.start_b + rng.binomial(pairs.length_b - length_b, 0.5),
            length_b=length_b,
        )

    def _sequences(self, rng: np.random.Generator, pairs: _Pairs, length: int) -> dict[str, np.ndarray]:
        """[CLS] a [SEP] b [SEP], masked and padded to `length`."""
        column = np.arange(length)  # [S]
        end_a = pairs.length_a[:, None] + 1  # place of the first [SEP], [B, 1]
        end = np.where(pairs.length_b > 0, pairs.length_a + pairs.length_b + 2, pairs.length_a + 1)[:, None]
        masked = mask(rng, self._ids(pairs, length), (pairs.length_a, pairs.length_b), self.vocabulary, self.recipe)
        return {
            "input_ids": masked.ids,
            "attention_mask": (column <= end).astype(np.int64),
            "token_type_ids": ((column > end_a) & (column <= end)).astype(np.int64),
            "masked_positions": masked.positions,
            "labels": masked.labels,
            "sentence_order_label": pairs.label,
        }

    def _ids(self, pairs: _Pairs, length: int) -> np.ndarray:
        words, tokens = self.vocabulary, self.corpus.tokens
        ids = np.full((len(pairs.label), length), words.pad, np.int64)
        ids[:, 0] = words.cls
        for row, start_a, length_a, start_b, length_b in zip(ids, *(x.tolist() for x in pairs[:4]), strict=True):
            row[1 : length_a + 1] = tokens[start_a : start_a + length_a]
            row[length_a + 1] = words.sep
            if length_b:
                row[length_a + 2 : length_a + length_b + 2] = tokens[start_b : start_b + length_b]
                row[length_a + length_b + 2] = words.sep
        return ids
