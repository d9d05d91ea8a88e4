"""The `dccrn` command."""

from __future__ import annotations

import io
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from dccrn_cli import __version__
from dccrn_cli.cli import convert, enhance, export, finetune, inspect, listen, live, mix, models, score, train
from dccrn_cli.cli.console import set_debug


class _Command(TyperCommand):
    """A command whose help shows no type beside flags: `--overwrite <bool>` reads as if it took a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


class _Group(TyperGroup):
    """The same for options before the name of a command."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


app = typer.Typer(
    cls=_Group,
    help="Remove noise from recordings of speech.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example:  dccrn enhance noisy/ -o clean/",
)
_COMMANDS = (
    enhance.enhance,
    live.live,
    models.models,
    finetune.finetune,
    train.train,
    mix.mix,
    score.score,
    listen.listen,
    inspect.inspect,
    convert.convert,
    export.export,
)
for _command in _COMMANDS:
    app.command(cls=_Command)(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dccrn {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks of errors."),
) -> None:
    """Remove noise from recordings of speech."""
    set_debug(debug)


def main() -> None:
    """Entry point."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character missing from the terminal's encoding is no reason to stop.
        sys.stdout.reconfigure(errors="replace")
    app(prog_name="dccrn")


if __name__ == "__main__":
    main()
