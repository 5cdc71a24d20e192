"""albert inspect."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from albert_core.cli.options import WIDE

if TYPE_CHECKING:
    from albert_conversion.inspection import Inspected

__all__ = ["command"]

DIFFERENT = 6  # exit code of a check that found something
_DIGITS = 12  # of a checksum that the table shows


@click.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--head", default="auto", show_default=True, help="A class such as AlbertForQuestionAnswering.")
@click.option("--config", help="Config file, or a model such as albert-base-v2, where none lies beside the weights.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(path: Path, head: str, config: str | None, as_json: bool) -> None:
    """Show what the checkpoint PATH is: format, config, head, tensors, dtypes, values that are not finite, checksums.

    Exit code 6 when it holds NaN or infinity, or is no complete model.
    """
    from albert_conversion.inspection import inspect_checkpoint

    found = inspect_checkpoint(path, config, None if head == "auto" else head)
    if as_json:
        click.echo(json.dumps({**asdict(found), "non_finite": found.non_finite}, sort_keys=True))
    else:
        _show(found)
    if found.non_finite or found.problem:
        sys.exit(DIFFERENT)


def _show(found: Inspected) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False, width=WIDE)
    columns = ("tensor", "dtype", "shape", "bytes", "sha256", "not finite", "here")
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for facts in found.tensors:
        shape, bad = "x".join(map(str, facts.shape)), str(facts.non_finite or "")
        cells = (facts.name, facts.dtype, shape, f"{facts.nbytes:,}", facts.sha256[:_DIGITS], bad, facts.becomes)
        table.add_row(*map(Text, cells))
    console.print(table)
    total = f"{len(found.tensors)} tensors, {sum(facts.nbytes for facts in found.tensors):,} bytes"
    console.print(f"{found.path}: {found.format}, {found.integrity}, {total}", markup=False)
    if found.head:
        console.print(f"head: {found.head}")
    if found.config is not None:
        console.print(f"config: {json.dumps(found.config, sort_keys=True)}", markup=False)
    if found.problem:
        console.print(f"not a complete model: {found.problem}", markup=False)
    if found.non_finite:
        console.print(f"{found.non_finite} values are NaN or infinite")
    for other in found.others:
        console.print(f"not read: {other}", markup=False)
