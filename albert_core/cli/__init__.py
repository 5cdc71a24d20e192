"""The `albert` command. One file per subcommand; nothing here loads a framework before a model runs."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys

import click

from albert_core.errors import AlbertError, exit_code_of
from albert_core.version import __version__

__all__ = ["main"]

_COMMANDS = {
    "fill-mask": ("albert_core.cli.fill_mask", "Fill the [MASK] of texts."),
    "run": ("albert_core.cli.run", "Run a task on texts from standard input or a file."),
    "tokenize": ("albert_core.cli.tokenize", "Show the pieces, ids and offsets of texts."),
    "train-tokenizer": ("albert_core.cli.train_tokenizer", "Train a sentencepiece vocabulary on text files."),
    "parity": ("albert_core.cli.parity", "Compare the backends with the float64 reference."),
    "convert": ("albert_core.cli.convert", "Convert a checkpoint from any format into another."),
    "inspect": ("albert_core.cli.inspect", "Show what a checkpoint is."),
    "verify": ("albert_core.cli.verify", "Compare two checkpoints of any formats."),
    "prepare-data": ("albert_core.cli.prepare_data", "Tokenize text files into a folder that pretrain takes."),
    "pretrain": ("albert_core.cli.pretrain", "Pretrain a model on text files."),
    "tpu-plan": ("albert_core.cli.tpu_plan", "Compile a pretraining step for a TPU and show what it needs."),
}


class _Lazy(click.Group):
    """A group that imports a subcommand's file only when that subcommand runs or shows its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return importlib.import_module(_COMMANDS[cmd_name][0]).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="albert")
def group() -> None:
    """ALBERT for PyTorch, TensorFlow and JAX.

    Exit codes: 0 ok, 1 fault, 2 usage, 3 not found or offline, 4 malformed or unsafe input, 5 integrity, 6 a check
    found differences.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit; errors of this project become one line and an exit code."""
    args = sys.argv[1:] if args is None else args
    try:
        group.main(args, prog_name="albert", standalone_mode=False)
    except click.ClickException as error:
        if "--json" in args:
            _print_json({"error": "usage", "message": error.format_message()})
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("albert: interrupted", err=True)
        sys.exit(130)
    except AlbertError as error:
        _report(error, error.as_dict(), "--json" in args)
        sys.exit(exit_code_of(error))
    except (ValueError, OSError, FloatingPointError) as error:
        _report(
            error,
            {"error": "usage" if isinstance(error, ValueError) else "fault", "message": str(error)},
            "--json" in args,
        )
        sys.exit(2 if isinstance(error, ValueError) else 1)


def _report(error: Exception, facts: dict, as_json: bool) -> None:
    if as_json:
        _print_json(facts)
    click.echo(f"albert: {error}", err=True)


def _print_json(facts: dict) -> None:
    with contextlib.suppress(OSError):  # standard output may be what failed
        click.echo(json.dumps(facts, default=str, sort_keys=True))
