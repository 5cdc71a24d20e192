"""What transformers 4.57's own tests of its ALBERT classes claim, held for ours: their sizes, shapes and claims.

Its three test files (PyTorch, TensorFlow, Flax) agree on the sizes; every claim is checked in each backend.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Adapter, assert_close

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parameters import Kind, initial_state
from albert_core.parity import GATE

B, S, C, K, V, H, L, N = 13, 7, 4, 3, 99, 32, 2, 4
TESTER: dict[str, Any] = {
    "vocab_size": V,
    "embedding_size": 16,
    "hidden_size": H,
    "num_hidden_layers": L,
    "num_hidden_groups": 2,
    "num_attention_heads": N,
    "intermediate_size": 37,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 16,
    "initializer_range": 0.02,
    "num_labels": K,
}
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "AlbertModel": {"last_hidden_state": (B, S, H), "pooler_output": (B, H)},
    "AlbertForPreTraining": {"prediction_logits": (B, S, V), "sop_logits": (B, 2)},
    "AlbertForMaskedLM": {"logits": (B, S, V)},
    "AlbertForSequenceClassification": {"logits": (B, K)},
    "AlbertForMultipleChoice": {"logits": (B, C)},
    "AlbertForTokenClassification": {"logits": (B, S, K)},
    "AlbertForQuestionAnswering": {"start_logits": (B, S), "end_logits": (B, S)},
}
WITH_LOSS = [head for head in HEADS if head != "AlbertModel"]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
WORDS = "albert.embeddings.word_embeddings.weight"


def inputs_of(head: str, names: tuple[str, ...] = INPUTS, vocab_size: int = V) -> dict[str, np.ndarray]:
    """The tester's inputs: random ids, a random mask, random segments; other rows for other choices.

    Differs from the tester, which repeats a row for every choice: then no weight can change the loss.
    """
    rng = np.random.default_rng(0)
    drawn = {
        "input_ids": rng.integers(0, vocab_size, (B, S)),
        "attention_mask": rng.integers(0, 2, (B, S)),
        "token_type_ids": rng.integers(0, TESTER["type_vocab_size"], (B, S)),
    }
    drawn["attention_mask"][:, 0] = 1
    chosen = {name: drawn[name] for name in names}
    if head == "AlbertForMultipleChoice":
        return {name: np.stack([np.roll(value, c, axis=0) for c in range(C)], axis=1) for name, value in chosen.items()}
    return chosen


def labels_of(head: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    draw = lambda limit, *shape: rng.integers(0, limit, shape)  # noqa: E731
    return {
        "AlbertModel": {},
        "AlbertForPreTraining": {"labels": draw(V, B, S), "sentence_order_label": draw(2, B)},
        "AlbertForMaskedLM": {"labels": draw(V, B, S)},
        "AlbertForSequenceClassification": {"labels": draw(K, B)},
        "AlbertForMultipleChoice": {"labels": draw(C, B)},
        "AlbertForTokenClassification": {"labels": draw(K, B, S)},
        "AlbertForQuestionAnswering": {"start_positions": draw(S, B), "end_positions": draw(S, B)},
    }[head]


@functools.cache
def model_of(backend: str, head: str) -> Any:
    """A fresh float32 model; tests that change it make their own."""
    return Adapter(backend).model(head, AlbertConfig(**TESTER), "float32")


def rows_of(head: str) -> int:
    return B * C if head == "AlbertForMultipleChoice" else B


def shapes(got: dict[str, Any]) -> dict[str, Any]:
    return {name: value.shape for name, value in got.items() if not isinstance(value, tuple)}


# -- outputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [INPUTS, ("input_ids", "token_type_ids"), ("input_ids",)], ids=["all", "no mask", "ids alone"]
)
@pytest.mark.parametrize("head", HEADS)
def test_shapes(backend: Adapter, head: str, names: tuple[str, ...]) -> None:
    model = model_of(backend.name, head)
    assert shapes(backend.run(model, inputs_of(head, names))) == SHAPES[head]
    labels = labels_of(head)
    if labels and names == INPUTS:
        got = backend.run(model, inputs_of(head, names) | labels)
        assert shapes(got) == {"loss": (), **SHAPES[head]}
        assert next(iter(got)) == "loss"


@pytest.mark.parametrize("by", ["call", "config"])
@pytest.mark.parametrize("head", HEADS)
def test_hidden_states_and_attentions(backend: Adapter, head: str, by: str) -> None:
    flags = {"output_hidden_states": True, "output_attentions": True}
    model, inputs = model_of(backend.name, head), inputs_of(head)
    if by == "call":
        got = backend.run(model, inputs, **flags)
    else:
        changed = backend.model(head, AlbertConfig(**TESTER, **flags), "float32", model.numpy_state())
        got = backend.run(changed, inputs)
        assert list(backend.run(changed, inputs, **dict.fromkeys(flags, False))) == list(SHAPES[head])
    assert list(got) == [*SHAPES[head], "hidden_states", "attentions"]
    assert [h.shape for h in got["hidden_states"]] == [(rows_of(head), S, H)] * (L + 1)
    assert [a.shape for a in got["attentions"]] == [(rows_of(head), N, S, S)] * L
    for a in got["attentions"]:
        assert np.allclose(a.sum(-1), 1, atol=1e-6)
    assert list(backend.run(model, inputs, output_attentions=True)) == [*SHAPES[head], "attentions"]
    assert list(backend.run(model, inputs, output_hidden_states=True)) == [*SHAPES[head], "hidden_states"]


@pytest.mark.parametrize("head", HEADS)
def test_the_same_call_twice_is_equal(backend: Adapter, head: str) -> None:
    """Dropout is in the config, and the model in evaluation mode."""
    model, inputs = model_of(backend.name, head), inputs_of(head) | labels_of(head)
    first, second = (backend.run(model, inputs) for _ in range(2))
    assert all(np.array_equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("head", HEADS)
def test_a_tuple_holds_what_the_output_holds(backend: Adapter, head: str) -> None:
    flags = {"output_hidden_states": True, "output_attentions": True}
    model, inputs = model_of(backend.name, head), inputs_of(head) | labels_of(head)
    output = model(**inputs, **flags)
    for values in (model(**inputs, **flags, return_dict=False), output.to_tuple()):
        assert type(values) is tuple
        assert len(values) == len(output)
        for mine, theirs in zip(values, output.values(), strict=True):
            assert isinstance(mine, tuple) is isinstance(theirs, tuple)
            assert np.array_equal(numbers(mine), numbers(theirs))


def numbers(value: Any) -> np.ndarray:
    if isinstance(value, tuple):
        return np.stack([numbers(v) for v in value])
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


@pytest.mark.parametrize("head", HEADS)
def test_embeddings_in_place_of_ids(backend: Adapter, head: str) -> None:
    model, inputs = model_of(backend.name, head), inputs_of(head)
    embedded = {name: value for name, value in inputs.items() if name != "input_ids"}
    embedded["inputs_embeds"] = model.numpy_state()[WORDS][inputs["input_ids"]]
    assert_close(backend.run(model, embedded), backend.run(model, inputs), GATE["float32"]["forward"])


# -- head masks ------------------------------------------------------------------------------------------------------


def masked_heads() -> np.ndarray:
    mask = np.ones((L, N), np.float32)
    mask[0, 0] = 0
    mask[-1, :-1] = 0
    return mask


@pytest.mark.parametrize("head", HEADS)
def test_masked_heads_attend_to_nothing(backend: Adapter, head: str) -> None:
    flags = {"output_attentions": True, "output_hidden_states": True}
    inputs = inputs_of(head) | {"head_mask": masked_heads()}
    model = model_of(backend.name, head)
    first, last = backend.run(model, inputs, **flags)["attentions"]
    assert not first[:, 0].any()
    assert first[:, 1:].any(axis=(0, 2, 3)).all()
    assert not last[:, :-1].any()
    assert last[:, -1].any()
    unmasked = backend.run(model, inputs_of(head))
    masked = backend.run(model, inputs)  # fused attention this time
    assert all(not np.array_equal(value, unmasked[name]) for name, value in masked.items())
    assert_close(backend.run(model, inputs, **flags), masked, GATE["float32"]["forward"])


def test_gradients_reach_the_head_mask(backend: Adapter) -> None:
    """One for each head and layer, those that are masked among them."""
    model, inputs = model_of(backend.name, "AlbertForMaskedLM"), inputs_of("AlbertForMaskedLM")
    gradient = GRADIENT_OF_THE_HEAD_MASK[backend.name](model, inputs | labels_of("AlbertForMaskedLM"), masked_heads())
    assert gradient.shape == (L, N)
    assert np.isfinite(gradient).all()
    assert gradient.all()


def _torch_gradient(model: Any, inputs: dict[str, np.ndarray], mask: np.ndarray) -> np.ndarray:
    import torch

    factors = torch.from_numpy(mask).requires_grad_()
    model(**inputs, head_mask=factors).loss.backward()
    model.zero_grad()
    assert factors.grad is not None
    return factors.grad.numpy()


def _tf_gradient(model: Any, inputs: dict[str, np.ndarray], mask: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    factors = tf.constant(mask)
    with tf.GradientTape() as tape:
        tape.watch(factors)
        loss = model(**inputs, head_mask=factors).loss
    return tape.gradient(loss, factors).numpy()


def _flax_gradient(model: Any, inputs: dict[str, np.ndarray], mask: np.ndarray) -> np.ndarray:
    import jax

    return np.asarray(jax.jit(jax.grad(lambda factors: model(**inputs, head_mask=factors).loss))(mask))


GRADIENT_OF_THE_HEAD_MASK = {"torch": _torch_gradient, "tf": _tf_gradient, "flax": _flax_gradient}


# -- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_saving_and_loading_changes_nothing(backend: Adapter, head: str, tmp_path: Path) -> None:
    model, inputs = model_of(backend.name, head), inputs_of(head)
    model.save_pretrained(tmp_path / "model")
    loaded = backend.cls(head).from_pretrained(tmp_path / "model")
    assert loaded.config.replace(extra={}) == model.config
    before, after = backend.run(model, inputs), backend.run(loaded, inputs)
    assert all(np.array_equal(value, after[name]) for name, value in before.items())


VALUES = {"torch": lambda e: e.weight, "tf": lambda e: e.embeddings, "flax": lambda e: e.embedding[...]}


@pytest.mark.parametrize("head", HEADS)
def test_embeddings_can_be_had_and_replaced(backend: Adapter, head: str) -> None:
    config = AlbertConfig(**TESTER)
    model, other = (backend.model(head, config, "float32") for _ in range(2))
    table = numbers(VALUES[backend.name](model.get_input_embeddings()))
    assert table.shape == (V, TESTER["embedding_size"])
    assert np.array_equal(table, model.numpy_state()[WORDS])
    assert (model.get_output_embeddings() is not None) is (head in ("AlbertForPreTraining", "AlbertForMaskedLM"))
    other.load_numpy_state({n: v + 1 for n, v in other.numpy_state().items()})
    model.set_input_embeddings(other.get_input_embeddings())
    assert np.array_equal(model.numpy_state()[WORDS], other.numpy_state()[WORDS])


@pytest.mark.parametrize(("head", "more"), [*((head, 10) for head in HEADS), ("AlbertForMaskedLM", -15)])
def test_a_resized_vocabulary_runs(backend: Adapter, head: str, more: int) -> None:
    model = backend.model(head, AlbertConfig(**TESTER), "float32")
    before = model.numpy_state()[WORDS]
    result = model.resize_token_embeddings(V + more)
    model = result if backend.name == "tf" else model
    after = model.numpy_state()[WORDS]
    assert model.config.vocab_size == len(after) == V + more
    kept = min(V, V + more)
    assert np.array_equal(after[:kept], before[:kept])
    wanted = {name: tuple(V + more if n == V else n for n in shape) for name, shape in SHAPES[head].items()}
    assert shapes(backend.run(model, inputs_of(head, vocab_size=V + more))) == wanted


def drawn(backend: Adapter, head: str) -> Iterator[tuple[Any, np.ndarray]]:
    model = backend.model(head, AlbertConfig(**TESTER), "float32")
    state = model.numpy_state()
    yield from ((p, state[p.name]) for p in model.own_parameters())


@pytest.mark.parametrize("head", HEADS)
def test_initialisation(backend: Adapter, head: str) -> None:
    """Norms start at one, biases at zero, the rest as a normal of initializer_range that is cut at two of them."""
    std, everything = TESTER["initializer_range"], []
    for p, value in drawn(backend, head):
        if not p.decay:
            assert (value == float(p.kind is Kind.NORM and p.leaf == "weight")).all(), p.name
            continue
        assert np.abs(value).max() <= 2 * std * (1 + 1e-6), p.name
        assert abs(value.mean()) < 5 * std / value.size**0.5, p.name
        everything.append(value[1:].ravel() if p.name == WORDS else value.ravel())
        if p.name == WORDS:
            assert not value[0].any(), "the pad row"
    together = np.concatenate(everything)
    assert abs(together.std() / (0.8796 * std) - 1) < 0.03, "what a normal cut at two standard deviations keeps"


# -- training --------------------------------------------------------------------------------------------------------


KEY_BIAS = ("attention.key.bias",)  # adds the same to every score of a row
ZERO_IN_THEORY = {"AlbertForMultipleChoice": (*KEY_BIAS, "classifier.bias")}  # adds the same to every choice


@pytest.mark.parametrize("head", WITH_LOSS)
def test_a_step_down_the_gradient_lowers_the_loss(backend: Adapter, head: str) -> None:
    config = AlbertConfig(**TESTER)
    start = {
        name: value.astype(np.float32) for name, value in initial_state(config, HEADS[head].all_parts(), 0).items()
    }
    model, inputs = backend.model(head, config, "float32", start), inputs_of(head) | labels_of(head)
    losses = [float(backend.run(model, inputs)["loss"])]
    for _ in range(2):
        gradients = backend.gradients(model, inputs)
        for name, gradient in gradients.items():
            assert np.isfinite(gradient).all(), name
            assert gradient.any() or name.endswith(ZERO_IN_THEORY.get(head, KEY_BIAS)), name
        state = model.numpy_state()
        model.load_numpy_state({name: state[name] - np.float32(0.05) * g for name, g in gradients.items()})
        losses.append(float(backend.run(model, inputs)["loss"]))
    assert losses[0] > losses[1] > losses[2]
    assert losses[0] < 1.2 * np.log(V) + np.log(2), "near a guess at the start"


PROBLEMS = [
    ("multi_label_classification", 2, np.float32),
    ("single_label_classification", 1, np.int64),
    ("single_label_classification", 3, np.int64),
    ("regression", 1, np.float32),
    ("regression", 2, np.float32),
]


@pytest.mark.parametrize(("problem", "labels", "dtype"), PROBLEMS, ids=[f"{p}-{k}" for p, k, _ in PROBLEMS])
def test_problem_types(backend: Adapter, problem: str, labels: int, dtype: type) -> None:
    """Each kind of loss, from its formula over the model's own logits."""
    head = "AlbertForSequenceClassification"
    config = AlbertConfig(**{**TESTER, "num_labels": labels, "problem_type": problem})
    model = backend.model(head, config, "float32")
    per_label = problem != "single_label_classification" and labels > 1
    given = (np.arange(B * labels if per_label else B) % max(labels, 2 if dtype is np.float32 else 1)).astype(dtype)
    given = given.reshape(B, labels) if per_label else given
    got = backend.run(model, inputs_of(head) | {"labels": given})
    logits = got["logits"].astype(np.float64)
    wide = given.reshape(logits.shape) if problem != "single_label_classification" else given
    expected = {
        "multi_label_classification": lambda: (np.log1p(np.exp(logits)) - logits * wide).mean(),
        "single_label_classification": lambda: (np.log(np.exp(logits).sum(-1)) - logits[np.arange(B), wide]).mean(),
        "regression": lambda: np.square(logits - wide).mean(),
    }[problem]()
    assert got["loss"].dtype == np.float32
    assert got["loss"] == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert model.config.problem_type == problem


# -- the size of the integration test --------------------------------------------------------------------------------


@pytest.mark.long
def test_base_size(backend: Adapter) -> None:
    """The sentence of eleven ids of the integration test, at base size: [1, 11, 768], and padding changes nothing."""
    model = backend.model("AlbertModel", AlbertConfig.from_preset("albert-base-v2"), "float32")
    ids = np.array([[0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2]])
    mask = np.array([[0, *[1] * 10]])
    whole = backend.run(model, {"input_ids": ids, "attention_mask": mask})
    assert shapes(whole) == {"last_hidden_state": (1, 11, 768), "pooler_output": (1, 768)}
    padded = {"input_ids": np.pad(ids, ((0, 0), (0, 5))), "attention_mask": np.pad(mask, ((0, 0), (0, 5)))}
    longer = backend.run(model, padded)["last_hidden_state"][:, :11]
    assert_close({"last": longer}, {"last": whole["last_hidden_state"]}, GATE["float32"]["forward"])
