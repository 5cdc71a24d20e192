"""Checkpoints between the backends and transformers: nine pairs, equal bytes, and every way a load can go wrong."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from conftest import Adapter, assert_close

from albert_core import reference
from albert_core.config import AlbertConfig
from albert_core.dtypes import DTYPES
from albert_core.errors import (
    CheckpointError,
    ConfigError,
    DtypeMismatch,
    IntegrityError,
    MissingKeys,
    NotFound,
    ShapeMismatch,
    UnexpectedKeys,
)
from albert_core.heads import HEADS
from albert_core.parameters import initial_state
from albert_core.parity_suite import GROUPS, TINY, batch
from albert_core.safetensors_file import save_safetensors

WEIGHTS = "model.safetensors"
HEAD = "AlbertForPreTraining"


def state_of(config: AlbertConfig, dtype: str = "float64", head: str = HEAD) -> dict[str, np.ndarray]:
    return {n: v.astype(DTYPES[dtype]) for n, v in initial_state(config, HEADS[head].all_parts(), 1).items()}


def saved(folder: Path, config: AlbertConfig, state: dict[str, np.ndarray]) -> Path:
    """A checkpoint written without any framework."""
    config.save_pretrained(folder)
    save_safetensors(folder / WEIGHTS, state)
    return folder


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", ["AlbertModel", HEAD])
def test_nine_pairs_equal_bytes(dtype: str, head: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    config = AlbertConfig(**TINY, **GROUPS["2x2"], position_embedding_type="relative_key")
    backends = [Adapter(name) for name in request.config.getoption("--backends").split(",")]
    state = state_of(config, dtype, head)
    for saver in backends:
        with saver.precision(dtype):
            saver.model(head, config, dtype, state).save_pretrained(tmp_path / saver.name)
    files = {saver.name: (tmp_path / saver.name / WEIGHTS).read_bytes() for saver in backends}
    assert len(set(files.values())) == 1
    for saver in backends:
        for loader in backends:
            with loader.precision(dtype):
                model, report = loader.cls(head).from_pretrained(tmp_path / saver.name, output_loading_info=True)
                assert report["integrity"] == "verified"
                assert report["dtype"] == dtype
                loaded = model.numpy_state()
            assert all(loaded[n].tobytes() == np.ascontiguousarray(v).tobytes() for n, v in state.items())


@pytest.mark.parametrize("shard_size", ["5GB", 3000])
def test_ours_opens_in_transformers(backend: Adapter, shard_size: object, tmp_path: Path) -> None:
    import torch
    import transformers

    config = AlbertConfig(**TINY, **GROUPS["3x1"])
    state = state_of(config)
    inputs = batch(config)
    with backend.precision("float64"):
        backend.model(HEAD, config, state=state).save_pretrained(tmp_path / "m", max_shard_size=shard_size)
    assert (tmp_path / "m" / WEIGHTS).exists() is (shard_size == "5GB")
    theirs, info = transformers.AlbertForPreTraining.from_pretrained(
        tmp_path / "m", dtype=torch.float64, output_loading_info=True
    )
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        out = theirs(**{k: torch.from_numpy(v) for k, v in inputs.items()})
    oracle = reference.forward(config, state, inputs, HEAD)
    got = {name: out[name].numpy() for name in ("prediction_logits", "sop_logits")}
    # a fully masked row is left out: transformers 5 leaves what happens there to its kernel
    assert_close({k: v[:2] for k, v in got.items()}, {k: oracle[k][:2] for k in got}, 1e-13)


@pytest.mark.parametrize("shard_size", ["5GB", 3000])
def test_theirs_opens_here(backend: Adapter, shard_size: object, tmp_path: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    theirs = transformers.AlbertForPreTraining(transformers.AlbertConfig(**{**TINY, **GROUPS["3x1"]})).double().eval()
    theirs.save_pretrained(tmp_path, max_shard_size=shard_size)
    inputs = {k: v[:2] for k, v in batch(AlbertConfig(**TINY)).items()}
    with backend.precision("float64"):
        model, report = backend.cls(HEAD).from_pretrained(tmp_path, output_loading_info=True)
        got = backend.run(model, inputs)
    assert report["missing_keys"] == report["unexpected_keys"] == []
    assert report["integrity"] == "unverified"
    with torch.no_grad():
        out = theirs(**{k: torch.from_numpy(v) for k, v in inputs.items()})
    assert_close(got, {name: out[name].numpy() for name in ("prediction_logits", "sop_logits")}, 1e-13)


def test_heads_share_checkpoints(backend: Adapter, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY)
    folder = saved(tmp_path / "whole", config, state_of(config, "float32"))
    _, report = backend.cls("AlbertForMaskedLM").from_pretrained(folder, output_loading_info=True)
    assert {k.split(".")[0] for k in report["unexpected_keys"]} == {"albert", "sop_classifier"}
    encoder = backend.cls("AlbertModel").from_pretrained(folder)
    encoder.save_pretrained(tmp_path / "bare")
    _, report = backend.cls(HEAD).from_pretrained(tmp_path / "bare", output_loading_info=True)
    assert {k.split(".")[0] for k in report["missing_keys"]} == {"predictions", "sop_classifier"}
    _, report = backend.cls("AlbertModel").from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert "albert.pooler.weight" in report["unexpected_keys"]


@pytest.mark.parametrize("name", ["predictions.bias", "predictions.decoder.bias"])
def test_either_decoder_bias_is_enough(backend: Adapter, name: str, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY)
    state = state_of(config, "float32")
    state["predictions.bias"] = state["predictions.decoder.bias"] = np.arange(37, dtype=np.float32)
    kept = {
        k: v
        for k, v in state.items()
        if not (k.endswith(("predictions.bias", "decoder.bias", "decoder.weight")) and k != name)
    }
    model, report = backend.cls(HEAD).from_pretrained(saved(tmp_path / "m", config, kept), output_loading_info=True)
    assert report["missing_keys"] == []
    assert np.array_equal(model.numpy_state()["predictions.bias"], state["predictions.bias"])


@pytest.mark.parametrize("head", ["AlbertModel", HEAD])
def test_norms_under_their_old_names_are_read(backend: Adapter, head: str, tmp_path: Path) -> None:
    state = {n: v + 1 for n, v in state_of(AlbertConfig(**TINY), "float32").items()}
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for n, v in state.items()
    }
    assert sum(name.endswith(("gamma", "beta")) for name in old) == 6
    loaded = backend.cls(head).from_pretrained(saved(tmp_path, AlbertConfig(**TINY), old)).numpy_state()
    assert all(np.array_equal(v, state[n]) for n, v in loaded.items())


TIES = {  # what a copy of a tied name holds, beside what is used -> the error, and what it says
    "its own bias": (("predictions.decoder.bias", lambda a: a + 1), IntegrityError, "decoder.bias differs from pred"),
    "its own words": (("predictions.decoder.weight", lambda a: a[::-1]), IntegrityError, "decoder.weight differs from"),
    "a shape": (("predictions.decoder.weight", lambda a: a[:5]), ShapeMismatch, r"expected \[37, 6\], got \[5, 6\]"),
    "the same": (("predictions.decoder.weight", np.copy), None, ""),
}


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("tie", TIES)
def test_a_tied_copy_that_differs_is_refused(backend: Adapter, tie: str, digests: bool, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY)
    state = state_of(config, "float32")
    (name, change), error, message = TIES[tie]
    state[name] = np.ascontiguousarray(change(state[name]))
    folder = saved(tmp_path, config, state)
    if not digests:
        safetensors.numpy.save_file(state, folder / WEIGHTS)
    with pytest.raises(error, match=message) if error else nullcontext():
        backend.cls(HEAD).from_pretrained(folder)
    assert backend.cls("AlbertModel").from_pretrained(folder)  # which has no decoder


def test_a_tie_that_a_file_denies_is_saved_as_it_is(backend: Adapter, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY, tie_word_embeddings=False)
    backend.model(HEAD, config, "float32").save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is True


def _without(name: str):
    return lambda s: s.pop(name)


WORDS, KEY = (
    "albert.embeddings.word_embeddings.weight",
    "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.key.weight",
)
NORM = "albert.embeddings.LayerNorm.weight"
BROKEN = {
    "missing": (_without(WORDS), MissingKeys, WORDS),
    "unexpected": (lambda s: s.update({"bert.x": s[KEY]}), UnexpectedKeys, "bert.x"),
    "layer the config has not": (
        lambda s: s.update({KEY.replace("groups.0", "groups.4"): s[KEY]}),
        UnexpectedKeys,
        "albert_layer_groups.4",
    ),
    "shape": (lambda s: s.update({KEY: s[KEY][:5]}), ShapeMismatch, r"expected \[15, 15\], got \[5, 15\]"),
    "transposed": (
        lambda s: s.update({"albert.encoder.embedding_hidden_mapping_in.weight": s[WORDS][:6].repeat(2, 1)}),
        ShapeMismatch,
        "embedding_hidden_mapping_in",
    ),
    "head shape": (
        lambda s: s.update({"predictions.bias": s["predictions.bias"][:5]}),
        ShapeMismatch,
        "predictions.bias",
    ),
    "two names": (lambda s: s.update({NORM.replace("weight", "gamma"): s[NORM]}), UnexpectedKeys, f"of {NORM}"),
    "integers": (lambda s: s.update({KEY: s[KEY].astype(np.int32)}), DtypeMismatch, "int32"),
    "several": (
        lambda s: (s.pop(WORDS), s.update({"x": s[KEY], KEY: s[KEY][:5]})),
        CheckpointError,
        r"(?s)word_embeddings.*attention\.key.*\bx\b",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_bad_checkpoint_is_one_error_and_changes_nothing(backend: Adapter, fault: str, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY)
    state = state_of(config, "float32")
    model = backend.model(HEAD, config, "float32", state)
    spoil, kind, message = BROKEN[fault]
    broken = {n: v + 1 for n, v in state.items() if "decoder" not in n}
    spoil(broken)
    folder = saved(tmp_path / "m", config, broken)
    with pytest.raises(kind, match=message) as caught:
        backend.cls(HEAD).from_pretrained(folder)
    assert str(folder) in str(caught.value)
    with pytest.raises(kind, match=message):
        model.load_numpy_state(broken)
    now = model.numpy_state()
    assert all(now[n].tobytes() == v.tobytes() for n, v in state.items())


def test_ignore_mismatched_sizes_is_for_heads_only(backend: Adapter, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY)
    state = {n: v for n, v in state_of(config, "float32").items() if "decoder" not in n}
    state["sop_classifier.classifier.weight"] = np.zeros((3, 15), np.float32)
    folder = saved(tmp_path / "m", config, state)
    _, report = backend.cls(HEAD).from_pretrained(folder, ignore_mismatched_sizes=True, output_loading_info=True)
    assert report["mismatched_keys"] == [("sop_classifier.classifier.weight", (3, 15), (2, 15))]
    state[KEY] = state[KEY][:5]
    with pytest.raises(ShapeMismatch, match=r"attention\.key"):
        backend.cls(HEAD).from_pretrained(saved(tmp_path / "n", config, state), ignore_mismatched_sizes=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_the_checkpoints_unless_given(backend: Adapter, dtype: str, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY)
    folder = saved(tmp_path / "m", config, state_of(config, "float32"))
    model, report = backend.cls(HEAD).from_pretrained(folder, dtype=dtype, output_loading_info=True)
    stored = "float32" if backend.name == "flax" else dtype  # where half precision is for computing alone
    assert (report["dtype"], report["cast"]) == (dtype, stored != "float32")
    assert {v.dtype.name for v in model.numpy_state().values()} == {stored}
    for other in (None, "auto"):
        assert (
            backend.cls(HEAD).from_pretrained(folder, torch_dtype=other, output_loading_info=True)[1]["dtype"]
            == "float32"
        )


def test_values_that_are_not_finite_are_reported_or_refused(backend: Adapter, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY)
    state = {n: v for n, v in state_of(config, "float32").items() if "decoder" not in n}
    state[KEY][0, :2] = np.nan, np.inf
    folder = saved(tmp_path / "m", config, state)
    _, report = backend.cls(HEAD).from_pretrained(folder, output_loading_info=True)
    assert report["non_finite_keys"] == {KEY: 2}
    with pytest.raises(IntegrityError, match=r"attention\.key\.weight"):
        backend.cls(HEAD).from_pretrained(folder, check_finite=True)


def test_bad_arguments(backend: Adapter, tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", AlbertConfig(**TINY), state_of(AlbertConfig(**TINY), "float32"))
    with pytest.raises(ValueError, match=r"dtype: expected one of .*got 'int8'"):
        backend.cls(HEAD).from_pretrained(folder, dtype="int8")
    with pytest.raises(ValueError, match=r"attn_implementation: .* sdpa, got 'flash'"):
        backend.cls(HEAD).from_pretrained(folder, attn_implementation="flash")
    with pytest.raises(ValueError, match=r"(?i)device.*nope"):
        backend.cls(HEAD).from_pretrained(folder, device="nope")
    with pytest.raises(ConfigError, match="hidden_dropout_prob"):
        backend.cls(HEAD).from_pretrained(folder, hidden_dropout_prob=2.0)
    with pytest.raises(NotFound, match="no-such-folder"):
        backend.cls(HEAD).from_pretrained(tmp_path / "no-such-folder")
    (folder / "config.json").unlink()
    with pytest.raises(NotFound, match=r"config\.json"):
        backend.cls(HEAD).from_pretrained(folder)


def test_what_is_saved_says_what_it_is(backend: Adapter, tmp_path: Path) -> None:
    config = AlbertConfig(**TINY, id2label={0: "no", 1: "yes"}, net_structure_type=0)
    backend.model("AlbertForMaskedLM", config, "float32").save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["architectures"] == ["AlbertForMaskedLM"]
    assert (values["torch_dtype"], values["net_structure_type"], values["id2label"]) == (
        "float32",
        0,
        {"0": "no", "1": "yes"},
    )
