"""Pretraining: one loop for every backend, with held-out evaluation, checkpoints, and a resume that changes no bit.

A backend supplies a `Trainer`: one optimizer step on one batch, in its framework's idiom. Everything else is decided
here. An output folder holds `checkpoint-<step>` (the newest only: weights and moments by canonical name and a JSON
state) and `best` (the model with the highest held-out masked accuracy). Both open with `from_pretrained`, and a run
saved by one backend goes on in another.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from albert_core.atomic import write_file, write_folder
from albert_core.config import AlbertConfig
from albert_core.core_model import CoreModel
from albert_core.numerics import IGNORED_LABEL
from albert_core.parameters import Parameter, initial_state
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe
from albert_core.safetensors_file import open_safetensors, save_safetensors
from albert_core.training_state import CHECKPOINT_PREFIX, TrainingState, newest_checkpoint, print_line, stop_signals

__all__ = ["Part", "Trainer", "evaluate", "parts_of", "pretrain"]

MOMENTS = ("m", "v")
_MOMENTS, _STATE = "moments.safetensors", "training_state.json"


@dataclass(frozen=True)
class Part:
    """A share of a batch, for gradient accumulation.

    Attributes:
        inputs: What the model takes, without labels.
        labels: Ids of the masked pieces, [B, P].
        order: Sentence order, [B].
        masked_share: Its share of the batch's counted labels; weighs its masked-LM loss.
        order_share: The same for sentence order.
    """

    inputs: dict[str, np.ndarray]
    labels: np.ndarray
    order: np.ndarray
    masked_share: np.float64
    order_share: np.float64


def parts_of(batch: Mapping[str, np.ndarray], count: int) -> list[Part]:
    """A batch cut into `count` parts whose weighted losses, and so gradients, add up to the batch's own."""
    cut = [{name: np.array_split(array, count)[i] for name, array in batch.items()} for i in range(count)]
    shares = [_shares(rows, batch) for rows in cut]
    return [
        Part(
            {n: a for n, a in rows.items() if n not in _LABELS},
            rows["labels"],
            rows["sentence_order_label"],
            *each,
        )
        for rows, each in zip(cut, shares, strict=True)
    ]


_LABELS = ("labels", "sentence_order_label")


def _shares(rows: Mapping[str, np.ndarray], batch: Mapping[str, np.ndarray]) -> tuple[np.float64, np.float64]:
    counted = [[int((b[name] != IGNORED_LABEL).sum()) for b in (rows, batch)] for name in _LABELS]
    masked, order = (np.float64(part / max(whole, 1)) for part, whole in counted)
    return masked, order


class Trainer:
    """One model with its optimizer. The abstract methods are what a backend supplies.

    Args:
        config: The model.
        recipe: Optimizer and its settings.
        device: Where to train; the framework's choice when None.
        dtype: What weights and moments are kept in.
        autocast: "bfloat16" or "float16" for matrix products in that dtype.
    """

    model_class: ClassVar[type[CoreModel]]
    model: Any
    recipe: PretrainingRecipe

    def __init__(
        self,
        config: AlbertConfig,
        recipe: PretrainingRecipe,
        *,
        device: Any = None,
        dtype: str = "float32",
        autocast: str | None = None,
    ) -> None:
        raise TypeError(f"{type(self).__name__} is abstract")

    def step(self, parts: Sequence[Part], step: int) -> Any:
        """Forward, backward, clip, update. Returns the loss without waiting for it.

        Args:
            parts: The batch.
            step: Steps taken before this one; decides the rate and, with the recipe's seed, the dropout.
        """
        raise TypeError(f"{type(self).__name__} is abstract")

    def get_moment(self, kind: str, parameter: Parameter) -> np.ndarray:
        """A moment, "m" or "v", as its parameter is stored."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def set_moments(self, moments: Mapping[str, np.ndarray], step: int) -> None:
        """Take both moments of every parameter, "m.<name>" as stored, and the number of steps they are from."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def evaluating(self) -> AbstractContextManager[None]:
        """The model without dropout."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def rate(self, step: int) -> float:
        """The recipe's learning rate of a step."""
        return float(self.recipe.rate(np, step))

    def numpy_moments(self) -> dict[str, np.ndarray]:
        """Both moments of every parameter, in canonical layout, "m.<canonical name>"."""
        return {f"{kind}.{p.name}": self._turned(p, self.get_moment(kind, p)) for p in self._own() for kind in MOMENTS}

    def load_numpy_moments(self, moments: Mapping[str, np.ndarray], step: int) -> None:
        """The inverse of `numpy_moments`."""
        names = ((kind, p) for p in self._own() for kind in MOMENTS)
        stored = {f"{kind}.{p.name}": self._turned(p, moments[f"{kind}.{p.name}"]) for kind, p in names}
        self.set_moments(stored, step)

    def _own(self) -> list[Parameter]:
        return self.model.own_parameters()

    def _turned(self, parameter: Parameter, array: np.ndarray) -> np.ndarray:
        return array.T if self.model.leaf(parameter).transposed else array


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
    progress: Callable[[str], None] | None = None,
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
        report_every: Steps between progress lines.
        progress: Gets each line; printed to standard error when None.

    Returns:
        Where the run stands.

    Raises:
        FloatingPointError: The loss is no longer finite; names the step. The newest checkpoint stays.
        CheckpointError: The checkpoint cannot be read or is that of another model.
    """
    run = _Run(trainer, data, Path(output_dir), evaluation, accumulation, progress or print_line)
    run.begin(initial)
    began, state = time.monotonic() - run.state.seconds, run.state
    state.stopped = ""
    deadline = None if max_seconds is None else time.monotonic() + max_seconds
    total = trainer.recipe.total_steps
    with stop_signals() as received:
        while state.step < total and not state.stopped:
            loss = run.step()
            state.seconds = time.monotonic() - began
            state.stopped = run.stopped(received, deadline)
            last = bool(state.stopped) or state.step == total
            if last or state.step % report_every == 0:
                run.report(loss)
            if evaluation is not None and (last or state.step % evaluate_every == 0):
                run.evaluate()
            if last or state.step % save_every == 0:
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
        progress: Callable[[str], None],
    ) -> None:
        self.trainer, self.model, self.recipe = trainer, trainer.model, trainer.recipe
        self.data, self.folder, self.evaluation, self.progress = data, folder, evaluation, progress
        self.accumulation, self.state = accumulation, TrainingState()

    def begin(self, initial: Mapping[str, np.ndarray] | None) -> None:
        """Take the newest checkpoint, or the initial weights where there is none."""
        if (folder := newest_checkpoint(self.folder)) is not None:
            self._resume(folder)
            return
        if initial is None:
            initial = initial_state(self.model.config, self.model.all_parts(), self.recipe.seed)
        self.model.load_numpy_state(initial)

    def step(self) -> Any:
        """One batch. Returns the loss without waiting for it."""
        state = self.state
        batch = self._next_batch()
        loss = self.trainer.step(parts_of(batch, self.accumulation), state.step)
        state.step += 1
        state.tokens += int(batch["attention_mask"].sum())
        return loss

    def _next_batch(self) -> dict[str, np.ndarray]:
        state = self.state
        batch = self.data.batch(state.epoch, state.index)
        state.index += 1
        if state.index == self.data.batches(state.epoch):
            state.epoch, state.index = state.epoch + 1, 0
        return batch

    def stopped(self, received: list[int], deadline: float | None) -> str:
        """Why to stop now, or nothing."""
        if received:
            return signal.Signals(received[0]).name
        return "time" if deadline is not None and time.monotonic() >= deadline else ""

    def report(self, loss: Any) -> None:
        """One line on the step just taken."""
        state, value = self.state, float(loss)
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss of step {state.step} is {value}")
        speed = state.tokens / max(state.seconds, 1e-9)
        self.progress(
            f"step {state.step}/{self.recipe.total_steps}  loss {value:.3f}  epoch {state.epoch}  "
            f"{state.tokens / 1e6:.2f} M tokens  {speed:,.0f} tokens/s"
        )

    def evaluate(self) -> None:
        """Measure on the held-out text, and keep the model where it is the best so far."""
        assert self.evaluation is not None
        with self.trainer.evaluating():
            found = evaluate(self.model, self.evaluation)
        self.state.history.append({"step": self.state.step, "tokens": self.state.tokens, **found})
        self.progress(
            "held out  " + "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in found.items())
        )
        if found["masked_accuracy"] > self.state.best:
            self.state.best = found["masked_accuracy"]
            self.model.save_pretrained(self.folder / "best")

    def save(self) -> None:
        """Write a new checkpoint, whole or not at all, then remove the older ones."""
        older = list(self.folder.glob(CHECKPOINT_PREFIX + "*"))
        target = self.folder / f"{CHECKPOINT_PREFIX}{self.state.step}"
        if target in older:
            return
        with write_folder(target) as folder:
            self.model.save_pretrained(folder)
            save_safetensors(folder / _MOMENTS, self.trainer.numpy_moments())
            known = {"state": dataclasses.asdict(self.state), "recipe": dataclasses.asdict(self.recipe)}
            write_file(folder / _STATE, json.dumps(known, indent=1).encode())
        for path in older:
            shutil.rmtree(path)

    def _resume(self, folder: Path) -> None:
        with open_safetensors(folder / "model.safetensors") as weights:
            self.model.load_numpy_state({name: weights.read(name) for name in weights}, folder)
        self.state = TrainingState(**json.loads((folder / _STATE).read_text())["state"])
        with open_safetensors(folder / _MOMENTS) as moments:
            self.trainer.load_numpy_moments({name: moments.read(name) for name in moments}, self.state.step)
        self.progress(f"going on from {folder.name}")


def evaluate(model: Any, data: PretrainingData) -> dict[str, float]:
    """Held-out numbers over every batch of epoch 0.

    Args:
        model: An AlbertForPreTraining of any backend, in evaluation mode.
        data: Held-out batches.

    Returns:
        masked_loss and masked_accuracy over the masked pieces; order_accuracy over the pairs; guess_accuracy, what
        always naming the most frequent of the masked pieces would reach.
    """
    loss = right = in_order = 0.0
    wanted, pairs = [], 0
    for index in range(data.batches(0)):
        batch = data.batch(0, index)
        labels, order = batch.pop("labels"), batch.pop("sentence_order_label")
        out = model.run_numpy(**batch)
        used, told = labels != IGNORED_LABEL, order != IGNORED_LABEL
        logits, targets = out.prediction_logits[used].astype(np.float32), labels[used]  # [masked, V]
        top = logits.max(-1)
        chosen = logits[np.arange(len(targets)), targets]
        loss += float((top + np.log(np.exp(logits - top[:, None]).sum(-1)) - chosen).sum(dtype=np.float64))
        right += int((logits.argmax(-1) == targets).sum())
        in_order += int((out.sop_logits.argmax(-1) == order)[told].sum())
        pairs += int(told.sum())
        wanted.append(targets)
    pieces = np.concatenate(wanted)
    return {
        "masked_loss": loss / len(pieces),
        "masked_accuracy": right / len(pieces),
        "guess_accuracy": float(np.bincount(pieces).max()) / len(pieces),
        "order_accuracy": in_order / max(pairs, 1),
    }
