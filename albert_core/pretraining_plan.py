"""The order of an epoch: which text goes into which sequence, row and batch; a function of (seed, epoch).

Sources: create_pretraining_data.py of https://github.com/google-research/albert for how sentences are gathered;
"Efficient Sequence Packing without Cross-contamination" (Krell et al. 2021) for packing by best fit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from albert_core.corpus import TokenizedCorpus
from albert_core.recipes import PretrainingRecipe

__all__ = ["EpochPlan", "make_plan"]

_STREAM = 0  # of random numbers
_DOCUMENTS = 4096  # looked at together; bounds memory
_PARTNERS = 1 << 16  # sequences among which those that share rows are sought


class EpochPlan(NamedTuple):
    """What an epoch shows, in order.

    Attributes:
        chunks: The text of each sequence: its document, first segment, the segment after its last, first token, the
            token after its last; int64 [sequences, 5].
        rows: Where each row starts in `chunks`, and the end of the last, int64 [rows + 1].
        shapes: The padded length of each batch, int64 [batches].
    """

    chunks: np.ndarray
    rows: np.ndarray
    shapes: np.ndarray


def make_plan(corpus: TokenizedCorpus, recipe: PretrainingRecipe, epoch: int) -> EpochPlan:
    """Gather sentences into sequences, shuffle these, and lay them into rows and batches.

    Less than a batch of rows is left over and not shown. With packing every other token is shown once; without it
    longer text is cut later.
    """
    rng = np.random.default_rng([recipe.seed, _STREAM, epoch])
    found = [np.zeros((0, 5), np.int64), *_chunks(rng, corpus, recipe)]
    chunks = rng.permutation(np.concatenate(found))
    rows = np.arange(len(chunks) + 1)
    if recipe.packing > 1:
        chunks, rows = _pack(rng, chunks, recipe)
    shapes = np.full((len(rows) - 1) // recipe.batch_size, recipe.sequence_length)
    if recipe.length_buckets > 1 and len(shapes):
        chunks, shapes = _by_length(rng, chunks, recipe)
    return EpochPlan(chunks, rows, shapes)


def _chunks(rng: np.random.Generator, corpus: TokenizedCorpus, recipe: PretrainingRecipe) -> Iterator[np.ndarray]:
    """Chunks of all documents in order, [n, 5], for a few documents at a time."""
    gather = _gather if recipe.packing == 1 else _gather_what_fits
    for document in range(0, len(corpus.documents) - 1, _DOCUMENTS):
        bounds = corpus.documents[document : document + _DOCUMENTS + 1]  # segments
        before = int(bounds[0])
        starts = corpus.segments[before : bounds[-1] + 1].tolist()  # tokens
        chunks = [
            (number, *chunk)
            for number, (first, end) in enumerate(pairwise((bounds - before).tolist()), document)
            for chunk in gather(rng, recipe, starts, first, end)
        ]
        yield np.array(chunks, np.int64).reshape(-1, 5) + np.array([0, before, before, 0, 0])


def _gather(
    rng: np.random.Generator, recipe: PretrainingRecipe, starts: list[int], first: int, end: int
) -> Iterator[tuple[int, int, int, int]]:
    """Gather the segments of one document until they fill a sequence; the last of them may be too long for it."""
    target = _target(rng, recipe)
    while first < end:
        until = min(bisect_left(starts, starts[first] + target, first + 1, end + 1), end)
        yield first, until, starts[first], starts[until]
        first, target = until, _target(rng, recipe)


def _gather_what_fits(
    rng: np.random.Generator, recipe: PretrainingRecipe, starts: list[int], first: int, end: int
) -> Iterator[tuple[int, int, int, int]]:
    """Gather the segments of one document while they fit into a sequence; cut a segment that is longer than one."""
    while first < end:
        target = _target(rng, recipe)
        until = max(bisect_right(starts, starts[first] + target, first + 1, end + 1) - 1, first + 1)
        for start in range(starts[first], starts[until], recipe.room):
            yield first, until, start, min(start + recipe.room, starts[until])
        first = until


def _target(rng: np.random.Generator, recipe: PretrainingRecipe) -> int:
    short = rng.random() < recipe.short_sequence_probability
    return int(rng.integers(2, recipe.room + 1)) if short else recipe.room


def _lengths(chunks: np.ndarray, recipe: PretrainingRecipe) -> np.ndarray:
    """Tokens of each sequence, [CLS] and each [SEP] counted."""
    _, first, end, start, stop = chunks.T
    return np.minimum(stop - start, recipe.room) + np.where(end - first > 1, 3, 2)


def _by_length(
    rng: np.random.Generator, chunks: np.ndarray, recipe: PretrainingRecipe
) -> tuple[np.ndarray, np.ndarray]:
    """Batches of sequences of like length in shuffled order; what is left of one length joins the next longer one."""
    size, shapes = recipe.batch_size, np.array(recipe.padded_lengths)
    chunks = chunks[: len(chunks) // size * size]  # those left over are of any length
    kind = np.searchsorted(shapes, _lengths(chunks, recipe))
    batches = rng.permutation(np.argsort(kind, kind="stable").reshape(-1, size))
    return chunks[batches.ravel()], shapes[kind[batches].max(axis=1)]


def _pack(rng: np.random.Generator, chunks: np.ndarray, recipe: PretrainingRecipe) -> tuple[np.ndarray, np.ndarray]:
    """Put sequences that fit together into the same row."""
    order, counts = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)]
    for begin in range(0, len(chunks), _PARTNERS):
        lengths = _lengths(chunks[begin : begin + _PARTNERS], recipe)
        rows = _best_fit(lengths, recipe.sequence_length, recipe.packing)
        rows = [rows[i] for i in rng.permutation(len(rows))]
        order.append(begin + np.fromiter(chain.from_iterable(rows), np.int64))
        counts.append(np.fromiter(map(len, rows), np.int64))
    return chunks[np.concatenate(order)], np.cumsum(np.concatenate(counts))


def _best_fit(lengths: np.ndarray, room: int, most: int) -> list[list[int]]:
    """Rows of at most `most` sequences: the longest first, each where it leaves the least room."""
    rows: list[list[int]] = []
    open_rows: list[list[int]] = [[] for _ in range(room + 1)]  # by the room they have left
    rooms = 0  # bit n: there is a row with room for n
    for sequence in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[sequence])
        if fitting := rooms >> length:
            left = length + (fitting & -fitting).bit_length() - 1
            row = open_rows[left].pop()
            rooms ^= 0 if open_rows[left] else 1 << left
        else:
            left, row = room, len(rows)
            rows.append([])
        rows[row].append(sequence)
        left -= length
        if len(rows[row]) < most:
            open_rows[left].append(row)
            rooms |= 1 << left
    return rows
