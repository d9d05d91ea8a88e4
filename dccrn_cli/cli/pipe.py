"""`dccrn enhance` with standard input or output."""

from __future__ import annotations

import os
from pathlib import Path

from dccrn_cli.audio.formats import contradicts
from dccrn_cli.audio.raw import RawFormat
from dccrn_cli.cli.console import STANDARD, error_line
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.pipe import enhance_pipe
from dccrn_cli.errors import OptionError
from dccrn_cli.utils.paths import path_kind


def run_pipe(
    inputs: list[str], output: str | None, options: EnhanceOptions, suffix: str, raw: RawFormat | None, quiet: bool
) -> None:
    """From standard input or a file to standard output or a file, as the audio comes.

    Args:
        inputs: one file, or "-".
        output: a file, or "-", which is also what None means.
        options: how.
        suffix: of the container for a file whose name says none.
        raw: what samples without a header are, on standard input and output; None for WAV.
        quiet: no notes.

    Raises:
        AudioError: what comes in is no audio, or what goes out cannot be written.
        OptionError: several inputs, or a target that exists.
    """
    if len(inputs) != 1:
        raise OptionError("with standard input or output there is one input: a file or -")
    target = None if output in (None, STANDARD) else Path(str(output))
    kind, why = ("missing", "") if target is None else path_kind(target)
    if kind == "unusable":
        raise OptionError(why, target)
    if target is not None and (kind == "folder" or str(output).endswith(("/", os.sep))):
        raise OptionError("is a folder; what comes from standard input needs the name of a file", target)
    if kind != "missing" and not options.overwrite:
        raise OptionError("exists already (--overwrite replaces it)", target)
    if target is None and suffix not in ("", ".wav"):
        raise OptionError(f"--format {suffix[1:]} is for files; standard output gets WAV, or --raw samples")
    if target is not None and contradicts(target, suffix):
        raise OptionError(f"the name does not fit --format {suffix[1:]}; change one of them", target)
    source = None if inputs[0] == STANDARD else Path(inputs[0])
    for note in enhance_pipe(source, target, options, suffix, raw):
        if not quiet:
            error_line(f"Note: {note}")
