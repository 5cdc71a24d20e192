"""The `backend` fixture and comparisons that raise. The numbers of the parity gate stand in `albert_core.parity`."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers of xdist share the cores
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing in a test reaches a network
if not any(word.startswith("--device") for word in sys.argv) and "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # libtpu, which is installed for its compiler, looks for a TPU
if "--long" not in sys.argv and "PYTEST_XDIST_WORKER" not in os.environ:
    # Half the time to compile, and the same operations; the long run compiles as users do. Workers inherit it.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

from albert_core.backends import BACKENDS, require
from albert_core.config import AlbertConfig
from albert_core.parity import precision, rho

UNIT_ROUNDOFF_FLOAT32 = 2.0**-24
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backends", default=",".join(BACKENDS), help="comma-separated; one that is missing fails")
    parser.addoption("--device", help="where the models run, for example cuda:0; the framework's default")
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

    def __init__(self, name: str, device: str | None = None) -> None:
        self.name, self.device = name, device
        self.package = importlib.import_module(require(name).package)

    def cls(self, head: str) -> Any:
        return getattr(self.package, BACKENDS[self.name].prefix + head)

    def precision(self, lane: str) -> contextlib.AbstractContextManager[None]:
        """float64 for Flax is scoped to the test; everything else runs as users run it."""
        return precision(self.name, lane)

    def model(
        self,
        head: str,
        config: AlbertConfig,
        dtype: str = "float64",
        state: Mapping[str, np.ndarray] | None = None,
        **options: Any,
    ) -> Any:
        """A model in evaluation mode, with the given arrays."""
        model = self.cls(head)._construct(config, dtype, **options)
        if state is not None:
            model.load_numpy_state(state)
        return model._finish(self.device)

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **flags: Any) -> dict[str, Any]:
        """Every present output field as NumPy."""
        return dict(model.run_numpy(**inputs, **flags).items())

    def gradients(self, model: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Gradient of the loss by canonical name, in canonical layout."""
        return model.gradients_numpy(**inputs)


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """What JAX compiles for one test lies on disk for the others of this process."""
    if "flax" not in request.config.getoption("--backends"):
        yield
        return
    import jax

    with TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        yield


@pytest.fixture(scope="module", autouse=True)
def _free_memory() -> Iterator[None]:
    """What JAX compiled for one file of tests is of no use to the next, and would add up to gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Adapter:
    return Adapter(request.param, request.config.getoption("--device"))


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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which test caught which mutant, where mutants have run."""
    passed = terminalreporter.stats.get("passed", [])
    found = [text for report in passed for name, text in report.user_properties if name == "mutant"]
    if found:
        terminalreporter.section(f"{len(found)} mutants, each caught")
        for text in sorted(found):
            terminalreporter.write_line(text)
