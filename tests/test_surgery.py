"""Resizing the vocabulary, pruning heads, replacing embeddings and gradient checkpointing, in every backend."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Adapter, assert_close, assert_gradients_close

from albert_core import reference
from albert_core.config import AlbertConfig
from albert_core.errors import ConfigError, UnexpectedKeys
from albert_core.parity import GATE, rho
from albert_core.parity_suite import TINY, batch, drawn_state

WORDS, BIAS = "albert.embeddings.word_embeddings.weight", "predictions.bias"
DENSE = "albert.encoder.albert_layer_groups.{}.albert_layers.{}.attention.dense.weight"
FORWARD = GATE["float64"]["forward"]


def masked_lm(backend: Adapter, **changes: Any) -> tuple[Any, dict[str, np.ndarray]]:
    config = AlbertConfig(**{**TINY, **changes})
    state = drawn_state(config, "AlbertForMaskedLM")
    return backend.model("AlbertForMaskedLM", config, state=state), state


def resized(backend: Adapter, model: Any, *args: Any, **kwargs: Any) -> Any:
    """The model that has the new vocabulary: in TensorFlow a new one."""
    before = model.numpy_state()
    result = model.resize_token_embeddings(*args, **kwargs)
    if backend.name != "tf":
        assert result is model.get_input_embeddings()
        return model
    assert all(np.array_equal(value, before[name]) for name, value in model.numpy_state().items())
    return result


# -- vocabulary ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "rows"), [((41,), 41), ((20,), 20), ((41, 8), 48), ((None, 16), 48), ((None,), 37)], ids=str
)
def test_resizing_keeps_the_rows_and_adds_their_mean(backend: Adapter, args: tuple, rows: int) -> None:
    with backend.precision("float64"):
        model, state = masked_lm(backend)
        model = resized(backend, model, *args)
        after, kept = model.numpy_state(), min(rows, 37)
        assert model.config.vocab_size == model.base_model.config.vocab_size == rows
        for name in (WORDS, BIAS):
            assert np.array_equal(after[name][:kept], state[name][:kept])
            assert np.allclose(after[name][kept:], state[name].mean(0), rtol=1e-15, atol=1e-15)
            assert len(after[name]) == rows
        inputs = {**batch(model.config), "labels": batch(model.config, seed=3)["input_ids"]}
        assert_close(
            backend.run(model, inputs),
            {k: reference.forward(model.config, after, inputs, "AlbertForMaskedLM")[k] for k in ("loss", "logits")},
            FORWARD,
        )
        gradients = backend.gradients(model, inputs)
    assert gradients[WORDS].shape == (rows, TINY["embedding_size"])


def test_resizing_without_the_mean_draws_the_same_rows_everywhere(backend: Adapter) -> None:
    with backend.precision("float64"):
        model, _ = masked_lm(backend)
        after = resized(backend, model, 1037, mean_resizing=False).numpy_state()
    fresh = after[WORDS][37:]
    assert abs(fresh.std() / TINY["initializer_range"] - 0.88) < 0.02, "a normal cut at two standard deviations"
    assert fresh[0, :2].tolist() == pytest.approx([0.14178099594996738, -0.2488142735169955], abs=1e-15)
    assert not after[BIAS][37:].any()


def test_resizing_stays_in_the_dtype_and_on_disk(backend: Adapter, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY)
    model = resized(backend, backend.model("AlbertForSequenceClassification", config, "bfloat16"), 50)
    model.save_pretrained(tmp_path / "model")
    loaded = backend.cls("AlbertForSequenceClassification").from_pretrained(tmp_path / "model")
    assert loaded.config.vocab_size == 50
    assert {a.dtype.name for a in loaded.numpy_state().values()} == {"bfloat16"}
    assert all(np.array_equal(a, loaded.numpy_state()[n]) for n, a in model.numpy_state().items())


def freeze(backend: Adapter, model: Any) -> None:
    if backend.name == "torch":
        model.base_model.requires_grad_(False)
        model.predictions.dense.requires_grad_(False)
    elif backend.name == "tf":
        model.base_model.trainable = model.predictions.dense.trainable = False


def test_resizing_keeps_what_is_frozen(backend: Adapter) -> None:
    model = backend.model("AlbertForMaskedLM", AlbertConfig(**TINY), "float32")
    freeze(backend, model)  # in Flax the optimizer knows, not the model
    trained = [model._is_trainable(model.leaf(p)) for p in model.own_parameters()]
    other = resized(backend, model, 40)
    assert [other._is_trainable(other.leaf(p)) for p in other.own_parameters()] == trained
    assert backend.name == "flax" or {*trained} == {True, False}
    if backend.name == "tf":
        assert len(other.trainable_variables) == len(model.trainable_variables) == trained.count(True)


@pytest.mark.parametrize("rows", [0, -3, 5])
def test_a_refused_size_changes_nothing(backend: Adapter, rows: int) -> None:
    with backend.precision("float64"):
        model, state = masked_lm(backend, pad_token_id=7)
        with pytest.raises(ConfigError, match=r"vocab_size|pad_token_id"):
            model.resize_token_embeddings(rows)
        assert model.config.vocab_size == 37
        assert np.array_equal(model.numpy_state()[WORDS], state[WORDS])


def test_what_is_done_to_the_encoder_alone_holds_for_its_head(backend: Adapter, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY, num_hidden_groups=2, inner_group_num=2)
    model = backend.model("AlbertForSequenceClassification", config, "float32")
    model.albert.prune_heads({0: [1], 1: [1], 2: [1]})
    assert model.config is model.albert.config
    rows = config.vocab_size if backend.name == "tf" else 50  # in TensorFlow there is another encoder
    model.albert.resize_token_embeddings(50)
    inputs = {name: array % rows for name, array in batch(config.replace(vocab_size=50)).items()}
    got = backend.run(model, inputs)
    model.save_pretrained(tmp_path / "model")
    again = backend.cls("AlbertForSequenceClassification").from_pretrained(tmp_path / "model")
    assert again.config.vocab_size == rows
    assert again.config.albert_pruned_heads == {0: [1], 1: [1], 2: [1]}
    assert_close(backend.run(again, inputs), got, 0.0)


def test_a_model_that_is_not_what_its_config_says_is_not_saved(backend: Adapter, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY)
    model, other = (backend.model("AlbertForMaskedLM", config, "float32") for _ in range(2))
    model.config = config.replace(vocab_size=36)
    with pytest.raises(ValueError, match=r"weight: expected \[36, 6\], as the config says, got \[37, 6\]"):
        model.save_pretrained(tmp_path / "model")
    if backend.name != "tf":  # where it is another encoder
        other.albert.resize_token_embeddings(50)
        with pytest.raises(ValueError, match=r"predictions.bias: expected \[50\].*got \[37\]; was the encoder"):
            other.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_module_of_ones_own_is_no_part_of_the_file_unless_it_is_read(backend: Adapter, tmp_path: Path) -> None:
    """PyTorch keeps it under its name; where a model cannot read it again, saving says so."""
    head = backend.cls("AlbertForSequenceClassification")
    model = type("Mine", (head,), {"__init__": with_more})(AlbertConfig(**TINY))
    if backend.name != "torch":
        with pytest.raises(ValueError, match=r"more.(kernel|bias).*: is no part of ALBERT and would not be saved"):
            model.save_pretrained(tmp_path / "model")
        assert not list(tmp_path.iterdir())
        return
    plain = backend.model("AlbertForSequenceClassification", AlbertConfig(**TINY), "float32")
    assert model.num_parameters() == plain.num_parameters() + 6
    model.save_pretrained(tmp_path / "model")
    again, report = type(model).from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not report["missing_keys"]
    assert all(np.array_equal(a, again.numpy_state()[n]) for n, a in model.numpy_state().items())
    assert "more.weight" in again.numpy_state()
    with pytest.raises(UnexpectedKeys, match=r"more\.weight"):
        head.from_pretrained(tmp_path / "model")
    before = again.more.weight.clone()
    plain.save_pretrained(tmp_path / "plain")
    assert type(model).from_pretrained(tmp_path / "plain").more.weight.any()  # as its constructor drew it
    again.init_weights()
    assert (again.more.weight == before).all()


def with_more(self: Any, config: AlbertConfig, **options: Any) -> None:
    super(type(self), self).__init__(config, **options)
    if self.framework == "torch":
        import torch

        self.more = torch.nn.Linear(2, 2)
    elif self.framework == "tf":
        import keras

        self.more = keras.layers.Dense(2, name="more")
        self.more.build((None, 2))
    else:
        from flax import nnx

        self.more = nnx.Linear(2, 2, rngs=nnx.Rngs(0))


def test_other_embeddings_can_be_put_in(backend: Adapter) -> None:
    with backend.precision("float64"):
        model, state = masked_lm(backend)
        other, _ = masked_lm(backend)
        doubled = {**state, WORDS: state[WORDS] * 2, "predictions.decoder.weight": state[WORDS] * 2}
        other.load_numpy_state(doubled)
        model.set_input_embeddings(other.get_input_embeddings())
        inputs = batch(model.config)
        oracle = reference.forward(model.config, doubled, inputs, "AlbertForMaskedLM")
        assert_close(backend.run(model, inputs), {"logits": oracle["logits"]}, FORWARD)
        small, _ = masked_lm(backend, vocab_size=30)
        with pytest.raises(ValueError, match=r"expected embeddings of shape \[37, 6\], got \[30, 6\]"):
            model.set_input_embeddings(small.get_input_embeddings())


# -- heads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_pruning_is_a_head_mask_of_zeros_by_layer(backend: Adapter, attention: str) -> None:
    config = AlbertConfig(**TINY, num_hidden_groups=2, inner_group_num=2)
    state = drawn_state(config, "AlbertModel")
    mask = np.ones((6, 3))
    mask[0, 1] = mask[4, 0] = mask[4, 2] = 0
    inputs = batch(config)
    oracle = reference.forward(config, state, {**inputs, "head_mask": mask})
    with backend.precision("float64"):
        model = backend.model("AlbertModel", config, state=state, attn_implementation=attention)
        with pytest.warns(UserWarning, match=r"heads by layer\): \{0: \[1\]\}; readers other"):
            model.prune_heads({0: [1]})
        with pytest.warns(UserWarning, match=r"\{0: \[1\], 4: \[0, 2\]\}"):
            model.prune_heads({4: {2, 0}})
        got = backend.run(model, inputs, output_hidden_states=True, output_attentions=attention == "eager")
        assert_close(got, {k: v for k, v in oracle.items() if k in got}, FORWARD)
        assert model.config.albert_pruned_heads == {0: [1], 4: [0, 2]}
        assert all(np.array_equal(a, state[n]) for n, a in model.numpy_state().items()), "weights are shared"
        both = np.random.default_rng(0).random(3)
        also = reference.forward(config, state, {**inputs, "head_mask": mask * both})
        assert_close(
            backend.run(model, {**inputs, "head_mask": both}),
            {k: also[k] for k in ("last_hidden_state", "pooler_output")},
            FORWARD,
        )


def test_heads_that_all_layers_prune_are_gone_for_every_reader(backend: Adapter, tmp_path: Path) -> None:
    """transformers knows nothing of the config key, and gives the same numbers."""
    import torch
    import transformers

    config = AlbertConfig(**TINY, num_hidden_groups=2, inner_group_num=2)
    inputs = batch(config)
    with backend.precision("float64"):
        model = backend.model("AlbertModel", config, state=drawn_state(config, "AlbertModel"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.prune_heads({0: [1], 1: [1], 2: [1]})
        got = backend.run(model, inputs)
        model.save_pretrained(tmp_path / "model")
        again = backend.cls("AlbertModel").from_pretrained(tmp_path / "model")
        assert again.config.albert_pruned_heads == {0: [1], 1: [1], 2: [1]}
        assert_close(backend.run(again, inputs), got, 0.0)
    state = model.numpy_state()
    zeroed = {(g, i): not state[DENSE.format(g, i)][:, 5:10].any() for g in range(2) for i in range(2)}
    assert zeroed == {(0, 0): True, (0, 1): True, (1, 0): False, (1, 1): False}
    theirs = transformers.AlbertModel.from_pretrained(tmp_path / "model", dtype=torch.float64).eval()
    with torch.no_grad():
        out = theirs(**{k: torch.from_numpy(v[:2]) for k, v in inputs.items()})  # not the row that is all masked
    assert rho(got["last_hidden_state"][:2], out.last_hidden_state.numpy()) < 1e-13


@pytest.mark.parametrize("heads", [{6: [0]}, {0: [3]}, {-1: [0]}, {0: ["a"]}])
def test_a_head_that_is_not_there(backend: Adapter, heads: dict) -> None:
    model = backend.model("AlbertModel", AlbertConfig(**TINY), "float32")
    with pytest.raises(ConfigError, match="albert_pruned_heads"):
        model.prune_heads(heads)
    assert model.config.albert_pruned_heads == {}


def test_a_query_without_a_bias(backend: Adapter) -> None:
    """A query of one's own is called, as no product of all three holds its bias."""
    config = AlbertConfig(**TINY)
    model = backend.model("AlbertModel", config, "float32")
    attention = model.encoder.albert_layer_groups[0].albert_layers[0].attention
    if backend.name == "torch":
        attention.query.bias = None
    elif backend.name == "tf":
        attention.query.use_bias, attention.query.bias = False, None
    else:
        attention.query.use_bias, attention.query.bias = False, None
        model.train()
    assert attention.packed() is None
    assert backend.run(model, batch(config))["last_hidden_state"].shape == (3, 7, config.hidden_size)


# -- memory --------------------------------------------------------------------------------------------------------


def trained(backend: Adapter, config: AlbertConfig, state: dict, checkpointing: bool, **options: Any) -> Any:
    """A model in training mode whose dropout starts from a fixed seed."""
    if backend.name == "torch":
        import torch

        torch.manual_seed(0)
    if backend.name == "tf":
        import keras

        keras.utils.set_random_seed(0)
    model = backend.model("AlbertForSequenceClassification", config, state=state, **options)
    if backend.name != "tf":
        model.train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing is checkpointing
    return model


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("positions", ["absolute", "relative_key"])
def test_checkpointing_changes_no_gradient(backend: Adapter, dropout: float, attention: str, positions: str) -> None:
    rates = {f"{name}_dropout_prob": dropout for name in ("hidden", "attention_probs", "classifier")}
    config = AlbertConfig(**TINY, **rates, num_hidden_groups=2, inner_group_num=2, position_embedding_type=positions)
    state = drawn_state(config, "AlbertForSequenceClassification")
    inputs = {**batch(config), "labels": np.array([0, 1, 1]), "head_mask": np.array([1.0, 0.5, 0.0])}
    mode = {"training": True} if backend.name == "tf" else {}
    with backend.precision("float64"):
        plain, again = (
            trained(backend, config, state, on, attn_implementation=attention).gradients_numpy(**inputs, **mode)
            for on in (False, True)
        )
    assert_gradients_close(again, plain, GATE["float64"]["gradient"])
    assert np.abs(plain["albert.encoder.embedding_hidden_mapping_in.weight"]).max() > 1e-6


def test_checkpointing_keeps_less(backend: Adapter) -> None:
    config = AlbertConfig(**{**TINY, "intermediate_size": 200, "num_hidden_layers": 6})
    model = backend.model("AlbertForSequenceClassification", config, "float32")
    inputs = {**batch(config), "labels": np.array([0, 1, 1])}
    plain = kept_bytes(backend, model, inputs)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert kept_bytes(backend, model, inputs) < 0.5 * plain
    model.gradient_checkpointing_disable()
    assert kept_bytes(backend, model, inputs) == plain


def kept_bytes(backend: Adapter, model: Any, inputs: dict[str, np.ndarray]) -> int:
    """What backward keeps; in TensorFlow, whose tape cannot be looked into, how many layers it need not run again."""
    if backend.name == "torch":
        import torch

        kept = {}

        def note(tensor: Any) -> Any:
            kept[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model.train()(**inputs)
        return sum(kept.values())
    if backend.name == "flax":
        import jax
        from flax import nnx

        structure, parameters, rest = nnx.split(model, nnx.Param, ...)
        _, backward = jax.vjp(lambda p: nnx.merge(structure, p, rest)(**inputs).loss, parameters)
        return sum(leaf.nbytes for leaf in jax.tree.leaves(backward))
    runs = []
    layer = model.albert.encoder.albert_layer_groups[0].albert_layers[0]
    original = type(layer).call
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(layer), "call", lambda *args, **kwargs: runs.append(1) or original(*args, **kwargs))
        model.gradients_numpy(**inputs)
    return 13 - len(runs)


def test_an_unknown_policy_is_named(backend: Adapter) -> None:
    model = backend.model("AlbertModel", AlbertConfig(**TINY), "float32")
    with pytest.raises(ValueError, match=r"policy: expected one of nothing_saveable.*got 'magic'"):
        model.gradient_checkpointing_enable(policy="magic")
    for policy in model.checkpoint_policies:
        model.gradient_checkpointing_enable({"policy": policy})
        assert model.base_model.encoder.checkpointing == policy


# -- small things --------------------------------------------------------------------------------------------------


def test_numbers_of_parameters(backend: Adapter) -> None:
    model = backend.model("AlbertForMaskedLM", AlbertConfig(**TINY), "float32")
    embeddings = (37 + 16 + 2) * 6
    everything = sum(a.size for n, a in model.numpy_state().items() if "decoder" not in n)
    assert model.num_parameters() == everything
    assert model.num_parameters(exclude_embeddings=True) == everything - embeddings
    if backend.name == "torch":
        model.albert.requires_grad_(False)
    elif backend.name == "tf":
        model.albert.trainable = False
    else:
        return  # in Flax training chooses what it changes, with a filter
    head = 37 + 6 * 2 + 15 * 6 + 6
    assert model.num_parameters(only_trainable=True) == head


def test_the_encoder_of_any_head(backend: Adapter) -> None:
    config = AlbertConfig(**TINY)
    encoder, head = (backend.model(name, config, "float32") for name in ("AlbertModel", "AlbertForPreTraining"))
    assert encoder.base_model is encoder
    assert head.base_model is head.albert
    assert head.get_input_embeddings() is head.albert.embeddings.word_embeddings
    assert encoder.get_output_embeddings() is None
    assert head.get_output_embeddings() is not None
    assert "cpu" in str(head.device).lower()
    head.tie_weights()
    assert type(encoder).from_config(config).config == config


def test_another_attention_can_be_set(backend: Adapter) -> None:
    model = backend.model("AlbertForMaskedLM", AlbertConfig(**TINY), "float32")
    model.set_attn_implementation("eager")
    assert model.attn_implementation == model.albert.attn_implementation == "eager"
    with pytest.raises(ValueError, match="attn_implementation: expected one of eager, sdpa, got 'flash'"):
        model.set_attn_implementation("flash")
