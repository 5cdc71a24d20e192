"""Pretraining in every backend: one trajectory, it learns, it resumes to the bit, and goes on in another backend."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Adapter

from albert_core import reference
from albert_core.backends import BACKENDS
from albert_core.config import AlbertConfig
from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.errors import CheckpointError, FormatError, MissingKeys, NotFound, SaveError, ShapeMismatch
from albert_core.heads import HEADS
from albert_core.loss_scale import GROWTH_INTERVAL, LossScale, next_loss_scale
from albert_core.parameters import initial_state
from albert_core.parity import precision, reference_gradients
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe, adamw_update, clip_by_global_norm, decays, lamb_update
from albert_core.safetensors_file import open_safetensors, save_safetensors
from albert_core.signature import LABELS
from albert_core.trainer import StepMetrics, parts_of
from albert_core.training import pretrain

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
    total_steps=60,
    seed=3,
)
LAMB = RECIPE.replace(optimizer="lamb", bias_correction=False)
TOO_LARGE = 2.0**23  # a loss scale whose gradients are infinite in float16
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


def stop_after(step: int) -> Callable[[str], None]:
    """A progress function that asks the run to stop in the line of a step; the next step is then under way."""

    def say(line: str) -> None:
        if line.startswith(f"step {step}/"):
            os.kill(os.getpid(), signal.SIGTERM)

    return say


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
    recipe = LAMB if optimizer == "lamb" else RECIPE
    if optimizer not in _oracles:
        _oracles[optimizer] = oracle_steps(recipe, 50)
    oracle, losses = _oracles[optimizer]
    start, data = initial_state(STILL, HEADS[HEAD].all_parts(), 3), data_of(recipe)
    with precision(backend.name, "float64"):
        run = trainer(backend.name, STILL, recipe, dtype="float64")
        run.model.load_numpy_state(start)
        batches = (data.batch(0, step % data.batches(0)) for step in range(50))
        cut = 2 if optimizer == "lamb" else 1  # another number of parts is another program to compile
        mine = [float(run.step(parts_of(batch, cut), step).loss) for step, batch in enumerate(batches)]
        state = run.model.numpy_state()
    assert moved(state, start, oracle) <= TRAJECTORY
    assert np.abs(np.array(mine) - losses).max() <= TRAJECTORY
    assert mine[-1] < 0.8 * mine[0]


def test_a_run_goes_on_in_another_backend(backend: Adapter, tmp_path: Path) -> None:
    """Ten steps in one backend and fifty in the next end where sixty in one end."""
    after = {"torch": "tf", "tf": "flax", "flax": "torch"}[backend.name]

    def go(name: str, folder: str, **options: Any) -> dict[str, np.ndarray]:
        with precision(name, "float64"):
            run = trainer(name, STILL, dtype="float64")
            pretrain(run, data_of(RECIPE), tmp_path / folder, **{"progress": lambda line: None, **options})
            return run.model.numpy_state()

    go(backend.name, "first", progress=stop_after(9), report_every=9)
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    ends = go(backend.name, "first"), go(after, "second")
    start = initial_state(STILL, HEADS[HEAD].all_parts(), RECIPE.seed)
    assert 0 < moved(ends[1], start, ends[0]) <= TRAJECTORY


def test_accuracies_are_those_of_the_whole_batch(backend: Adapter) -> None:
    """Of two parts, counted by hand from the logits; the rate of step 0 is 0."""
    batch = data_of(LAMB).batch(0, 0)
    with precision(backend.name, "float64"):
        run = trainer(backend.name, STILL, LAMB, dtype="float64")
        run.model.load_numpy_state(initial_state(STILL, HEADS[HEAD].all_parts(), 3))
        metrics = run.step(parts_of(batch, 2), 0)
        with run.evaluating():
            out = run.model.run_numpy(**{n: a for n, a in batch.items() if n not in LABELS})
    assert isinstance(metrics, StepMetrics)
    answers = ((out.prediction_logits, batch["labels"]), (out.sop_logits, batch["sentence_order_label"]))
    for logits, labels, found in zip(*zip(*answers, strict=True), metrics[1:], strict=True):
        assert float(found) == pytest.approx((logits.argmax(-1) == labels)[labels != -100].mean(), abs=1e-7)
    assert 0 < float(metrics.order_accuracy) < 1


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
    longer = RECIPE.replace(total_steps=150)
    state, lines = train(backend.name, tmp_path, longer, evaluation=data_of(RECIPE, seed=1), evaluate_every=50)
    assert state.stopped == "finished"
    last = state.history[-1]
    assert last["masked_accuracy"] > 2 * last["guess_accuracy"]
    assert last["masked_loss"] < 0.85 * np.log(20)
    assert any(line.startswith("held out  masked loss") for line in lines)


def test_a_run_cut_in_two_ends_with_the_same_bits(backend: Adapter, tmp_path: Path) -> None:
    cut_in_two(backend.name, None, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("autocast", ["float16", "bfloat16"])
def test_the_same_bits_in_half_precision(
    backend: Adapter, autocast: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("albert_core.loss_scale.INITIAL", TOO_LARGE)
    cut_in_two(backend.name, autocast, tmp_path)


def test_a_run_cut_between_two_overflows_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("albert_core.loss_scale.INITIAL", TOO_LARGE)
    cut_in_two("torch", "float16", tmp_path)


def cut_in_two(name: str, autocast: str | None, tmp_path: Path) -> None:
    """With dropout, by a signal, in a checkpoint that both leave."""

    def run(folder: str, **options: Any) -> Any:
        made = trainer(name, device="cpu", autocast=autocast)
        return pretrain(made, data_of(RECIPE), tmp_path / folder, accumulation=2 if autocast else 1, **options)

    whole = run("whole", progress=lambda line: None)
    first = run("cut", progress=stop_after(1), report_every=1)
    assert (first.stopped, first.step) == ("SIGTERM", 2)  # the signal came in step 1's line; step 2 was under way
    lines: list[str] = []
    second = run("cut", progress=lines.append)
    assert (second.stopped, second.step) == ("finished", 60)
    assert lines[0] == "going on from checkpoint-2"
    assert files_of(tmp_path / "whole" / "checkpoint-60") == files_of(tmp_path / "cut" / "checkpoint-60")
    assert second.loss_scale == whole.loss_scale
    if autocast == "float16":
        scale, _, skipped = second.loss_scale
        assert first.loss_scale == [TOO_LARGE / 4, 0, 2]
        assert 2 < skipped < 60
        assert scale == TOO_LARGE / 2**skipped
        assert lines[-1].endswith(f"skipped {skipped:.0f}")


def test_a_step_that_overflows_changes_nothing_but_the_scale(backend: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("albert_core.loss_scale.INITIAL", TOO_LARGE)
    run = trainer(backend.name, device="cpu", autocast="float16")
    batch = parts_of(data_of(RECIPE).batch(0, 0), 2)

    def arrays() -> dict[str, np.ndarray]:
        return {name: array.copy() for name, array in {**run.model.numpy_state(), **run.numpy_moments()}.items()}

    before = arrays()
    first, second = run.step(batch, 5), run.step(batch, 5)  # step 5 is the first of the full rate
    after = arrays()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert [float(value) for value in run.loss_scale] == [TOO_LARGE / 4, 0, 2]
    assert float(first.loss) == float(second.loss)
    while float(run.loss_scale.skipped) < 20 and float(run.loss_scale.good_steps) == 0:
        run.step(batch, 5)
    assert float(run.loss_scale.good_steps) == 1
    assert any(not np.array_equal(before[name], array) for name, array in arrays().items())


def test_only_the_newest_checkpoint_stays_and_the_best_model_opens(backend: Adapter, tmp_path: Path) -> None:
    held_out = data_of(RECIPE, seed=1)
    state, _ = train(backend.name, tmp_path, evaluation=held_out, evaluate_every=5, save_every=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "checkpoint-60"]
    assert state.best == max(entry["masked_accuracy"] for entry in state.history)
    for folder in ("best", "checkpoint-60"):
        model = backend.cls(HEAD).from_pretrained(tmp_path / folder)
        assert all(np.isfinite(array).all() for array in model.numpy_state().values())
    kept = json.loads((tmp_path / "checkpoint-60" / "training_state.json").read_text())
    assert kept["state"]["step"] == 60
    assert kept["recipe"]["learning_rate"] == RECIPE.learning_rate


def test_what_else_is_called_checkpoint_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "checkpoint-keep"
    mine.mkdir()
    (tmp_path / "checkpoint-notes.txt").write_text("mine")
    (tmp_path / "checkpoint-7").write_text("mine")
    train("torch", tmp_path, RECIPE.replace(total_steps=4), save_every=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-4",
        "checkpoint-7",
        "checkpoint-keep",
        "checkpoint-notes.txt",
    ]


def test_a_run_goes_on_with_larger_batches(tmp_path: Path) -> None:
    state, _ = train("torch", tmp_path, RECIPE.replace(batch_size=4, total_steps=data_of(RECIPE).batches(0) + 3))
    batches = data_of(RECIPE.replace(batch_size=16)).batches(0)
    assert state.index > batches
    state, _ = train("torch", tmp_path, RECIPE.replace(batch_size=16, total_steps=state.step + 1))
    assert (state.epoch, state.index) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_hidden_layers": 3}, "num_hidden_layers.*expected 3.*got 2"),
        ({"num_attention_heads": 4}, "num_attention_heads.*expected 4.*got 2"),
        ({"hidden_act": "relu"}, "hidden_act.*expected 'relu'.*got 'gelu_new'"),
    ],
)
def test_a_run_does_not_go_on_as_another_model(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    train("torch", tmp_path, RECIPE.replace(total_steps=2))
    other = trainer("torch", CONFIG.replace(**changes), device="cpu")
    with pytest.raises(CheckpointError, match=named):
        pretrain(other, data_of(RECIPE), tmp_path)
    pretrain(
        trainer("torch", CONFIG.replace(hidden_dropout_prob=0.2), RECIPE.replace(total_steps=3)),
        data_of(RECIPE),
        tmp_path,
    )


def test_a_run_does_not_go_on_with_another_vocabulary(tmp_path: Path) -> None:
    recipe = RECIPE.replace(total_steps=2)
    for digest in ("one", "other"):
        data = data_of(recipe)
        data.vocabulary = dataclasses.replace(data.vocabulary, digest=digest)
        if digest == "one":
            pretrain(trainer("torch", recipe=recipe), data, tmp_path)
        else:
            with pytest.raises(CheckpointError, match=r"vocabulary.*expected the tokenizer that the run began with"):
                pretrain(trainer("torch", recipe=recipe), data, tmp_path)


def test_a_folder_that_cannot_be_written_is_found_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(SaveError, match="run: could not be written: File exists"):
        train("torch", tmp_path / "run", observers=[lambda step, numbers: pytest.fail("a step was taken")])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _state_with(**values: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        known = json.loads(path.read_text())
        known["state"].update(values)
        path.write_text(json.dumps(known))

    return change


def _moments_with(**arrays: np.ndarray | None) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with open_safetensors(path) as moments:
            held = {name: moments.read(name) for name in moments}
        held.update({f"m.sop_classifier.classifier.{leaf}": array for leaf, array in arrays.items()})
        save_safetensors(path, {name: array for name, array in held.items() if array is not None})

    return change


@pytest.mark.parametrize(
    ("file", "damage", "error", "named"),
    [
        ("training_state.json", _cut, FormatError, "expected JSON"),
        ("training_state.json", Path.unlink, NotFound, "expected the state of a run"),
        ("training_state.json", _state_with(steps=3), FormatError, "steps"),
        ("training_state.json", _state_with(index=-1), FormatError, r"state.index.*expected int, got -1"),
        ("training_state.json", _state_with(loss_scale=[1.0]), FormatError, r"state.loss_scale.*got \[1.0\]"),
        ("moments.safetensors", _moments_with(bias=None), MissingKeys, "m.sop_classifier.classifier.bias"),
        ("moments.safetensors", _moments_with(bias=np.zeros(3)), ShapeMismatch, "m.sop_classifier.classifier.bias"),
        ("moments.safetensors", Path.unlink, NotFound, "moments.safetensors"),
        ("model.safetensors", Path.unlink, NotFound, "model.safetensors"),
    ],
)
def test_a_damaged_checkpoint_is_named(
    tmp_path: Path, file: str, damage: Callable[[Path], None], error: type[Exception], named: str
) -> None:
    train("torch", tmp_path, RECIPE.replace(total_steps=2))
    damage(tmp_path / "checkpoint-2" / file)
    with pytest.raises(error, match=named):
        train("torch", tmp_path, RECIPE.replace(total_steps=4))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


def test_it_stops_in_time(tmp_path: Path) -> None:
    state, _ = train("torch", tmp_path, max_seconds=0.0)
    assert (state.stopped, state.step) == ("time", 1)
    assert (tmp_path / "checkpoint-1").is_dir()


def test_it_starts_from_given_weights(backend: Adapter, tmp_path: Path) -> None:
    start = {n: (v + 0.5).astype(np.float32) for n, v in initial_state(CONFIG, HEADS[HEAD].all_parts(), 0).items()}
    train(backend.name, tmp_path, initial=start, max_seconds=0.0)  # the rate of step 0 is 0
    model = backend.cls(HEAD).from_pretrained(tmp_path / "checkpoint-1")
    for name, array in model.numpy_state().items():
        np.testing.assert_array_equal(array, start[name])


def test_a_loss_that_is_no_number_ends_the_run(backend: Adapter, tmp_path: Path) -> None:
    start = {n: v * np.nan for n, v in initial_state(CONFIG, HEADS[HEAD].all_parts(), 0).items()}
    with pytest.raises(FloatingPointError, match="the loss of step 1 is nan"):
        train(backend.name, tmp_path, initial=start, report_every=10)
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


def test_a_process_that_does_not_write_leaves_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run, lines = trainer("torch"), []
    run.writes = False
    held_out = {"evaluation": data_of(RECIPE, seed=1), "evaluate_every": 30}
    seen = {"progress": lines.append, "observers": (lambda step, numbers: lines.append(str(step)),)}
    state = pretrain(run, data_of(RECIPE), tmp_path / "run", **held_out, **seen)
    assert (state.step, len(state.history)) == (60, 2)  # it knows all the same
    assert not lines
    assert not (tmp_path / "run").exists()
    assert capfd.readouterr() == ("", "")


def test_every_process_stops_where_one_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked = trainer("torch"), []
    monkeypatch.setattr(run, "agree", lambda code: asked.append(code) or signal.SIGTERM * (len(asked) == 7))
    state = pretrain(run, data_of(RECIPE), tmp_path, progress=lambda line: None)
    assert (state.step, state.stopped) == (7, "SIGTERM")
    assert asked == [0] * 7


def test_a_report_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    for folder, every in (("each", 1), ("ten", 10)):
        lines: list[str] = []
        how = {"report_every": every, "progress": lines.append}
        watch = (lambda step, numbers: seen.append({"step": step, **numbers}),)
        train("torch", tmp_path / folder, RECIPE.replace(total_steps=10), observers=watch, **how)
    each, ten = [s for s in seen[1:11]], seen[12]
    assert [s["step"] for s in seen] == [0, *range(1, 11), 0, 10]
    for name in ("train/loss", "train/masked_accuracy", "train/order_accuracy"):
        assert ten[name] == pytest.approx(np.mean([s[name] for s in each]), rel=1e-6)
    assert lines[0].startswith(f"step 10/10  loss {ten['train/loss']:.3f}  masked {ten['train/masked_accuracy']:.1%}")


def test_reports_may_come_by_the_clock(tmp_path: Path) -> None:
    _, lines = train("torch", tmp_path, report_seconds=0.0)
    assert len(lines) == RECIPE.total_steps


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    train("torch", tmp_path, RECIPE.replace(total_steps=1))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


# -- the loss scale ------------------------------------------------------------------------------------------------


def test_the_loss_scale_follows_torch_amp() -> None:
    """The same finite and infinite gradients through torch.amp.GradScaler; CPU, with its own numbers."""
    import torch

    scaler = torch.amp.GradScaler("cpu", growth_interval=GROWTH_INTERVAL)
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=0.0)
    scaler.scale(torch.zeros(1))
    state = LossScale(np.float32(scaler.get_scale()), np.int32(0), np.int32(0))
    rng, skipped = np.random.default_rng(0), 0
    for finite in [*(rng.random(200) < 0.9), *[True] * (2 * GROWTH_INTERVAL + 5), False, True]:
        p.grad = torch.tensor([1.0 if finite else np.inf])
        scaler.step(optimizer)
        scaler.update()
        state = next_loss_scale(np, state, finite)
        skipped += not finite
        assert (float(state.scale), int(state.skipped)) == (scaler.get_scale(), skipped)
    assert float(state.scale) > 2.0**-20


# -- the program ---------------------------------------------------------------------------------------------------


def test_the_step_of_flax_does_not_grow_with_depth() -> None:
    """Forward, backward and optimizer are the same program for 2 and 48 layers, but for the count."""
    lines = []
    for layers in (2, 48):
        run = trainer("flax", CONFIG.replace(num_hidden_layers=layers))
        lines.append(run.lower(parts_of(data_of(RECIPE).batch(0, 0), 1)).as_text().count("\n"))
    assert lines[0] == lines[1] > 1000
