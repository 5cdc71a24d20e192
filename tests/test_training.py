"""The torch pretraining loop: it learns, it resumes to the bit, it stops when told, and it keeps what it should."""

from __future__ import annotations

import importlib
import json
import os
import signal

import numpy as np
import pytest

torch = importlib.import_module("torch")

from albert_core.config import AlbertConfig  # noqa: E402
from albert_core.corpus import TokenizedCorpus, Vocabulary  # noqa: E402
from albert_core.pretraining_data import PretrainingData  # noqa: E402
from albert_core.recipes import PretrainingRecipe  # noqa: E402
from albert_torch.models import AlbertForPreTraining  # noqa: E402
from albert_torch.training import pretrain  # noqa: E402

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


def data_of(recipe, seed=0):
    """Documents that say one piece again and again, so that there is something to learn at once."""
    tokens = np.repeat(np.random.default_rng(seed).integers(5, 25, 30), 60).astype(np.int32)
    corpus = TokenizedCorpus(tokens, np.arange(0, 1801, 6), np.arange(0, 301, 10))
    return PretrainingData(corpus, Vocabulary(0, 2, 3, 4, np.ones(25, bool), np.arange(5, 25)), recipe)


def files_of(folder):
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "moments.safetensors")}


def train(folder, recipe=RECIPE, **options):
    lines = []
    state = pretrain(CONFIG, recipe, data_of(recipe), folder, progress=lines.append, device="cpu", **options)
    return state, lines


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_it_learns(tmp_path, optimizer):
    recipe = RECIPE.replace(total_steps=150, optimizer=optimizer)
    state, lines = train(tmp_path, recipe, evaluation=data_of(recipe, seed=1), evaluate_every=50)
    assert state.stopped == "finished"
    last = state.history[-1]
    assert last["masked_accuracy"] > 2 * last["guess_accuracy"]
    assert last["masked_loss"] < 0.8 * np.log(20)
    assert any(line.startswith("held out  masked loss") for line in lines)


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_a_run_cut_in_two_ends_with_the_same_bits(tmp_path, optimizer):
    recipe = RECIPE.replace(optimizer=optimizer)
    train(tmp_path / "whole", recipe)

    def stop(line):
        if line.startswith("step 7/"):
            os.kill(os.getpid(), signal.SIGTERM)

    first = pretrain(CONFIG, recipe, data_of(recipe), tmp_path / "cut", progress=stop, report_every=7, device="cpu")
    assert (first.stopped, first.step) == ("SIGTERM", 8)  # the signal came in step 7's line; step 8 was under way
    second, lines = train(tmp_path / "cut", recipe)
    assert (second.stopped, second.step) == ("finished", 20)
    assert lines[0] == "going on from checkpoint-8"
    assert files_of(tmp_path / "whole" / "checkpoint-20") == files_of(tmp_path / "cut" / "checkpoint-20")


def test_only_the_newest_checkpoint_stays_and_the_best_model_opens(tmp_path):
    state, _ = train(tmp_path, evaluation=data_of(RECIPE, seed=1), evaluate_every=5, save_every=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "checkpoint-20"]
    assert state.best == max(entry["masked_accuracy"] for entry in state.history)
    for folder in ("best", "checkpoint-20"):
        model = AlbertForPreTraining.from_pretrained(tmp_path / folder)
        assert all(torch.isfinite(p).all() for p in model.parameters())
    kept = json.loads((tmp_path / "checkpoint-20" / "training_state.json").read_text())
    assert kept["state"]["step"] == 20
    assert kept["recipe"]["learning_rate"] == RECIPE.learning_rate


def test_it_stops_in_time(tmp_path):
    state, _ = train(tmp_path, max_seconds=0.0)
    assert (state.stopped, state.step) == ("time", 1)
    assert (tmp_path / "checkpoint-1").is_dir()


def test_it_starts_from_given_weights(tmp_path):
    start = {name: array + 0.5 for name, array in AlbertForPreTraining(CONFIG).numpy_state().items()}
    train(tmp_path, RECIPE.replace(total_steps=1), initial=start)  # the rate of step 0 is 0
    model = AlbertForPreTraining.from_pretrained(tmp_path / "checkpoint-1")
    for name, array in model.numpy_state().items():
        np.testing.assert_array_equal(array, start[name])


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    start = {name: array * np.nan for name, array in AlbertForPreTraining(CONFIG).numpy_state().items()}
    with pytest.raises(FloatingPointError, match="the loss of step 10 is nan"):
        train(tmp_path, initial=start, report_every=10)
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


def test_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    train(tmp_path, RECIPE.replace(total_steps=1))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
