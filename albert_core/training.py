"""Pretraining: one loop for every backend, with held-out evaluation, checkpoints, and a resume that changes no bit.

A backend supplies an `albert_core.trainer.Trainer`; everything else is decided here. An output folder holds
`checkpoint-<step>` (the newest only: weights and moments by canonical name and a JSON state) and `best` (the model
with the highest held-out masked accuracy). Both open with `from_pretrained`, and a run saved by one backend goes on
in another.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from albert_core.atomic import make_folder, write_file, write_folder
from albert_core.config import CONFIG_NAME, AlbertConfig
from albert_core.errors import CheckpointError
from albert_core.held_out import evaluate
from albert_core.loss_scale import LossScale
from albert_core.packing import real_tokens
from albert_core.parameters import initial_state
from albert_core.pretraining_data import PretrainingData
from albert_core.safetensors_file import open_safetensors, save_safetensors
from albert_core.trainer import MOMENTS, Part, StepMetrics, Trainer, parts_of
from albert_core.training_report import Window, report_line
from albert_core.training_state import (
    BEST,
    CHECKPOINT_PREFIX,
    TrainingState,
    checkpoints,
    newest_checkpoint,
    print_line,
    remove_leftovers,
    stop_signals,
)

__all__ = ["MOMENTS", "Observer", "Part", "StepMetrics", "Trainer", "evaluate", "parts_of", "pretrain"]

Observer = Callable[[int, Mapping[str, float]], None]
_MOMENTS, _STATE = "moments.safetensors", "training_state.json"
_WHAT_IS_COMPUTED = [f.name for f in dataclasses.fields(AlbertConfig) if f.metadata.get("shapes")]
_WHAT_IS_COMPUTED += ["hidden_act", "layer_norm_eps"]


def pretrain(
    trainer: Trainer,
    data: PretrainingData,
    output_dir: str | Path,
    *,
    evaluation: PretrainingData | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
    max_seconds: float | None = None,
    accumulation: int = 1,
    evaluate_every: int = 1000,
    save_every: int = 1000,
    report_every: int = 100,
    report_seconds: float | None = None,
    progress: Callable[[str], None] | None = None,
    observers: Sequence[Observer] = (),
) -> TrainingState:
    """Train, or go on with the run that `output_dir` holds.

    SIGTERM and SIGINT end the step under way, save, and return; the same call later goes on with the same bits. What
    the recipe says may differ from the run's beginning (a lower `total_steps` ends it sooner).

    Args:
        trainer: Model and optimizer of a backend. Its config must be the run's own when there is one to go on with.
        data: Training batches.
        output_dir: Where checkpoints go.
        evaluation: Held-out batches; all of its epoch 0 is used.
        initial: Weights to begin with, by canonical name; drawn from the recipe's seed when None.
        max_seconds: Stop after this long.
        accumulation: Parts that a batch is computed in, to need less memory; the gradients add up to the same.
        evaluate_every: Steps between evaluations.
        save_every: Steps between checkpoints.
        report_every: Steps between reports; each is the mean over its steps.
        report_seconds: Report also when this long has passed since the last.
        progress: Gets each line; printed to standard error when None.
        observers: Each gets (step, numbers): no numbers where the run begins or goes on, then those of every report,
            "train/..." as `albert_core.training_report` names them, and of every evaluation, "held_out/...".

    Returns:
        Where the run stands.

    Raises:
        FloatingPointError: The loss is no longer finite; names the step. The newest checkpoint stays.
        CheckpointError: The checkpoint cannot be read or is that of another model. The folder stays as it was.
    """
    run = _Run(trainer, data, Path(output_dir), evaluation, accumulation)
    if trainer.writes:
        run.progress, run.observers = progress or print_line, observers
    run.begin(initial)
    began, state = time.monotonic() - run.state.seconds, run.state
    state.stopped = ""
    deadline = None if max_seconds is None else time.monotonic() + max_seconds
    total = trainer.recipe.total_steps
    with stop_signals() as received:
        while state.step < total and not state.stopped:
            run.step()
            state.seconds = time.monotonic() - began
            state.stopped = run.stopped(received, deadline) or ("finished" if state.step == total else "")
            evaluates = evaluation is not None and (state.stopped or state.step % evaluate_every == 0)
            saves = state.stopped or state.step % save_every == 0
            late = report_seconds is not None and run.window.seconds >= report_seconds
            if evaluates or saves or late or state.step % report_every == 0:
                run.report()  # before a save, so that no checkpoint holds what is not finite
            if evaluates:
                run.evaluate()
            if saves:
                run.save()
    state.stopped = state.stopped or "finished"
    return state


class _Run:
    """A trainer with its data and its position."""

    def __init__(
        self,
        trainer: Trainer,
        data: PretrainingData,
        folder: Path,
        evaluation: PretrainingData | None,
        accumulation: int,
    ) -> None:
        self.trainer, self.model, self.recipe = trainer, trainer.model, trainer.recipe
        self.data, self.folder, self.evaluation = data, folder, evaluation
        self.accumulation, self.state, self.window = accumulation, TrainingState(), Window()
        self.progress: Callable[[str], None] = lambda line: None
        self.observers: Sequence[Observer] = ()

    def begin(self, initial: Mapping[str, np.ndarray] | None) -> None:
        """Take the newest checkpoint, or the initial weights where there is none."""
        if self.trainer.writes:
            make_folder(self.folder)  # where this fails, it is before the first step
            remove_leftovers(self.folder)
        if (folder := newest_checkpoint(self.folder)) is not None:
            self._resume(folder)
        else:
            if initial is None:
                initial = initial_state(self.model.config, self.model.all_parts(), self.recipe.seed)
            self.model.load_numpy_state(initial)
        self.state.vocabulary = self.data.vocabulary.digest
        self._observe("", {})
        self.window.restart()

    def step(self) -> None:
        """One batch, whose numbers nobody waits for."""
        state = self.state
        batch = self._next_batch()
        tokens = real_tokens(batch)
        self.window.add(self.trainer.step(parts_of(batch, self.accumulation), state.step), tokens)
        state.step += 1
        state.tokens += tokens

    def _next_batch(self) -> dict[str, np.ndarray]:
        state = self.state
        if state.index >= self.data.batches(state.epoch):  # it may be fewer than when the run began
            state.epoch, state.index = state.epoch + 1, 0
        batch = self.data.batch(state.epoch, state.index)
        state.index += 1
        return batch

    def stopped(self, received: list[int], deadline: float | None) -> str:
        """Why to stop now, or nothing; the same in all of several processes."""
        late = deadline is not None and time.monotonic() >= deadline
        code = self.trainer.agree(received[0] if received else _TIME if late else 0)
        return "" if code == 0 else "time" if code == _TIME else signal.Signals(code).name

    def report(self) -> None:
        """Say how the steps since the last report went."""
        self.state.metrics = self.window.report(self.trainer, self.state)
        self.progress(report_line(self.state, self.recipe.total_steps))
        self._observe("train/", self.state.metrics)
        self.window.restart()

    def evaluate(self) -> None:
        """Measure on the held-out text, and keep the model where it is the best so far."""
        assert self.evaluation is not None
        with self.trainer.evaluating():
            found = evaluate(self.model, self.evaluation)
        self.state.history.append({"step": self.state.step, "tokens": self.state.tokens, **found})
        self.progress(
            "held out  " + "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in found.items())
        )
        self._observe("held_out/", found)
        if found["masked_accuracy"] > self.state.best:
            self.state.best = found["masked_accuracy"]
            if self.trainer.writes:
                self.model.save_pretrained(self.folder / BEST)
        self.window.restart()

    def _observe(self, prefix: str, numbers: Mapping[str, float]) -> None:
        for observer in self.observers:
            observer(self.state.step, {prefix + name: value for name, value in numbers.items()})

    def save(self) -> None:
        """Write a new checkpoint, whole or not at all, then remove the older ones."""
        moments = self.trainer.numpy_moments()  # in all of several processes, as each may hold a share
        if self.trainer.writes:
            self._write(self.folder / f"{CHECKPOINT_PREFIX}{self.state.step}", moments)
        self.window.restart()

    def _write(self, target: Path, moments: Mapping[str, np.ndarray]) -> None:
        older = checkpoints(self.folder)
        if target in older:
            return
        if (scale := self.trainer.loss_scale) is not None:
            self.state.loss_scale = [float(value) for value in scale]
        with write_folder(target) as folder:
            self.model.save_pretrained(folder)
            save_safetensors(folder / _MOMENTS, moments)
            known = {"state": dataclasses.asdict(self.state), "recipe": dataclasses.asdict(self.recipe)}
            write_file(folder / _STATE, json.dumps(known, indent=1).encode())
        for path in older:
            shutil.rmtree(path)

    def _check_same(self, folder: Path, state: TrainingState) -> None:
        """Shared weights have the same shapes at any depth, and ids the same range under any vocabulary."""
        saved, config = AlbertConfig.from_pretrained(folder), self.model.config
        for name in _WHAT_IS_COMPUTED:
            if (was := getattr(saved, name)) != (now := getattr(config, name)):
                reason = f"expected {now!r}, which the model to be trained has, got {was!r}"
                raise CheckpointError(folder / CONFIG_NAME, name, reason)
        now = self.data.vocabulary.digest
        if state.vocabulary and now and state.vocabulary != now:
            raise CheckpointError(folder / _STATE, "vocabulary", "expected the tokenizer that the run began with")

    def _resume(self, folder: Path) -> None:
        self.state = state = TrainingState.read(folder / _STATE)
        self._check_same(folder, state)
        with open_safetensors(folder / "model.safetensors") as weights:
            self.model.load_numpy_state({name: weights.read(name) for name in weights}, folder)
        scale = None
        if state.loss_scale is not None:
            scale = LossScale(np.float32(state.loss_scale[0]), *(np.int32(count) for count in state.loss_scale[1:]))
        if self.trainer.loss_scale is not None and scale is not None:
            self.trainer.loss_scale = scale
        with open_safetensors(folder / _MOMENTS) as moments:
            updates = state.step - (0 if scale is None else int(scale.skipped))
            self.trainer.load_numpy_moments({name: moments.read(name) for name in moments}, updates, moments.path)
        self.progress(f"going on from {folder.name}")


_TIME = 1  # beside the numbers of SIGTERM and SIGINT
