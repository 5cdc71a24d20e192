"""Checkpoints that others wrote, stored in tests/foreign: read here, run here, loaded by every backend."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from albert_conversion.convert import convert, plan_of
from albert_conversion.loading import FOREIGN_FILES
from albert_conversion.opened import open_checkpoint
from conftest import Adapter
from conversion_cases import SIZES, hub_epsilon, tensors_of, written_as
from fake_hub import FakeHub, fake_hub
from test_hub import _forget_connections

from albert_core import reference
from albert_core.config import AlbertConfig
from albert_core.errors import (
    BackendMissing,
    FormatError,
    IntegrityError,
    MissingKeys,
    NotFound,
    ShapeMismatch,
    UnexpectedKeys,
)
from albert_core.heads import HEADS
from albert_core.hub import locate
from albert_core.parameters import initial_state
from albert_core.safetensors_file import save_safetensors

FOREIGN = Path(__file__).parent / "foreign"
INPUTS = {
    "input_ids": np.array([[2, 5, 7, 3, 0], [2, 8, 1, 9, 3]]),
    "attention_mask": np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),
    "token_type_ids": np.array([[0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]),
}
HEAD = "AlbertForPreTraining"
HEADS_OF = {
    "bin": HEAD,
    "h5": HEAD,
    "msgpack": HEAD,
    "safetensors-tf": HEAD,
    "safetensors-flax": HEAD,
    "tf1": HEAD,
    "keras-hub": "AlbertForMaskedLM",  # in whose head keras-hub has another epsilon
    "tf-models": "AlbertModel",
}
CLOSE = dict.fromkeys(HEADS_OF, 1e-5)  # the owners computed in float32
CLOSE["keras-hub"] = 5e-5  # 1e-5 in place of 1e-12 in the norm of its head changes the fifth digit


def outputs(kind: str) -> dict[str, np.ndarray]:
    with np.load(FOREIGN / kind / "outputs.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize("kind", HEADS_OF)
def test_the_reference_gives_the_owner_s_numbers(kind: str) -> None:
    with open_checkpoint(FOREIGN / kind) as opened:
        plan = plan_of(opened)
        state = {name: plan.state[name].astype(np.float64) for name in plan.state}
    assert (opened.source.format.name, plan.head) == (kind.removesuffix("-tf").removesuffix("-flax"), HEADS_OF[kind])
    got = reference.forward(plan.config, state, INPUTS, plan.head)
    for name, expected in outputs(kind).items():
        assert np.abs(got[name] - expected).max() < CLOSE[kind], name


def test_keras_hub_s_masked_lm_differs_by_its_epsilon_alone() -> None:
    with open_checkpoint(FOREIGN / "keras-hub") as opened, hub_epsilon():
        plan = plan_of(opened)
        state = {name: plan.state[name].astype(np.float64) for name in plan.state}
        got = reference.forward(plan.config, state, INPUTS, plan.head)
    assert np.abs(got["logits"] - outputs("keras-hub")["logits"]).max() < 1e-6


@pytest.mark.parametrize("kind", HEADS_OF)
def test_every_backend_gives_the_owner_s_numbers_after_conversion(kind: str, backend: Adapter, tmp_path: Path) -> None:
    convert(FOREIGN / kind, tmp_path / "out")
    model, report = backend.cls(HEADS_OF[kind]).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert (report["missing_keys"], report["integrity"]) == ([], "verified")
    assert all("pooler" in name for name in report["unexpected_keys"])
    got = backend.run(model, INPUTS)
    for name, expected in outputs(kind).items():
        assert np.abs(got[name] - expected).max() < CLOSE[kind], name


@pytest.mark.parametrize("kind", ["bin", "h5", "msgpack", "safetensors-tf", "safetensors-flax"])
def test_every_backend_loads_the_folder_as_it_is(kind: str, backend: Adapter) -> None:
    model, report = backend.cls(HEAD).from_pretrained(FOREIGN / kind, output_loading_info=True)
    assert (report["missing_keys"], report["unexpected_keys"], report["integrity"]) == ([], [], "unverified")
    got = backend.run(model, INPUTS)
    for name, expected in outputs(kind).items():
        assert np.abs(got[name] - expected).max() < CLOSE[kind], name
    _, report = backend.cls("AlbertForMaskedLM").from_pretrained(FOREIGN / kind, output_loading_info=True)
    assert {name.split(".")[0] for name in report["unexpected_keys"]} <= {"albert", "sop_classifier"}


@pytest.mark.parametrize("kind", ["bin", "h5", "msgpack"])
def test_what_else_lies_in_a_folder_is_not_taken_for_the_weights(kind: str, tmp_path: Path) -> None:
    shutil.copytree(FOREIGN / kind, tmp_path / "m")
    weights = next(name for name in FOREIGN_FILES if (tmp_path / "m" / name).exists())
    for name in ("training_args.bin", "adapter_model.bin", "optimizer.pt", "rng_state.pth", "other.h5"):
        other = "h5/tf_model.h5" if name.endswith("h5") else "bin/pytorch_model.bin"
        shutil.copy(FOREIGN / other, tmp_path / "m" / name)
    save_safetensors(tmp_path / "m/adapter_model.safetensors", {"lora_A": np.zeros(2, np.float32)})
    assert convert(tmp_path / "m", tmp_path / "out").source == str(tmp_path / "m" / weights)
    with locate(tmp_path / "m").checkpoint() as checkpoint:
        assert checkpoint.path == tmp_path / "m" / weights


@pytest.mark.parametrize("kind", ["bin", "h5", "msgpack"])
def test_a_foreign_folder_is_loaded_as_safetensors_are(kind: str, backend: Adapter, tmp_path: Path) -> None:
    """Other heads' tensors are reported, missing ones of the head are initialised, all else is an error."""
    config = AlbertConfig(**SIZES, num_hidden_groups=2)
    parts = [part for head in ("AlbertForMaskedLM", "AlbertForTokenClassification") for part in HEADS[head].all_parts()]
    state = {n: a.astype(np.float32) for n, a in initial_state(config, parts, 1).items() if "decoder" not in n}
    folder = written_as(kind, tmp_path / "a", config, state, parts)
    (folder / "config.json").unlink()

    def load(head: str, name: str = "a", **options: Any) -> dict[str, Any]:
        found = backend.cls(head).from_pretrained(tmp_path / name, output_loading_info=True, **options)[1]
        return {key: sorted(found[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}

    classifier = ["classifier.bias", "classifier.weight"]
    nothing: dict[str, list[Any]] = {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": []}
    assert load("AlbertForMaskedLM", config=config) == nothing | {"unexpected_keys": classifier}
    found = load("AlbertForQuestionAnswering", config=config)
    assert found["missing_keys"] == ["qa_outputs.bias", "qa_outputs.weight"]
    assert {*classifier, "predictions.bias"} <= set(found["unexpected_keys"])
    more = {"config": config, "num_labels": 5}
    found = load("AlbertForTokenClassification", ignore_mismatched_sizes=True, **more)
    assert found["mismatched_keys"] == [(classifier[0], (2,), (5,)), (classifier[1], (2, 6), (5, 6))]
    with pytest.raises(ShapeMismatch, match=r"classifier.weight \(expected \[5, 6\], got \[2, 6\]\)"):
        load("AlbertForTokenClassification", **more)
    with pytest.raises(UnexpectedKeys, match=r"albert_layer_groups.*1"):
        load("AlbertForMaskedLM", config=config.replace(num_hidden_groups=1))
    key = "albert.encoder.embedding_hidden_mapping_in.bias"
    written_as(kind, tmp_path / "b", config, {name: array for name, array in state.items() if name != key}, parts)
    with pytest.raises(MissingKeys, match=rf"1 missing tensors: {key}"):
        load("AlbertForMaskedLM", "b")


def test_two_words_of_one_h5_file_that_differ_are_an_error(tmp_path: Path) -> None:
    import h5py

    shutil.copytree(FOREIGN / "h5", tmp_path / "m")
    with h5py.File(tmp_path / "m/tf_model.h5", "a") as file:
        words: list[Any] = []
        file.visititems(lambda name, each: words.append(each) if "word_embeddings/" in name else None)
        tables = [each for each in words if isinstance(each, h5py.Dataset)]
        tables[1][...] = tables[0][...] + 1
    assert len(tables) == 2
    with pytest.raises(IntegrityError, match=r"word_embeddings.* differs from .*, to which it is tied"):
        locate(tmp_path / "m").checkpoint()


def test_another_foreign_folder_is_met_with_the_command_that_converts_it(backend: Adapter, tmp_path: Path) -> None:
    shutil.copytree(FOREIGN / "tf1", tmp_path / "two words")
    (tmp_path / "two words/config.json").write_text('{"model_type": "albert"}')
    with pytest.raises(NotFound, match=r"albert convert '.*two words' '.*two words-converted'`"):
        backend.cls(HEAD).from_pretrained(tmp_path / "two words")


def test_a_damaged_foreign_file_is_a_typed_error(backend: Adapter, tmp_path: Path) -> None:
    shutil.copytree(FOREIGN / "msgpack", tmp_path / "m")
    weights = tmp_path / "m/flax_model.msgpack"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"flax_model\.msgpack"):
        backend.cls(HEAD).from_pretrained(tmp_path / "m")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyfive", None)
    with pytest.raises(BackendMissing, match=r"^this needs pyfive; install it with: .*albert-models\[convert\]"):
        open_checkpoint(FOREIGN / "h5")


def test_a_hub_listing_with_every_format_prefers_safetensors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for kind in ("bin", "h5", "msgpack"):
        shutil.copytree(FOREIGN / kind, tmp_path / "all", dirs_exist_ok=True)
    convert(FOREIGN / "bin", tmp_path / "all")
    report = convert(tmp_path / "all", tmp_path / "out")
    assert report.source_format == "safetensors"
    assert [Path(p).name for p in report.others] == ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with fake_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        _forget_connections()
        yield server
        _forget_connections()


@pytest.mark.parametrize("kind", ["bin", "h5", "msgpack", "safetensors-tf", "bin in shards"])
def test_a_hub_model_with_older_weights_alone_is_loaded_too(kind: str, hub: FakeHub, tmp_path: Path) -> None:
    folder = FOREIGN / kind.split()[0]
    if kind.endswith("shards"):
        convert(folder, tmp_path / "shards", "bin", max_shard_size=500)
        folder = tmp_path / "shards"
    hub.repos["org/name"] = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".npz"}
    source = locate("org/name", cache_dir=tmp_path / "cache")
    with source.checkpoint(config=AlbertConfig.from_pretrained(folder)) as checkpoint:
        assert checkpoint.integrity == "unverified"
        got = {name: checkpoint[name].tobytes() for name in checkpoint}
    expected = {name: data for name, (_, data) in tensors_of(FOREIGN / kind.split()[0]).items()}
    assert {name: data for name, data in got.items() if "decoder" not in name} == expected
    offline = locate("org/name", cache_dir=tmp_path / "cache", local_files_only=True)
    with offline.checkpoint(config=AlbertConfig.from_pretrained(folder)) as checkpoint:
        assert set(checkpoint) == set(got)
