"""albert tpu-plan."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from albert_core.backends import require

if TYPE_CHECKING:
    from albert_flax.tpu_plan import TpuPlan

__all__ = ["command"]


@click.command("tpu-plan")
@click.option("--model", default="albert-base-v2", show_default=True, help="A published model's name, or a folder.")
@click.option("--topology", default="v5e:2x2", show_default=True, help="Chip (v4, v5e, v5p, v6e) and shape.")
@click.option("--slices", type=click.IntRange(min=1), default=1, show_default=True, help="How many of that topology.")
@click.option("--batch", type=click.IntRange(min=1), default=4096, show_default=True, help="Sequences of a step.")
@click.option("--seq", type=click.IntRange(min=5), default=512, show_default=True, help="Tokens of a sequence.")
@click.option("--dtype", type=click.Choice(["bfloat16", "float32"]), default="bfloat16", help="Of matrix products.")
@click.option("--remat", help="What backward may keep, such as nothing_saveable.  [default: products with weights]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(
    model: str, topology: str, slices: int, batch: int, seq: int, dtype: str, remat: str | None, as_json: bool
) -> None:
    """Compile the pretraining step, LAMB and all, with the real TPU compiler, and show what it needs.

    No TPU and no weights are needed, but libtpu is: pip install "albert-models[tpu]". It takes minutes.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"  # before JAX is loaded: nothing here is to touch a device
    require("flax")
    from albert_core.config import AlbertConfig
    from albert_core.presets import PRESETS
    from albert_core.recipes import RECIPES, PretrainingRecipe
    from albert_flax.tpu_plan import plan

    name = model.removeprefix("albert/")
    config = AlbertConfig(**PRESETS[name]) if name in PRESETS else AlbertConfig.from_pretrained(model)
    recipe = RECIPES.get(name, PretrainingRecipe()).replace(batch_size=batch, sequence_length=seq)
    with _status() as progress:
        found = plan(config, recipe, topology, slices=slices, compute=dtype, remat=remat, progress=progress)
    if as_json:
        click.echo(json.dumps({"model": model, **found.as_dict()}))
    else:
        click.echo(f"{model}: {'fits' if found.fits else 'does not fit'}")
        for what, value in _rows(found):
            click.echo(f"  {what:<22} {value}")


@contextmanager
def _status() -> Iterator[Callable[[str], object]]:
    """A function to be called with what is being done: a moving line on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield lambda line: click.echo(line, err=True)
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update


def _rows(found: TpuPlan) -> list[tuple[str, str]]:
    chips = f"{found.chips} chips" + (f" in {found.slices} slices" if found.slices > 1 else "")
    used, has = found.memory_bytes * found.devices_per_chip, found.memory_limit * found.devices_per_chip
    rows = [
        ("topology", f"{found.topology}, {chips}, {found.devices_per_chip} devices each"),
        ("step", f"{found.batch} x {found.sequence} tokens, {found.compute}"),
        ("remat", found.remat or "all but products with weights"),
        ("compiled in", f"{found.compile_seconds} s"),
        ("memory per chip", f"{used / 2**30:.2f} of {has / 2**30:.0f} GiB"),
        ("matrix products", f"{found.flops / 1e12:,.2f} TFLOP per device"),
        (
            "padding of heads",
            f"{found.head_size} of {found.lanes} lanes: {found.head_padding:.0%} of attention's products, "
            f"{found.flops_padding:.1%} of all",
        ),
    ]
    if found.estimate is None or found.bytes_moved is None:
        return rows
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.collectives.items()))
    parts = ", ".join(f"{name} {found.estimate[name] * 1e3:,.1f}" for name in ("products", "memory", "links"))
    return [
        *rows,
        ("bytes moved", f"{found.bytes_moved / 1e9:,.1f} GB per device and step"),
        ("bytes reduced", f"{(found.reduced_bytes or 0) / 1e6:,.1f} MB per device and step"),
        ("bytes gathered", f"{(found.gathered_bytes or 0) / 1e6:,.1f} MB per device and step"),
        ("collectives", f"{kinds}; {found.collectives_in_loops} of them in loops"),
        ("estimated step", f"{found.estimate['step'] * 1e3:,.1f} ms ({parts}), at the rates of {found.source}"),
    ]
