"""Pretraining in every backend: one trajectory, it learns, it resumes to the bit, and goes on in another backend."""

from __future__ import annotations

import importlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Adapter

from albert_core import reference
from albert_core.backends import BACKENDS
from albert_core.config import AlbertConfig
from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.heads import HEADS
from albert_core.parameters import initial_state
from albert_core.parity import precision, reference_gradients
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe, adamw_update, clip_by_global_norm, decays, lamb_update
from albert_core.training import parts_of, pretrain

HEAD = "AlbertForPreTraining"
CONFIG = AlbertConfig(
    vocab_size=25,
    embedding_size=8,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=16,
    initializer_range=0.3,
    hidden_dropout_prob=0.1,
    attention_probs_dropout_prob=0.1,
)
STILL = CONFIG.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout_prob=0.0)
RECIPE = PretrainingRecipe(
    batch_size=8,
    sequence_length=16,
    max_predictions=None,
    optimizer="adamw",
    bias_correction=True,
    learning_rate=1e-2,
    warmup_steps=5,
    total_steps=20,
    seed=3,
)
TRAJECTORY = 1e-11  # distance from the oracle over the distance moved, after 50 steps in float64


def data_of(recipe: PretrainingRecipe, seed: int = 0) -> PretrainingData:
    """Documents that say one piece again and again, so that there is something to learn at once."""
    tokens = np.repeat(np.random.default_rng(seed).integers(5, 25, 30), 60).astype(np.int32)
    corpus = TokenizedCorpus(tokens, np.arange(0, 1801, 6), np.arange(0, 301, 10))
    return PretrainingData(corpus, Vocabulary(0, 2, 3, 4, np.ones(25, bool), np.arange(5, 25)), recipe)


def trainer(name: str, config: AlbertConfig = CONFIG, recipe: PretrainingRecipe = RECIPE, **options: Any) -> Any:
    return importlib.import_module(f"{BACKENDS[name].package}.training").Trainer(config, recipe, **options)


def train(name: str, folder: Path, recipe: PretrainingRecipe = RECIPE, **options: Any) -> tuple[Any, list[str]]:
    lines: list[str] = []
    options = {"progress": lines.append, **options}
    return pretrain(trainer(name, recipe=recipe, device="cpu"), data_of(recipe), folder, **options), lines


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "moments.safetensors")}


# -- one trajectory ------------------------------------------------------------------------------------------------


def oracle_steps(recipe: PretrainingRecipe, steps: int) -> tuple[dict[str, np.ndarray], list[float]]:
    """The reference trained in NumPy: gradients by jax.grad of it, the update by the recipe's own formula."""
    parts = HEADS[HEAD].all_parts()
    state = {n: v for n, v in initial_state(STILL, parts, 3).items() if "decoder" not in n}
    m, v = ({n: np.zeros_like(x) for n, x in state.items()} for _ in range(2))
    data, losses = data_of(recipe), []
    for step in range(steps):
        batch = data.batch(0, step % data.batches(0))
        losses.append(float(reference.forward(STILL, state, batch, HEAD)["loss"]))
        gradients = reference_gradients(STILL, state, batch, HEAD)
        clipped, _ = clip_by_global_norm(np, [gradients[n] for n in state], recipe.max_gradient_norm)
        rate = recipe.rate(np, step)
        for (name, p), g in zip(list(state.items()), clipped, strict=True):
            rule = {"lamb": lamb_update, "adamw": adamw_update}[recipe.optimizer]
            adapt = {"adapt": decays(name)} if recipe.optimizer == "lamb" else {}
            decay = recipe.weight_decay if decays(name) else 0.0
            settings = {"bias_correction": recipe.bias_correction, "step": step + 1, "weight_decay": decay, **adapt}
            state[name], m[name], v[name] = rule(np, p, g, m[name], v[name], lr=rate, **settings)
    return state, losses


def moved(state: dict, start: dict, other: dict) -> float:
    """Distance between two ends over the distance moved; without the key bias, whose gradient is noise."""
    names = [n for n in other if "key.bias" not in n and "decoder" not in n]
    far = np.sqrt(sum(np.square(other[n] - start[n]).sum() for n in names))
    return float(np.sqrt(sum(np.square(state[n] - other[n]).sum() for n in names)) / far)


_oracles: dict[str, Any] = {}


@pytest.mark.xdist_group("trajectory")
@pytest.mark.parametrize("optimizer", ["lamb", "adamw"])
def test_fifty_steps_are_those_of_the_reference(backend: Adapter, optimizer: str) -> None:
    recipe = RECIPE.replace(optimizer=optimizer, total_steps=60, bias_correction=optimizer == "adamw")
    if optimizer not in _oracles:
        _oracles[optimizer] = oracle_steps(recipe, 50)
    oracle, losses = _oracles[optimizer]
    start, data = initial_state(STILL, HEADS[HEAD].all_parts(), 3), data_of(recipe)
    with precision(backend.name, "float64"):
        run = trainer(backend.name, STILL, recipe, dtype="float64")
        run.model.load_numpy_state(start)
        batches = (data.batch(0, step % data.batches(0)) for step in range(50))
        mine = [float(run.step(parts_of(batch, 1 + step % 2), step)) for step, batch in enumerate(batches)]
        state = run.model.numpy_state()
    assert moved(state, start, oracle) <= TRAJECTORY
    assert np.abs(np.array(mine) - losses).max() <= TRAJECTORY
    assert mine[-1] < 0.8 * mine[0]


def test_a_run_goes_on_in_another_backend(backend: Adapter, tmp_path: Path) -> None:
    """Ten steps in one backend and ten in the next end where twenty in one end."""
    after = {"torch": "tf", "tf": "flax", "flax": "torch"}[backend.name]
    data, ends = data_of(RECIPE), []
    for names in ((backend.name, backend.name), (backend.name, after)):
        folder = tmp_path / names[1]
        for name, steps in zip(names, (10, 20), strict=True):
            with precision(name, "float64"):
                run = trainer(name, STILL, RECIPE.replace(total_steps=steps), dtype="float64")
                pretrain(run, data, folder, progress=lambda line: None)
                end = run.model.numpy_state()
        ends.append(end)
    start = initial_state(STILL, HEADS[HEAD].all_parts(), RECIPE.seed)
    assert 0 < moved(ends[1], start, ends[0]) <= TRAJECTORY


def test_parts_add_up_to_the_batch() -> None:
    batch = data_of(RECIPE).batch(0, 0)
    parts = parts_of(batch, 3)
    assert sum(part.masked_share for part in parts) == pytest.approx(1.0, abs=1e-15)
    assert sum(part.order_share for part in parts) == pytest.approx(1.0, abs=1e-15)
    assert np.array_equal(np.concatenate([part.inputs["input_ids"] for part in parts]), batch["input_ids"])
    assert "labels" not in parts[0].inputs
    ignored = {**batch, "labels": np.full_like(batch["labels"], -100)}
    assert [part.masked_share for part in parts_of(ignored, 2)] == [0.0, 0.0]


# -- the loop ------------------------------------------------------------------------------------------------------


def test_it_learns(backend: Adapter, tmp_path: Path) -> None:
    recipe = RECIPE.replace(total_steps=150, optimizer="lamb")
    held_out = data_of(recipe, seed=1)
    state, lines = train(backend.name, tmp_path, recipe, evaluation=held_out, evaluate_every=50)
    assert state.stopped == "finished"
    last = state.history[-1]
    assert last["masked_accuracy"] > 2 * last["guess_accuracy"]
    assert last["masked_loss"] < 0.8 * np.log(20)
    assert any(line.startswith("held out  masked loss") for line in lines)


@pytest.mark.parametrize("autocast", [None, "bfloat16"])
def test_a_run_cut_in_two_ends_with_the_same_bits(backend: Adapter, autocast: str | None, tmp_path: Path) -> None:
    """With dropout, by a signal, in a checkpoint that both leave."""

    def stop(line: str) -> None:
        if line.startswith("step 7/"):
            os.kill(os.getpid(), signal.SIGTERM)

    def run(folder: str, **options: Any) -> Any:
        made = trainer(backend.name, device="cpu", autocast=autocast)
        return pretrain(made, data_of(RECIPE), tmp_path / folder, accumulation=2, **options)

    run("whole", progress=lambda line: None)
    first = run("cut", progress=stop, report_every=7)
    assert (first.stopped, first.step) == ("SIGTERM", 8)  # the signal came in step 7's line; step 8 was under way
    lines: list[str] = []
    second = run("cut", progress=lines.append)
    assert (second.stopped, second.step) == ("finished", 20)
    assert lines[0] == "going on from checkpoint-8"
    assert files_of(tmp_path / "whole" / "checkpoint-20") == files_of(tmp_path / "cut" / "checkpoint-20")


def test_only_the_newest_checkpoint_stays_and_the_best_model_opens(backend: Adapter, tmp_path: Path) -> None:
    held_out = data_of(RECIPE, seed=1)
    state, _ = train(backend.name, tmp_path, evaluation=held_out, evaluate_every=5, save_every=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "checkpoint-20"]
    assert state.best == max(entry["masked_accuracy"] for entry in state.history)
    for folder in ("best", "checkpoint-20"):
        model = backend.cls(HEAD).from_pretrained(tmp_path / folder)
        assert all(np.isfinite(array).all() for array in model.numpy_state().values())
    kept = json.loads((tmp_path / "checkpoint-20" / "training_state.json").read_text())
    assert kept["state"]["step"] == 20
    assert kept["recipe"]["learning_rate"] == RECIPE.learning_rate


def test_it_stops_in_time(tmp_path: Path) -> None:
    state, _ = train("torch", tmp_path, max_seconds=0.0)
    assert (state.stopped, state.step) == ("time", 1)
    assert (tmp_path / "checkpoint-1").is_dir()


def test_it_starts_from_given_weights(backend: Adapter, tmp_path: Path) -> None:
    start = {n: (v + 0.5).astype(np.float32) for n, v in initial_state(CONFIG, HEADS[HEAD].all_parts(), 0).items()}
    train(backend.name, tmp_path, RECIPE.replace(total_steps=1), initial=start)  # the rate of step 0 is 0
    model = backend.cls(HEAD).from_pretrained(tmp_path / "checkpoint-1")
    for name, array in model.numpy_state().items():
        np.testing.assert_array_equal(array, start[name])


def test_a_loss_that_is_no_number_ends_the_run(backend: Adapter, tmp_path: Path) -> None:
    start = {n: v * np.nan for n, v in initial_state(CONFIG, HEADS[HEAD].all_parts(), 0).items()}
    with pytest.raises(FloatingPointError, match="the loss of step 10 is nan"):
        train(backend.name, tmp_path, initial=start, report_every=10)
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    train("torch", tmp_path, RECIPE.replace(total_steps=1))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
