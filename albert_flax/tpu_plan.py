"""A pretraining step compiled for a TPU that is not there, and what the compiler says of it.

libtpu brings the compiler; `jax.experimental.topologies` describes the devices. The step is that of
`albert_flax.parallel`, so what is read here is what a pod would run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding

from albert_core.config import AlbertConfig
from albert_core.errors import AlbertError, BackendMissing
from albert_core.recipes import PretrainingRecipe
from albert_core.trainer import Part
from albert_flax.flops import matrix_flops
from albert_flax.hlo import Program
from albert_flax.models import FlaxAlbertForPreTraining
from albert_flax.optim import make_optimizer
from albert_flax.parallel import BY_PART, EVERYWHERE, data_mesh, parallel_step, shares, streams_of
from albert_flax.tpu_chips import CHIPS, Chip

__all__ = ["CompilerMissing", "TpuPlan", "TopologyError", "plan", "tpu_mesh", "trace_step"]

_NO_MEMORY = re.compile(
    r"Used ([\d.]+[KMG]?) of [\d.]+[KMG]? hbm|\(([\d.]+[KMG]?)\) exceeds available HBM", re.IGNORECASE
)
_ALONE = {  # libtpu looks for a TPU around it, and complains at length where there is none
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # several processes may compile at a time; none of them has a TPU
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


class CompilerMissing(BackendMissing):
    """libtpu, which brings the compiler, is not installed."""

    exit_code = 1


class TopologyError(AlbertError, ValueError):
    """A topology that no TPU has.

    Args:
        topology: What was asked for.
        allowed: What would have been accepted.
    """

    exit_code = 2


@dataclass(frozen=True)
class TpuPlan:
    """What is known of a step before it runs.

    Attributes:
        topology: As asked for.
        slices: How many of them, joined by the data centre's network.
        chips: In all slices.
        devices_per_chip: What JAX sees of a chip; 2 on v4, whose memory and rates they share.
        batch: Sequences of a step.
        sequence: Tokens of a sequence.
        compute: What matrix products are computed in; weights and moments are float32.
        remat: What backward may keep of each layer; None where it is the products with weights, as by itself.
        compile_seconds: Of the compiler, on this machine.
        fits: Whether the compiler could place everything.
        memory_bytes: On each device: weights, moments, batch and temporaries together; where it does not fit, what the
            compiler would have needed for temporaries alone.
        memory_limit: What the chip has for a device.
        temporary_bytes: Activations and gradients alone; None where it does not fit.
        flops: Of the matrix products, on each device.
        bytes_moved: Between a device and its memory.
        reduced_bytes: Of gradients and norms summed over the devices, on each.
        gathered_bytes: Of updates that each device gets from the others.
        collectives: How many instructions of each kind, and how many of them run in a loop.
        collectives_in_loops: Of any kind.
        head_size: D.
        lanes: Width of the chip's matrix units.
        head_padding: Share of the attention products that multiplies padding.
        flops_padding: Share of all matrix work that does.
        estimate: Seconds of a step at the published rates, and their parts; no measurement.
        source: Where the rates are published.
    """

    topology: str
    slices: int
    chips: int
    devices_per_chip: int
    batch: int
    sequence: int
    compute: str
    remat: str | None
    compile_seconds: float
    fits: bool
    memory_bytes: int
    memory_limit: int
    temporary_bytes: int | None
    flops: float
    bytes_moved: int | None
    reduced_bytes: int | None
    gathered_bytes: int | None
    collectives: dict[str, int]
    collectives_in_loops: int | None
    head_size: int
    lanes: int
    head_padding: float
    flops_padding: float
    estimate: dict[str, float] | None
    source: str

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return asdict(self)


def plan(
    config: AlbertConfig,
    recipe: PretrainingRecipe,
    topology: str,
    *,
    slices: int = 1,
    compute: str = "bfloat16",
    remat: str | None = None,
    progress: Callable[[str], object] = lambda line: None,
) -> TpuPlan:
    """Compile a pretraining step for a topology and read the result. No TPU and no weights are needed.

    Args:
        config: The model.
        recipe: The batch, its length and the optimizer.
        topology: Chip and shape, such as "v5e:16x16".
        slices: How many of that topology.
        compute: "bfloat16" or "float32".
        remat: One of the model's `checkpoint_policies`, or None.
        progress: Gets a line before each long part.

    Raises:
        BackendMissing: libtpu is not installed.
        TopologyError: There is no such topology.
        ValueError: The batch cannot be cut over the devices, or there is no such policy.
    """
    chip, mesh = _chip(topology), tpu_mesh(topology, slices)
    progress(f"tracing the step for {mesh.size} devices")
    traced = trace_step(config, recipe, mesh, compute, remat)
    total, attention = matrix_flops(traced.jaxpr.jaxpr)
    progress("compiling")
    lowered, began = traced.lower(), time.monotonic()
    try:
        compiled, refused = lowered.compile(), None
    except jax.errors.JaxRuntimeError as error:
        if (refused := needed_memory(str(error))) is None:
            raise
        compiled = None
    seconds = time.monotonic() - began
    chips = len({(getattr(d, "slice_index", 0), tuple(d.coords)) for d in mesh.devices.flat})
    per_chip = mesh.size // chips
    padded = -(-config.head_size // chip.lanes) * chip.lanes
    work = total + attention * (padded / config.head_size - 1)
    found = _read(compiled) if compiled is not None else _REFUSED
    memory = found.pop("memory_bytes") if refused is None else refused
    return TpuPlan(
        topology=topology,
        slices=slices,
        chips=chips,
        devices_per_chip=per_chip,
        batch=recipe.batch_size,
        sequence=recipe.sequence_length,
        compute=compute,
        remat=remat,
        compile_seconds=round(seconds, 1),
        fits=refused is None,
        memory_bytes=memory,
        memory_limit=int(chip.memory / per_chip),
        flops=total,
        head_size=config.head_size,
        lanes=chip.lanes,
        head_padding=1 - config.head_size / padded,
        flops_padding=1 - total / work,
        estimate=_estimate(chip, per_chip, mesh.size, work, found) if refused is None else None,
        source=chip.source,
        **found,
    )


def tpu_mesh(topology: str, slices: int = 1) -> Mesh:
    """The devices of a topology that need not be there.

    Raises:
        BackendMissing: libtpu is not installed.
        TopologyError: There is no such topology.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise CompilerMissing("tpu", "libtpu", 'pip install "albert-models[tpu]"')
    for name, value in _ALONE.items():
        os.environ.setdefault(name, value)
    more = {"num_slices": slices} if slices > 1 else {}
    try:
        described = topologies.get_topology_desc(platform="tpu", topology_name=topology, **more)
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("INVALID_ARGUMENT"):
            raise
        raise TopologyError(topology=topology, allowed=str(error).partition("\n")[0]) from error
    return data_mesh(described.devices)


def _chip(topology: str) -> Chip:
    name = topology.partition(":")[0]
    if name not in CHIPS or ":" not in topology:
        raise TopologyError(topology=topology, allowed=f"a chip of {', '.join(CHIPS)} and a shape, such as v5e:16x16")
    return CHIPS[name]


def trace_step(config: AlbertConfig, recipe: PretrainingRecipe, mesh: Mesh, compute: str, remat: str | None) -> Any:
    """`parallel_step` for a model, an optimizer and a batch that exist as shapes alone."""
    if recipe.batch_size % mesh.size:
        raise ValueError(f"batch: expected a multiple of the {mesh.size} devices, got {recipe.batch_size}")
    model = nnx.eval_shape(lambda: FlaxAlbertForPreTraining(config, dtype=compute, param_dtype="float32"))
    model.train()
    if remat is not None:
        model.gradient_checkpointing_enable(policy=remat)
    structure, parameters, rest = nnx.split(model, nnx.Param, ...)
    optimizer = make_optimizer(recipe)
    state = jax.eval_shape(optimizer.init, parameters)
    return parallel_step.trace(
        *(structure, streams_of(rest), optimizer, recipe.max_gradient_norm, mesh),
        jax.tree.map(lambda x: _shape(x.shape, x.dtype, mesh, EVERYWHERE), parameters),
        jax.tree.map(lambda x, cut: _shape(x.shape, x.dtype, mesh, cut), state, shares(state, mesh.size)),
        _batch(recipe, mesh),
        None,
        _shape((), jnp.float32, mesh, EVERYWHERE),
        _shape((2,), jnp.uint32, mesh, EVERYWHERE),
    )


def _batch(recipe: PretrainingRecipe, mesh: Mesh) -> Part:
    rows, length = recipe.batch_size // mesh.size, recipe.sequence_length
    masked = recipe.predictions(length)

    def array(*shape: int, dtype: Any = jnp.int32) -> jax.ShapeDtypeStruct:
        return _shape((mesh.size, *shape), dtype, mesh, BY_PART)

    inputs = {name: array(rows, length) for name in ("input_ids", "attention_mask", "token_type_ids")}
    inputs["masked_positions"] = array(rows, masked)
    return Part(inputs, array(rows, masked), array(rows), array(dtype=jnp.float32), array(dtype=jnp.float32))


def _shape(shape: tuple[int, ...], dtype: Any, mesh: Mesh, cut: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, cut))


_REFUSED: dict[str, Any] = {
    "temporary_bytes": None,
    "bytes_moved": None,
    "reduced_bytes": None,
    "gathered_bytes": None,
    "collectives": {},
    "collectives_in_loops": None,
}


def _read(compiled: Any) -> dict[str, Any]:
    """What the compiler and the program's text say."""
    memory, program = compiled.memory_analysis(), Program.parse(compiled.as_text())
    found = program.collectives()
    size: Counter[str] = Counter()
    for each in found:
        size["reduced" if each.kind in ("all-reduce", "reduce-scatter") else "gathered"] += each.times * each.bytes
    used = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return {
        "memory_bytes": used + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "bytes_moved": program.bytes_moved(),
        "reduced_bytes": size["reduced"],
        "gathered_bytes": size["gathered"],
        "collectives": dict(Counter(each.kind for each in found)),
        "collectives_in_loops": sum(each.in_loop for each in found),
    }


def _estimate(chip: Chip, per_chip: int, devices: int, work: float, found: dict[str, Any]) -> dict[str, float]:
    """Seconds at the published rates: of products and memory, which overlap, then of the links, which wait for both.

    A sum over n devices by rings sends 2 (n - 1) / n of its bytes; a gather sends n - 1 times what each device has.
    Between slices the network is slower than these links, and what XLA cannot hide is not in here.
    """
    products, memory = work * per_chip / chip.flops, found["bytes_moved"] * per_chip / chip.memory_bandwidth
    sent = 2 * (devices - 1) / devices * found["reduced_bytes"] + (devices - 1) * found["gathered_bytes"]
    links = sent * per_chip / chip.link_bandwidth
    return {"products": products, "memory": memory, "links": links, "step": max(products, memory) + links}


def needed_memory(error: str) -> int | None:
    """What the compiler says that it would have needed, in bytes; None where it says something else."""
    if (found := _NO_MEMORY.search(error)) is None:
        return None
    text = found[1] or found[2]
    power = " KMG".index(text[-1]) if text[-1] in "KMG" else 0
    return int(float(text.rstrip("KMG")) * 2 ** (10 * power))
