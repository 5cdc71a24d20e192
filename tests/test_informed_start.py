"""The informed start: what it promises of neighbours, company and frequencies, and that it changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from albert_core.config import AlbertConfig
from albert_core.corpus import TokenizedCorpus
from albert_core.heads import ForPreTraining
from albert_core.informed_start import company_embeddings, informed_state
from albert_core.parameters import initial_state

PARTS = ForPreTraining.all_parts()
CONFIG = AlbertConfig(
    vocab_size=45,
    embedding_size=32,
    hidden_size=64,
    num_hidden_layers=2,
    num_hidden_groups=2,
    num_attention_heads=4,
    intermediate_size=32,
    max_position_embeddings=32,
    initializer_range=0.05,
)
ORDINARY = np.arange(5, 45)


def two_topics():
    """Documents that draw from 5 to 24 or from 25 to 44, so that two topics keep company apart."""
    rng = np.random.default_rng(0)
    tokens = np.concatenate([rng.integers(5, 25, 100) + 20 * (document % 2) for document in range(40)]).astype(np.int32)
    return TokenizedCorpus(tokens, np.arange(0, 4001, 10), np.arange(0, 401, 10))


def test_pieces_of_like_company_are_near():
    vectors = company_embeddings(two_topics(), ORDINARY, 45, 8, seed=0)
    np.testing.assert_allclose(np.square(vectors).mean(1), 1.0, rtol=1e-5)
    likeness = vectors @ vectors.T / 8
    within = np.concatenate([likeness[:20, :20].ravel(), likeness[20:, 20:].ravel()]).mean()
    assert within > 0.2 > -0.2 > likeness[:20, 20:].mean()


def test_heads_look_before_and_after():
    state = informed_state(CONFIG, two_topics(), PARTS, 0, ordinary=ORDINARY)
    embeddings = "albert.embeddings."
    rng = np.random.default_rng(1)
    words = state[embeddings + "word_embeddings.weight"][rng.integers(5, 45, (200, 32))]
    x = words + state[embeddings + "position_embeddings.weight"]
    x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    x = x @ state["albert.encoder.embedding_hidden_mapping_in.weight"].T  # [200, S, H]
    prefix = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention."
    q, k = (
        (x @ state[f"{prefix}{part}.weight"].T).reshape(200, 32, 4, 16).transpose(0, 2, 1, 3)
        for part in ("query", "key")
    )
    scores = q @ k.transpose(0, 1, 3, 2) / 4.0
    attention = np.exp(scores - scores.max(-1, keepdims=True))
    attention = (attention / attention.sum(-1, keepdims=True)).mean(0)  # [N, S, S]
    place = np.arange(32)
    centre = ((place - place[:, None]) * attention).sum(-1)[:, 8:24].mean(-1)  # mean offset of each head
    assert centre[2] < centre[0] < centre[1] < centre[3]


def test_everything_else_is_as_drawn():
    state, drawn = informed_state(CONFIG, two_topics(), PARTS, 0, ordinary=ORDINARY), initial_state(CONFIG, PARTS, 0)
    assert {n: a.shape for n, a in state.items()} == {n: a.shape for n, a in drawn.items()}
    same = {name for name in state if np.array_equal(state[name], drawn[name])}
    changed = (
        "word_embeddings",
        "position_embeddings",
        "query",
        "key",
        "value",
        "attention.dense",
        "ffn_output",
        "predictions",
    )
    for name in drawn:
        if name.endswith(".weight") and any(part in name for part in changed) and "LayerNorm" not in name:
            assert name not in same
        elif "predictions." not in name:
            assert name in same
    words = "albert.embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(state[words][:5], drawn[words][:5])
    np.testing.assert_array_equal(state[words], state["predictions.decoder.weight"])


def test_the_bias_is_the_log_frequency():
    corpus = two_topics()
    state = informed_state(CONFIG, corpus, PARTS, 0, ordinary=ORDINARY)
    expected = (np.bincount(corpus.tokens, minlength=45) + 0.5) / (len(corpus.tokens) + 45 / 2)
    np.testing.assert_allclose(np.exp(state["predictions.bias"]), expected)


def test_equal_seeds_give_equal_weights():
    first, second, other = (informed_state(CONFIG, two_topics(), PARTS, seed, ordinary=ORDINARY) for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["predictions.dense.weight"], other["predictions.dense.weight"])


@pytest.mark.parametrize(
    ("changes", "got"),
    [({"position_embedding_type": "relative_key"}, "relative_key and 32"), ({"embedding_size": 31}, "absolute and 31")],
)
def test_configs_without_sinusoids_are_refused(changes, got):
    with pytest.raises(ValueError, match=f"even embedding_size for sinusoids, got {got}"):
        informed_state(CONFIG.replace(**changes), two_topics(), PARTS, 0, ordinary=ORDINARY)
