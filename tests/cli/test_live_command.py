"""`dccrn live` as a person uses it, with made-up devices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
from commands import command, posix, run
from portaudio import FakePortAudio, device

from dccrn_cli.cli.live import _display, _meters
from dccrn_cli.engine.live import choice
from dccrn_cli.engine.live.realtime import LiveStatus


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    fake = FakePortAudio(device("Mic\x1b[2J", 2, 0), device("Loudspeaker", 0, 2))
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(choice, "measure_load", lambda *_: 0.1)
    return fake


def live(model: Path, *more: object) -> Any:
    return run("live", "--model", model, "--sample-rate", 16_000, "--seconds", 0.2, *more)


def test_devices_are_listed(system: FakePortAudio) -> None:
    result = run("live", "--list-devices")
    assert result.stdout.splitlines() == [
        r"  0  Mic\x1b[2J  (MME, 2 in, 0 out, 48000 Hz, default input)",
        "  1  Loudspeaker  (MME, 0 in, 2 out, 48000 Hz, default output)",
    ]
    listed = json.loads(run("live", "--list-devices", "--json").stdout)
    assert [(one["index"], one["name"], one["host"]) for one in listed] == [
        (0, "Mic\x1b[2J", "MME"),
        (1, "Loudspeaker", "MME"),
    ]
    system.devices = ()
    assert run("live", "--list-devices").stdout == "No audio devices found.\n"


def test_what_live_prints(system: FakePortAudio, tiny_model_file: Path) -> None:
    result = live(tiny_model_file)
    assert (result.exit_code, result.stderr) == (0, "")
    started, ended = result.stdout.splitlines()
    assert started.startswith(rf"Mic\x1b[2J → {tiny_model_file} → Loudspeaker: 16000 Hz, ")
    assert "s played; 0 xruns; " in ended
    assert live(tiny_model_file, "--quiet").output == ""
    events = [json.loads(line) for line in live(tiny_model_file, "--json", "--quiet").stdout.splitlines()]
    assert [event["event"] for event in events] == ["started", "ended"]
    assert events[0]["load"] == 0.1


def test_disconnected_device_is_one_line(system: FakePortAudio, tiny_model_file: Path) -> None:
    system.unplugged = True
    result = live(tiny_model_file, "--quiet")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: Mic\\x1b[2J or Loudspeaker was disconnected\n"


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    result = run("live", "--list-devices")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: sounddevice is needed for this: pip install 'dccrn-cli[live]'\n",
    )


def test_missing_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    result = run("live", "--list-devices")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: PortAudio cannot be used (PortAudio library not found); on Debian: apt")


def test_space_switches_and_q_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    status = LiveStatus(1.0, -20.0, -40.0, 0.25, 0, 0.0, 0.0, bypass=False)
    typed = iter([" ", "", "x ", "q "])
    monkeypatch.setattr("dccrn_cli.cli.keys.Keys.pressed", lambda self: next(typed))
    running: Any = SimpleNamespace(bypass=False)
    with _display(running, hidden=True) as look:
        assert [(look(status), running.bypass) for _ in range(4)] == [
            (True, True), (True, True), (True, False), (False, False)
        ]  # fmt: skip


def test_meters() -> None:
    speech, noise, rest = _meters(LiveStatus(61.5, -35.0, -200.0, 0.25, 3, 0.012, 0.0, bypass=True)).splitlines()
    assert speech == f"speech {'█' * 15}{'·' * 15}  -35.0 dBFS"
    assert noise == f"noise  {'·' * 30} -200.0 dBFS"
    assert rest == "    61.5 s   load  25%   xruns 3   silence 12 ms   ORIGINAL (space: switch, q: stop)"


@pytest.fixture
def hangup_by_default() -> Iterator[None]:
    """Children inherit that SIGHUP is ignored, as it is if the tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@posix
def test_recording_survives_a_closed_terminal(tiny_model_file: Path, tmp_path: Path, hangup_by_default: None) -> None:
    (tmp_path / "sounddevice.py").write_text(
        "import sys\nfrom portaudio import FakePortAudio\n"
        "from dccrn_cli.engine.live import choice\n"
        "choice.measure_load = lambda *_: 0.1\n"
        "sys.modules[__name__] = FakePortAudio()\n"
    )
    places = [str(tmp_path), str(Path(__file__).parents[1]), *sys.path]
    keyboard, descriptor = os.openpty()
    process = subprocess.Popen(
        command("live", "--model", tiny_model_file, "--sample-rate", 16_000, "--record", tmp_path / "both.wav"),
        stdin=descriptor, stdout=descriptor, stderr=descriptor, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
    )  # fmt: skip
    try:
        os.close(descriptor)
        shown = b""
        while b"dBFS" not in shown:
            shown += os.read(keyboard, 4096)
        time.sleep(0.5)
        os.close(keyboard)
        process.send_signal(signal.SIGHUP)  # from the shell
        process.send_signal(signal.SIGHUP)  # and from the system
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    assert soundfile.info(tmp_path / "both.wav").frames > 0
