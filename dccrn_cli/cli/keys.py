"""Keys pressed while a command runs."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import sys
from typing import Any


class Keys:
    """Reads single keys from the terminal while entered; none if standard input is not a terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stdin is not None and sys.stdin.isatty()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Keys:
        if self._terminal and os.name == "posix":
            import termios
            import tty

            descriptor = sys.stdin.fileno()
            before = termios.tcgetattr(descriptor)
            self._stack.callback(termios.tcsetattr, descriptor, termios.TCSADRAIN, before)
            tty.setcbreak(descriptor)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def pressed(self) -> str:
        """Keys pressed since the last call."""
        if not self._terminal:
            return ""
        if os.name == "posix":
            ready = select.select([sys.stdin], [], [], 0)[0]
            return os.read(sys.stdin.fileno(), 64).decode(errors="replace") if ready else ""
        console: Any = importlib.import_module("msvcrt")
        keys = ""
        while console.kbhit():
            keys += console.getwch()
        return keys
