"""Initial weights that already know which pieces keep company and which places are near.

A post-norm ALBERT drawn at random names the most frequent piece for millions of tokens before its attention finds the
neighbours of a masked place. Starting where a log-bilinear model (Mnih and Hinton 2008) would be, that plateau is gone:

* word embeddings are the leading eigenvectors of the corpus's positive pointwise mutual information (Levy and Goldberg
  2014, "Neural Word Embedding as Implicit Matrix Factorization"), the output bias its log frequencies;
* position embeddings are sinusoids (Vaswani et al. 2017), and each head's query is its key turned by a fixed offset, so
  that heads attend to the places before and after (compare "Mimetic Initialization", Trockman and Kolter 2023);
* values pass on what they see, and the masked-LM head undoes the projection from E to H.

Differs from Google, who draw everything at random. All else is `initial_state`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from albert_core.config import AlbertConfig
from albert_core.corpus import TokenizedCorpus
from albert_core.parameters import initial_state

__all__ = ["informed_state"]

_WINDOW = 3  # places on each side that count as company, weighted by 1 / distance
_CONTEXTS = 8192  # most frequent pieces that stand for all when company is counted; bounds memory
_SMOOTHING = 0.75  # of context frequencies, Levy, Goldberg and Dagan 2015
_SPECTRUM = 0.25  # power of the eigenvalues in the embeddings; 0.5 would be the plain factorisation
_SINUSOID_BASE = 100.0  # longest wavelength in places, over 2 pi: near places matter most
_OFFSETS = (-1, 1, -2, 2, -3, 3, -4, 4)  # where the heads look, in turn
_SHARPNESS = 1.0  # of the heads' looking
_POSITION_SCALE = 0.07
_LOUDNESS = 2.0  # of the neighbours beside the place itself
_LATER_LAYERS = 0.1  # what layers after the first add at the start, so that depth costs no time to learn


def informed_state(
    config: AlbertConfig,
    corpus: TokenizedCorpus,
    parts: Iterable[str],
    seed: int,
    *,
    ordinary: np.ndarray,
) -> dict[str, np.ndarray]:
    """Initial weights of a model for pretraining, drawn from a corpus.

    Args:
        config: The model's sizes; absolute positions and an even E.
        corpus: The text the model will see.
        parts: Part names, as in `albert_core.heads`; those of a model for pretraining.
        seed: Any non-negative integer.
        ordinary: Ids that stand for text, see `Vocabulary`.

    Returns:
        float64 arrays by canonical name.

    Raises:
        ValueError: The config has relative positions or an odd embedding_size.
    """
    if config.position_embedding_type != "absolute" or config.embedding_size % 2:
        got = f"{config.position_embedding_type} and {config.embedding_size}"
        raise ValueError(f"config: expected absolute positions and an even embedding_size for sinusoids, got {got}")
    state = initial_state(config, parts, seed)
    embeddings = "albert.embeddings."
    words = company_embeddings(corpus, ordinary, config.vocab_size, config.embedding_size, seed)
    state[f"{embeddings}word_embeddings.weight"][ordinary] = words * config.initializer_range
    sinusoids, frequencies = _sinusoids(config.max_position_embeddings, config.embedding_size)
    state[f"{embeddings}position_embeddings.weight"] = sinusoids * _POSITION_SCALE
    back = np.linalg.pinv(state["albert.encoder.embedding_hidden_mapping_in.weight"])  # [E, H]
    for group in range(config.num_hidden_groups):
        for inner in range(config.inner_group_num):
            prefix = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}."
            _look_around(state, prefix + "attention.", back, frequencies, config.num_attention_heads)
            first = group == inner == 0
            state[prefix + "attention.dense.weight"] *= 1.0 if first else _LATER_LAYERS
            state[prefix + "ffn_output.weight"] *= 0.5 if first else 0.5 * _LATER_LAYERS
    dense, decoder = "predictions.dense.weight", "predictions.decoder.weight"
    state[dense] = 0.3 * state[dense] + back
    state[decoder] = state[f"{embeddings}word_embeddings.weight"]
    frequency = np.bincount(corpus.tokens, minlength=config.vocab_size) + 0.5
    state["predictions.bias"] = state["predictions.decoder.bias"] = np.log(frequency / frequency.sum())
    return state


def company_embeddings(
    corpus: TokenizedCorpus, ordinary: np.ndarray, vocab_size: int, width: int, seed: int
) -> np.ndarray:
    """A vector of unit mean square for each ordinary piece, [ordinary, width]; those seen in like company are near."""
    association, frequent = _association(corpus, vocab_size)  # [V, contexts]
    values, vectors = _leading(association[frequent], width, seed)
    # Eigenvectors of the frequent block, extended to every piece (Nyström).
    embeddings = (association @ vectors) * np.maximum(values, 1e-9) ** (_SPECTRUM - 1.0)
    embeddings = embeddings[ordinary] - embeddings[ordinary].mean(0)
    length = np.sqrt(np.square(embeddings).mean(1, keepdims=True))
    return embeddings / np.maximum(length, 1e-9)


def _association(corpus: TokenizedCorpus, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positive pointwise mutual information of each piece with the most frequent ones, float32 [V, contexts]."""
    tokens = corpus.tokens.astype(np.int64)
    document = np.repeat(np.arange(len(corpus.documents) - 1), np.diff(corpus.segments[corpus.documents]))
    frequent = np.sort(np.argsort(-np.bincount(tokens, minlength=vocab_size), kind="stable")[:_CONTEXTS])
    column = np.full(vocab_size, -1)
    column[frequent] = np.arange(len(frequent))
    counts = np.zeros((vocab_size, len(frequent)), np.float32)
    for distance in range(1, _WINDOW + 1):
        left, right = tokens[:-distance], tokens[distance:]
        together = document[:-distance] == document[distance:]
        for piece, context in ((left[together], column[right[together]]), (right[together], column[left[together]])):
            known = context >= 0
            flat = np.bincount(piece[known] * len(frequent) + context[known], minlength=counts.size)
            counts += flat.reshape(counts.shape).astype(np.float32) / distance
    total = counts.sum(1, keepdims=True)
    share = total[frequent, 0] ** _SMOOTHING
    expected = np.maximum(total * (share / share.sum()), 1e-9)
    association = np.zeros_like(counts)
    np.log(counts / expected, out=association, where=counts > expected)
    association[frequent] = (association[frequent] + association[frequent].T) / 2
    return association, frequent


def _leading(
    matrix: np.ndarray, width: int, seed: int, spare: int = 40, rounds: int = 6
) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of a symmetric matrix and their vectors, by subspace iteration: [E], [n, E]."""
    size = min(width + spare, len(matrix))
    basis = np.random.default_rng(seed).standard_normal((len(matrix), size)).astype(np.float32)
    for _ in range(rounds):
        basis, _ = np.linalg.qr(matrix @ basis)
    values, rotation = np.linalg.eigh(basis.T @ (matrix @ basis))
    order = np.argsort(-values)[:width]
    return values[order], basis @ rotation[:, order]


def _sinusoids(places: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Sines, then cosines, of each place at falling frequencies: [X, E] and the frequencies [E / 2]."""
    frequencies = _SINUSOID_BASE ** -(np.arange(width // 2) / (width // 2))
    angles = np.arange(places)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1), frequencies


def _look_around(
    state: dict[str, np.ndarray], prefix: str, back: np.ndarray, frequencies: np.ndarray, heads: int
) -> None:
    """Turn each head to its offset, and let values pass through."""
    width = back.shape[1]
    size = width // heads
    chosen = np.arange(0, len(frequencies), max(1, 2 * len(frequencies) // size))[: size // 2]
    sine, cosine = back[chosen], back[len(frequencies) + chosen]  # [D / 2, H]
    for head in range(heads):
        angle = (frequencies[chosen] * _OFFSETS[head % len(_OFFSETS)])[:, None]
        key = np.concatenate([sine, cosine])
        query = np.concatenate(
            [np.cos(angle) * sine + np.sin(angle) * cosine, np.cos(angle) * cosine - np.sin(angle) * sine]
        )
        rows = slice(head * size, head * size + len(key))
        state[prefix + "key.weight"][rows] += _SHARPNESS * key
        state[prefix + "query.weight"][rows] += _SHARPNESS * query
    state[prefix + "value.weight"] = 0.5 * state[prefix + "value.weight"] + _LOUDNESS * np.eye(width)
    state[prefix + "dense.weight"] = 0.5 * state[prefix + "dense.weight"] + np.eye(width)
