"""albert convert."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from albert_core.cli.options import WIDE
from albert_core.cli.progress import counter
from albert_core.formats import FORMATS
from albert_core.safetensors_io import MAX_SHARD_SIZE

if TYPE_CHECKING:
    from albert_conversion.convert import Report

__all__ = ["command"]

_WRITABLE = [name for name, known in FORMATS.items() if known.writable]


@click.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(_WRITABLE), default="safetensors", show_default=True, help="The format.")
@click.option("--head", default="auto", show_default=True, help="A class such as AlbertForQuestionAnswering.")
@click.option("--dtype", help="Convert values to float64, float32, bfloat16 or float16.  [default: as they are]")
@click.option("--config", help="Config file, or a model such as albert-base-v2, where none lies beside the weights.")
@click.option("--allow-loss", is_flag=True, help="Leave out what the format cannot hold instead of refusing.")
@click.option(
    "--max-shard-size", default=MAX_SHARD_SIZE, show_default=True, help="Largest file, where the format has shards."
)
@click.option("--dry-run", is_flag=True, help="Check and report, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(source: Path, dest: Path, head: str, as_json: bool, **options: Any) -> None:
    """Convert the checkpoint SOURCE, of any format, into the folder DEST.

    SOURCE is a file, a folder, or the prefix of a TensorFlow checkpoint; what it is is told by its content. Config and
    tokenizer files travel along. No deep-learning framework is needed.
    """
    from albert_conversion.convert import convert

    done = 0
    with counter("bytes read") as say:

        def progress(_: str, nbytes: int) -> None:
            nonlocal done
            done += nbytes
            say(done)

        report = convert(source, dest, head=None if head == "auto" else head, progress=progress, **options)
    if as_json:
        click.echo(json.dumps(_document(report), sort_keys=True))
    else:
        _show(report)


def _document(report: Report) -> dict[str, Any]:
    lines = [{**asdict(line), "nbytes": line.nbytes} for line in report.lines]
    return {**asdict(report), "lines": lines, "counts": _counts(report)}


def _counts(report: Report) -> dict[str, int]:
    return dict(Counter(line.action for line in report.lines))


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False, width=WIDE)
    table = Table(
        *(Column(name, overflow="fold") for name in ("in the source", "", "here", "dtype", "shape", "bytes", "why"))
    )
    for line in report.lines:
        shape = "x".join(map(str, line.shape))
        cells = (line.source, line.action, line.target, line.dtype, shape, f"{line.nbytes:,}", line.rule)
        table.add_row(*map(Text, cells))
    console.print(table)
    counts = ", ".join(f"{count} {action}" for action, count in _counts(report).items())
    dtypes = ", ".join(report.dtype)
    console.print(f"{report.source} ({report.source_format}, {report.integrity}): {counts}", markup=False)
    for loss in report.lost:
        console.print(f"lost: {loss}", markup=False)
    for remark in report.remarks:
        console.print(f"note: {remark}", markup=False)
    for other in report.others:
        console.print(f"not read: {other}", markup=False)
    for other in report.taken_before:
        console.print(f"note: {other} is there too, and is what {report.target} is read as", markup=False)
    done = "written" if report.written else "not written (dry run)"
    console.print(f"{report.target} ({report.target_format}, {report.head}, {dtypes}): {done}", markup=False)
