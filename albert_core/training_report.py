"""What a pretraining run says of itself: the numbers of the steps since the last report, as a dict and as a line."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np

from albert_core.trainer import StepMetrics, Trainer
from albert_core.training_state import TrainingState

__all__ = ["Window", "report_line"]


class Window:
    """The steps since the last report; nobody waits for their numbers before the next one."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin again, with the clock: time for evaluation and saving is nobody's speed."""
        self.metrics: list[StepMetrics] = []
        self.tokens = 0
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the last start."""
        return time.monotonic() - self.began

    def add(self, metrics: StepMetrics, tokens: int) -> None:
        """One more step, of so many tokens without padding."""
        self.metrics.append(metrics)
        self.tokens += tokens

    def report(self, trainer: Trainer, state: TrainingState) -> dict[str, float]:
        """Mean loss and accuracies of the window's steps, and the speed; waits for the device.

        Returns:
            loss, masked_accuracy, order_accuracy, learning_rate, tokens_per_second, steps_per_second, and where the
            loss is scaled, loss_scale and skipped_steps.

        Raises:
            FloatingPointError: A loss was not finite, and no loss scale can be the reason.
        """
        values = np.array([[float(value) for value in metrics] for metrics in self.metrics])  # [steps, 3]
        finite = np.isfinite(values).all(-1)
        scale = trainer.loss_scale
        if not finite.all() and (scale is None or float(scale.scale) < 1):
            place = int(np.argmin(finite))
            step = state.step - len(values) + 1 + place
            raise FloatingPointError(f"the loss of step {step} is {values[place, 0]}")
        means = values[finite].mean(0) if finite.any() else np.full(3, np.nan)
        seconds = max(self.seconds, 1e-9)
        return {
            **dict(zip(StepMetrics._fields, map(float, means), strict=True)),
            "learning_rate": trainer.rate(state.step - 1),
            "tokens_per_second": self.tokens / seconds,
            "steps_per_second": len(values) / seconds,
            **({} if scale is None else {"loss_scale": float(scale.scale), "skipped_steps": int(scale.skipped)}),
        }


def report_line(state: TrainingState, total: int) -> str:
    """The last report for a log: "step 100/1000  loss 4.321  masked 12.3 %  order 60.0 %  ..."."""
    m = state.metrics
    left = timedelta(seconds=round((total - state.step) / m["steps_per_second"]))
    skipped = f"  skipped {m['skipped_steps']:.0f}" if m.get("skipped_steps") else ""
    return (
        f"step {state.step}/{total}  loss {m['loss']:.3f}  masked {m['masked_accuracy']:.1%}  "
        f"order {m['order_accuracy']:.1%}  epoch {state.epoch}  {state.tokens / 1e6:.2f} M tokens  "
        f"{m['tokens_per_second']:,.0f} tokens/s  {left} left{skipped}"
    )
