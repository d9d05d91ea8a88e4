"""`dccrn enhance` with standard input or output."""

from __future__ import annotations

import os
from pathlib import Path

from dccrn_cli.audio.formats import contradicts
from dccrn_cli.audio.raw import RawFormat
from dccrn_cli.cli.console import STANDARD, error_line
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.enhance_pipe import enhance_pipe
from dccrn_cli.errors import OptionError
from dccrn_cli.utils.paths import path_kind


def run_pipe(
    inputs: list[str], output: str | None, options: EnhanceOptions, suffix: str, raw: RawFormat | None, quiet: bool
) -> None:
    """Enhance standard input or a file to standard output or a file, as the audio arrives.

    Args:
        inputs: one file, or "-".
        output: a file, or "-" or None for standard output.
        options: how the audio is enhanced.
        suffix: suffix of the container for a target without one.
        raw: format of headerless samples on standard input and output; None for WAV.
        quiet: print no notes.

    Raises:
        AudioError: the input is not audio, or the output cannot be written.
        OptionError: there are several inputs, or the target exists.
    """
    if len(inputs) != 1:
        raise OptionError("with standard input or output only one input is allowed: a file or -")
    target = None if output in (None, STANDARD) else Path(str(output))
    kind, why = ("missing", "") if target is None else path_kind(target)
    if kind == "unusable":
        raise OptionError(why, target)
    if target is not None and (kind == "folder" or str(output).endswith(("/", os.sep))):
        raise OptionError("is a folder; standard input needs a file name", target)
    if kind != "missing" and not options.overwrite:
        raise OptionError("already exists (use --overwrite to replace it)", target)
    if target is None and suffix not in ("", ".wav"):
        raise OptionError(f"--format {suffix[1:]} is for files; standard output is WAV, or --raw samples")
    if target is not None and contradicts(target, suffix):
        raise OptionError(f"the name does not match --format {suffix[1:]}; change one of them", target)
    source = None if inputs[0] == STANDARD else Path(inputs[0])
    for note in enhance_pipe(source, target, options, suffix, raw):
        if not quiet:
            error_line(f"Note: {note}")
