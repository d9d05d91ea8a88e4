"""`dccrn enhance` with standard input or output."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path
from typing import BinaryIO

from dccrn_cli.audio.formats import contradicts
from dccrn_cli.audio.raw import RawFormat
from dccrn_cli.audio.reader import Reader, open_sound
from dccrn_cli.audio.stdio import STDIN, STDOUT, StreamReader, StreamWriter
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.cli.console import STANDARD, error_line
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.file import FileEnhancer
from dccrn_cli.engine.files.worker import prepare_torch
from dccrn_cli.errors import AudioError, InvalidSamples, OptionError
from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.paths import path_kind


def enhance_pipe(
    inputs: list[str],
    output: str | None,
    options: EnhanceOptions,
    suffix: str = "",
    raw: RawFormat | None = None,
    quiet: bool = False,
) -> None:
    """From standard input or a file to standard output or a file, as the audio comes.

    Args:
        inputs: one file, or "-".
        output: a file, or "-", which is also what None means.
        options: see there.
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
    prepare_torch(options.threads)
    # The model comes first: what arrives while it loads would come out late.
    enhancer = FileEnhancer(options)
    with contextlib.ExitStack() as stack:
        if inputs[0] == STANDARD:
            reader: Reader = stack.enter_context(StreamReader(_binary(sys.stdin, STDIN), raw))
        else:
            reader = stack.enter_context(open_sound(Path(inputs[0]), options.track if options.track != "all" else None))
        if target is None:
            wanted = reader.info.adapted("", options.sample_format, options.sample_rate)
            raw_out = None if raw is None else RawFormat(raw.sample_format, wanted.sample_rate, wanted.channels)
            stream = StreamWriter(_binary(sys.stdout, STDOUT), wanted, raw_out)
            writer: StreamWriter | AudioWriter = stack.enter_context(stream)
        else:
            wanted = reader.info.adapted(suffix or target.suffix, options.sample_format, options.sample_rate)
            wanted = wanted.nearest_writable() if options.sample_format is None else wanted
            wanted = wanted.with_room_for(math.ceil(reader.info.seconds * wanted.sample_rate))
            writer = stack.enter_context(AudioWriter(target, wanted, reader.tags))
        try:
            # A recorder in front of the pipe ends on Ctrl-C as well, and with it our input: what has
            # come until then is finished like any other.
            with Interrupt() if inputs[0] == STANDARD else contextlib.nullcontext():
                enhancer.pump(reader, writer)
        except InvalidSamples as error:
            raise InvalidSamples(error.message, STDIN if inputs[0] == STANDARD else inputs[0]) from None
    notes = [
        reader.note,
        f"{writer.clipped:,} samples beyond full scale limited" if writer.clipped else "",
        writer.note,
    ]
    for note in () if quiet else filter(None, notes):
        error_line(f"Note: {note}")


def _binary(stream: object, name: str) -> BinaryIO:
    if stream is None:
        raise AudioError("is closed", name)
    buffer: BinaryIO = stream.buffer  # type: ignore[attr-defined]
    if os.name == "nt":
        import msvcrt

        msvcrt.setmode(buffer.fileno(), os.O_BINARY)  # type: ignore[attr-defined]
    return buffer
