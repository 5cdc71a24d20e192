"""albert tokenize."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from albert_core.cli.options import lines_of
from albert_core.cli.progress import counter
from albert_core.hub import BUNDLED_MODEL

__all__ = ["command"]

_SAID_EVERY = 100  # lines


@click.command("tokenize")
@click.argument("texts", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help="Read texts from a file, one per line (.gz and .xz too).")
@click.option("--tokenizer", default=BUNDLED_MODEL, show_default=True, help="A folder, a hub id or a bundled model.")
@click.option("--slow", is_flag=True, help="Use the sentencepiece library.")
@click.option("--special/--no-special", default=True, show_default=True, help="Add [CLS] and [SEP].")
@click.option("--json", "as_json", is_flag=True, help="JSON: one document for TEXTS, else one line per line read.")
def command(
    texts: tuple[str, ...], file: Path | None, tokenizer: str, slow: bool, special: bool, as_json: bool
) -> None:
    """Show the pieces, ids and offsets of TEXTS, of a file's lines, or of standard input.

    Each piece is a line: piece, id, start and end in the text in characters, separated by tabs; an empty line follows
    each text. Files and standard input are worked through line by line, whatever their size.

    Example: albert tokenize "In 1990, it was."
    """
    from albert_core.tokenizer import AutoTokenizer

    if texts and file:
        raise click.UsageError("expected texts or --file, got both")
    if not texts and file is None and sys.stdin.isatty():
        raise click.UsageError('expected a text, --file or standard input; for example: albert tokenize "It was."')
    one = AutoTokenizer.from_pretrained(tokenizer, use_fast=not slow)
    if texts:
        rows = [_row(one, text, special) for text in texts]
        click.echo(
            _json({"tokenizer": tokenizer, "texts": rows}) if as_json else "\n".join(map(_lines, rows)), nl=as_json
        )
        return
    for row in _with_progress(_row(one, line, special) for line in lines_of(file)):
        click.echo(_json(row) if as_json else _lines(row))


def _row(tokenizer: Any, text: str, special: bool) -> dict[str, Any]:
    encoding = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
    return {
        "text": text,
        "pieces": tokenizer.convert_ids_to_tokens(encoding["input_ids"]),
        "ids": encoding["input_ids"],
        "offsets": encoding["offset_mapping"],
    }


def _lines(row: dict[str, Any]) -> str:
    pieces = zip(row["pieces"], row["ids"], row["offsets"], strict=True)
    return "".join(f"{piece}\t{number}\t{start}\t{end}\n" for piece, number, (start, end) in pieces)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _with_progress(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows; how many so far is said on standard error, unless the rows themselves go to the terminal."""
    if sys.stdout.isatty():
        yield from rows
        return
    with counter("lines tokenized") as seen:
        for number, row in enumerate(rows, start=1):
            yield row
            if number % _SAID_EVERY == 0:
                seen(number)
