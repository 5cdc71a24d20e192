"""The fill-mask pipeline over the NumPy reference, and the same answers from every backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import Adapter

from albert_core import reference
from albert_core.config import AlbertConfig
from albert_core.hub import BUNDLED_MODEL, locate
from albert_core.outputs import MaskedLMOutput
from albert_core.parity import GATE
from albert_core.pipelines import FillMaskPipeline, pipeline
from albert_core.tokenizer import AutoTokenizer

SENTENCE = "Plants create [MASK] through a process known as photosynthesis."


class ReferenceModel:
    """A masked LM without a framework, in float64."""

    framework, head_name, compiles_shapes = "numpy", "AlbertForMaskedLM", False

    def __init__(self, config: AlbertConfig, state: dict[str, np.ndarray]) -> None:
        self.config, self.state, self.calls = config, state, []

    def run_numpy(self, **inputs: np.ndarray) -> MaskedLMOutput:
        self.calls.append({name: value.shape for name, value in inputs.items()})
        return MaskedLMOutput(logits=reference.forward(self.config, self.state, inputs, self.head_name)["logits"])


@pytest.fixture(scope="module")
def task() -> FillMaskPipeline:
    source = locate(BUNDLED_MODEL)
    with source.checkpoint() as checkpoint:
        state = {name: np.asarray(checkpoint[name], dtype=np.float64) for name in checkpoint}
    model = ReferenceModel(AlbertConfig.from_json_file(source.file("config.json")), state)
    return pipeline("fill-mask", model, tokenizer=AutoTokenizer.from_pretrained(BUNDLED_MODEL))


def test_one_mask(task: FillMaskPipeline) -> None:
    found = task(SENTENCE)
    assert len(found) == 5
    assert set(found[0]) == {"score", "token", "token_str", "sequence"}
    assert [c["score"] for c in found] == sorted((c["score"] for c in found), reverse=True)
    assert 0 < sum(c["score"] for c in found) < 1
    for c in found:
        assert c["token_str"] == task.tokenizer.decode([c["token"]])
        assert "[MASK]" not in c["sequence"]
        assert "[CLS]" not in c["sequence"]


def test_only_the_masked_positions_are_computed(task: FillMaskPipeline) -> None:
    task.model.calls.clear()
    task("The [MASK] and the [MASK].")
    assert task.model.calls[0]["masked_positions"] == (1, 2)


def test_a_model_that_compiles_gets_few_shapes(task: FillMaskPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["The [MASK] of a cell is [MASK] or [MASK]." + " It is." * n for n in range(3)]
    expected = task(texts)
    monkeypatch.setattr(task.model, "compiles_shapes", True)
    monkeypatch.setattr(task.model, "calls", [])
    for got, want in zip(task(texts, batch_size=4), expected, strict=True):
        for mine, theirs in zip(got, want, strict=True):
            assert [c["token"] for c in mine] == [c["token"] for c in theirs]
            assert np.allclose([c["score"] for c in mine], [c["score"] for c in theirs], rtol=1e-12)
    task(texts, batch_size=3)
    shapes = [(call["input_ids"], call["masked_positions"]) for call in task.model.calls]
    assert shapes == [((4, 32), (4, 4)), ((3, 32), (3, 4))]  # never more rows than were asked for
    monkeypatch.setattr(task.model, "config", task.model.config.replace(max_position_embeddings=30))
    task(texts[2])
    assert task.model.calls[-1]["input_ids"] == (1, 30)  # nor more places than the model has


def test_several_masks_and_several_texts(task: FillMaskPipeline) -> None:
    together = task([SENTENCE, "The [MASK] of the [MASK]."], top_k=3)
    assert len(together) == 2
    assert [len(mask) for mask in together[1]] == [3, 3]
    assert "[MASK]" in together[1][0][0]["sequence"]
    alone = task(SENTENCE, top_k=3)
    assert [c["token"] for c in together[0]] == [c["token"] for c in alone]  # padding changes nothing
    assert np.allclose([c["score"] for c in together[0]], [c["score"] for c in alone], rtol=1e-12)


def test_a_list_of_one_text_gives_what_the_text_gives_as_in_transformers(task: FillMaskPipeline) -> None:
    assert task([SENTENCE]) == task(SENTENCE)
    assert task((SENTENCE,)) == [task(SENTENCE)]
    assert task([]) == []


def test_an_iterator_is_taken_batch_after_batch(task: FillMaskPipeline) -> None:
    taken: list[str] = []

    def texts() -> Iterator[str]:
        for text in (SENTENCE, "The [MASK].", "A [MASK]."):
            taken.append(text)
            yield text

    results = task(texts(), batch_size=2)
    assert taken == []
    first = next(results)
    assert (len(taken), [c["token"] for c in first]) == (2, [c["token"] for c in task(SENTENCE)])
    assert len(list(results)) == 2


def test_what_a_call_does_not_say_stands_where_the_task_was_made(task: FillMaskPipeline) -> None:
    made = pipeline(
        "fill-mask", task.model, tokenizer=task.tokenizer, top_k=2, targets=["food", "energy"], batch_size=1
    )
    assert made(SENTENCE) == task(SENTENCE, top_k=2, targets=["food", "energy"])
    assert made(SENTENCE, top_k=np.int64(1), targets="water") == task(SENTENCE, top_k=1, targets="water")
    task.model.calls.clear()
    made([SENTENCE, SENTENCE])
    assert [call["input_ids"][0] for call in task.model.calls] == [1, 1]
    with pytest.raises(ValueError, match="top_k: expected a whole number, at least 1, got 0"):
        pipeline("fill-mask", task.model, tokenizer=task.tokenizer, top_k=0)
    with pytest.raises(TypeError, match="fill-mask has no option 'num_beams'; expected one of batch_size, cache_dir"):
        pipeline("fill-mask", task.model, tokenizer=task.tokenizer, num_beams=4)


def test_the_tokenizer_gets_more_arguments(task: FillMaskPipeline) -> None:
    (best, *_) = task("[MASK] " + "word " * 600, tokenizer_kwargs={"truncation": True, "max_length": 16})
    assert len(task.tokenizer(best["sequence"])["input_ids"]) <= 16


@pytest.mark.parametrize(
    "more", [{"padding": "max_length", "max_length": 40}, {"padding": True, "pad_to_multiple_of": 64}]
)
def test_padding_changes_no_answer(task: FillMaskPipeline, more: dict[str, Any]) -> None:
    assert task(SENTENCE, tokenizer_kwargs=more) == task(SENTENCE)


def test_segments_of_a_pair_reach_the_model(task: FillMaskPipeline) -> None:
    found = task(SENTENCE, tokenizer_kwargs={"text_pair": "They need light."}, top_k=2)
    scores = {c["token_str"]: round(c["score"], 5) for c in found}
    assert scores == {"plants": 0.05349, "changes": 0.05258}  # transformers 4.57.6
    assert found[0]["sequence"].endswith("photosynthesis. they need light.")


def test_targets(task: FillMaskPipeline) -> None:
    everything = {c["token"]: c["score"] for c in task(SENTENCE, top_k=task.model.config.vocab_size)}
    found = task(SENTENCE, targets=["food", "energy", "food"])
    assert {c["token_str"] for c in found} == {"food", "energy"}
    assert all(c["score"] == everything[c["token"]] for c in found)
    with pytest.warns(UserWarning, match="pieces; ranked by its first"):
        assert len(task(SENTENCE, targets="photosynthesisable")) == 1


def test_a_target_may_be_a_piece_that_goes_on_with_a_word(task: FillMaskPipeline) -> None:
    found = task(SENTENCE, targets=["s", "ing", "", "ed"])
    scores = {c["token_str"]: round(c["score"], 5) for c in found}
    assert scores == {"s": 0.0210, "ing": 0.00461, "ed": 0.0041}  # transformers 4.57.6


def test_tokens_and_rows_of_a_vocabulary_that_the_other_has_not(
    task: FillMaskPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_MODEL)
    size = task.model.config.vocab_size
    tokenizer.add_tokens(["photon"])
    monkeypatch.setattr(task, "tokenizer", tokenizer)
    with pytest.raises(ValueError, match=f"below the model's vocab_size, {size}, got {size} for 'photon'"):
        task(SENTENCE, targets=["photon"])
    monkeypatch.setattr(type(tokenizer), "__len__", lambda self: 1000)
    assert sorted(c["token"] for c in task("The [MASK].", top_k=size)) == list(range(1000))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("no mask", {}, r"with \[MASK\], got 'no mask'"),
        (SENTENCE, {"top_k": 0}, "top_k: expected a whole number, at least 1, got 0"),
        (SENTENCE, {"batch_size": True}, "batch_size: expected a whole number, at least 1, got True"),
        (SENTENCE, {"targets": []}, "targets: expected at least one word"),
        (SENTENCE, {"targets": ["", " "]}, r"targets: expected at least one word, got \['', ' '\]"),
        ("word " * 600 + "[MASK]", {}, "expected at most [0-9]+ pieces"),
    ],
)
def test_bad_input(task: FillMaskPipeline, text: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task(text, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "dtype: expected none beside a model object, got 'float16'"),
        ({"device_map": "cpu"}, "device_map: expected none beside a model object, got 'cpu'"),
        ({"attn_implementation": "eager"}, "attn_implementation: expected none beside a model object, got 'eager'"),
        ({"model_kwargs": {"add_pooling_layer": False}}, "add_pooling_layer: expected none beside a model object"),
        ({"framework": "pt"}, "model: expected one of the backend 'torch', got ReferenceModel"),
        ({"backend": "flax"}, "model: expected one of the backend 'flax', got ReferenceModel"),
    ],
)
def test_a_model_object_takes_no_options_of_loading(
    task: FillMaskPipeline, options: dict[str, Any], message: str
) -> None:
    assert pipeline("fill-mask", task.model, tokenizer=task.tokenizer, dtype="auto").model is task.model
    with pytest.raises(ValueError, match=message):
        pipeline("fill-mask", task.model, tokenizer=task.tokenizer, **options)


def test_a_model_object_of_each_backend(backend: Adapter, task: FillMaskPipeline) -> None:
    small = {"embedding_size": 4, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AlbertConfig(vocab_size=task.model.config.vocab_size, intermediate_size=8, **small)
    model = backend.model(task.head, config, "float32")
    made = backend.package.pipeline(
        "fill-mask", model, tokenizer=task.tokenizer, device="cpu", backend=backend.name, trust_remote_code=False
    )
    assert "cpu" in str(made.device).lower()
    assert made.framework == {"torch": "pt"}.get(backend.name, backend.name)
    assert "float32" in str(made.torch_dtype)
    assert len(made(SENTENCE, num_workers=0)) == 5
    with pytest.raises(ValueError, match=r"backend: expected .*, that of the package, got 'theano'"):
        backend.package.pipeline("fill-mask", model, backend="theano")
    other = backend.model("AlbertForPreTraining", config, "float32")
    with pytest.raises(ValueError, match="expected the head AlbertForMaskedLM for fill-mask, got AlbertForPreTraining"):
        backend.package.pipeline("fill-mask", other, tokenizer=task.tokenizer)


def test_ordinary_arguments_of_transformers(task: FillMaskPipeline) -> None:
    how = {"model_kwargs": {"torch_dtype": "float64", "use_safetensors": True}, "config": task.model.config}
    more = {"use_fast": False, "tokenizer_kwargs": {"text_pair": "They need light."}, "num_workers": 0}
    made = pipeline("fill-mask", BUNDLED_MODEL, backend="torch", **how, **more)
    assert "float64" in str(made.dtype)
    assert made.tokenizer.slow
    expected = task(SENTENCE, tokenizer_kwargs=more["tokenizer_kwargs"])
    assert [c["sequence"] for c in made(SENTENCE)] == [c["sequence"] for c in expected]


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="task: expected one of fill-mask, got 'translate'"):
        pipeline("translate")
    with pytest.raises(ValueError, match="backend: expected one of torch, tf, flax, got 'theano'"):
        pipeline("fill-mask", backend="theano")
    with pytest.raises(ValueError, match="framework: expected one of pt, tf, flax, jax, got 'theano'"):
        pipeline("fill-mask", framework="theano")
    with pytest.raises(ValueError, match="framework: expected that of the backend 'tf', got 'pt'"):
        pipeline("fill-mask", backend="tf", framework="pt")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_backend_gives_the_reference_answer(backend: Adapter, task: FillMaskPipeline, dtype: str) -> None:
    framework = {"torch": "pt"}.get(backend.name, backend.name)
    with backend.precision(dtype):
        found = backend.package.pipeline("fill-mask", BUNDLED_MODEL, framework=framework, dtype=dtype)(SENTENCE)
    expected = task(SENTENCE)
    assert [c["token"] for c in found] == [c["token"] for c in expected]
    # a score's relative error is its logit's absolute one, and this model's logits go up to 55
    gate = 60 * GATE[dtype]["forward"]
    assert np.allclose([c["score"] for c in found], [c["score"] for c in expected], rtol=gate, atol=0)
