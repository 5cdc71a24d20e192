"""Pretraining in plain torch: one loop with held-out evaluation, checkpoints, and a resume that changes no bit.

An output folder holds `checkpoint-<step>` (the newest only: weights and moments in float32 and a JSON state) and `best`
(the model with the highest held-out masked accuracy). Both open with `from_pretrained`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albert_core.atomic import write_file, write_folder
from albert_core.config import AlbertConfig
from albert_core.numerics import IGNORED_LABEL
from albert_core.parameters import initial_state
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe, clip_by_global_norm, learning_rate
from albert_core.safetensors_file import open_safetensors, save_safetensors
from albert_core.training_state import CHECKPOINT_PREFIX, TrainingState, newest_checkpoint, print_line, stop_signals
from albert_torch.models import AlbertForPreTraining
from albert_torch.optim import make_optimizer

__all__ = ["TrainingState", "evaluate", "pretrain"]

_MOMENTS, _STATE = "moments.safetensors", "training_state.json"


def pretrain(
    config: AlbertConfig,
    recipe: PretrainingRecipe,
    data: PretrainingData,
    output_dir: str | Path,
    *,
    evaluation: PretrainingData | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
    max_seconds: float | None = None,
    device: str | torch.device | None = None,
    autocast: str | None = None,
    evaluate_every: int = 1000,
    save_every: int = 1000,
    report_every: int = 100,
    progress: Callable[[str], None] | None = None,
) -> TrainingState:
    """Train an AlbertForPreTraining, or go on with the run that `output_dir` holds.

    SIGTERM and SIGINT end the step under way, save, and return; the same call later goes on with the same bits. What
    the recipe says may differ from the run's beginning (a lower `total_steps` ends it sooner).

    Args:
        config: The model. Must be the run's own when there is one to go on with.
        recipe: Optimizer and schedule; its part on batches is that of `data`.
        data: Training batches.
        output_dir: Where checkpoints go.
        evaluation: Held-out batches; all of its epoch 0 is used.
        initial: Weights to begin with, by canonical name; drawn from the recipe's seed when None.
        max_seconds: Stop after this long.
        device: Where to train; a GPU if there is one when None.
        autocast: "bfloat16" or "float16" for matrix products in that dtype; None for float32.
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
    run = _Run(config, recipe, data, Path(output_dir), evaluation, device, autocast, progress or print_line)
    run.begin(initial)
    began, state = time.monotonic() - run.state.seconds, run.state
    state.stopped = ""
    deadline = None if max_seconds is None else time.monotonic() + max_seconds
    with stop_signals() as received:
        while state.step < recipe.total_steps and not state.stopped:
            loss = run.step()
            state.seconds = time.monotonic() - began
            state.stopped = run.stopped(received, deadline)
            last = bool(state.stopped) or state.step == recipe.total_steps
            if last or state.step % report_every == 0:
                run.report(loss)
            if evaluation is not None and (last or state.step % evaluate_every == 0):
                run.evaluate()
            if last or state.step % save_every == 0:
                run.save()
    state.stopped = state.stopped or "finished"
    return state


class _Run:
    """Model, optimizer and position of one run."""

    def __init__(
        self,
        config: AlbertConfig,
        recipe: PretrainingRecipe,
        data: PretrainingData,
        folder: Path,
        evaluation: PretrainingData | None,
        device: str | torch.device | None,
        autocast: str | None,
        progress: Callable[[str], None],
    ) -> None:
        self.recipe, self.data, self.folder, self.evaluation, self.progress = recipe, data, folder, evaluation, progress
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.autocast = autocast
        self.model = AlbertForPreTraining(config).to(self.device).train()
        self.optimizer = make_optimizer(recipe, self.model.named_parameters())
        self.state = TrainingState()

    def begin(self, initial: Mapping[str, np.ndarray] | None) -> None:
        """Take the newest checkpoint, or the initial weights where there is none."""
        if (folder := newest_checkpoint(self.folder)) is not None:
            self._resume(folder)
            return
        if initial is None:
            initial = initial_state(self.model.config, self.model.all_parts(), self.recipe.seed)
        self.model.load_numpy_state(initial)

    def step(self) -> Tensor:
        """One batch: forward, backward, clip, update. Returns the loss without waiting for it."""
        state, recipe = self.state, self.recipe
        batch = self._next_batch()
        torch.manual_seed((recipe.seed << 32) + state.step)  # dropout as a function of the step, for resumes
        rate = learning_rate(
            np,
            state.step,
            peak=recipe.learning_rate,
            warmup_steps=recipe.warmup_steps,
            total_steps=recipe.total_steps,
            offset_by_warmup=recipe.offset_by_warmup,
        )
        with _autocast(self.device, self.autocast):
            loss = self.model(**_tensors(batch, self.device)).loss
        loss.backward()
        self._clip()
        for group in self.optimizer.param_groups:
            group["lr"] = float(rate)
        self.optimizer.step()
        self.optimizer.zero_grad()
        state.step += 1
        state.tokens += int(batch["attention_mask"].sum())
        return loss.detach()

    def _next_batch(self) -> dict[str, np.ndarray]:
        state = self.state
        batch = self.data.batch(state.epoch, state.index)
        state.index += 1
        if state.index == self.data.batches(state.epoch):
            state.epoch, state.index = state.epoch + 1, 0
        return batch

    def _clip(self) -> None:
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        clipped, _ = clip_by_global_norm(torch, [p.grad for p in parameters], self.recipe.max_gradient_norm)
        for p, gradient in zip(parameters, clipped, strict=True):
            p.grad = gradient

    def stopped(self, received: list[int], deadline: float | None) -> str:
        """Why to stop now, or nothing."""
        if received:
            return signal.Signals(received[0]).name
        return "time" if deadline is not None and time.monotonic() >= deadline else ""

    def report(self, loss: Tensor) -> None:
        """One line on the step just taken."""
        state = self.state
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss of step {state.step} is {loss.item()}")
        speed = state.tokens / max(state.seconds, 1e-9)
        self.progress(
            f"step {state.step}/{self.recipe.total_steps}  loss {loss.item():.3f}  epoch {state.epoch}  "
            f"{state.tokens / 1e6:.2f} M tokens  {speed:,.0f} tokens/s"
        )

    def evaluate(self) -> None:
        """Measure on the held-out text, and keep the model where it is the best so far."""
        assert self.evaluation is not None
        found = evaluate(self.model, self.evaluation, autocast=self.autocast)
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
            save_safetensors(folder / _MOMENTS, self._moments())
            known = {"state": dataclasses.asdict(self.state), "recipe": dataclasses.asdict(self.recipe)}
            write_file(folder / _STATE, json.dumps(known, indent=1).encode())
        for path in older:
            shutil.rmtree(path)

    def _moments(self) -> dict[str, np.ndarray]:
        return {
            f"{kind}.{name}": self.optimizer.state[p][kind].cpu().numpy()
            for name, p in self.model.named_parameters()
            for kind in ("m", "v")
        }

    def _resume(self, folder: Path) -> None:
        with open_safetensors(folder / "model.safetensors") as weights:
            self.model.load_numpy_state({name: weights.read(name) for name in weights}, folder)
        self.state = TrainingState(**json.loads((folder / _STATE).read_text())["state"])
        with open_safetensors(folder / _MOMENTS) as moments:
            for name, p in self.model.named_parameters():
                m, v = (torch.from_numpy(moments.read(f"{kind}.{name}")).to(self.device) for kind in ("m", "v"))
                self.optimizer.state[p].update(step=self.state.step, m=m, v=v)
        self.progress(f"going on from {folder.name}")


@torch.no_grad()
def evaluate(model: AlbertForPreTraining, data: PretrainingData, *, autocast: str | None = None) -> dict[str, float]:
    """Held-out numbers over every batch of epoch 0.

    Returns:
        masked_loss and masked_accuracy over the masked pieces; order_accuracy over the pairs; guess_accuracy, what
        always naming the most frequent of the masked pieces would reach.
    """
    device, was_training = model.device, model.training
    model.eval()
    loss = right = in_order = 0.0
    wanted, pairs = [], 0
    for index in range(data.batches(0)):
        batch = _tensors(data.batch(0, index), device)
        labels, order = batch.pop("labels"), batch.pop("sentence_order_label")
        with _autocast(device, autocast):
            out = model(**batch)
        used = labels != IGNORED_LABEL
        logits, targets = out.prediction_logits[used].float(), labels[used]
        loss += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        right += (logits.argmax(-1) == targets).sum().item()
        in_order += (out.sop_logits.argmax(-1) == order)[order != IGNORED_LABEL].sum().item()
        pairs += int((order != IGNORED_LABEL).sum())
        wanted.append(targets.cpu().numpy())
    model.train(was_training)
    pieces = np.concatenate(wanted)
    return {
        "masked_loss": loss / len(pieces),
        "masked_accuracy": right / len(pieces),
        "guess_accuracy": float(np.bincount(pieces).max()) / len(pieces),
        "order_accuracy": in_order / max(pairs, 1),
    }


def _tensors(batch: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}


def _autocast(device: torch.device, dtype: str | None) -> AbstractContextManager[Any]:
    return nullcontext() if dtype is None else torch.autocast(device.type, getattr(torch, dtype))
