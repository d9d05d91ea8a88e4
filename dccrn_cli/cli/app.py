"""The `dccrn` command."""

from __future__ import annotations

import io
import sys

import typer

from dccrn_cli import __version__
from dccrn_cli.cli import convert, enhance, export, finetune, mix, models, score, train
from dccrn_cli.cli.console import set_debug

app = typer.Typer(
    help="Remove noise from recordings of speech.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example:  dccrn enhance noisy/ -o clean/",
)
app.command()(enhance.enhance)
app.command()(models.models)
app.command()(finetune.finetune)
app.command()(train.train)
app.command()(mix.mix)
app.command()(score.score)
app.command()(convert.convert)
app.command()(export.export)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dccrn {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
    ),
    debug: bool = typer.Option(False, "--debug", help="On an error, show where in the code it arose."),
) -> None:
    """Remove noise from recordings of speech."""
    set_debug(debug)


def main() -> None:
    """Entry point."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal's encoding has not is no reason to stop.
        sys.stdout.reconfigure(errors="replace")
    app(prog_name="dccrn")


if __name__ == "__main__":
    main()
