"""How far a backend is from the float64 reference: the gate, the oracles, and the measurement.

`rho` is the relative RMS error. The gate's numbers stand here and nowhere else; loosening one is a bug report.
`times_peer` is how far beyond transformers' own error a test lets a lane go, below the number that caps it.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from albert_core import reference
from albert_core.backends import BACKENDS, load
from albert_core.config import AlbertConfig
from albert_core.dtypes import DTYPES
from albert_core.heads import HEADS
from albert_core.parameters import PREFIX, WORDS

__all__ = ["GATE", "LANES", "Case", "Measured", "bound", "measure", "precision", "reference_gradients", "rho"]

Arrays = Mapping[str, Any]

GATE: dict[str, dict[str, float]] = {
    "float64": {"forward": 1e-13, "forward_12_layers": 1e-12, "gradient": 1e-12},
    "float32": {"forward": 3e-6, "gradient": 1e-5, "times_peer": 2.0},
    "bfloat16": {"forward": 5e-2, "gradient": math.inf, "times_peer": 1.5},  # a gradient's noise is the weights'
    "float16": {"forward": 5e-2, "gradient": math.inf, "times_peer": 1.5},
}
LANES = tuple(GATE)
DEEP = 12  # applied layers from which rounding has added up
ZERO_IN_THEORY = 1e-10  # a gradient this much smaller than the largest is noise, as the key bias' is


def bound(config: AlbertConfig, lane: str, kind: str) -> float:
    """What rho may be at most; `kind` is "forward" or "gradient"."""
    deep = config.num_hidden_layers * config.inner_group_num >= DEEP
    return GATE[lane].get(f"{kind}_12_layers" if deep else kind, GATE[lane][kind])


def rho(got: Any, oracle: Any) -> float:
    """RMS(got - oracle) / RMS(oracle), infinite when a value is not finite; an oracle of zeros is compared absolutely.

    Raises:
        ValueError: The shapes differ.
    """
    got, oracle = np.asarray(got, dtype=np.float64), np.asarray(oracle, dtype=np.float64)
    if got.shape != oracle.shape:
        raise ValueError(f"shape: expected {oracle.shape}, got {got.shape}")
    if not np.isfinite(got).all():
        return math.inf
    return _rms(got - oracle) / (_rms(oracle) or 1.0)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.size else 0.0


@contextlib.contextmanager
def precision(backend: str, lane: str) -> Iterator[None]:
    """No reduced-precision products; 64-bit JAX for Flax in float64, and only there."""
    if backend == "flax":
        jax = importlib.import_module("jax")
        with jax.default_matmul_precision("highest"), jax.enable_x64(lane == "float64"):
            yield
    elif backend == "torch":
        torch = importlib.import_module("torch")
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
    else:
        config = importlib.import_module("tensorflow").config.experimental
        before = config.tensor_float_32_execution_enabled()
        config.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            config.enable_tensor_float_32_execution(before)


def reference_gradients(config: AlbertConfig, state: Arrays, inputs: Arrays, head: str) -> dict[str, np.ndarray]:
    """float64 gradients of the reference's loss by canonical name; tied names are one parameter.

    The word embeddings' pad row gets no gradient from its lookup, which the reference knows nothing about: its lookup
    reads a copy of the table with that row held still.
    """
    jax, jnp = importlib.import_module("jax"), importlib.import_module("jax.numpy")
    pooling = any(name.startswith("albert.pooler") for name in state)
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        free = {n: jnp.asarray(v) for n, v in state.items() if "decoder" not in n}
        given = {n: jnp.asarray(v) for n, v in inputs.items()}

        def loss(parameters: dict[str, Any]) -> Any:
            inputs_now = given
            if "input_ids" in given:
                table, pad = parameters[WORDS], config.pad_token_id
                still = table if pad is None else table.at[pad].set(state[WORDS][pad])
                inputs_now = {k: v for k, v in given.items() if k != "input_ids"}
                inputs_now["inputs_embeds"] = still[given["input_ids"]]
            return reference.forward(config, parameters, inputs_now, head, pooling, xp=jnp)["loss"]

        return {n: np.asarray(g) for n, g in jax.grad(loss)(free).items()}


@dataclass(frozen=True)
class Measured:
    """The distance of one output of one backend in one lane; the worst where there are several arrays.

    Attributes:
        lane: The dtype computed in.
        output: An output field, or "gradients".
        backend: Its name.
        largest: max |got - oracle|.
        rho: Relative RMS error.
        gate: What rho may be.
    """

    lane: str
    output: str
    backend: str
    largest: float
    rho: float
    gate: float

    @property
    def ok(self) -> bool:
        """Whether it is within the gate."""
        return math.isfinite(self.rho) and self.rho <= self.gate


class Case:
    """One model and batch in one lane, with its oracles, which are computed once for all backends.

    Args:
        head: A class name of `albert_core.heads`.
        config: The model's hyper-parameters.
        state: Its weights by canonical name; rounded to the lane before the reference sees them.
        inputs: NumPy arrays by input name, with labels where a loss and gradients are wanted.
        lane: The dtype to compute in.
    """

    def __init__(self, head: str, config: AlbertConfig, state: Arrays, inputs: Arrays, lane: str) -> None:
        self.head, self.config, self.inputs, self.lane = head, config, dict(inputs), lane
        self.state = {name: np.asarray(value).astype(DTYPES[lane]) for name, value in state.items()}
        self.pooling = any(name.startswith(PREFIX + "pooler") for name in state)

    @cached_property
    def wide(self) -> dict[str, np.ndarray]:
        """The rounded weights in float64."""
        return {name: value.astype(np.float64) for name, value in self.state.items()}

    @cached_property
    def oracle(self) -> dict[str, Any]:
        """The reference's outputs."""
        return reference.forward(self.config, self.wide, self.inputs, self.head, self.pooling)

    @cached_property
    def gradients(self) -> dict[str, np.ndarray]:
        """The reference's gradients."""
        return reference_gradients(self.config, self.wide, self.inputs, self.head)

    def model(self, backend: str, device: Any = None, **options: Any) -> Any:
        """The backend's model with these weights, in evaluation mode."""
        own = {} if HEADS[self.head].pooling == self.pooling else {"add_pooling_layer": self.pooling}
        cls = getattr(load(backend), BACKENDS[backend].prefix + self.head)
        model = cls._construct(self.config, self.lane, **own, **options)
        model.load_numpy_state(self.state)
        return model._finish(device)


def measure(backend: str, case: Case, device: Any = None, gradients: bool = True) -> list[Measured]:
    """Run a backend beside the reference, with attentions returned and fused, and backward.

    Args:
        backend: "torch", "tf" or "flax".
        case: What to run.
        device: Where the backend runs.
        gradients: Whether to compare gradients too; their oracle needs jax.
    """
    with precision(backend, case.lane):
        model = case.model(backend, device)
        got = model.run_numpy(**case.inputs, output_hidden_states=True, output_attentions=True)
        fused = model.run_numpy(**case.inputs)
        found = model.gradients_numpy(**case.inputs) if gradients and "loss" in got else None
    rows = [_compared(backend, case, name, got[name], case.oracle[name]) for name in got.keys()]
    rows += [_compared(backend, case, f"{n} (fused)", fused[n], case.oracle[n]) for n in fused.keys() if n != "loss"]
    return rows if found is None else [*rows, _gradient_row(backend, case, found)]


def _compared(backend: str, case: Case, name: str, got: Any, oracle: Any) -> Measured:
    pairs = list(zip(got, oracle, strict=True)) if isinstance(oracle, tuple) else [(got, oracle)]
    largest = max(float(np.abs(np.asarray(a, np.float64) - b).max()) for a, b in pairs)
    gate = bound(case.config, case.lane, "forward")
    return Measured(case.lane, name, backend, largest, max(rho(a, b) for a, b in pairs), gate)


def _gradient_row(backend: str, case: Case, got: Arrays) -> Measured:
    scales = {name: _rms(value) for name, value in case.gradients.items()}
    largest = max(scales.values())
    errors = {name: np.asarray(got[name], np.float64) - value for name, value in case.gradients.items()}
    worst = max(
        _rms(error) / (scales[name] if scales[name] > ZERO_IN_THEORY * largest else largest or 1.0)
        for name, error in errors.items()
    )
    most = max(float(np.abs(error).max()) for error in errors.values())
    return Measured(case.lane, "gradients", backend, most, worst, bound(case.config, case.lane, "gradient"))
