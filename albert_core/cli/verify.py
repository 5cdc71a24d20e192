"""albert verify."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

__all__ = ["command"]

DIFFERENT = 6  # exit code of a check that found differences


@click.command("verify")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--head", default="auto", show_default=True, help="A class such as AlbertForQuestionAnswering.")
@click.option("--text", "texts", multiple=True, help="What both models read; may be given again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(first: Path, second: Path, head: str, texts: tuple[str, ...], as_json: bool) -> None:
    """Compare the checkpoints FIRST and SECOND, of any formats.

    Every tensor byte by byte, then what the NumPy reference computes with both on real text. Exit code 6 when they
    differ.
    """
    from albert_conversion.verify import TEXTS, verify

    result = verify(first, second, None if head == "auto" else head, texts=texts or TEXTS)
    if as_json:
        click.echo(json.dumps(asdict(result), sort_keys=True))
    else:
        for difference in result.differences:
            click.echo(f"{difference.name}: {difference.reason}")
        ran = ", ".join(f"{name} {value:.3g}" for name, value in result.outputs.items()) or "not run side by side"
        click.echo(
            f"{result.first} and {result.second}: {result.tensors} tensors compared as {result.head}; on text: {ran}"
        )
        click.echo("different" if result.differences else "the same")
    if result.differences:
        sys.exit(DIFFERENT)
