"""albert run: a task by name, in the words of `transformers run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from albert_core.cli.fill_mask import fill_mask
from albert_core.cli.options import fill_mask_options, model_options, read_texts

__all__ = ["command"]

_TASKS = {"fill-mask": fill_mask}


@click.command("run")
@click.argument("texts", nargs=-1)
@click.option("--task", type=click.Choice(list(_TASKS)), required=True, help="What to do.")
@click.option(
    "--input", "--file", "file", type=click.Path(path_type=Path), help="Read texts from a file, one per line."
)
@fill_mask_options
@model_options
def command(texts: tuple[str, ...], task: str, file: Path | None, **options: Any) -> None:
    """Run a task on TEXTS, on a file's lines, or on standard input."""
    _TASKS[task](read_texts(texts, file), **options)
