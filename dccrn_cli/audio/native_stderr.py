"""Captures what C libraries print to standard error."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator

_STDERR = 2
_OURS = re.compile(
    rb"\[src/libmpg123/|Warning: (Xing|Encountered|Real sample count|Big change)|Note: (Xing|Illegal Audio|"
    rb"Trying to resync|Hit end|Input data end|Cut frame|broken frame|"
    rb"Junk at|Looks like a RIFF|Skipped|Could be|free format)"
)
_ERROR = re.compile(rb"^\[src/libmpg123/.*\] error: ")
_lock = threading.RLock()


@contextlib.contextmanager
def decoder_messages(counted: list[int]) -> Iterator[None]:
    """Filter libmpg123's lines out of standard error; other lines are passed on.

    Args:
        counted: receives the number of errors among them.
    """
    with _lock, contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            saved = os.dup(_STDERR)
        except OSError:  # closed, or no temporary file possible
            yield
            return
        stack.callback(os.close, saved)
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(saved, _STDERR)
            if held.tell():
                held.seek(0)
                lines = held.read().splitlines(keepends=True)
                counted.append(sum(map(bool, map(_ERROR.match, lines))))
                others = b"".join(line for line in lines if not _OURS.match(line))
                with contextlib.suppress(OSError):
                    os.write(saved, others)


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Suppress everything that C libraries print to standard error."""
    with _lock, contextlib.ExitStack() as stack:
        try:
            saved = os.dup(_STDERR)
            nowhere = os.open(os.devnull, os.O_WRONLY)
        except OSError:
            yield
            return
        stack.callback(os.close, saved)
        os.dup2(nowhere, _STDERR)
        os.close(nowhere)
        try:
            yield
        finally:
            os.dup2(saved, _STDERR)
