"""albert fill-mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from albert_core.cli.options import device_of, fill_mask_options, finite, load_quietly, model_options, read_texts

__all__ = ["command", "fill_mask"]


@click.command("fill-mask")
@click.argument("texts", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help="Read texts from a file, one per line (.gz and .xz too).")
@fill_mask_options
@model_options
def command(texts: tuple[str, ...], file: Path | None, **options: Any) -> None:
    """Fill the [MASK] of TEXTS, of a file's lines, or of standard input.

    Example: albert fill-mask "Plants create [MASK] through a process known as photosynthesis."
    """
    fill_mask(read_texts(texts, file), **options)


def fill_mask(
    texts: list[str],
    *,
    model: str | None,
    backend: str | None,
    device: str | None,
    dtype: str | None,
    as_json: bool,
    top_k: int = 5,
    targets: str | None = None,
) -> None:
    """Run the task in one backend or in all installed ones and show the result.

    Raises:
        BackendMissing: No framework is installed, or not the one asked for.
        AlbertError: The model cannot be had.
    """
    from albert_core.backends import installed
    from albert_core.pipelines import pipeline

    words = [word.strip() for word in targets.split(",") if word.strip()] if targets else None
    names: list[str | None] = [backend]
    if backend in (None, "all"):  # without any installed, pipeline says which command installs one
        present = installed()
        names = list(present if backend == "all" else present[:1]) or [None]
    results, name = {}, ""
    for each in names:
        load_quietly(each)
        task = pipeline("fill-mask", model, backend=each, device=device_of(device), dtype=dtype)
        results[task.model.framework], name = list(task(iter(texts), top_k=top_k, targets=words)), task.name
    if as_json:
        click.echo(json.dumps(finite(_document(name, texts, results)), ensure_ascii=False))
    else:
        _show(name, texts, results)


def _masks(result: list[Any]) -> list[list[dict[str, Any]]]:
    """A result as a list over masks, also where there is one mask."""
    return [result] if isinstance(result[0], dict) else result


def _largest_difference(results: dict[str, list[Any]]) -> float | None:
    """The largest difference between any two backends' scores of the same piece; None for one backend."""
    if len(results) < 2:
        return None
    by_backend = [[_masks(text) for text in result] for result in results.values()]
    worst = 0.0
    for per_text in zip(*by_backend, strict=True):
        for per_mask in zip(*per_text, strict=True):
            scores = [{c["token"]: c["score"] for c in candidates} for candidates in per_mask]
            common = set.intersection(*(set(s) for s in scores))
            if not all(common == set(s) for s in scores):
                return float("nan")  # the backends rank different pieces: no number describes that
            worst = max(worst, *(float(np.ptp([s[token] for s in scores])) for token in common))
    return worst


def _document(name: str, texts: list[str], results: dict[str, list[Any]]) -> dict[str, Any]:
    difference = _largest_difference(results)
    return {
        "model": name,
        "largest_difference": difference,
        "texts": [
            {"text": text, "fillings": {backend: _masks(result[i]) for backend, result in results.items()}}
            for i, text in enumerate(texts)
        ],
    }


def _show(name: str, texts: list[str], results: dict[str, list[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=True)
    for i, text in enumerate(texts):
        masks = {backend: _masks(result[i]) for backend, result in results.items()}
        for mask in range(len(next(iter(masks.values())))):
            console.print(text, markup=False, highlight=False)
            table = Table(caption=Text(f"model {name}"), caption_justify="left")
            table.add_column("filling")
            for backend in masks:
                table.add_column(backend, justify="right")
            columns = [candidates[mask] for candidates in masks.values()]
            for row, first in enumerate(columns[0]):
                cells = (first["token_str"], *(_cell(column, row, first["token"]) for column in columns))
                table.add_row(*map(Text, cells))
            console.print(table)
    difference = _largest_difference(results)
    if difference is not None:
        console.print(f"largest difference between backends: {difference:.2g}", highlight=False)


def _cell(column: list[dict[str, Any]], row: int, token: int) -> str:
    """A backend's score of the row's piece, or its own piece where it ranks another there."""
    same = next((c for c in column if c["token"] == token), None)
    return f"{same['score']:.7f}" if same else f"{column[row]['token_str']} {column[row]['score']:.7f}"
