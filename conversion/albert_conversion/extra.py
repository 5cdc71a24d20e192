"""The libraries of the `convert` and `train` extras, by name when they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from albert_core.errors import BackendMissing

__all__ = ["require"]


def require(name: str, extra: str = "convert") -> ModuleType:
    """Import a library of an extra.

    Raises:
        BackendMissing: It is not installed; the message gives the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if error.name not in (name, name.partition(".")[0]):
            raise
        raise BackendMissing(extra, name) from None
