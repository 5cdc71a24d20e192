"""Options that several subcommands share, and how they read texts."""

from __future__ import annotations

import io
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from albert_core.backends import BACKENDS, load
from albert_core.errors import FormatError

__all__ = [
    "WIDE",
    "device_of",
    "fill_mask_options",
    "finite",
    "lines_of",
    "load_quietly",
    "model_options",
    "read_texts",
]

WIDE = 1000  # columns of a table of tensors, whose names are of no use when they are folded


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--model, --backend, --device, --dtype, --json."""
    options = (
        click.option("--model", help="A folder, a hub id or the bundled model's name.  [default: the bundled model]"),
        click.option(
            "--backend",
            type=click.Choice([*BACKENDS, "all"]),
            help="[default: the first one installed]; all: side by side.",
        ),
        click.option("--device", help='Where to run, for example "cpu", "cuda:0" or "0".'),
        click.option("--dtype", help="float64, float32, bfloat16 or float16.  [default: float32]"),
        click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def fill_mask_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--top-k, --targets."""
    options = (
        click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Fillings per mask."),
        click.option("--targets", help="Rank only these words, separated by commas."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def device_of(device: str | None) -> str | int | None:
    """A device as models take it: "0" is the number 0."""
    return int(device) if device is not None and device.isdigit() else device


def finite(value: Any) -> Any:
    """A document as JSON can say it, which knows no NaN and no infinity: those are null."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_quietly(backend: str | None) -> None:
    """Import a backend without the lines TensorFlow's C++ writes to standard error when it starts.

    They come before any of its log levels is in force. Should the import fail, they are shown.
    """
    if backend != "tf":
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    saved = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            load(backend)
        except BaseException:
            aside.seek(0)
            os.write(saved, aside.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def read_texts(texts: tuple[str, ...], file: Path | None) -> list[str]:
    """The texts given as arguments, or the non-empty lines of a file or of standard input.

    Raises:
        click.UsageError: There is none.
    """
    if texts and file:
        raise click.UsageError("expected texts or --file, got both")
    if not texts and file is None and sys.stdin.isatty():
        raise click.UsageError(
            'expected a text, --file or standard input; for example: albert fill-mask "Paris is a [MASK]."'
        )
    if not texts:
        texts = tuple(line for line in lines_of(file) if line.strip())
    if not texts:
        raise click.UsageError("expected at least one text, got none")
    return list(texts)


def lines_of(file: Path | None) -> Iterator[str]:
    """The lines of a file, or of standard input where none is named, without their ends.

    Raises:
        NotFound: There is no such file.
        FormatError: It is no UTF-8 text, see `read_lines`; standard input is held to the same.
    """
    from albert_core.text_files import read_lines

    if file is not None:
        yield from read_lines(file)
        return
    number = 0
    try:
        for number, line in enumerate(io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig"), start=1):  # noqa: B007 - the error below names it
            yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        wrong = error.object[error.start : error.start + 1]
        raise FormatError("standard input", reason=f"expected UTF-8 text, got {wrong!r} after line {number}") from error
