"""albert parity."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from albert_core.backends import BACKENDS, installed, load
from albert_core.cli.options import device_of, finite, load_quietly, read_texts

if TYPE_CHECKING:
    from albert_core.parity import Measured
    from albert_core.parity_suite import Setting

__all__ = ["command"]

DIFFERENT = 6  # exit code of a check that found differences
LONGEST = 128  # pieces of a text that are compared
TEXTS = ("Plants create [MASK] through a process known as photosynthesis.", "The cell is the basic unit of [MASK].")


@click.command("parity")
@click.option("--model", help="A folder, a hub id or the bundled model's name.  [default: small random models]")
@click.option("--head", help="A class such as AlbertForQuestionAnswering.  [default: the checkpoint's own]")
@click.option("--text", "texts", multiple=True, help="What the model reads; may be given again.")
@click.option("--file", type=click.Path(path_type=Path), help="Read texts from a file, one per line.")
@click.option("--backends", help="Separated by commas.  [default: all that are installed]")
@click.option("--lanes", default="float64,float32,bfloat16,float16", show_default=True, help="What to compute in.")
@click.option("--device", help='Where the backends run, for example "cpu", "cuda:0" or "0".')
@click.option("--gradients/--no-gradients", default=True, help="Compare gradients too (needs jax).  [default: yes]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(
    model: str | None,
    head: str | None,
    texts: tuple[str, ...],
    file: Path | None,
    backends: str | None,
    lanes: str,
    device: str | None,
    gradients: bool,
    as_json: bool,
) -> None:
    """Compare each backend with the float64 NumPy reference, output by output.

    Without --model small random models of every layout and head are compared. With it, a checkpoint on texts; padding
    and a row whose mask is all zero are always among them. Exit code 6 when a number misses the gate.
    """
    from albert_core.heads import HEADS
    from albert_core.parity import LANES

    if head is not None and head not in HEADS:
        raise click.UsageError(f"--head: expected one of {', '.join(HEADS)}, got {head!r}")
    if model is None and (texts or file):
        raise click.UsageError("--text and --file: expected --model with them, which reads texts")
    names = _chosen("--backends", backends.split(",") if backends else installed(), tuple(BACKENDS))
    wanted = _chosen("--lanes", lanes.split(","), LANES)
    for name in names:
        load_quietly(name)
        load(name)
    settings = list(_checkpoint(model, head, texts, file, names[0]) if model else _suite(head))
    rows = _worst(_measured(settings, names, wanted, device_of(device), gradients and _has_jax()), together=not model)
    if as_json:
        click.echo(json.dumps(finite(_document(model, settings, rows))))
    else:
        _show(model, rows, names)
    if not all(row.ok for row in rows):
        sys.exit(DIFFERENT)


def _chosen(option: str, given: list[str], known: tuple[str, ...]) -> list[str]:
    if unknown := [name for name in given if name not in known]:
        raise click.UsageError(f"{option}: expected some of {', '.join(known)}, got {unknown[0]!r}")
    return given


def _has_jax() -> bool:
    return importlib.util.find_spec("jax") is not None


def _suite(head: str | None) -> Iterator[Setting]:
    from albert_core.parity_suite import settings

    return (setting for setting in settings() if head in (None, setting.head))


def _checkpoint(
    model: str, head: str | None, texts: tuple[str, ...], file: Path | None, backend: str
) -> Iterator[Setting]:
    """The checkpoint's weights, and its tokenizer's batch of the texts."""
    from albert_core.config import AlbertConfig
    from albert_core.heads import HEADS
    from albert_core.parity import precision
    from albert_core.parity_suite import Setting, empty_row, labels_for, with_choices
    from albert_core.tokenizer import AutoTokenizer

    config = AlbertConfig.from_pretrained(model)
    own = [str(name) for name in config.extra.get("architectures") or () if name in HEADS]
    head = head or (own[0] if own else "AlbertModel")
    cls = getattr(load(backend), BACKENDS[backend].prefix + head)
    with precision(backend, "float64"):  # whatever dtype the checkpoint has
        loaded = cls.from_pretrained(model)
        state = loaded.numpy_state()
    tokenizer = AutoTokenizer.from_pretrained(model)
    lines = list(TEXTS) if not texts and file is None else read_texts(texts, file)
    longest = min(LONGEST, config.max_position_embeddings)
    encoded = tokenizer(lines, padding=True, truncation=True, max_length=longest, return_tensors="np")
    inputs = empty_row({name: encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")})
    inputs = with_choices(inputs) if HEADS[head].signature.choices else inputs
    labels = labels_for(loaded.config, head, inputs)
    yield Setting(head, loaded.config, state, {**inputs, **labels})


def _measured(
    settings: list[Setting], names: list[str], lanes: list[str], device: Any, gradients: bool
) -> Iterator[Measured]:
    """Every number, with progress on a terminal."""
    from albert_core.cli.progress import counter
    from albert_core.parity import Case, measure

    done = 0
    with counter("comparisons") as say:
        for lane, setting in itertools.product(lanes, settings):
            case = Case(setting.head, setting.config, setting.state, setting.inputs, lane)
            for name in names:
                yield from measure(name, case, device, gradients)
                say(done := done + 1)


def _worst(rows: Iterator[Measured], together: bool) -> list[Measured]:
    """The worst row of each lane, output and backend over all models; `together` joins outputs of one kind."""
    found: dict[tuple[str, str, str], Measured] = {}
    for row in rows:
        row = replace(row, output=_kind(row.output)) if together else row
        key = (row.lane, row.output, row.backend)
        if key not in found or (row.rho / row.gate, row.rho) > (found[key].rho / found[key].gate, found[key].rho):
            found[key] = row
    return list(found.values())


def _kind(output: str) -> str:
    if output.endswith("(fused)"):
        return "outputs, fused attention"
    return output if output == "gradients" else "outputs"


def _document(model: str | None, settings: list[Setting], rows: list[Measured]) -> dict[str, Any]:
    return {
        "model": model,
        "heads": sorted({setting.head for setting in settings}),
        "ok": all(row.ok for row in rows),
        "rows": [{**asdict(row), "ok": row.ok} for row in rows],
    }


def _show(model: str | None, rows: list[Measured], names: list[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    caption = f"model {model}" if model else "small random models of every layout and head"
    what = "largest difference and relative RMS error (rho)"
    table = Table(box=SIMPLE_HEAD, caption=Text(f"{caption}; {what}"), caption_justify="left")
    table.add_column("lane")
    table.add_column("output")
    table.add_column("gate", justify="right")
    for name in names:
        table.add_column(f"{name} max", justify="right")
        table.add_column("rho", justify="right")
    for lane, output in dict.fromkeys((row.lane, row.output) for row in rows):
        cells = {row.backend: row for row in rows if (row.lane, row.output) == (lane, output)}
        numbers = (text for name in names for text in _cells(cells.get(name)))
        gate = next(iter(cells.values())).gate
        table.add_row(lane, output, f"{gate:.0e}" if math.isfinite(gate) else "", *numbers)
    Console(soft_wrap=True, width=None if os.isatty(1) else 200).print(table)


def _cells(row: Measured | None) -> tuple[str, str]:
    if row is None:
        return "", ""
    mark = "" if row.ok else " MISSED"
    return f"{row.largest:.1e}", f"{row.rho:.1e}{mark}"
