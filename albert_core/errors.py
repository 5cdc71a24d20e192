"""Every error this project raises on purpose.

All are `Exception` subclasses and can be pickled. Each message names the file, key, field or argument,
what was expected and what came; `as_dict` gives the same facts to `--json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

__all__ = [
    "AlbertError",
    "BackendMissing",
    "CheckpointError",
    "ConfigError",
    "DownloadError",
    "DtypeMismatch",
    "FormatError",
    "IntegrityError",
    "MissingKeys",
    "NotFound",
    "ResourceLimit",
    "SaveError",
    "ShapeMismatch",
    "TokenizerError",
    "UnexpectedKeys",
    "UnsafeContent",
    "exit_code_of",
]


class AlbertError(Exception):
    """Base of all errors of this project.

    Args:
        **facts: What `as_dict` reports; set as attributes too.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, **facts: Any) -> None:
        self.facts = {name: str(value) if isinstance(value, Path) else value for name, value in facts.items()}
        for name, value in facts.items():
            setattr(self, name, value)
        super().__init__(self._message())

    def _message(self) -> str:
        return "; ".join(f"{name}: {value}" for name, value in self.facts.items() if value not in (None, ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.facts)

    def as_dict(self) -> dict[str, Any]:
        """The error as plain data: its kind, its message and every fact."""
        kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()
        return {"error": kind, "message": str(self), **self.facts}


def _rebuild(cls: type[AlbertError], facts: dict[str, Any]) -> AlbertError:
    return cls(**facts)


class CheckpointError(AlbertError):
    """Something is wrong with a checkpoint file.

    Args:
        path: The file or folder.
        key: The tensor or index key, or None when the whole file is meant.
        reason: What was expected and what came.
        hint: What the user can do about it.
    """

    exit_code = 4

    def __init__(self, path: str | Path = "", key: str | None = None, reason: str = "", hint: str = "") -> None:
        super().__init__(path=path, key=key, reason=reason, hint=hint)

    def _message(self) -> str:
        where = f"{self.facts['path']}" + (f", key {self.facts['key']!r}" if self.facts["key"] else "")
        hint = f" ({self.facts['hint']})" if self.facts["hint"] else ""
        return f"{where}: {self.facts['reason']}{hint}"


class FormatError(CheckpointError):
    """The bytes are not what the format demands."""


class IntegrityError(CheckpointError):
    """The bytes are well formed but are not the ones that were written: a digest differs."""

    exit_code = 5


class UnsafeContent(CheckpointError):
    """The file asks for something a weights file has no business asking for."""


class ResourceLimit(CheckpointError):
    """The file declares sizes beyond a limit; refused before anything is allocated."""


class _KeysError(CheckpointError):
    """A checkpoint problem that concerns several keys at once."""

    _what: ClassVar[str] = "bad keys"

    def __init__(
        self,
        path: str | Path = "",
        key: str | None = None,
        reason: str = "",
        hint: str = "",
        keys: Iterable[str] = (),
    ) -> None:
        self.keys = list(keys) or ([key] if key else [])
        reason = reason or f"{len(self.keys)} {self._what}: {', '.join(self.keys)}"
        super().__init__(path=path, key=key, reason=reason, hint=hint)
        self.facts["keys"] = self.keys


class MissingKeys(_KeysError):
    """The model needs tensors that the checkpoint does not hold."""

    _what = "missing tensors"


class UnexpectedKeys(_KeysError):
    """The checkpoint holds tensors that no ALBERT has."""

    _what = "unexpected tensors"


class ShapeMismatch(_KeysError):
    """Tensors whose shapes are not those of the configured model."""

    _what = "tensors of a wrong shape"


class DtypeMismatch(_KeysError):
    """Tensors that are not of a floating-point type."""

    _what = "tensors of a wrong dtype"


class NotFound(CheckpointError, FileNotFoundError):
    """A file, folder or model that does not exist, or cannot be had offline."""

    exit_code = 3


class SaveError(CheckpointError, OSError):
    """A file or folder could not be written; nothing half-written stays."""

    exit_code = 1


class ConfigError(AlbertError, ValueError):
    """A configuration value that no model can have.

    Args:
        path: The config.json, or None for a value given in code.
        field: The field's name.
        value: What came.
        allowed: What would have been accepted.
    """

    exit_code = 4

    def __init__(self, path: str | Path | None = None, field: str = "", value: Any = None, allowed: str = "") -> None:
        super().__init__(path=path, field=field, value=value, allowed=allowed)

    def _message(self) -> str:
        where = f"{self.facts['path']}: " if self.facts["path"] else ""
        shown = repr(self.facts["value"])
        shown = shown if len(shown) <= 200 else shown[:200] + "…"
        return f"{where}config field {self.facts['field']!r}: expected {self.facts['allowed']}, got {shown}"


class TokenizerError(AlbertError, ValueError):
    """A vocabulary that cannot be read, or a request that a tokenizer cannot meet.

    Args:
        path: The vocabulary file, or None when an argument is at fault.
        reason: What was expected and what came.
    """

    exit_code = 4

    def __init__(self, path: str | Path | None = None, reason: str = "") -> None:
        super().__init__(path=path, reason=reason)

    def _message(self) -> str:
        return f"{self.facts['path']}: {self.facts['reason']}" if self.facts["path"] else self.facts["reason"]


class DownloadError(AlbertError, OSError):
    """A file of a hub model could not be had, or is not the one that was promised.

    Args:
        url: The hub id or address.
        want: What was asked for.
        got: What came instead.
        hint: What the user can do about it.
    """

    exit_code = 3

    def __init__(self, url: str = "", want: str = "", got: str = "", hint: str = "") -> None:
        super().__init__(url=url, want=want, got=got, hint=hint)

    def _message(self) -> str:
        hint = f" ({self.facts['hint']})" if self.facts["hint"] else ""
        return f"{self.facts['url']}: expected {self.facts['want']}, got {self.facts['got']}{hint}"

    __str__ = AlbertError.__str__


class BackendMissing(AlbertError, ImportError):
    """A framework, or another library of an extra, that is not installed is needed.

    Args:
        backend: The extra it belongs to: a backend's name, "torch", "tf" or "flax", or another such as "convert".
        package: The package that is missing.
        hint: The pip command that installs it.
    """

    exit_code = 3

    def __init__(self, backend: str = "", package: str = "", hint: str = "") -> None:
        hint = hint or f'pip install "albert-models[{backend}]"'
        super().__init__(backend=backend, package=package, hint=hint)

    def _message(self) -> str:
        return f"this needs {self.facts['package']}; install it with: {self.facts['hint']}"


def exit_code_of(error: BaseException) -> int:
    """The process exit code for an error: as the README lists them; 1 for anything unforeseen."""
    return error.exit_code if isinstance(error, AlbertError) else 1
