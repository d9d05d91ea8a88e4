"""Keys read from a terminal, and the terminal afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import posix
from portaudio import FakePortAudio

from dccrn_cli.cli.app import app
from dccrn_cli.cli.keys import Keys
from dccrn_cli.engine.live import choice

pytestmark = posix


class Terminal:
    """A pseudo-terminal as standard input."""

    def __init__(self, keyboard: int, descriptor: int) -> None:
        self.keyboard = keyboard
        self.descriptor = descriptor
        self.before = self.settings

    @property
    def settings(self) -> Any:
        import termios

        return termios.tcgetattr(self.descriptor)

    @property
    def waits_for_enter(self) -> bool:
        import termios

        return bool(self.settings[3] & termios.ICANON)

    def reset(self) -> None:
        """What a shell does when its job is stopped by Ctrl-Z."""
        import termios

        termios.tcsetattr(self.descriptor, termios.TCSANOW, self.before)

    def press(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    keyboard, descriptor = os.openpty()
    with open(keyboard, "wb", buffering=0), open(descriptor) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield Terminal(keyboard, descriptor)


def test_keys_need_no_enter_and_terminal_is_restored(terminal: Terminal) -> None:
    with pytest.raises(ValueError, match="any"), Keys() as keys:
        assert keys.pressed() == ""
        terminal.press(" q")
        assert keys.pressed() == " q"
        assert not terminal.waits_for_enter
        raise ValueError("any")
    assert terminal.settings == terminal.before


def test_keys_work_after_the_shell_has_reset_the_terminal(terminal: Terminal) -> None:
    with Keys() as keys:
        keys.pressed()
        terminal.reset()
        keys.pressed()
        terminal.press("q")
        assert keys.pressed() == "q"
    assert terminal.settings == terminal.before


def test_no_keys_without_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("q")
    with (tmp_path / "input").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with Keys() as keys:
            assert keys.pressed() == ""
    monkeypatch.setattr(sys, "stdin", None)
    with Keys() as keys:
        assert keys.pressed() == ""


def test_closed_terminal_has_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, descriptor = os.openpty()
    with open(descriptor) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with Keys() as keys:
            keys.pressed()
            os.close(keyboard)
            assert keys.pressed() == ""


IN_A_SESSION = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    from dccrn_cli.cli.keys import Keys
    with Keys() as keys:
        keys.pressed()
    os._exit(0)
_, status = os.waitpid(child, os.WUNTRACED)
sys.exit("stopped" if os.WIFSTOPPED(status) else os.WEXITSTATUS(status))
"""


def test_background_process_is_not_stopped() -> None:
    keyboard, descriptor = os.openpty()
    try:
        os.write(keyboard, b"q\n")
        command = [sys.executable, "-c", IN_A_SESSION]
        done = subprocess.run(command, stdin=descriptor, capture_output=True, text=True, timeout=60)
    finally:
        os.close(keyboard)
        os.close(descriptor)
    assert (done.returncode, done.stderr) == (0, "")


def live(model: Path, *more: str) -> None:
    app(["live", "--model", str(model), "--sample-rate", "16000", "--quiet", *more], standalone_mode=False)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    fake = FakePortAudio()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(choice, "measure_load", lambda *_: 0.1)
    return fake


def test_q_ends_live(terminal: Terminal, system: FakePortAudio, tiny_model_file: Path) -> None:
    terminal.press("q\n")
    live(tiny_model_file)
    assert terminal.settings == terminal.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_restores_the_terminal(
    terminal: Terminal, system: FakePortAudio, tiny_model_file: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressed = Keys.pressed

    def signalled(self: Keys) -> str:
        keys = pressed(self)
        assert not terminal.waits_for_enter
        os.kill(os.getpid(), number)
        return keys

    monkeypatch.setattr(Keys, "pressed", signalled)
    live(tiny_model_file)
    assert terminal.settings == terminal.before
