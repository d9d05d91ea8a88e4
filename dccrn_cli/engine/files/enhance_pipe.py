"""Enhances streams as the audio arrives: standard input and output, or a file at one end."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path
from typing import BinaryIO

from dccrn_cli.audio.raw import RawFormat
from dccrn_cli.audio.reader import Reader, open_sound
from dccrn_cli.audio.stdio import STDIN, STDOUT, StreamReader, StreamWriter
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.file import FileEnhancer
from dccrn_cli.engine.files.worker import prepare_torch
from dccrn_cli.errors import AudioError, InvalidSamples, OptionError
from dccrn_cli.utils.interrupt import Interrupt


def enhance_pipe(
    source: Path | None, target: Path | None, options: EnhanceOptions, suffix: str = "", raw: RawFormat | None = None
) -> list[str]:
    """Enhance a stream and write the output as it becomes available.

    Args:
        source: a file; None for standard input.
        target: a file; None for standard output.
        options: how the audio is enhanced.
        suffix: suffix of the container for a target without one.
        raw: format of headerless samples on standard input and output; None for WAV.

    Returns:
        Notes on the result.

    Raises:
        AudioError: the input is not audio, or the output cannot be written.
    """
    if options.loudness is not None:
        raise OptionError("a loudness requires two passes, so it is only for files, not for standard input or output")
    prepare_torch(options.threads)
    # Load the model first, since audio that arrives meanwhile would be delayed.
    enhancer = FileEnhancer(options)
    with contextlib.ExitStack() as stack:
        if source is None:
            # SIGINT and SIGTERM end the input; what has arrived by then is processed normally.
            interrupt = stack.enter_context(Interrupt())
            stdin = _binary(sys.stdin, STDIN)
            reader: Reader = stack.enter_context(StreamReader(stdin, raw, lambda: interrupt.requested))
        else:
            reader = stack.enter_context(open_sound(source, options.track if options.track != "all" else None))
        if target is None:
            wanted = reader.info.adapted("", options.sample_format, options.sample_rate)
            raw_out = None if raw is None else RawFormat(raw.sample_format, wanted.sample_rate, wanted.channels)
            stream = StreamWriter(_binary(sys.stdout, STDOUT), wanted, raw_out, reader.metadata())
            writer: StreamWriter | AudioWriter = stack.enter_context(stream)
        else:
            wanted = reader.info.adapted(suffix or target.suffix, options.sample_format, options.sample_rate)
            wanted = wanted.nearest_writable() if options.sample_format is None else wanted
            wanted = wanted.with_room_for(math.ceil(reader.info.seconds * wanted.sample_rate))
            writer = stack.enter_context(AudioWriter(target, wanted, reader.metadata()))
        try:
            enhancer.pump(reader, writer)
        except InvalidSamples as error:
            raise InvalidSamples(error.message, STDIN if source is None else source) from None
    notes = [
        reader.note,
        f"{writer.clipped:,} samples beyond full scale clipped" if writer.clipped else "",
        writer.note,
    ]
    return list(filter(None, notes))


def _binary(stream: object, name: str) -> BinaryIO:
    if stream is None:
        raise AudioError("is closed", name)
    buffer: BinaryIO = stream.buffer  # type: ignore[attr-defined]
    if os.name == "nt":
        import msvcrt

        msvcrt.setmode(buffer.fileno(), os.O_BINARY)  # type: ignore[attr-defined]
    return buffer
