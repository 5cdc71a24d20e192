"""albert prepare-data."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from albert_core.cli.progress import counter

__all__ = ["command"]


class _Share(click.ParamType):
    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        first, slash, of = value.partition("/")
        if not (slash and first.isdecimal() and of.isdecimal() and 1 <= int(first) <= int(of)):
            self.fail(f"expected I/N with I from 1 to N, for example 3/8, got {value!r}", param, ctx)
        return int(first), int(of)


def _cores() -> int:
    """Those that this process may use: a cluster's job often has a share of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@click.command("prepare-data")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--tokenizer", required=True, help="Folder of the vocabulary; see train-tokenizer.")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder for the tokens.")
@click.option("--shard-size", type=click.FloatRange(0, min_open=True), default=64, show_default=True, help="In MiB.")
@click.option("--text-field", default="text", show_default=True, help="Where a JSON line holds its document.")
@click.option("--processes", type=click.IntRange(min=1), help="Shards made at once.  [default: one for each core]")
@click.option("--shard", "share", type=_Share(), default="1/1", help="Make only the I-th of N shares: an array job.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(
    files: tuple[Path, ...],
    tokenizer: str,
    output: Path,
    shard_size: float,
    text_field: str,
    processes: int | None,
    share: tuple[int, int],
    as_json: bool,
) -> None:
    """Tokenize text FILES into a folder that pretrain takes in place of text.

    Files are plain text, .gz, .xz, or .jsonl, .jsonl.gz, .jsonl.xz. Killed or interrupted at any time, the same command
    goes on: shards that are whole are kept. Any number of processes or array jobs gives the same bytes.
    """
    from albert_core.token_shards import prepare

    if not math.isfinite(shard_size):
        raise click.UsageError(f"--shard-size: expected a number of MiB, got {shard_size}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with counter("shards done") as done:
        summary = prepare(
            files,
            output,
            tokenizer,
            shard_size=round(shard_size * (1 << 20)),
            text_field=text_field,
            processes=processes or _cores(),
            job=share,
            progress=done,
        )
    if as_json:
        click.echo(json.dumps(summary))
        return
    click.echo(
        "{folder}: {tokens:,} tokens in {documents:,} documents, {made} shards made, {kept} kept".format(**summary)
        + ("" if summary["finished"] else f"; {summary['shards']} in all, some are not made yet")
    )
