"""Keys pressed while a command runs."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import sys
from typing import Any


class Keys:
    """Reads single keys from the terminal while entered.

    There are none if standard input is not a terminal, or while the command runs in the background, where the
    system stops a process that reads from its terminal or changes its settings.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdin is not None and sys.stdin.isatty()
        self._settings: list[Any] | None = None  # of the terminal, before they were changed

    def __enter__(self) -> Keys:
        return self

    def __exit__(self, *_: object) -> None:
        if self._settings is not None:
            import termios

            with contextlib.suppress(OSError, termios.error):  # the terminal was closed
                if _in_foreground(sys.stdin.fileno()):
                    termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._settings)

    def pressed(self) -> str:
        """Keys pressed since the last call."""
        if not self._terminal:
            return ""
        return self._read() if os.name == "posix" else _read_windows_console()

    def _read(self) -> str:
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        try:
            if not _in_foreground(descriptor):
                return ""
            settings = termios.tcgetattr(descriptor)
            if settings[3] & termios.ICANON:  # at first, and after Ctrl-Z and `fg`: shells restore their own settings
                self._settings = self._settings or settings
                tty.setcbreak(descriptor, termios.TCSANOW)
            ready = select.select([descriptor], [], [], 0)[0]
            return os.read(descriptor, 64).decode(errors="replace") if ready else ""
        except (OSError, termios.error):  # the terminal was closed
            return ""


def _in_foreground(descriptor: int) -> bool:
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:  # a terminal that does not control this process cannot stop it either
        return True


def _read_windows_console() -> str:
    console: Any = importlib.import_module("msvcrt")
    keys = ""
    while console.kbhit():
        keys += console.getwch()
    return keys
