"""Every head moves: between the backends, into other heads, and to transformers and back."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Adapter, assert_close

from albert_core import reference
from albert_core.config import AlbertConfig
from albert_core.errors import ShapeMismatch
from albert_core.heads import HEADS
from albert_core.parity import GATE
from albert_core.parity_suite import GROUPS, TINY, batch, drawn_state, labels_for, with_choices
from albert_core.safetensors_io import save_sharded

WEIGHTS = "model.safetensors"
WORDS = "albert.embeddings.word_embeddings.weight"
FORWARD = GATE["float64"]["forward"]
NOTHING = {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": [], "non_finite_keys": {}}


@functools.cache
def config_of(positions: str = "absolute", labels: tuple[str, ...] = ("no", "maybe", "yes")) -> AlbertConfig:
    names = {"id2label": dict(enumerate(labels))}
    return AlbertConfig(**TINY, **GROUPS["2x2"], **names, position_embedding_type=positions)


def config_for_theirs(head: str) -> AlbertConfig:
    """In transformers sentence order and spans have as many scores as there are labels, and work with two."""
    two = head in ("AlbertForPreTraining", "AlbertForQuestionAnswering")
    return config_of(labels=("first", "second")) if two else config_of()


def inputs_of(config: AlbertConfig, head: str, whole: bool = False) -> dict[str, np.ndarray]:
    """A batch with labels; without padding where `whole`."""
    inputs = batch(config)
    if whole:
        inputs["attention_mask"] = np.ones_like(inputs["attention_mask"])
    inputs = with_choices(inputs) if HEADS[head].signature.choices else inputs
    return inputs | labels_for(config, head, inputs)


# -- nine pairs of backends ------------------------------------------------------------------------------------------


def written_without_a_backend(state: dict[str, np.ndarray], head: str, folder: Path) -> bytes:
    """The weights file of a state: without the decoder, which is the words again, and a bare encoder without prefix."""
    kept = {n: v for n, v in state.items() if n != "predictions.decoder.weight"}
    kept = {n.removeprefix("albert."): v for n, v in kept.items()} if head == "AlbertModel" else kept
    save_sharded(folder, kept)
    return (folder / WEIGHTS).read_bytes()


@pytest.mark.parametrize("head", HEADS)
def test_a_head_moves_to_every_backend(
    backend: Adapter, head: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What one backend saves, each one loads: the bytes that no backend wrote, an empty report, equal outputs."""
    config = config_of("relative_key")
    state, inputs = drawn_state(config, head), inputs_of(config, head)
    with backend.precision("float64"):
        saving = backend.model(head, config, state=state)
        saving.save_pretrained(tmp_path / "saved")
        before = backend.run(saving, inputs)
    assert (tmp_path / "saved" / WEIGHTS).read_bytes() == written_without_a_backend(state, head, tmp_path)
    for name in request.config.getoption("--backends").split(","):
        loader = Adapter(name)
        with loader.precision("float64"):
            loaded, report = loader.cls(head).from_pretrained(tmp_path / "saved", output_loading_info=True)
            after = loader.run(loaded, inputs)
            arrays = loaded.numpy_state()
        assert report == NOTHING | {"integrity": "verified", "dtype": "float64", "cast": False}
        assert {n: a.tobytes() for n, a in arrays.items()} == {n: a.tobytes() for n, a in state.items()}
        assert before.keys() == after.keys()
        assert_close(after, before, FORWARD)
        assert loaded.config == saving.config.replace(extra=loaded.config.extra)


# -- one head's checkpoint in another --------------------------------------------------------------------------------

POOLER = {"albert.pooler.weight", "albert.pooler.bias"}
DECODER = {"predictions.decoder.bias"}  # the same array as predictions.bias, so never missing by itself
MASKED = {"predictions.bias"} | {
    f"predictions.{m}.{leaf}" for m in ("LayerNorm", "dense") for leaf in ("weight", "bias")
}
CLASSIFIER = {"classifier.weight", "classifier.bias"}
OWN: dict[str, set[str]] = {
    "AlbertModel": POOLER,
    "AlbertForPreTraining": POOLER | MASKED | {"sop_classifier.classifier.weight", "sop_classifier.classifier.bias"},
    "AlbertForMaskedLM": MASKED,
    "AlbertForSequenceClassification": POOLER | CLASSIFIER,
    "AlbertForMultipleChoice": POOLER | CLASSIFIER,
    "AlbertForTokenClassification": CLASSIFIER,
    "AlbertForQuestionAnswering": {"qa_outputs.weight", "qa_outputs.bias"},
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A float64 checkpoint of each head, saved by the first backend."""
    import albert_torch

    folders = {head: tmp_path_factory.mktemp("moves") / head for head in HEADS}
    for seed, (head, folder) in enumerate(folders.items()):
        model = getattr(albert_torch, head)._construct(config_of(), "float64")
        model.load_numpy_state(drawn_state(config_of(), head, seed))
        model.save_pretrained(folder)
    return folders


@pytest.mark.parametrize("target", HEADS)
@pytest.mark.parametrize("source", HEADS)
def test_a_head_loads_what_it_can_of_another(checkpoints: dict[str, Path], source: str, target: str) -> None:
    """Shared tensors are taken, missing ones of the head are drawn, the others' are named; nothing else happens."""
    import albert_torch

    load = functools.partial(getattr(albert_torch, target).from_pretrained, checkpoints[source])
    clash = {source, target} & {"AlbertForMultipleChoice"} and CLASSIFIER <= OWN[source] & OWN[target]
    clash = clash if source != target else set()
    if clash:
        with pytest.raises(ShapeMismatch, match=r"classifier\.bias.*classifier\.weight|classifier\.weight.*bias"):
            load()
    model, report = load(ignore_mismatched_sizes=bool(clash), output_loading_info=True)
    unused = OWN[source] - OWN[target] | (DECODER if MASKED <= OWN[source] - OWN[target] else set())
    if source == "AlbertModel":  # a bare encoder's file leaves the prefix out
        unused = {name.removeprefix("albert.") for name in unused}
    assert set(report["missing_keys"]) == OWN[target] - OWN[source]
    assert set(report["unexpected_keys"]) == unused
    assert {key for key, _, _ in report["mismatched_keys"]} == (CLASSIFIER if clash else set())
    was, now = drawn_state(config_of(), source, list(HEADS).index(source)), model.numpy_state()
    fresh = OWN[target] - OWN[source] | (CLASSIFIER if clash else set())
    for name, value in now.items():
        if name in fresh:
            assert check_fresh(name, value)
        elif name != "predictions.decoder.bias":
            assert np.array_equal(value, was[WORDS if name == "predictions.decoder.weight" else name]), name


def check_fresh(name: str, value: np.ndarray) -> bool:
    """Whether an array is as a new model has it."""
    if name.endswith("bias"):
        return not value.any()
    if "LayerNorm" in name:
        return bool((value == 1).all())
    return 0 < np.abs(value).max() <= 2 * TINY["initializer_range"]


@pytest.mark.parametrize("head", HEADS)
def test_every_backend_reports_the_same(backend: Adapter, head: str, checkpoints: dict[str, Path]) -> None:
    with backend.precision("float64"):
        _, report = backend.cls(head).from_pretrained(checkpoints["AlbertForPreTraining"], output_loading_info=True)
    assert set(report["missing_keys"]) == OWN[head] - OWN["AlbertForPreTraining"]
    unused = OWN["AlbertForPreTraining"] - OWN[head]
    assert set(report["unexpected_keys"]) == unused | (DECODER if MASKED <= unused else set())


# -- transformers ----------------------------------------------------------------------------------------------------


def run_theirs(model: Any, inputs: dict[str, np.ndarray], head: str) -> dict[str, np.ndarray]:
    """transformers' loss, logits and states under the names that it shares with ours."""
    import torch

    with torch.no_grad():
        out = model(**{k: torch.from_numpy(v) for k, v in inputs.items()})
    return {k: v.numpy() for k, v in out.items() if k in HEADS[head].output_class.__dataclass_fields__}


@pytest.mark.parametrize("head", HEADS)
def test_ours_opens_in_transformers(backend: Adapter, head: str, tmp_path: Path) -> None:
    import torch
    import transformers

    config = config_for_theirs(head)
    state, inputs = drawn_state(config, head), inputs_of(config, head, whole=True)
    with backend.precision("float64"):
        model = backend.model(head, config, state=state)
        model.save_pretrained(tmp_path / "ours")
        mine = backend.run(model, inputs)
    theirs, info = getattr(transformers, head).from_pretrained(
        tmp_path / "ours", dtype=torch.float64, attn_implementation="eager", output_loading_info=True
    )
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.id2label == config.id2label
    got = run_theirs(theirs, inputs, head)
    assert set(got) == set(mine)
    assert_close(got, mine, FORWARD)
    oracle = reference.forward(config, state, inputs, head)
    assert_close(got, {name: value for name, value in oracle.items() if name in got}, FORWARD)


@functools.cache
def theirs_of(head: str) -> Any:
    """transformers' own float64 model, freshly drawn, with biases and norms moved away from their start."""
    import torch
    import transformers

    torch.manual_seed(0)
    values = config_for_theirs(head).to_dict()
    model = getattr(transformers, head)(transformers.AlbertConfig(**values, attn_implementation="eager"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.double().eval()


@pytest.mark.parametrize("head", HEADS)
def test_theirs_opens_in_ours(backend: Adapter, head: str, tmp_path: Path) -> None:
    config, theirs = config_for_theirs(head), theirs_of(head)
    theirs.save_pretrained(tmp_path)
    inputs = inputs_of(config, head, whole=True)
    with backend.precision("float64"):
        model, report = backend.cls(head).from_pretrained(tmp_path, output_loading_info=True)
        mine = backend.run(model, inputs)
        arrays = model.numpy_state()
    assert report == NOTHING | {"integrity": "unverified", "dtype": "float64", "cast": False}
    prefix = "albert." if head == "AlbertModel" else ""
    for name, value in theirs.state_dict().items():
        assert np.array_equal(arrays[prefix + name], value.numpy()), name
    assert_close(mine, run_theirs(theirs, inputs, head), FORWARD)
    assert model.config.id2label == config.id2label


# -- what a saved folder says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_a_folder_names_its_head_and_holds_nothing_twice(checkpoints: dict[str, Path], head: str) -> None:
    folder = checkpoints[head]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", WEIGHTS]
    values = json.loads((folder / "config.json").read_text())
    assert (values["architectures"], values["torch_dtype"]) == ([head], "float64")
    assert values["id2label"] == {"0": "no", "1": "maybe", "2": "yes"}
    size = int.from_bytes((folder / WEIGHTS).read_bytes()[:8], "little")
    names = json.loads((folder / WEIGHTS).read_bytes()[8 : 8 + size]).keys() - {"__metadata__"}
    decoder = DECODER if MASKED <= OWN[head] else set()
    heads_own = {n for n in names if not n.removeprefix("albert.").startswith(("embeddings.", "encoder."))}
    expected = OWN[head] | decoder
    assert heads_own == ({n.removeprefix("albert.") for n in expected} if head == "AlbertModel" else expected)
