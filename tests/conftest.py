"""The `backend` fixture, and the only place where the numbers of the parity gate stand.

`rho` is the relative RMS error against the float64 oracle. Loosening a number here is a bug report.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers of xdist share the cores
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing in a test reaches a network

from albert_core import reference
from albert_core.backends import BACKENDS, require
from albert_core.config import AlbertConfig

GATE = {
    "float64": {"forward": 1e-13, "forward_12_layers": 1e-12, "gradient": 1e-12},
    "float32": {"forward": 3e-6, "gradient": 1e-5},
    "bfloat16": {"forward": 5e-2},
    "float16": {"forward": 5e-2},
}
UNIT_ROUNDOFF_FLOAT32 = 2.0**-24
SHARED = Path(__file__).resolve().parents[2] / "shared"

TINY = {
    "vocab_size": 37,
    "embedding_size": 6,
    "hidden_size": 12,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "num_hidden_layers": 6,
    "max_position_embeddings": 16,
    "initializer_range": 0.3,
}
GROUPS = {"1x1": {}, "2x2": {"num_hidden_groups": 2, "inner_group_num": 2}, "3x1": {"num_hidden_groups": 3}}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backends", default=",".join(BACKENDS), help="comma-separated; one that is missing fails")
    parser.addoption("--long", action="store_true", help="run the long lanes too")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", metafunc.config.getoption("--backends").split(","), indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


class Adapter:
    """One backend behind one face: NumPy in, NumPy out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.package = importlib.import_module(require(name).package)

    def cls(self, head: str) -> Any:
        return getattr(self.package, BACKENDS[self.name].prefix + head)

    @contextlib.contextmanager
    def precision(self, dtype: str) -> Iterator[None]:
        """float64 for Flax is scoped to the test; everything else runs as users run it."""
        if self.name == "flax" and dtype == "float64":
            import jax

            with jax.enable_x64(True):
                yield
        else:
            yield

    def model(
        self,
        head: str,
        config: AlbertConfig,
        dtype: str = "float64",
        state: Mapping[str, np.ndarray] | None = None,
        **options: Any,
    ) -> Any:
        """A model in evaluation mode, with the given arrays."""
        model = self.cls(head)._construct(config, dtype, **options)._finish(None)
        if state is not None:
            model.load_numpy_state(state)
        return model

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **flags: Any) -> dict[str, Any]:
        """Every present output field as NumPy."""
        return dict(model.run_numpy(**inputs, **flags).items())

    def gradients(self, model: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Gradient of the loss by canonical name, in canonical layout."""
        return getattr(self, f"_{self.name}_gradients")(model, inputs)

    def _torch_gradients(self, model: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        model.zero_grad()
        model(**inputs).loss.backward()
        return self._by_name(model, lambda leaf: None if leaf.value.grad is None else leaf.value.grad.numpy())

    def _tf_gradients(self, model: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import tensorflow as tf

        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            loss = model(**inputs).loss
        found = tape.gradient(loss, [v.value for v in variables])
        dense = [None if g is None else tf.convert_to_tensor(g).numpy() for g in found]
        by_id = {id(v): g for v, g in zip(variables, dense, strict=True)}
        return self._by_name(model, lambda leaf: by_id[id(leaf.value)])

    def _flax_gradients(self, model: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        from flax import nnx

        structure, _, rest = nnx.split(model, nnx.Param, ...)
        shadow = nnx.merge(structure, nnx.grad(lambda m: m(**inputs).loss)(model), rest)
        return self._by_name(shadow, lambda leaf: np.asarray(leaf.value[...]))

    def _by_name(self, model: Any, read: Any) -> dict[str, np.ndarray]:
        found = {}
        for p in (p for p in model.parameter_table.values() if p.tied_to is None):
            leaf = model.leaf(p)
            gradient = read(leaf)
            gradient = np.zeros(p.shape[::-1] if leaf.transposed else p.shape) if gradient is None else gradient
            found[p.name] = gradient.T if leaf.transposed else gradient
        return found


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Adapter:
    return Adapter(request.param)


def rho(got: np.ndarray, oracle: np.ndarray) -> float:
    """RMS(got - oracle) / RMS(oracle); an oracle of zeros is compared absolutely."""
    got, oracle = np.asarray(got, dtype=np.float64), np.asarray(oracle, dtype=np.float64)
    assert got.shape == oracle.shape, f"shape {got.shape} against {oracle.shape}"
    assert np.isfinite(got).all(), "not finite"
    scale = np.sqrt(np.mean(oracle**2))
    return float(np.sqrt(np.mean((got - oracle) ** 2)) / (scale or 1.0))


def assert_close(got: Mapping[str, Any], oracle: Mapping[str, Any], bound: float) -> None:
    """Every field of `oracle` is in `got`, within `bound`."""
    for name, expected in oracle.items():
        pairs = list(zip(got[name], expected, strict=True)) if isinstance(expected, tuple) else [(got[name], expected)]
        for place, (mine, theirs) in enumerate(pairs):
            error = rho(mine, theirs)
            assert error <= bound, f"{name}[{place}]: rho {error:.3g} > {bound:.3g}"


def assert_gradients_close(got: Mapping[str, np.ndarray], oracle: Mapping[str, np.ndarray], bound: float) -> None:
    """Each gradient within `bound` of its oracle; one that is zero in theory (key bias) on the scale of the rest."""
    assert got.keys() == oracle.keys()
    scales = {name: np.sqrt(np.mean(np.square(value, dtype=np.float64))) for name, value in oracle.items()}
    largest = max(scales.values())
    for name, expected in oracle.items():
        scale = scales[name] if scales[name] > 1e-10 * largest else largest
        error = np.sqrt(np.mean(np.square(np.asarray(got[name], np.float64) - expected))) / scale
        assert error <= bound, f"gradient of {name}: rho {error:.3g} > {bound:.3g}"


def oracle_gradients(
    config: AlbertConfig, state: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], head: str
) -> dict[str, np.ndarray]:
    """float64 gradients of the reference's loss by canonical name; tied names are one parameter.

    The word embeddings' pad row gets no gradient from its lookup, which the reference knows nothing about: its lookup
    reads a copy of the table with that row held still.
    """
    import jax
    import jax.numpy as jnp

    words = "albert.embeddings.word_embeddings.weight"
    pooling = any(name.startswith("albert.pooler") for name in state)
    with jax.enable_x64(True):
        free = {n: jnp.asarray(v) for n, v in state.items() if "decoder" not in n}
        given = {n: jnp.asarray(v) for n, v in inputs.items()}

        def loss(parameters: dict[str, Any]) -> Any:
            inputs_now = given
            if "input_ids" in given:
                table, pad = parameters[words], config.pad_token_id
                still = table if pad is None else table.at[pad].set(state[words][pad])
                inputs_now = {k: v for k, v in given.items() if k != "input_ids"}
                inputs_now["inputs_embeds"] = still[given["input_ids"]]
            return reference.forward(config, parameters, inputs_now, head, pooling, xp=jnp)["loss"]

        return {n: np.asarray(g) for n, g in jax.grad(loss)(free).items()}


def batch(config: AlbertConfig, seed: int = 0, batch_size: int = 3, length: int = 7) -> dict[str, np.ndarray]:
    """Ids, segments and a mask with one full row, one padded and one that is all zero."""
    rng = np.random.default_rng(seed)
    mask = np.ones((batch_size, length), dtype=np.int64)
    mask[1, length // 2 :] = 0
    mask[2] = 0
    return {
        "input_ids": rng.integers(0, config.vocab_size, (batch_size, length)),
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, config.type_vocab_size, (batch_size, length)),
    }
