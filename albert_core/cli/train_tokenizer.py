"""albert train-tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import click

from albert_core.cli.progress import counter

__all__ = ["command"]


@click.command("train-tokenizer")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder for the vocabulary.")
@click.option("--vocab-size", type=click.IntRange(min=14), default=30000, show_default=True, help="Number of pieces.")
@click.option("--keep-case", is_flag=True, help="Do not lower-case.")
@click.option("--keep-accents", is_flag=True, help="Do not strip accents.")
@click.option("--max-lines", type=click.IntRange(min=1), default=10_000_000, show_default=True, help="Sample size.")
@click.option("--model-max-length", type=click.IntRange(min=1), default=512, show_default=True, help="In tokens.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(
    files: tuple[Path, ...],
    output: Path,
    vocab_size: int,
    keep_case: bool,
    keep_accents: bool,
    max_lines: int,
    model_max_length: int,
    threads: int,
    as_json: bool,
) -> None:
    """Train a sentencepiece vocabulary on text FILES (plain, .gz or .xz) with Google's settings.

    The files are read line by line; of more than --max-lines lines a sample of that size is kept in memory.
    """
    from albert_core.tokenizer_training import train_tokenizer

    with counter("lines read") as seen:
        tokenizer = train_tokenizer(
            list(files),
            output,
            vocab_size,
            do_lower_case=not keep_case,
            keep_accents=keep_accents,
            max_lines=max_lines,
            model_max_length=model_max_length,
            num_threads=threads,
            progress=seen,
        )
    if as_json:
        click.echo(json.dumps({"folder": str(output), "vocab_size": tokenizer.vocab_size}))
    else:
        click.echo(f"{output}: {tokenizer.vocab_size} pieces")
