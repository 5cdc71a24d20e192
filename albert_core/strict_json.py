"""JSON as the standard means it: no repeated keys, no NaN, no broken text, and every fault named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from albert_core.errors import FormatError

__all__ = ["clip", "parse_object"]


def clip(text: str, limit: int = 200) -> str:
    """`text` short enough for an error message; a hostile file may hold a name of many megabytes."""
    return text if len(text) <= limit else text[:limit] + "…"


def parse_object(data: bytes, path: str | Path, what: str) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        data: UTF-8 text.
        path: The file it came from, for errors.
        what: What it is, for errors: "header", "index".

    Raises:
        FormatError: It is no UTF-8, no JSON, no object, nested too deeply, repeats a key, holds NaN or Infinity, an
            integer beyond Python's limit of digits, or an unpaired surrogate.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except _Refused as error:
        raise FormatError(path, error.key, f"{what}: {error.reason}") from None
    except RecursionError:
        raise FormatError(path, None, f"{what}: expected flat JSON, got one nested too deeply") from None
    except ValueError as error:
        raise FormatError(path, None, f"{what}: expected JSON in UTF-8, got: {clip(str(error))}") from None
    if not isinstance(value, dict):
        raise FormatError(path, None, f"{what}: expected a JSON object, got {type(value).__name__}")
    return value


class _Refused(Exception):
    def __init__(self, key: str | None, reason: str) -> None:
        super().__init__(reason)
        self.key, self.reason = key, reason


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for key, value in pairs:
        if not _is_text(key) or (isinstance(value, str) and not _is_text(value)):
            raise _Refused(clip(ascii(key)), "expected Unicode text, got an unpaired surrogate")
        if key in unique:
            raise _Refused(clip(key), "expected every key once, got it twice")
        unique[key] = value
    return unique


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(token: str) -> Any:
    raise _Refused(None, f"expected JSON numbers, got {token}")
