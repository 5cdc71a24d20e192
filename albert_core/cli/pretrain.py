"""albert pretrain."""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from albert_core.backends import BACKENDS, installed, load
from albert_core.cli.options import device_of, finite, load_quietly
from albert_core.cli.progress import training
from albert_core.dtypes import DTYPES
from albert_core.errors import FormatError, NotFound
from albert_core.tensorboard import TensorBoard

if TYPE_CHECKING:
    from albert_core.trainer import Trainer

__all__ = ["command", "read_recipe"]

HEAD = "AlbertForPreTraining"
HELD_OUT_MASKING = 0.15  # the paper's, whatever the training masks, so that runs compare


@click.command("pretrain")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--recipe", required=True, type=click.Path(path_type=Path), help="TOML with [model] and [recipe].")
@click.option("--tokenizer", required=True, help="Folder of the vocabulary; see train-tokenizer.")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--held-out", type=click.Path(path_type=Path), multiple=True, help="Text to measure on; may be repeated.")
@click.option("--max-seconds", type=float, help="Stop after this long.")
@click.option("--backend", type=click.Choice([*BACKENDS]), help="[default: the first one installed]")
@click.option("--device", help="Where to train.  [default: the framework's choice]")
@click.option("--set", "changes", multiple=True, help="KEY=VALUE of the recipe, over the file's; may be repeated.")
@click.option("--accumulation", type=click.IntRange(min=1), default=1, help="Parts that a batch is computed in.")
@click.option("--checkpointing", is_flag=True, help="Compute layers again in backward, to need less memory.")
@click.option("--autocast", type=click.Choice(["bfloat16", "float16"]), help="Matrix products in this dtype.")
@click.option("--informed-start", is_flag=True, help="Begin with weights drawn from the text; see informed_start.")
@click.option("--every", type=click.IntRange(min=1), default=1000, show_default=True, help="Steps between checkpoints.")
@click.option("--save-dtype", type=click.Choice(["float32", "float16", "bfloat16"]), default="float32")
@click.option("--parallel", is_flag=True, help="Share each batch among devices or processes; see docs/pretraining.md.")
@click.option("--tensorboard", type=click.Path(path_type=Path), help="Folder for TensorBoard's event files.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(files: tuple[Path, ...], **options: Any) -> None:
    """Pretrain a model on FILES: masked LM and sentence order.

    FILES are texts (plain, .gz or .xz), or folders that prepare-data made.

    Interrupted by SIGTERM or SIGINT it finishes the step, saves and exits 143 or 130; the same command goes on. The
    best model on the held-out text, or else the last, is written to OUTPUT/model with its tokenizer.
    """
    summary = pretrain_files(list(files), **{k: v for k, v in options.items() if k != "as_json"})
    if summary.pop("writes"):
        text = f"{summary['model']}: step {summary['step']}, {summary['tokens'] / 1e6:.2f} M tokens"
        click.echo(json.dumps(finite(summary)) if options["as_json"] else text)
    if summary["stopped"] in ("SIGTERM", "SIGINT"):
        sys.exit(128 + signal.Signals[summary["stopped"]])


def pretrain_files(
    files: list[Path],
    *,
    recipe: Path,
    tokenizer: str,
    output: Path,
    held_out: tuple[Path, ...] = (),
    max_seconds: float | None = None,
    backend: str | None = None,
    device: str | None = None,
    changes: tuple[str, ...] = (),
    accumulation: int = 1,
    checkpointing: bool = False,
    autocast: str | None = None,
    informed_start: bool = False,
    every: int = 1000,
    save_dtype: str = "float32",
    parallel: bool = False,
    tensorboard: Path | None = None,
) -> dict[str, Any]:
    """What the command does.

    Raises:
        BackendMissing: No framework is installed, or not the one asked for; or TensorBoard is not.
        FormatError: The recipe is no TOML, or has a table or key it should not have.
        ValueError: A value of the recipe is out of range, or a change of it is no KEY=VALUE.
        AlbertError: A text, the vocabulary or a checkpoint cannot be read.
    """
    from albert_core.config import AlbertConfig
    from albert_core.corpus import TokenizedCorpus, Vocabulary
    from albert_core.heads import HEADS
    from albert_core.informed_start import informed_state
    from albert_core.pretraining_data import PretrainingData
    from albert_core.tokenizer import AlbertTokenizer
    from albert_core.training import pretrain
    from albert_core.training_state import newest_checkpoint

    board = None if tensorboard is None else TensorBoard(tensorboard)
    model, settings = read_recipe(recipe, changes)
    name = backend or next(iter(installed()), "torch")
    load_quietly(name)
    cls = getattr(load(name), BACKENDS[name].prefix + HEAD)
    engine = AlbertTokenizer.from_pretrained(tokenizer)
    vocabulary = Vocabulary.of(engine)
    config = AlbertConfig(vocab_size=len(engine), **model)

    def data(paths: list[Path], **changes: Any) -> PretrainingData:
        return PretrainingData(TokenizedCorpus.read(paths, engine), vocabulary, replace(settings, **changes))

    texts, initial = data(files), None
    if informed_start:
        parts = HEADS[HEAD].all_parts()
        initial = informed_state(config, texts.corpus, parts, settings.seed, ordinary=vocabulary.ordinary)
    made = trainer_class(name, parallel)(config, settings, device=device_of(device), autocast=autocast)
    with contextlib.closing(made) as trainer, _shown(trainer.writes, settings.total_steps, board) as shown:
        if checkpointing:
            trainer.model.gradient_checkpointing_enable()
        state = pretrain(
            trainer,
            texts,
            output,
            evaluation=data(list(held_out), masking_probability=HELD_OUT_MASKING) if held_out else None,
            initial=initial,
            max_seconds=max_seconds,
            accumulation=accumulation,
            evaluate_every=every,
            save_every=every,
            **shown,
        )
    summary = {"backend": name, "writes": trainer.writes, "model": str(output / "model"), **asdict(state)}
    if not trainer.writes:
        return summary
    best = output / "best"
    source = best if best.exists() else newest_checkpoint(output)
    assert source is not None, "pretrain leaves a checkpoint"
    trained = cls.from_pretrained(source)
    stored = {name: array.astype(DTYPES[save_dtype]) for name, array in trained.numpy_state().items()}
    trained.save_pretrained(output / "model", state=stored)
    engine.save_pretrained(output / "model")
    return summary


def trainer_class(backend: str, parallel: bool) -> type[Trainer]:
    """The backend's trainer, for one device or for several."""
    package = BACKENDS[backend].package
    if parallel:
        return importlib.import_module(f"{package}.parallel").ParallelTrainer
    return importlib.import_module(f"{package}.training").Trainer


@contextlib.contextmanager
def _shown(writes: bool, total: int, board: TensorBoard | None) -> Iterator[dict[str, Any]]:
    """How a run shows itself, as keywords of `pretrain`; only where this process writes."""
    if not writes:
        yield {}
        return
    with training(total) as shown:
        if board is None:
            yield shown
            return
        with contextlib.closing(board):
            yield {**shown, "observers": (*shown["observers"], board)}


def read_recipe(path: Path, changes: tuple[str, ...] = ()) -> tuple[dict[str, Any], Any]:
    """The [model] table as keywords of AlbertConfig, and the [recipe] table as a PretrainingRecipe.

    Args:
        path: The TOML file.
        changes: "key=value" each, with a value as TOML writes it; these win over the [recipe] table.

    Raises:
        ValueError: A change is no "key=value".
        NotFound: There is no such file.
        FormatError: It is no TOML, or a table or key is unknown.
    """
    from albert_core.config import AlbertConfig
    from albert_core.recipes import PretrainingRecipe

    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(path, None, "there is no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(path, None, f"expected TOML, got: {error}") from None
    if unknown := sorted(set(tables) - {"model", "recipe"}):
        raise FormatError(path, unknown[0], "expected only the tables [model] and [recipe]")
    model, settings = tables.get("model", {}), tables.get("recipe", {})
    if wrong := [name for name, table in (("model", model), ("recipe", settings)) if not isinstance(table, dict)]:
        raise FormatError(path, wrong[0], f"expected a table, got {tables[wrong[0]]!r}")
    if unknown := sorted(set(model) - ({field.name for field in fields(AlbertConfig)} - {"vocab_size"})):
        reason = "expected a field of AlbertConfig other than vocab_size, which the tokenizer decides"
        raise FormatError(path, f"model.{unknown[0]}", reason)
    try:
        return model, PretrainingRecipe(**{**settings, **_parsed(changes)})
    except TypeError as error:
        raise FormatError(path, "recipe", str(error).replace("PretrainingRecipe.__init__() ", "")) from None


def _parsed(changes: tuple[str, ...]) -> dict[str, Any]:
    try:
        return tomllib.loads("\n".join(changes))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"--set: expected KEY=VALUE as in TOML, got {', '.join(changes)}: {error}") from None
