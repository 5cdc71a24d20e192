"""Code written for transformers' Flax classes runs with the import line changed, and finds the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax_snippet
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from albert_conversion.convert import convert
from flax import nnx

from albert_core.config import AlbertConfig
from albert_core.parity_suite import TINY, drawn_state
from albert_flax import FlaxAlbertForMaskedLM, FlaxAlbertForSequenceClassification, FlaxAlbertModel

ROOT = Path(__file__).parents[1]
PEERS = Path(os.environ.get("ALBERT_PEERS", ROOT / ".venv-peers/bin/python"))
STORED = ROOT / "tests/golden/flax_functional.json"  # transformers 4.57.6's own numbers
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout_prob": 0.0}
IDS = np.array([[2, 9, 17, 30, 3]])


@pytest.fixture(autouse=True, scope="module")
def quick_compilation() -> Iterator[None]:
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def make_model(cls: type = FlaxAlbertForSequenceClassification, **changes: Any) -> Any:
    model = cls(AlbertConfig(**{**TINY, "num_hidden_layers": 3, "num_labels": 3, **changes}))
    model.load_numpy_state(drawn_state(model.config, model.head_name))
    model.eval()
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small"
    make_model(**STILL).save_pretrained(path)
    return path


def leaves(tree: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in pairs:
        yield from leaves(value, f"{at}/{name}")
    if not isinstance(tree, dict | list):
        yield at, tree


def assert_same_numbers(got: dict, expected: dict) -> None:
    """Both computed in float32; a gradient that is zero in theory is compared on the scale of the rest."""
    mine, theirs = dict(leaves(got)), dict(leaves(expected))
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        if isinstance(value, float):
            assert abs(mine[name] - value) <= 1e-4 * (1e-2 + abs(value)), (name, mine[name], value)
        else:
            assert mine[name] == value, name


def test_the_numbers_are_those_of_transformers(folder: Path, tmp_path: Path) -> None:
    """`params` and its setter, calls and gradients over it, `_do_init`, pmap and jit training, `init_weights`."""
    flax_snippet.main("albert_flax", str(folder), str(tmp_path / "ours.json"))
    assert_same_numbers(json.loads((tmp_path / "ours.json").read_text()), json.loads(STORED.read_text()))


@pytest.mark.long
@pytest.mark.skipif(not PEERS.exists(), reason="needs the environment of `make peers`")
def test_the_stored_numbers_are_what_transformers_finds(folder: Path, tmp_path: Path) -> None:
    convert(folder, tmp_path / "theirs", to="msgpack")
    script = Path(flax_snippet.__file__)
    command = [PEERS, "-W", "ignore", script, "transformers", tmp_path / "theirs", tmp_path / "theirs.json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same_numbers(json.loads((tmp_path / "theirs.json").read_text()), json.loads(STORED.read_text()))


def test_a_call_with_params_leaves_the_model_as_it_is() -> None:
    model = make_model(**STILL)
    before = model(IDS).logits
    changed = jax.tree.map(lambda x: x + 0.1, model.params)
    other = model(IDS, params=changed).logits
    assert np.abs(other - before).max() > 1e-3
    assert np.array_equal(model(IDS).logits, before)
    model.params = changed
    assert np.array_equal(model(IDS).logits, other)


def test_dropout_follows_its_key_and_train() -> None:
    model = make_model(hidden_dropout_prob=0.3)
    key = jax.random.PRNGKey(0)
    once, again = (model(IDS, dropout_rng=key, train=True).logits for _ in range(2))
    other = model(IDS, dropout_rng=jax.random.key(1), train=True).logits
    linen = model(IDS, dropout_rng={"params": jax.random.key(1), "dropout": key}, train=True).logits
    assert np.array_equal(once, again)
    assert np.array_equal(once, linen)
    assert not np.allclose(once, other)
    model.train()
    assert np.array_equal(model(IDS, train=False).logits, model(IDS, dropout_rng=key).logits), "train is False there"
    with pytest.raises(ValueError, match="dropout_rng"):
        model(IDS, train=True)
    for other, came in ((3, "3"), ({"params": key}, "{'params'"), (np.ones(2), r"array\(\[1., 1.\]\)")):
        with pytest.raises(ValueError, match=f"dropout_rng: expected a key of jax.random, got {came}"):
            model(IDS, dropout_rng=other)


def test_no_key_is_needed_where_nothing_drops() -> None:
    """A masked LM has no classifier, whose dropout is a tenth in the config."""
    model = make_model(FlaxAlbertForMaskedLM, **{**STILL, "classifier_dropout_prob": 0.1})
    np.testing.assert_allclose(model(IDS, train=True).logits, model(IDS).logits, rtol=1e-5, atol=1e-5)


def test_wrong_params_are_named() -> None:
    model = make_model(**STILL)
    before, params = model.numpy_state(), model.params
    kernel = params["classifier"].pop("kernel")
    params["classifier"]["kernels"] = kernel
    params["albert"]["pooler"]["bias"] = jnp.zeros(7)
    problem = (
        r"missing: classifier/kernel; unknown: classifier/kernels; .*albert/pooler/bias \(expected \[15\], got \[7\]"
    )
    for use in (lambda: setattr(model, "params", params), lambda: model(IDS, params=params)):
        with pytest.raises(ValueError, match=problem):
            use()
    assert all(np.array_equal(before[name], array) for name, array in model.numpy_state().items())


def test_without_initialisation_the_model_has_no_params(folder: Path) -> None:
    config = make_model(**STILL).config
    made = FlaxAlbertForSequenceClassification(config, seed=1, _do_init=False)
    loaded, params = FlaxAlbertForSequenceClassification.from_pretrained(folder, _do_init=False)
    for model in (made, loaded):
        for use in (
            lambda m=model: m.params,
            lambda m=model: m(IDS),
            lambda m=model: setattr(m, "params", params),
            lambda m=model: m.save_pretrained(folder / "empty"),
            lambda m=model: m.resize_token_embeddings(50),
            lambda m=model: m.device,
        ):
            with pytest.raises(ValueError, match="_do_init=False"):
                use()
    assert np.array_equal(made(IDS, params=params).logits, loaded(IDS, params=params).logits)


def test_the_seed_decides_what_a_checkpoint_lacks(tmp_path: Path) -> None:
    make_model(FlaxAlbertModel).save_pretrained(tmp_path / "encoder")
    load = FlaxAlbertForSequenceClassification.from_pretrained
    models = [load(tmp_path / "encoder", seed=seed) for seed in (0, 0, 1)]
    kernels = [np.asarray(model.classifier.kernel[...]) for model in models]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert all(0 < np.abs(kernel).max() <= 0.4 for kernel in kernels), "cut at two standard deviations"


def dropped(model: Any) -> np.ndarray:
    """Word by word, what an embedding has left."""
    model.train()
    return np.asarray(model.albert.embeddings.dropout(jnp.ones((4, 32))))


def test_the_seed_decides_what_a_loaded_model_drops(tmp_path: Path) -> None:
    make_model(hidden_dropout_prob=0.5).save_pretrained(tmp_path / "model")
    load = FlaxAlbertForSequenceClassification.from_pretrained
    zero, same, one = (dropped(load(tmp_path / "model", seed=seed)) for seed in (0, 0, 1))
    assert np.array_equal(zero, same)
    assert not np.array_equal(zero, one)


def test_nnx_reseed_finds_dropout(tmp_path: Path) -> None:
    made = make_model(hidden_dropout_prob=0.5)
    made.save_pretrained(tmp_path / "model")
    for model in (made, FlaxAlbertForSequenceClassification.from_pretrained(tmp_path / "model")):
        first = dropped(model)
        nnx.reseed(model, dropout=3)
        seeded = dropped(model)
        nnx.reseed(model, dropout=3)
        assert np.array_equal(seeded, dropped(model))
        assert not np.array_equal(seeded, first)


def test_the_shape_that_transformers_initialises_with_is_taken() -> None:
    config = make_model(**STILL).config
    made, other = (FlaxAlbertModel(config, **how) for how in ({"input_shape": (1, 8)}, {}))
    assert np.array_equal(made.pooler.kernel[...], other.pooler.kernel[...])


def test_init_weights_draws_what_is_missing() -> None:
    model = make_model(**STILL)
    params = model.params
    kept = params["albert"].pop("pooler")
    fresh = model.init_weights(jax.random.key(0), (1, 1), params)
    assert fresh["classifier"]["kernel"] is params["classifier"]["kernel"]
    assert not np.array_equal(fresh["albert"]["pooler"]["kernel"], kept["kernel"])
    assert not np.array_equal(model.albert.pooler.kernel[...], fresh["albert"]["pooler"]["kernel"])


def test_params_are_saved_in_the_place_of_the_models_own(tmp_path: Path) -> None:
    model = make_model(**STILL)
    doubled = jax.tree.map(lambda x: 2 * x, model.params)
    before = model(IDS).logits
    model.save_pretrained(tmp_path / "doubled", doubled)  # the second place, as in transformers
    model.save_pretrained(tmp_path / "named", max_shard_size="1GB", params=doubled)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("doubled", "named")]
    assert files[0] == files[1]
    found = FlaxAlbertForSequenceClassification.from_pretrained(tmp_path / "doubled")
    np.testing.assert_allclose(found(IDS).logits, model(IDS, params=doubled).logits, rtol=1e-6, atol=1e-6)
    assert np.array_equal(model(IDS).logits, before)


def test_casting_with_a_mask() -> None:
    model = make_model(**STILL)
    params = model.params
    mask = jax.tree.map(lambda x: x.ndim > 1, params)
    half = model.to_fp16(params, mask)
    assert half["classifier"]["kernel"].dtype == jnp.float16
    assert half["classifier"]["bias"].dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(model.to_fp32(half))} == {np.dtype("float32")}


# -- arrays that a checkpoint fills ------------------------------------------------------------------------------------


def test_loading_draws_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Initial values are traced for their shapes alone, as nnx.eval_shape does."""
    drawn, normal = [], nnx.initializers.truncated_normal

    def watched(*args: Any, **kwargs: Any) -> Any:
        def draw(key: Any, *rest: Any) -> Any:
            drawn.append(isinstance(key, jax.core.Tracer))
            return normal(*args, **kwargs)(key, *rest)

        return draw

    monkeypatch.setattr(nnx.initializers, "truncated_normal", watched)
    model = FlaxAlbertForSequenceClassification.from_pretrained(folder)
    assert drawn
    assert all(drawn)
    assert np.isfinite(model(IDS).logits).all()
    model.train()
    assert np.isfinite(model(IDS).logits).all(), "its dropout has keys"


PEAK = """
import sys
from pathlib import Path
from albert_flax import FlaxAlbertModel

def resident(field):
    return 1024 * int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0])

FlaxAlbertModel.from_pretrained(sys.argv[1])  # what is imported and compiled on the way
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
model = FlaxAlbertModel.from_pretrained(sys.argv[2])
print((resident("VmHWM") - before) / (4 * model.num_parameters()))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads its peak memory from Linux' /proc")
def test_weights_do_not_stand_twice_in_memory(folder: Path, tmp_path: Path) -> None:
    sizes = {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4, "num_hidden_groups": 24}
    FlaxAlbertModel(AlbertConfig(**{**TINY, **sizes, "num_hidden_layers": 24})).save_pretrained(tmp_path / "large")
    command = [sys.executable, "-c", PEAK, str(folder), str(tmp_path / "large")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    assert 0.9 < float(done.stdout) < 1.5  # all of it, and no second copy
