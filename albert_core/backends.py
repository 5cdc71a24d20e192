"""Which backends there are, which are installed, and how to get one by name without importing the others."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType

from albert_core.errors import BackendMissing

__all__ = ["BACKENDS", "Backend", "installed", "load", "require"]


@dataclass(frozen=True)
class Backend:
    """One backend.

    Attributes:
        name: As the command line and the extras name it.
        package: The import package.
        frameworks: What has to be installed for it.
        prefix: In front of its class names.
    """

    name: str
    package: str
    frameworks: tuple[str, ...]
    prefix: str


BACKENDS = {
    b.name: b
    for b in (
        Backend("torch", "albert_torch", ("torch",), ""),
        Backend("tf", "albert_tf", ("tensorflow", "keras"), "TF"),
        Backend("flax", "albert_flax", ("jax", "flax", "optax"), "Flax"),
    )
}


def require(name: str) -> Backend:
    """The backend of this name, if its frameworks are installed.

    Raises:
        BackendMissing: A framework is not there; the message gives the command that installs it.
    """
    backend = BACKENDS[name]
    for framework in backend.frameworks:
        if importlib.util.find_spec(framework) is None:
            raise BackendMissing(name, framework)
    return backend


def installed() -> list[str]:
    """Names of the backends whose frameworks are installed, in order of preference."""
    return [n for n, b in BACKENDS.items() if all(importlib.util.find_spec(f) for f in b.frameworks)]


def load(name: str) -> ModuleType:
    """Import a backend's package.

    Raises:
        BackendMissing: A framework is not there.
    """
    return importlib.import_module(require(name).package)
