"""Real-time enhancement with devices that are chosen, refuse, vanish, or stop, and disks that fill up."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import speechlike
from portaudio import FakePortAudio, device

from dccrn_cli import Enhancer, LiveEnhancer
from dccrn_cli.audio import formats, sound_devices
from dccrn_cli.audio.sound_devices import default_rate, find_device
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.engine.live import choice, recorder, session
from dccrn_cli.errors import AudioError, DccrnError, OptionError, SoundDeviceError

RATE = 16_000


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePortAudio]:
    fake = FakePortAudio()
    fake.signal = np.float32(0.5) * speechlike(RATE)[:, 0]
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(choice, "measure_load", lambda *_: 0.1)  # whatever else the machine does
    yield fake
    fake.wedged.clear()


def live(model: Path, record: Path | None = None, **options: Any) -> LiveEnhancer:
    return LiveEnhancer(model=str(model), sample_rate=RATE, record=record, **options)


def recorded(path: Path) -> np.ndarray:
    """The recording, which must hold something and be the only file."""
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    heard, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    assert len(heard) > 0
    return np.asarray(heard)


def test_live_session(system: FakePortAudio, tiny_model_file: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    with live(tiny_model_file, tmp_path / "both.wav") as running:
        status = running.wait(0.5)
        latency = running.latency_s
    assert (running.source.name, running.target.name) == ("Microphone", "Loudspeaker")
    assert 0 < status.seconds < 2
    assert latency == pytest.approx((Enhancer(tiny_model_file, RATE).latency + 2 * 512) / RATE + 0.03)
    assert torch.get_num_threads() == threads
    both = recorded(tmp_path / "both.wav")
    np.testing.assert_allclose(both[:RATE, 0], system.signal[: len(both[:RATE])], atol=2e-7)
    played = np.concatenate(system.played)
    assert np.isfinite(played).all()
    np.testing.assert_array_equal(played[:, 0], played[:, 1])


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("usb", 3), ("USB Mic", 3), ("webcam", 5), ("4", 4), (4, 4), (None, 0), ("internal microphone", 0)],
)
def test_device_by_name(monkeypatch: pytest.MonkeyPatch, wanted: str | int | None, found: int) -> None:
    system = FakePortAudio(
        device("Internal microphone", 1, 0), device("Loudspeaker", 0, 2), device("USB Mic", 0, 2),
        device("USB Mic", 1, 0), device("USB Mic", 1, 0, host=1), device("Webcam", 1, 0, host=1),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "sounddevice", system)
    assert find_device(wanted, "input").index == found


@pytest.mark.parametrize(
    ("wanted", "kind", "message"),
    [
        ("mic", "input", r"'mic' matches several input devices: 0 Mic A \(MME\), 2 Mic B \(MME\); give the number"),
        ("1", "input", "no input device '1'; use `dccrn live --list-devices`"),
        ("mic", "output", "no output device 'mic'"),
        ("99", "output", "no output device '99'"),
    ],
)
def test_no_such_device(monkeypatch: pytest.MonkeyPatch, wanted: str, kind: Any, message: str) -> None:
    system = FakePortAudio(device("Mic A", 1, 0), device("Loudspeaker", 0, 2), device("Mic B", 1, 0))
    monkeypatch.setitem(sys.modules, "sounddevice", system)
    with pytest.raises(SoundDeviceError, match=message):
        find_device(wanted, kind)


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ({}, 48_000),
        ({0: [16_000]}, 16_000),
        ({0: [16_000, 44_100], 1: [44_100]}, 44_100),
        ({0: [16_000], 1: [44_100]}, 16_000),  # none fits, which the stream will say
    ],
)
def test_default_rate_suits_both_devices(
    monkeypatch: pytest.MonkeyPatch, rates: dict[int, list[int]], chosen: int
) -> None:
    system = FakePortAudio(device("Mic", 1, 0, rate=16_000.0), device("Loudspeaker", 0, 2, rate=44_100.0))
    system.rates = rates
    monkeypatch.setitem(sys.modules, "sounddevice", system)
    assert default_rate(find_device(None, "input"), find_device(None, "output"), 1) == chosen


def test_unsupported_rate_is_reported(system: FakePortAudio, tiny_model_file: Path, tmp_path: Path) -> None:
    system.rates = {1: [44_100]}
    running = live(tiny_model_file, tmp_path / "both.flac")
    with pytest.raises(SoundDeviceError, match=r"Microphone \(MME\) to Loudspeaker \(MME\), 16000 Hz, mono: Invalid"):
        running.__enter__()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("fault", "message"), [("unplugged", "was disconnected"), ("frozen", "stopped")])
def test_lost_device_ends_the_wait(
    system: FakePortAudio,
    tiny_model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    message: str,
) -> None:
    monkeypatch.setattr(session, "STALLED_S", 0.3)

    def look(status: Any) -> bool:
        setattr(system, fault, status.seconds > 0)
        return True

    with pytest.raises(SoundDeviceError, match=message), live(tiny_model_file, tmp_path / "a.wav") as running:
        running.wait(20, look)
    recorded(tmp_path / "a.wav")


def test_sound_system_that_does_not_close(
    system: FakePortAudio, tiny_model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_devices, "_CLOSE_S", 0.2)
    with live(tiny_model_file, tmp_path / "a.wav") as running:
        running.wait(20, lambda status: status.seconds == 0)
        system.frozen = True
        system.wedged.set()
    recorded(tmp_path / "a.wav")


def wait_for_error(model: Path, record: Path) -> DccrnError:
    with pytest.raises(DccrnError) as caught, live(model, record) as running:
        started = time.monotonic()
        try:
            running.wait(60)
        finally:
            assert time.monotonic() - started < 30
    return caught.value


def test_full_disk_ends_the_recording_and_keeps_it(
    system: FakePortAudio, tiny_model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([False] * 5)
    monkeypatch.setattr(recorder, "is_nearly_full", lambda path, margin: next(free, True))
    path = tmp_path / "a.flac"
    assert "recording stopped: less than 16 MiB left" in str(wait_for_error(tiny_model_file, path))
    np.testing.assert_allclose(recorded(path)[:256, 0], system.signal[:256], atol=2e-7)


def test_failed_write_keeps_the_recording(
    system: FakePortAudio, tiny_model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = AudioWriter.write

    def fail(self: AudioWriter, block: np.ndarray) -> None:
        if self.frames_written:
            raise AudioError("cannot be written: Input/output error", self.path)
        write(self, block)

    monkeypatch.setattr(AudioWriter, "write", fail)
    assert "Input/output error" in str(wait_for_error(tiny_model_file, tmp_path / "a.wav"))
    recorded(tmp_path / "a.wav")


def test_recording_stops_at_the_limit_of_its_container(
    system: FakePortAudio, tiny_model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "MAX_BYTES", 6 * 2000)
    message = str(wait_for_error(tiny_model_file, tmp_path / "a.wav"))
    assert message == f"{tmp_path / 'a.wav'}: recording stopped: WAV cannot exceed 4 GiB (FLAC can)"
    assert len(recorded(tmp_path / "a.wav")) <= 2000


@pytest.mark.parametrize(("name", "rate"), [("a.opus", 44_100), ("a.mp3", 96_000)])
def test_recording_at_another_rate_is_rejected(tmp_path: Path, name: str, rate: int) -> None:
    with pytest.raises(OptionError, match=f"does not support {rate} Hz"):
        recorder.Recording(tmp_path / name, rate, 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"), [("file/a.wav", "a part of the path is a file"), ("b.wav", "is a folder")]
)
def test_recording_in_an_unusable_place(
    system: FakePortAudio, tiny_model_file: Path, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "b.wav").mkdir()
    with pytest.raises(OptionError, match=message), live(tiny_model_file, tmp_path / name, overwrite=True):
        pass
    assert not system.played
