"""What test_torch_parallel runs in two processes: `torchrun torch_processes.py FOLDER`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from test_training import CONFIG, RECIPE, STILL, data_of
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parity_suite import TINY, batch, drawn_state, labels_for, with_choices
from albert_core.trainer import parts_of
from albert_core.training import pretrain
from albert_torch import models
from albert_torch.parallel import ParallelTrainer

RUNS = {
    "lamb": RECIPE.replace(optimizer="lamb", total_steps=6, bias_correction=False),
    "adamw": RECIPE.replace(total_steps=6, max_gradient_norm=0.1),  # clipped at every step
}
ACCUMULATION = {"lamb": 1, "adamw": 3}  # the second does not divide the batch evenly
TASKS = [name for name in HEADS if name != "AlbertModel"]
RELATIVE = "relative positions"  # leave the table of absolute ones unused
STEPS, RATE = 3, 0.1


@contextmanager
def counted() -> Iterator[list[tuple[str, int]]]:
    """The collectives that are called, with the number of values each sends."""
    calls: list[tuple[str, int]] = []
    originals = {name: getattr(dist, name) for name in ("all_reduce", "broadcast", "all_gather", "reduce_scatter")}

    def counting(name: str) -> Any:
        def call(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            calls.append((name, tensor.numel()))
            return originals[name](tensor, *args, **kwargs)

        return call

    for name in originals:
        setattr(dist, name, counting(name))
    try:
        yield calls
    finally:
        for name, original in originals.items():
            setattr(dist, name, original)


def pretrained(folder: Path, name: str) -> dict[str, Any]:
    recipe = RUNS[name]
    trainer = ParallelTrainer(STILL, recipe, device="cpu", dtype="float64")
    with counted() as calls:
        pretrain(trainer, data_of(recipe), folder / name, accumulation=ACCUMULATION[name], progress=lambda line: None)
    trainer.close()  # of a group that others made, nothing
    held = sum(state["m"].numel() for state in trainer.optimizer.state.values())
    return {"calls": calls, "held": held, "parameters": trainer.flat.numel(), "writes": trainer.writes}


def step_of(depth: int) -> list[tuple[str, int]]:
    """The collectives of one step of a model of this depth."""
    recipe = RUNS["lamb"]
    trainer = ParallelTrainer(CONFIG.replace(num_hidden_layers=depth), recipe, device="cpu")
    with counted() as calls:
        trainer.step(parts_of(data_of(recipe).batch(0, 0), 1), 0)
    return calls


def task(name: str) -> tuple[Any, dict[str, np.ndarray]]:
    positions = "relative_key" if name == RELATIVE else "absolute"
    name = "AlbertForMaskedLM" if name == RELATIVE else name
    config = AlbertConfig(
        **{**TINY, "num_hidden_layers": 3, "classifier_dropout_prob": 0.0}, position_embedding_type=positions
    )
    inputs = batch(config, batch_size=4)
    inputs = with_choices(inputs) if HEADS[name].signature.choices else inputs
    inputs |= labels_for(config, name, inputs)
    for label in ("labels", "start_positions", "end_positions", "sentence_order_label"):
        if label in inputs:  # as many in each half, so that the mean of the halves' means is the whole's
            inputs[label] = np.concatenate([inputs[label][:2]] * 2)
    model = getattr(models, name)._construct(config, "float64")
    model.load_numpy_state(drawn_state(config, name))
    return model.train(), inputs


def trained(model: Any, network: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A loop as users write it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        network(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.numpy_state()


def trained_in_two(name: str) -> dict[str, np.ndarray]:
    """This process's half of the batch. The wrapper has to go before the process group does, as in docs/pytorch.md."""
    model, inputs = task(name)
    network = DistributedDataParallel(model, find_unused_parameters=name == RELATIVE)
    first = 2 * dist.get_rank()
    return trained(model, network, {n: a[first : first + 2] for n, a in inputs.items()})


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    found: dict[str, Any] = {name: pretrained(folder, name) for name in RUNS}
    found["depth"] = [step_of(2), step_of(12)]
    rank = dist.get_rank()
    for name in (*TASKS, RELATIVE):
        state = trained_in_two(name)
        if rank == 0:
            np.savez(folder / f"{name}.npz", **state)
    (folder / f"found-{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
