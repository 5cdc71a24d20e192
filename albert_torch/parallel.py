"""Pretraining in several processes, one to a device, started by torchrun.

    torchrun --nproc-per-node 8 -m albert_core pretrain --parallel ...

Every process computes the same batch and takes its own parts of it. The gradients of all processes are summed once a
step; as layers share their weights, what is sent does not grow with depth. Each process keeps the moments of some of
the parameters only and updates those: ZeRO, stage 1, https://arxiv.org/abs/1910.02054. A parameter is not cut, because
LAMB needs its norm.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed as dist, nn

from albert_core.config import AlbertConfig
from albert_core.parameters import Parameter
from albert_core.recipes import PretrainingRecipe
from albert_core.trainer import Part, StepMetrics, dealt
from albert_torch.base import to_numpy
from albert_torch.placement import default_device, find_device
from albert_torch.training import Trainer

__all__ = ["ParallelTrainer"]


class ParallelTrainer(Trainer):
    """A `Trainer` whose step is shared by all processes; its numbers are those of one.

    Args:
        config: The model.
        recipe: Optimizer and its settings.
        device: Where this process trains; "cuda" and None mean the device that torchrun numbers it by.
        dtype: What weights and moments are kept in.
        autocast: As in `Trainer`.

    Attributes:
        shards: Number of processes.
        rank: Which of them this is.

    A process group that it made is ended by `close`, at the latest when the interpreter exits: left to the end of the
    process, gloo's threads may abort it.

    Raises:
        ValueError: torch.distributed.init_process_group found no torchrun, and no group had been made before.
    """

    def __init__(
        self,
        config: AlbertConfig,
        recipe: PretrainingRecipe,
        *,
        device: Any = None,
        dtype: str = "float32",
        autocast: str | None = None,
    ) -> None:
        device = _own_device(device)
        self._made_group = not dist.is_initialized()
        if self._made_group:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(_end_group)
        super().__init__(config, recipe, device=device, dtype=dtype, autocast=autocast)
        self.shards, self.rank = dist.get_world_size(), dist.get_rank()
        self.writes = self.rank == 0
        self.hosts = None if device.type == "cpu" else dist.new_group(backend="gloo")  # to agree without the device
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.flat = torch.zeros(sum(p.numel() for p in parameters), device=device, dtype=self.model.dtype)
        self.views = _views(self.flat, parameters)
        self.owned = shared_out(parameters, self.shards)
        self.optimizer.register_step_pre_hook(self._keep_own_gradients)
        self.optimizer.register_step_post_hook(self._share_parameters)

    def step(self, parts: Sequence[Part], step: int) -> StepMetrics:
        return super().step(dealt(parts, self.shards)[self.rank], step)

    def _seed(self, step: int) -> None:
        """Dropout as a function of step and process."""
        drawn = np.random.SeedSequence([self.recipe.seed, step, self.rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(drawn[0]))

    def _gradients(self, parts: Sequence[Part]) -> StepMetrics:
        """The sum over all processes, left in each parameter's `grad`: backward adds into one array, which is sent."""
        self.flat.zero_()
        for p, view in self.views.items():
            p.grad = view
        metrics = torch.stack(super()._gradients(parts))
        dist.all_reduce(self.flat)
        dist.all_reduce(metrics)
        return StepMetrics(*metrics)

    def _keep_own_gradients(self, *_: Any) -> None:
        """The optimizer steps over a parameter without a gradient, and keeps no state for it."""
        for p in self.views.keys() - set(self.owned[self.rank]):
            p.grad = None

    @torch.no_grad()
    def _share_parameters(self, *_: Any) -> None:
        for owner, parameters in enumerate(self.owned):
            if not parameters:
                continue
            new = torch.cat([p.reshape(-1) for p in parameters])
            dist.broadcast(new, owner)
            for p, value in _views(new, parameters).items():
                p.copy_(value)

    def agree(self, code: int) -> int:
        highest = torch.tensor(code)
        dist.all_reduce(highest, dist.ReduceOp.MAX, group=self.hosts)
        return int(highest)

    def close(self) -> None:
        if self._made_group:
            _end_group()

    def get_moment(self, kind: str, parameter: Parameter) -> np.ndarray:
        """As in `Trainer`; every process has to ask for the same ones in the same order."""
        p = self.model.leaf(parameter).value
        owner = next(rank for rank, owned in enumerate(self.owned) if any(p is other for other in owned))
        moment = self.optimizer.state_of(p)[kind].contiguous() if owner == self.rank else torch.empty_like(p)
        dist.broadcast(moment, owner)
        return to_numpy(moment)

    def set_moments(self, moments: Mapping[str, np.ndarray], step: int) -> None:
        super().set_moments(moments, step)
        for p in self.views.keys() - set(self.owned[self.rank]):
            del self.optimizer.state[p]


def _end_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _own_device(device: Any) -> torch.device:
    device = find_device(device or default_device())
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what collectives use
    return device


def _views(flat: Tensor, parameters: Sequence[nn.Parameter]) -> dict[nn.Parameter, Tensor]:
    """A flat array's pieces, in the shape of each parameter."""
    pieces = flat.split([p.numel() for p in parameters])
    return {p: piece.view_as(p) for p, piece in zip(parameters, pieces, strict=True)}


def shared_out(parameters: Sequence[nn.Parameter], count: int) -> list[list[nn.Parameter]]:
    """Parameters by owner: each, the largest first, goes to the one that has the least so far."""
    owned: list[list[nn.Parameter]] = [[] for _ in range(count)]
    loads = [0] * count
    for p in sorted(parameters, key=lambda p: -p.numel()):
        least = loads.index(min(loads))
        owned[least].append(p)
        loads[least] += p.numel()
    return owned
