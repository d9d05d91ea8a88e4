"""Shared by all commands: exit codes, one-line errors, human-readable units."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from dccrn_cli.errors import AudioError, DccrnError, StorageError

OK, SOME_FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

STANDARD = "-"
"""Stands for standard input or output instead of a file."""

P = ParamSpec("P")
R = TypeVar("R")

_debug = False


def set_debug(on: bool) -> None:
    """Let errors through with their tracebacks."""
    global _debug
    _debug = on


def printable(text: str) -> str:
    """Escape control characters, and bytes of file names that are not text."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def error_line(message: str) -> None:
    """Print a line on stderr."""
    shown = printable(message)
    encoding = sys.stderr.encoding or "utf-8"
    typer.echo(shown.encode(encoding, "replace").decode(encoding, "replace"), err=True)


def plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Make a command report errors in one line.

    The exit code is 2; 1 for audio errors, failures to write and unexpected errors; 130 for Ctrl-C.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except DccrnError as error:
            if _debug:
                raise
            error_line(f"Error: {error}")
            raise typer.Exit(SOME_FAILED if isinstance(error, AudioError | StorageError) else USAGE) from None
        except KeyboardInterrupt:
            error_line("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output has gone; keep Python from complaining at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(SOME_FAILED) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if _debug:
                raise
            error_line(f"Error: {type(error).__name__}: {error} (run dccrn --debug for a traceback)")
            raise typer.Exit(SOME_FAILED) from None

    return wrapped


def duration(seconds: float) -> str:
    """Format a duration: `3.2 s`, `4 min 05 s`, `2 h 03 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def count(number: int, noun: str) -> str:
    """Format a count: `1 file`, `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
