"""What is special to the Flax backend: jit, scan, grad, split and merge, keys of dropout, dtypes, adapters, devices."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx

from albert_core.config import AlbertConfig
from albert_core.outputs import MaskedLMOutput
from albert_core.parity_suite import TINY
from albert_flax.models import FlaxAlbertForMaskedLM, FlaxAlbertForPreTraining, FlaxAlbertModel

HEADS = (FlaxAlbertModel, FlaxAlbertForPreTraining, FlaxAlbertForMaskedLM)
DROPOUTS = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2}
IDS = np.array([[2, 9, 17, 30, 3, 0, 0], [2, 5, 7, 11, 13, 36, 3]])
MASK = (IDS != 0).astype(np.int64)


@pytest.fixture(autouse=True, scope="module")
def quick_compilation() -> Iterator[None]:
    """XLA compiles in a third of the time without its expensive passes; nothing here is about speed."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def make_config(**changes: Any) -> AlbertConfig:
    return AlbertConfig(**{**TINY, "num_hidden_layers": 3, **changes})


def make_model(cls: type = FlaxAlbertForMaskedLM, training: bool = False, **changes: Any) -> Any:
    model = cls(make_config(**changes))
    model.train() if training else model.eval()
    return model


def loss_of(model: Any, ids: Any = IDS) -> jax.Array:
    return model(ids, MASK, labels=ids).loss


def close(got: Any, expected: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=tolerance, atol=tolerance)


def first_attention(model: Any) -> Any:
    return model.base_model.encoder.albert_layer_groups[0].albert_layers[0].attention


# -- construction ------------------------------------------------------------------------------------------------------


def test_import_starts_no_device() -> None:
    """jax.distributed can be initialised only before the first array."""
    code = """
import socket, jax, albert_flax
with socket.socket() as s:
    s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=1, process_id=0)
print(jax.process_count())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["1"], done.stderr


def test_the_seed_decides_and_defaults_to_zero() -> None:
    one, other, third = (
        FlaxAlbertModel(make_config(), **how).numpy_state()
        for how in ({}, {"rngs": nnx.Rngs(params=0, dropout=0)}, {"seed": 1})
    )
    assert all(np.array_equal(one[n], other[n]) for n in one)
    assert not np.array_equal(one["albert.pooler.weight"], third["albert.pooler.weight"])


@pytest.mark.parametrize("cls", HEADS)
def test_initial_values(cls: type) -> None:
    """The standard deviation of a normal cut at two of them is 0.8796 of it: nothing corrects that."""
    config = make_config(vocab_size=3000, embedding_size=16, initializer_range=0.05)
    model = cls(config)
    state = model.numpy_state()
    words = state["albert.embeddings.word_embeddings.weight"]
    assert not words[config.pad_token_id].any()
    assert np.abs(words).max() <= 0.1
    assert abs(words[1:].std() / 0.05 - 0.8796) < 0.01
    for name, p in model.parameter_table.items():
        if not p.decay:
            assert (state[name] == float(p.kind.value == "norm" and p.leaf == "weight")).all(), name
        else:
            assert state[name].std() > 0.03, name


def test_shapes_without_arrays() -> None:
    abstract = nnx.eval_shape(lambda: FlaxAlbertForMaskedLM(make_config(num_hidden_groups=3)))
    kernel = abstract.albert.encoder.albert_layer_groups[2].albert_layers[0].ffn.kernel
    assert isinstance(kernel.get_value(), jax.ShapeDtypeStruct)
    assert kernel.shape == (15, 20)


def test_float64_needs_x64() -> None:
    for how in ({"dtype": "float64"}, {"param_dtype": np.float64}):
        with pytest.raises(ValueError, match=r"float64 needs .*jax\.enable_x64"):
            FlaxAlbertModel(make_config(), **how)
    with jax.enable_x64(True):
        model = FlaxAlbertModel(make_config(), param_dtype=jnp.float64)
        assert model(IDS).last_hidden_state.dtype == jnp.float64
    with pytest.raises(ValueError, match=r"jax\.enable_x64"):
        model(IDS)


def test_a_wrong_dtype_is_named() -> None:
    with pytest.raises(ValueError, match="int8"):
        FlaxAlbertModel(make_config(), dtype="int8")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_computing_and_storing_dtypes(dtype: str) -> None:
    model = FlaxAlbertForMaskedLM(make_config(position_embedding_type="relative_key"), dtype=dtype)
    out = model(IDS, MASK, labels=IDS, output_hidden_states=True)
    assert {p.dtype for p in jax.tree.leaves(nnx.state(model, nnx.Param))} == {np.dtype("float32")}
    assert {x.dtype.name for x in (out.logits, *out.hidden_states)} == {dtype}
    assert out.loss.dtype == jnp.float32


# -- inputs and outputs ------------------------------------------------------------------------------------------------


def test_every_kind_of_array_gives_the_same() -> None:
    model = make_model(FlaxAlbertModel)
    expected = model(IDS, MASK).last_hidden_state
    for kind in (np.int32, np.uint8, np.int64):
        assert np.array_equal(model(IDS.astype(kind), MASK.astype(kind)).last_hidden_state, expected)
    assert np.array_equal(model(jnp.asarray(IDS), jnp.asarray(MASK)).last_hidden_state, expected)
    assert np.array_equal(model({"input_ids": IDS, "attention_mask": MASK}).last_hidden_state, expected)


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
@pytest.mark.parametrize(("name", "bad"), [("input_ids", 37), ("token_type_ids", 2), ("position_ids", 16)])
def test_ids_outside_their_table(kind: Callable[..., Any], name: str, bad: int) -> None:
    model = make_model(FlaxAlbertModel)
    with pytest.raises(ValueError, match=rf"{name}.*got {bad}"):
        model(**{"input_ids": kind(IDS), name: kind(np.full_like(IDS, bad))})


def test_an_id_that_32_bits_cannot_hold() -> None:
    with pytest.raises(ValueError, match=str(2**32 + 5)):
        make_model(FlaxAlbertModel)(np.full_like(IDS, 2**32 + 5))


def test_no_value_is_looked_at_under_a_trace() -> None:
    """What is out of range shows as NaN there, instead of quietly being another piece."""
    found = nnx.jit(lambda m, ids: m(ids).last_hidden_state)(make_model(FlaxAlbertModel), jnp.full((1, 3), 37))
    assert np.isnan(found).all()


def test_outputs_are_trees() -> None:
    out = make_model()(IDS, output_hidden_states=True)
    doubled = jax.tree.map(lambda x: 2 * x, out)
    assert isinstance(doubled, MaskedLMOutput)
    assert doubled.keys() == ("logits", "hidden_states")
    assert len(jax.tree.leaves(out)) == 1 + 4
    assert np.array_equal(doubled.logits, 2 * out.logits)


def test_no_dtype_is_promoted_unasked() -> None:
    """In float32; Flax's own layer norm promotes in half precision."""
    model = make_model(training=True, **DROPOUTS)
    with jax.numpy_dtype_promotion("strict"):
        assert np.isfinite(loss_of(model))


# -- ways to run -------------------------------------------------------------------------------------------------------


def _split_and_jit(model: Any) -> jax.Array:
    graphdef, state = nnx.split(model)
    return jax.jit(lambda graphdef, state: loss_of(nnx.merge(graphdef, state)), static_argnums=0)(graphdef, state)


WAYS = {
    "nnx.jit": lambda model: nnx.jit(loss_of)(model),
    "split and jax.jit": _split_and_jit,
    "jax.jit on the module": lambda model: jax.jit(loss_of)(model),
    "closed over": lambda model: jax.jit(lambda ids: loss_of(model, ids))(IDS),
    "nnx.remat": lambda model: nnx.remat(loss_of)(model),
    "jax.checkpoint": lambda model: jax.checkpoint(lambda ids: loss_of(model, ids))(IDS),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same(way: str) -> None:
    model = make_model()
    close(WAYS[way](model), loss_of(model))


def test_vmap_over_sequences() -> None:
    model = make_model(FlaxAlbertModel)
    each = jax.vmap(lambda ids: model(ids[None]).last_hidden_state[0])(jnp.asarray(IDS))
    close(each, model(IDS).last_hidden_state)


def test_vmap_over_models() -> None:
    """Three sets of weights in one program, as an ensemble is run."""
    models = [FlaxAlbertModel(make_config(), rngs=nnx.Rngs(seed)) for seed in range(3)]
    graphdef = nnx.split(models[0])[0]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *(nnx.split(model)[1] for model in models))
    each = jax.vmap(lambda state: nnx.merge(graphdef, state)(IDS, MASK).last_hidden_state)(stacked)
    for got, model in zip(each, models, strict=True):
        close(got, model(IDS, MASK).last_hidden_state)


def test_a_merged_model_is_the_model() -> None:
    model = make_model()
    again = nnx.merge(*nnx.split(model))
    assert type(again) is type(model)
    assert again.config == model.config
    assert all(np.array_equal(again.numpy_state()[name], array) for name, array in model.numpy_state().items())


def _gradients_of_split(model: Any) -> Any:
    graphdef, parameters, rest = nnx.split(model, nnx.Param, ...)
    return jax.jit(jax.grad(lambda p: loss_of(nnx.merge(graphdef, p, rest, copy=True))))(parameters)


def _gradients_of_checkpoint(model: Any) -> Any:
    graphdef, parameters, rest = nnx.split(model, nnx.Param, ...)
    remade = jax.checkpoint(lambda p: loss_of(nnx.merge(graphdef, p, rest, copy=True)))
    return jax.jit(jax.grad(remade))(parameters)


GRADIENTS = {
    "nnx.value_and_grad under nnx.jit": lambda model: nnx.jit(nnx.value_and_grad(loss_of))(model)[1],
    "jax.grad of a split model": _gradients_of_split,
    "jax.checkpoint": _gradients_of_checkpoint,
}


@functools.cache
def _expected_gradients(training: bool) -> list[np.ndarray]:
    return [np.asarray(g) for g in jax.tree.leaves(nnx.grad(loss_of)(make_model(training=training, **DROPOUTS)))]


@pytest.mark.parametrize("way", GRADIENTS)
@pytest.mark.parametrize("training", [False, True])
def test_every_gradient_is_the_same(way: str, training: bool) -> None:
    """In training too: two models of one seed draw the same dropouts."""
    expected = _expected_gradients(training)
    found = GRADIENTS[way](make_model(training=training, **DROPOUTS))
    for mine, theirs in zip(jax.tree.leaves(found), expected, strict=True):
        close(mine, theirs, 1e-4)
    assert max(np.abs(g).max() for g in expected) > 1e-3


def test_a_new_config_reaches_what_is_compiled() -> None:
    model = make_model(FlaxAlbertModel)
    run = nnx.jit(lambda model, ids: model(ids))
    assert run(model, IDS).hidden_states is None
    model.config = model.config.replace(output_hidden_states=True)
    assert len(run(model, IDS).hidden_states) == 4


def _program(layers: int, transform: Callable[..., Any], training: bool) -> Any:
    model = make_model(training=training, num_hidden_layers=layers, **DROPOUTS)
    graphdef, state, rest = nnx.split(model, nnx.Param, ...)
    return jax.jit(transform(lambda state: loss_of(nnx.merge(graphdef, state, rest, copy=True)))).lower(state)


@pytest.mark.parametrize("transform", [lambda f: f, jax.value_and_grad], ids=["forward", "gradient"])
@pytest.mark.parametrize("training", [False, True])
def test_the_program_does_not_grow_with_depth(transform: Callable[..., Any], training: bool) -> None:
    four, twelve = (_program(layers, transform, training).as_text().count(" = ") for layers in (4, 12))
    assert four == twelve > 100


def test_the_compiled_program_does_not_grow_with_depth() -> None:
    four, twelve = (_program(layers, lambda f: f, False).compile().as_text().count(" = ") for layers in (4, 12))
    assert four == twelve > 100


# -- dropout -----------------------------------------------------------------------------------------------------------


def _rng_counts(model: Any) -> list[int]:
    return [int(c) for c in jax.tree.leaves(nnx.state(model, nnx.RngCount))]


def test_evaluation_changes_nothing_and_training_only_its_keys() -> None:
    model = make_model(**DROPOUTS)
    before, counts = model.numpy_state(), _rng_counts(model)
    first, second = model(IDS).logits, model(IDS).logits
    assert np.array_equal(first, second)
    assert _rng_counts(model) == counts
    model.train()
    third, fourth = model(IDS).logits, model(IDS).logits
    assert not np.allclose(third, fourth)
    assert sum(_rng_counts(model)) == sum(counts) + 4  # two calls: one draw of the embeddings, one of all layers
    assert all(np.array_equal(before[n], after) for n, after in model.numpy_state().items())
    model.eval()
    assert np.array_equal(model(IDS).logits, first)


def test_training_without_dropout_draws_no_key() -> None:
    model = make_model(training=True)
    counts = _rng_counts(model)
    model(IDS)
    assert _rng_counts(model) == counts


def test_each_layer_and_inner_layer_drops_other_probabilities() -> None:
    model = make_model(
        FlaxAlbertModel, training=True, attention_probs_dropout_prob=0.5, num_hidden_groups=2, inner_group_num=2
    )
    patterns = {(np.asarray(p) == 0).tobytes() for p in model(IDS, output_attentions=True).attentions}
    assert len(patterns) == 3 * 2


# -- attention ---------------------------------------------------------------------------------------------------------


def half_masked() -> np.ndarray:
    """With a row whose mask is all zero, for which every position has to count alike."""
    mask = MASK.copy()
    mask[1] = 0
    return mask


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_attention_is_the_same_where_its_probabilities_are_wanted(dtype: str) -> None:
    model = FlaxAlbertModel(make_config(num_hidden_layers=1), dtype=dtype)
    model.eval()
    inputs = {"input_ids": IDS, "attention_mask": half_masked(), "head_mask": np.array([1.0, 0.5, 0.0])}
    fused, written = (model(**inputs, output_attentions=wanted) for wanted in (False, True))
    bound = 1e-5 if dtype == "float32" else 2e-2
    close(*(found.last_hidden_state.astype(np.float32) for found in (fused, written)), bound)
    (probabilities,) = model(IDS, half_masked(), output_attentions=True).attentions
    assert len(np.unique(np.asarray(probabilities[1]).astype(np.float32))) == 1


def test_attention_has_the_same_gradients_where_its_probabilities_are_wanted() -> None:
    model = make_model(num_hidden_layers=1)

    def loss(model: FlaxAlbertForMaskedLM, wanted: bool) -> jax.Array:
        found = model(IDS, half_masked(), labels=IDS, output_attentions=wanted)
        return found.loss + (0 * found.attentions[0].sum() if wanted else 0)

    gradients = nnx.jit(nnx.grad(loss), static_argnums=1)
    for mine, theirs in zip(*(jax.tree.leaves(gradients(model, wanted)) for wanted in (False, True)), strict=True):
        close(mine, theirs)


def test_no_array_of_scores_is_written_on_a_cpu() -> None:
    config = make_config(hidden_size=64, num_attention_heads=8, max_position_embeddings=256)
    structure, state = nnx.split(FlaxAlbertModel(config))
    ids = np.full((2, 256), 7)

    @jax.jit
    def step(state: nnx.State, ids: jax.Array, mask: jax.Array) -> jax.Array:
        return nnx.merge(structure, state)(ids, mask).last_hidden_state

    memory = step.lower(state, ids, np.ones_like(ids)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 2 * 8 * 256 * 256 * 4 / 2  # half the bytes of [B, N, S, S]


def test_an_adapter_acts_and_gets_its_gradient() -> None:
    model = make_model()
    plain = model(IDS).logits
    attention = first_attention(model)
    attention.query = nnx.LoRA(15, 2, 15, base_module=attention.query, rngs=nnx.Rngs(1))
    assert attention.packed() is None
    close(model(IDS).logits, plain)  # an adapter starts at zero
    attention.query.lora_b[...] = jnp.ones_like(attention.query.lora_b[...])
    assert np.abs(model(IDS).logits - plain).max() > 1e-3
    gradients = nnx.jit(nnx.grad(loss_of, argnums=nnx.DiffState(0, nnx.LoRAParam)))(model)
    assert len(jax.tree.leaves(gradients)) == 2
    assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(gradients))


class Doubled(nnx.Embed):
    def __call__(self, ids: Any) -> jax.Array:
        return 2 * super().__call__(ids)


@pytest.mark.parametrize("name", ["position_embeddings", "token_type_embeddings"])
def test_embeddings_of_ones_own_are_called(name: str) -> None:
    model = make_model(FlaxAlbertModel)
    plain, table = model(IDS)[0], getattr(model.embeddings, name)
    doubled = Doubled(*table.embedding.shape, rngs=nnx.Rngs(0))
    doubled.embedding = nnx.Param(table.embedding[...] / 2)
    setattr(model.embeddings, name, doubled)
    close(model(IDS)[0], plain)


class WithScore(FlaxAlbertForMaskedLM):
    """A layer of its own beside ALBERT's."""

    def __init__(self, config: AlbertConfig, **how: Any) -> None:
        super().__init__(config, **how)
        self.extra = nnx.Linear(15, 1, rngs=nnx.Rngs(3))


def test_a_layer_of_ones_own_is_drawn_and_not_lost_in_saving(tmp_path: Path) -> None:
    FlaxAlbertForMaskedLM(make_config()).save_pretrained(tmp_path / "model")
    model = WithScore.from_pretrained(tmp_path / "model", device="cpu")
    assert np.array_equal(model.extra.kernel[...], WithScore(make_config()).extra.kernel[...])
    assert np.array_equal(model.word_matrix(), FlaxAlbertForMaskedLM(make_config()).word_matrix())
    with pytest.raises(ValueError, match=r"^extra\.bias, extra\.kernel: is no part of ALBERT and would not be saved"):
        model.save_pretrained(tmp_path / "lost")
    assert not (tmp_path / "lost").exists()
    model.save_pretrained(tmp_path / "without", state=model.numpy_state())
    assert FlaxAlbertForMaskedLM.from_pretrained(tmp_path / "without").num_parameters() == model.num_parameters()


def _beside(old: nnx.Linear) -> nnx.Module:
    new = nnx.LoRALinear(15, 15, lora_rank=2, rngs=nnx.Rngs(1))
    new.kernel, new.bias = old.kernel, old.bias
    return new


ADAPTERS = {
    "in its place": (_beside, r"query\.lora\.lora_a, \S*query\.lora\.lora_b: is no part"),
    "around it": (
        lambda old: nnx.LoRA(15, 2, 15, base_module=old, rngs=nnx.Rngs(1)),
        r"query\.base_module\.kernel, \S*query\.lora_a, \S*query\.lora_b: is no part",
    ),
}


@pytest.mark.parametrize("case", ADAPTERS)
def test_an_adapter_is_not_lost_in_saving(case: str, tmp_path: Path) -> None:
    make, problem = ADAPTERS[case]
    model = make_model()
    first_attention(model).query = make(first_attention(model).query)
    with pytest.raises(ValueError, match=problem):
        model.save_pretrained(tmp_path / "lost")
    assert not (tmp_path / "lost").exists()


def test_a_wrapped_layer_is_named() -> None:
    model = make_model()
    first_attention(model).query = ADAPTERS["around it"][0](first_attention(model).query)
    with pytest.raises(ValueError, match=r"query\.weight: expected a layer with 'kernel', got LoRA"):
        _ = model.params


def test_a_product_of_ones_own_is_called() -> None:
    """What quantisation libraries put in the place of `dot_general` must not be passed over."""
    model, calls = make_model(), []

    def counted(*args: Any, **kwargs: Any) -> jax.Array:
        calls.append(1)
        return jax.lax.dot_general(*args, **kwargs)

    first_attention(model).query.dot_general = counted
    model(IDS)
    assert calls


# -- arrays in and out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("cls", HEADS)
def test_arrays_come_back_as_they_went_in(cls: type, dtype: str) -> None:
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    with jax.enable_x64(dtype == "float64"):
        model = cls(make_config(num_hidden_groups=3), param_dtype=dtype)
        rng = np.random.default_rng(0)
        given = {
            n: rng.normal(size=p.shape).astype(kind) for n, p in model.parameter_table.items() if p.tied_to is None
        }
        model.load_numpy_state(given)
        found = model.numpy_state()
    for name, array in given.items():
        assert found[name].dtype == kind, name
        assert found[name].tobytes() == array.tobytes(), name


def test_from_pretrained_takes_the_checkpoints_dtype(tmp_path: Any) -> None:
    FlaxAlbertForMaskedLM(make_config(**DROPOUTS), param_dtype="bfloat16").save_pretrained(tmp_path / "model")
    model = FlaxAlbertForMaskedLM.from_pretrained(tmp_path / "model", device="cpu")
    assert model.dtype == model.param_dtype == jnp.bfloat16
    assert np.array_equal(*(model(IDS).logits.astype(np.float32) for _ in range(2))), "not in evaluation mode"
    wide = FlaxAlbertForMaskedLM.from_pretrained(tmp_path / "model", dtype=jnp.float32)
    assert wide(IDS).logits.dtype == jnp.float32
    with pytest.raises(ValueError, match=r"jax\.enable_x64"):
        FlaxAlbertForMaskedLM.from_pretrained(tmp_path / "model", dtype="float64")


HALF, WIDE = "bfloat16", "float32"
DTYPES_ASKED = {
    "half precision is for computing": ({"dtype": HALF}, HALF, WIDE),
    "under its other name": ({"torch_dtype": jnp.float16}, "float16", WIDE),
    "32 bits are both": ({"dtype": jnp.float32}, WIDE, WIDE),
    "both are given": ({"dtype": WIDE, "param_dtype": HALF}, WIDE, HALF),
    "both in half precision": ({"dtype": HALF, "param_dtype": jnp.bfloat16}, HALF, HALF),
}


@pytest.mark.parametrize("case", DTYPES_ASKED)
def test_what_is_computed_in_and_what_is_stored_in(case: str, tmp_path: Any) -> None:
    asked, dtype, stored = DTYPES_ASKED[case]
    FlaxAlbertModel(make_config(), param_dtype=HALF).save_pretrained(tmp_path / "model")
    loaded = FlaxAlbertModel.from_pretrained(tmp_path / "model", **asked)
    for model in (loaded, FlaxAlbertModel.from_config(make_config(), **asked)):
        assert (model.dtype.name, model.param_dtype.name) == (dtype, stored)
        assert {p.dtype.name for p in jax.tree.leaves(nnx.state(model, nnx.Param))} == {stored}
    assert "param_dtype" not in loaded.config.extra


def test_the_stored_dtype_alone_leaves_the_checkpoints_to_compute_in(tmp_path: Any) -> None:
    FlaxAlbertModel(make_config(), param_dtype=HALF).save_pretrained(tmp_path / "model")
    model = FlaxAlbertModel.from_pretrained(tmp_path / "model", param_dtype=WIDE)
    assert (model.dtype.name, model.param_dtype.name) == (HALF, WIDE)


def test_loading_and_resizing_keep_the_sharding() -> None:
    model = make_model(FlaxAlbertForMaskedLM)
    state = model.numpy_state()
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    nnx.update(model, jax.device_put(nnx.state(model), everywhere))
    model.load_numpy_state(state)
    assert {p.sharding for p in jax.tree.leaves(nnx.state(model, nnx.Param))} == {everywhere}
    model.resize_token_embeddings(40)
    assert {p.sharding for p in jax.tree.leaves(nnx.state(model, nnx.Param))} == {everywhere}
