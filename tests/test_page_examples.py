"""Code as users of transformers 4.57 write it for ALBERT, with nothing but the import line changed, in three dialects.

Every example is source text that runs as it stands. Names of models go through the real huggingface_hub to a local
hub, which serves small random weights; what an example computes is compared with the float64 reference.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from conftest import Adapter
from fake_hub import FakeHub, fake_hub
from page_sources import AUTO, CHOICES, CONFIGURATION, CPU_BY_NUMBER, FRESH, LOADED, PIPELINES, PROMPT, SOURCES

from albert_core import reference
from albert_core.backends import BACKENDS
from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.hub import BUNDLED_MODEL, locate
from albert_core.parity import GATE, rho
from albert_core.parity_suite import drawn_state
from albert_core.safetensors_file import save_safetensors
from albert_core.tokenizer import AutoTokenizer

State = dict[str, np.ndarray]

BASE, XXLARGE = "albert/albert-base-v2", "albert/albert-xxlarge-v2"
REVIEWS, TOPICS, NAMES, ANSWERS = (f"example/albert-{name}" for name in ("reviews", "topics", "names", "answers"))
SMALL = {
    "vocab_size": 8192,
    "embedding_size": 8,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    BASE: ("AlbertForPreTraining", {}),
    XXLARGE: ("AlbertForMultipleChoice", {"num_hidden_groups": 3}),
    REVIEWS: ("AlbertForSequenceClassification", {"id2label": {0: "NEGATIVE", 1: "POSITIVE"}}),
    TOPICS: ("AlbertForSequenceClassification", {"id2label": dict(enumerate(["ART", "LAW", "LOVE", "SPORT", "WAR"]))}),
    NAMES: ("AlbertForTokenClassification", {"id2label": dict(enumerate(["O", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]))}),
    ANSWERS: ("AlbertForQuestionAnswering", {"inner_group_num": 2}),
}
TOKENIZER_FILES = ("spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


# -- what the hub serves -------------------------------------------------------------------------------------------


@functools.cache
def published(name: str) -> tuple[AlbertConfig, State]:
    """Config and float32 weights of a model, with nothing left at its start."""
    head, changes = PUBLISHED[name]
    config = AlbertConfig(**SMALL, **changes)
    state = drawn_state(config, head, seed=sorted(PUBLISHED).index(name))
    return config, {n: v.astype(np.float32) for n, v in state.items()}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", server.endpoint)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        forget = getattr(huggingface_hub, "close_session", None) or huggingface_hub.utils.reset_sessions
        forget()
        yield server
        forget()


@functools.cache
def files_of(name: str) -> dict[str, bytes]:
    config, state = published(name)
    bundled = locate(BUNDLED_MODEL).folder
    assert bundled is not None
    with tempfile.TemporaryDirectory() as folder:
        save_safetensors(Path(folder, "model.safetensors"), state)
        paths = [Path(folder, "model.safetensors"), *(bundled / name for name in TOKENIZER_FILES)]
        return {path.name: path.read_bytes() for path in paths} | {"config.json": config.to_json_string().encode()}


def publish(hub: FakeHub, name: str) -> None:
    """Serve one model."""
    hub.repos = {name: files_of(name)}


# -- what an example ought to compute --------------------------------------------------------------------------------

tokenizer = functools.cache(lambda: AutoTokenizer.from_pretrained(BUNDLED_MODEL))


def encoded(*texts: Any, **options: Any) -> dict[str, np.ndarray]:
    return dict(tokenizer()(*texts, return_tensors="np", **options))


def expected(model: str, head: str, inputs: State, **changes: Any) -> dict[str, Any]:
    """The reference's outputs in float64."""
    config, state = published(model)
    wide = {n: v.astype(np.float64) for n, v in state.items()}
    return reference.forward(config.replace(**changes) if changes else config, wide, inputs, head)


PHOTOSYNTHESIS = "Plants create [MASK] through a process known as photosynthesis."


def _masked() -> State:
    inputs = encoded("The capital of [MASK] is Paris.")
    labels = encoded("The capital of France is Paris.")["input_ids"]
    return inputs | {"labels": np.where(inputs["input_ids"] == tokenizer().mask_token_id, labels, -100)}


def _choices() -> State:
    pairs = encoded([PROMPT, PROMPT], CHOICES, padding=True)
    return {name: value[None] for name, value in pairs.items()} | {"labels": np.array([0])}


def _topics() -> State:
    inputs = encoded("Hello, my dog is cute")
    logits = expected(TOPICS, "AlbertForSequenceClassification", inputs)["logits"]
    return inputs | {"labels": (logits > 0).astype(np.float64)}


def _names() -> State:
    inputs = encoded("HuggingFace is a company based in Paris and New York", add_special_tokens=False)
    logits = expected(NAMES, "AlbertForTokenClassification", inputs)["logits"]
    return inputs | {"labels": logits.argmax(-1)}


def _question() -> State:
    inputs = encoded("Who was Jim Henson?", "Jim Henson was a nice puppet")
    return inputs | {"start_positions": np.array([14]), "end_positions": np.array([15])}


def _piece(out: dict[str, Any], inputs: State) -> str:
    place = int(np.flatnonzero(inputs["input_ids"][0] == tokenizer().mask_token_id)[0])
    return tokenizer().decode([int(out["logits"][0, place].argmax())])


def _span(out: dict[str, Any], inputs: State) -> str:
    start, end = (int(out[name].argmax()) for name in ("start_logits", "end_logits"))
    return tokenizer().decode(inputs["input_ids"][0, start : end + 1], skip_special_tokens=True)


def _label(model: str) -> Callable[[dict[str, Any], State], str]:
    return lambda out, inputs: published(model)[0].id2label[int(out["logits"].argmax())]


def _labels(out: dict[str, Any], inputs: State) -> list[str]:
    return [published(NAMES)[0].id2label[int(i)] for i in out["logits"][0].argmax(-1)]


@dataclass(frozen=True)
class Example:
    """What the sources of this name ought to compute.

    Attributes:
        compared: Variables of the source, by the name of the output that they ought to be.
        answer: What the variable `answer` ought to be.
    """

    model: str
    head: str
    inputs: Callable[[], State]
    compared: dict[str, str]
    answer: Callable[[dict[str, Any], State], Any] | None = None
    changes: dict[str, Any] = field(default_factory=dict)


EXAMPLES = {
    "base model": Example(
        BASE,
        "AlbertModel",
        lambda: encoded("Hello, my dog is cute"),
        {"last_hidden_states": "last_hidden_state"},
    ),
    "pretraining": Example(
        BASE,
        "AlbertForPreTraining",
        lambda: encoded("Hello, my dog is cute"),
        {"prediction_logits": "prediction_logits", "sop_logits": "sop_logits"},
    ),
    "masked LM": Example(
        BASE,
        "AlbertForMaskedLM",
        _masked,
        {"logits": "logits", "loss": "loss"},
        _piece,
    ),
    "multiple choice": Example(
        XXLARGE,
        "AlbertForMultipleChoice",
        _choices,
        {"logits": "logits", "loss": "loss"},
    ),
    "sequence classification": Example(
        REVIEWS,
        "AlbertForSequenceClassification",
        lambda: encoded("Hello, my dog is cute") | {"labels": np.array([1])},
        {"logits": "logits", "loss": "loss"},
        _label(REVIEWS),
    ),
    "multi-label classification": Example(
        TOPICS,
        "AlbertForSequenceClassification",
        _topics,
        {"logits": "logits", "loss": "loss", "labels": "labels"},
        changes={"problem_type": "multi_label_classification"},
    ),
    "token classification": Example(
        NAMES,
        "AlbertForTokenClassification",
        _names,
        {"logits": "logits", "loss": "loss"},
        _labels,
    ),
    "question answering": Example(
        ANSWERS,
        "AlbertForQuestionAnswering",
        _question,
        {"start_scores": "start_logits", "end_scores": "end_logits", "loss": "loss"},
        _span,
    ),
}


def run(source: str) -> dict[str, Any]:
    """The variables that a user's code leaves behind."""
    names: dict[str, Any] = {}
    exec(compile(source, "<example>", "exec"), names)
    return names


def as_numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


@pytest.mark.parametrize("name", SOURCES)
def test_an_example_of_the_page(backend: Adapter, hub: FakeHub, name: str) -> None:
    example = EXAMPLES[name]
    publish(hub, example.model)
    names, inputs = run(SOURCES[name][backend.name]), example.inputs()
    oracle = expected(example.model, example.head, inputs, **example.changes) | inputs
    for variable, output in example.compared.items():
        assert rho(as_numpy(names[variable]), oracle[output]) <= GATE["float32"]["forward"], variable
    if example.answer is not None:
        assert names["answer"] == example.answer(oracle, inputs)
    assert any(f"/{example.model}/resolve/main/model.safetensors" in request for request in hub.requests)


def test_the_examples_do_not_hold_by_chance() -> None:
    """Losses differ from one another, spans are not empty and topics are some but not all."""
    outputs = {name: expected(e.model, e.head, e.inputs(), **e.changes) for name, e in EXAMPLES.items()}
    losses = [float(out["loss"]) for out in outputs.values() if "loss" in out]
    assert len(losses) == 6
    assert min(abs(a - b) for i, a in enumerate(losses) for b in losses[:i]) > 1e-3
    assert 0 < _topics()["labels"].sum() < 5
    assert len(set(_labels(outputs["token classification"], {}))) > 1
    assert _span(outputs["question answering"], _question())


# -- loading options, pipeline and command line ----------------------------------------------------------------------


def photosynthesis() -> np.ndarray:
    """The reference's scores at the mask, [V]."""
    inputs = encoded(PHOTOSYNTHESIS)
    logits = expected(BASE, "AlbertForMaskedLM", inputs)["logits"][0]
    return logits[inputs["input_ids"][0].tolist().index(tokenizer().mask_token_id)]


WEIGHTS = {"torch": "float16", "tf": "float16", "flax": "float32"}  # where float16 is asked for; flax computes in it


def stored_in(model: Any) -> set[str]:
    return {array.dtype.name for array in model.numpy_state().values()}


@pytest.mark.parametrize("dtype", ["dtype", "torch_dtype"])
def test_half_precision_fused_attention_and_any_device(backend: Adapter, hub: FakeHub, dtype: str) -> None:
    publish(hub, BASE)
    names = run(LOADED[backend.name].format(dtype=dtype))
    assert stored_in(names["model"]) == {WEIGHTS[backend.name]}
    assert names["model"].attn_implementation == "sdpa"
    got, scores = as_numpy(names["predictions"]), photosynthesis()
    assert got.dtype == np.float16
    assert 1e-6 < rho(got[0], scores) <= GATE["float16"]["forward"]
    assert names["words"] == [tokenizer().decode([int(i)]) for i in np.argsort(-scores)[:5]]


def check_filled(filled: list[dict[str, Any]], bound: float) -> None:
    scores = photosynthesis()
    probabilities = np.exp(scores - scores.max())
    probabilities /= probabilities.sum()
    assert [c["token"] for c in filled] == np.argsort(-scores)[:5].tolist()
    assert rho([c["score"] for c in filled], np.sort(probabilities)[:-6:-1]) <= bound
    for c in filled:
        assert c["token_str"] == tokenizer().decode([c["token"]])
        assert c["token_str"] in c["sequence"]
        assert c["sequence"].endswith("through a process known as photosynthesis.")


def test_the_pipeline(backend: Adapter, hub: FakeHub) -> None:
    publish(hub, BASE)
    lane = "float16" if backend.name == "torch" else "float32"
    check_filled(run(PIPELINES[backend.name])["filled"], GATE[lane]["forward"])


def test_a_pipeline_on_device_minus_one_is_on_the_cpu(backend: Adapter, hub: FakeHub) -> None:
    publish(hub, BASE)
    names = run(CPU_BY_NUMBER.format(package=backend.package.__name__))
    check_filled(names["filled"], GATE["float32"]["forward"])
    assert "cpu" in str(names["task"].model.device).lower()


def test_the_command_line(hub: FakeHub, tmp_path: Path) -> None:
    """One process: an echo into `albert run`, with a model's name from the hub, in every backend."""
    publish(hub, BASE)
    line = f'echo "{PHOTOSYNTHESIS}" | albert run --task fill-mask --model albert-base-v2 --device cpu'
    shell = f'albert() {{ "{sys.executable}" -W ignore -m albert_core "$@"; }}; {line} --backend all --json'
    env = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["model"] == "albert-base-v2"
    (text,) = document["texts"]
    assert text["text"] == PHOTOSYNTHESIS
    assert set(text["fillings"]) == set(BACKENDS)
    for ((*filled,),) in text["fillings"].values():
        check_filled(filled, GATE["float32"]["forward"])


# -- configurations and classes by checkpoint ------------------------------------------------------------------------
DEFAULTS = {
    "vocab_size": 30000,
    "embedding_size": 128,
    "hidden_size": 4096,
    "num_hidden_layers": 12,
    "num_hidden_groups": 1,
    "num_attention_heads": 64,
    "intermediate_size": 16384,
    "inner_group_num": 1,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0,
    "attention_probs_dropout_prob": 0,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "classifier_dropout_prob": 0.1,
    "position_embedding_type": "absolute",
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "num_labels": 2,
    "id2label": {0: "LABEL_0", 1: "LABEL_1"},
    "problem_type": None,
}


def test_configurations(backend: Adapter) -> None:
    prefix = BACKENDS[backend.name].prefix
    names = run(CONFIGURATION.format(package=backend.package.__name__, prefix=prefix))
    xxlarge, base = names["albert_xxlarge_configuration"], names["configuration"]
    assert {name: getattr(xxlarge, name) for name in DEFAULTS} == DEFAULTS
    changed = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    assert {name: getattr(base, name) for name in DEFAULTS} == DEFAULTS | changed
    assert names["model"].num_parameters() == 11_683_584  # what is published of albert-base-v2, with its pooler


@pytest.mark.parametrize("head", HEADS)
def test_classes_by_checkpoint(backend: Adapter, hub: FakeHub, head: str) -> None:
    prefix = BACKENDS[backend.name].prefix
    model = next((name for name, (own, _) in PUBLISHED.items() if own == head), BASE)
    auto = f"{prefix}AutoModel" + head.removeprefix("Albert").replace("Model", "")
    publish(hub, model)
    names = run(AUTO.format(package=backend.package.__name__, auto=auto, model=model))
    config, state = published(model)
    for loaded in (names["model"], names["fresh"]):
        assert type(loaded).__name__ == prefix + head
    assert all(np.array_equal(v, state[n]) for n, v in names["model"].numpy_state().items())
    assert names["model"].config.id2label == config.id2label
    assert names["fresh"].config.hidden_dropout_prob == 0.25
    words = names["fresh"].numpy_state()["albert.embeddings.word_embeddings.weight"]
    assert words.shape == (8192, 8)
    assert not np.array_equal(words, state["albert.embeddings.word_embeddings.weight"])


@pytest.mark.parametrize("dtype", ["dtype", "torch_dtype"])
def test_a_fresh_model_of_a_dtype(backend: Adapter, hub: FakeHub, dtype: str) -> None:
    publish(hub, BASE)
    prefix = BACKENDS[backend.name].prefix
    model = run(FRESH.format(package=backend.package.__name__, prefix=prefix, dtype=dtype))["model"]
    assert stored_in(model) == {WEIGHTS[backend.name]}
    assert model.attn_implementation == "eager"
