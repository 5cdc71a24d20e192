"""A run's numbers as TensorBoard reads them; a run that goes on does not go back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_training import RECIPE, data_of, stop_after, trainer

from albert_core.errors import BackendMissing
from albert_core.tensorboard import TensorBoard
from albert_core.training import pretrain

WITHOUT = """
import sys
from albert_core.tensorboard import TensorBoard
board = TensorBoard(sys.argv[1])
board(1, {"train/loss": 2.5})
board.close()
found = {"tensorflow", "torch", "jax"} & set(sys.modules)
assert not found, found
"""


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard would draw, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_a_run_in_two_pieces_is_one_curve(tmp_path: Path) -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    for stop in (9, None):
        board = TensorBoard(tmp_path / "board")
        how = {"progress": stop_after(stop) if stop else lambda line: None, "report_every": 1, "save_every": 10}
        watch = (board, lambda step, numbers: seen.append((step, dict(numbers))))
        held_out = {"evaluation": data_of(RECIPE, seed=1), "evaluate_every": 20}
        pretrain(trainer("torch", device="cpu"), data_of(RECIPE), tmp_path / "run", observers=watch, **held_out, **how)
        board.close()
    drawn = scalars(tmp_path / "board")
    assert [step for step, _ in drawn["train/loss"]] == list(range(1, RECIPE.total_steps + 1))
    assert [step for step, _ in drawn["held_out/masked_accuracy"]] == [10, 20, 40, 60]
    names = {"loss", "masked_accuracy", "order_accuracy", "learning_rate", "tokens_per_second", "steps_per_second"}
    assert {tag.removeprefix("train/") for tag in drawn if tag.startswith("train/")} == names
    told = {(step, tag): value for step, numbers in seen for tag, value in numbers.items()}
    for tag, points in drawn.items():
        assert [value for _, value in points] == pytest.approx([told[step, tag] for step, _ in points], rel=1e-6)
    rates = [value for _, value in drawn["train/learning_rate"]]
    assert rates == pytest.approx([float(RECIPE.rate(np, step)) for step in range(60)], rel=1e-6)


def test_steps_that_are_taken_again_are_drawn_once(tmp_path: Path) -> None:
    """A killed run goes on from its checkpoint, before the last step it had reported."""
    for first, last in ((0, 8), (5, 10)):
        board = TensorBoard(tmp_path)
        board(first, {})
        for step in range(first + 1, last + 1):
            board(step, {"train/loss": first + step / 16})
        board.close()
    before, after = [(step, step / 16) for step in range(1, 6)], [(step, 5 + step / 16) for step in range(6, 11)]
    assert scalars(tmp_path)["train/loss"] == before + after


def test_a_missing_tensorboard_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(BackendMissing, match=r'tensorboard.*pip install "albert-models\[train\]"'):
        TensorBoard(tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_no_framework_is_imported(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT, str(tmp_path)], check=True)
    assert scalars(tmp_path)["train/loss"] == [(1, 2.5)]
