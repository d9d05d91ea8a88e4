"""`dccrn live` through a real sound server: a null sink is the microphone, another one the loudspeaker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import speechlike
from scipy.signal import fftconvolve

from dccrn_cli import Enhancer

RATE = 48_000
QUIET = RATE // 2
ASOUNDRC = 'pcm.heard { type pulse device "mic.monitor" }\npcm.played { type pulse device "speaker" }\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a PulseAudio of its own with the sinks `mic`, `speaker`, and `both`."""
    missing = [tool for tool in ("pulseaudio", "pactl", "paplay", "parec") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no sound server here: {', '.join(missing)} not installed")
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    (tmp_path / ".asoundrc").write_text(ASOUNDRC)
    env = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(run), "OMP_NUM_THREADS": "1"}
    sinks = [
        f"--load=module-null-sink sink_name={name} rate={RATE} channels={channels} format=float32le"
        for name, channels in (("mic", 1), ("speaker", 2))
    ]
    both = f"--load=module-combine-sink sink_name=both slaves=mic,speaker adjust_time=0 rate={RATE}"
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--load=module-native-protocol-unix"]
    pulse = subprocess.Popen([*command, *sinks, both], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if subprocess.run(["pactl", "info"], env=env, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        probe = "from dccrn_cli.audio.sound_devices import find_device; find_device('heard', 'input')"
        found = subprocess.run([sys.executable, "-c", probe], env=env, capture_output=True, text=True, timeout=60)
        if found.returncode:
            pytest.skip(f"PortAudio does not reach the sound server: {found.stderr.strip().splitlines()[-1]}")
        yield env
    finally:
        pulse.terminate()
        pulse.wait(10)


def live(env: dict[str, str], known: Path, sink: str, *options: str) -> tuple[dict[str, Any], np.ndarray]:
    """Play a file into a sink while `dccrn live` runs.

    Returns:
        what it said at its start and end, and what the loudspeaker got, `(frames,)`.
    """
    out = Path(env["HOME"]) / "loudspeaker.wav"
    command = [sys.executable, "-m", "dccrn_cli", "live", "--input", "heard", "--output", "played", "--json"]
    form = ["--format=float32le", f"--rate={RATE}", "--channels=2", "--file-format=wav", "--latency-msec=50"]
    errors = Path(env["HOME"]) / "errors.txt"
    with errors.open("w") as stream:
        process = subprocess.Popen([*command, *options], env=env, stdout=subprocess.PIPE, stderr=stream, text=True)
    recorder = None
    try:
        assert process.stdout is not None
        started = process.stdout.readline()
        if not started and process.wait() == 2 and "--block" in errors.read_text():
            pytest.skip("this machine is too busy to keep up with live sound")
        said = json.loads(started)
        recorder = subprocess.Popen(["parec", "--device=speaker.monitor", *form, str(out)], env=env)
        time.sleep(0.5)
        subprocess.run(["paplay", f"--device={sink}", str(known)], env=env, check=True, timeout=30)
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 0, errors.read_text()
        said.update(json.loads(rest))
    finally:
        process.kill()
        process.wait()
        if recorder is not None:
            recorder.terminate()
            recorder.wait()
    heard = soundfile.read(out, dtype="float32", always_2d=True)[0]
    np.testing.assert_array_equal(heard[:, 0], heard[:, 1])
    return said, heard[:, 0]


def place(part: np.ndarray, whole: np.ndarray) -> int:
    """Where a signal lies in a longer one."""
    return int(np.argmax(np.abs(fftconvolve(whole, part[::-1], "valid"))))


def check_idle(said: dict[str, Any]) -> None:
    if said["xruns"] or said["silence_ms"] or said["lost_ms"]:
        pytest.skip(f"the machine is too busy for sound in real time: {said}")


def skip_if_busy() -> None:
    """Skip the test where the sound server may have dropped samples, of which it tells nobody."""
    if os.getloadavg()[0] > 0.5:
        pytest.skip("the machine is too busy for the sound server")


@pytest.fixture
def known(tmp_path: Path) -> Path:
    path = tmp_path / "known.wav"
    silence = np.zeros(QUIET, np.float32)  # a sink that has just woken up loses a little
    signal = 0.3 * speechlike(3 * RATE, RATE)[:, 0]
    soundfile.write(path, np.concatenate([silence, signal, silence]), RATE, subtype="FLOAT")
    return path


def test_live_output_equals_enhance(server: dict[str, str], known: Path, tiny_model_file: Path) -> None:
    record = known.with_name("both.wav")
    options = ["--model", str(tiny_model_file), "--record", str(record), "--seconds", "7", "--block", "64"]
    said, loudspeaker = live(server, known, "mic", *options)
    heard, result = soundfile.read(record, dtype="float32")[0].T
    assert said["sample_rate"] == RATE
    # What was enhanced is what `dccrn enhance` makes of it, but for other resampling filters and 24 bits.
    whole = Enhancer(tiny_model_file, RATE)(heard)
    assert np.square(result - whole).sum() < 1e-4 * np.square(whole).sum()
    check_idle(said)
    original = soundfile.read(known, dtype="float32")[0][QUIET:-QUIET]
    at = place(original, heard)
    if not np.allclose(heard[at : at + len(original)], original, atol=1e-6):
        skip_if_busy()
    np.testing.assert_allclose(heard[at : at + len(original)], original, atol=1e-6)
    # A server that is short of time slips and tells nobody; each piece of the result is there, to the bit.
    pieces = np.split(result[at : at + len(original)], 30)
    starts = [place(piece, loudspeaker) for piece in pieces]
    errors = [np.abs(loudspeaker[i : i + len(p)] - p).max() for i, p in zip(starts, pieces, strict=True)]
    assert np.median(errors) < 1e-6


def test_stated_latency_equals_measured_latency(server: dict[str, str], tmp_path: Path, tiny_model_file: Path) -> None:
    noise = tmp_path / "noise.wav"  # white, so that each piece is like itself alone
    soundfile.write(noise, 0.1 * np.random.default_rng(0).standard_normal(3 * RATE), RATE, subtype="FLOAT")
    options = ["--model", str(tiny_model_file), "--mix", "0", "--seconds", "6", "--block", "64"]
    said, loudspeaker = live(server, noise, "both", *options)
    check_idle(said)
    # The loudspeaker got the file twice: at once, and through `dccrn live`.
    delays_ms = [delay_ms(piece, loudspeaker) for piece in np.split(soundfile.read(noise, dtype="float32")[0], 30)]
    error_ms = abs(np.median(delays_ms) - said["latency_ms"])
    if error_ms >= 20:
        skip_if_busy()
    assert error_ms < 20


def delay_ms(piece: np.ndarray, whole: np.ndarray) -> float:
    """Time between the two places where `whole` holds `piece`."""
    likeness = np.abs(fftconvolve(whole, piece[::-1], "valid"))
    first = int(np.argmax(likeness))
    likeness[max(first - RATE // 100, 0) : first + RATE // 100] = 0.0
    return 1000 * abs(int(np.argmax(likeness)) - first) / RATE


@pytest.mark.slow
def test_killed_server_ends_live_and_keeps_the_recording(server: dict[str, str], tiny_model_file: Path) -> None:
    record = Path(server["HOME"]) / "both.flac"
    options = ["--input", "heard", "--output", "played", "--block", "64", "--json", "--record", str(record)]
    command = [sys.executable, "-m", "dccrn_cli", "live", "--model", str(tiny_model_file), *options]
    process = subprocess.Popen(command, env=server, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            pytest.skip("this machine is too busy to keep up with live sound")
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size > 4096 for path in record.parent.glob(".dccrn-*")):
            assert time.monotonic() < deadline, "no sound arrives"
            time.sleep(0.1)
        subprocess.run(["pactl", "exit"], env=server, check=True)
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said) == (2, "")
    assert errors in ("Error: heard or played was disconnected\n", "Error: heard or played stopped 10 s ago\n")
    assert soundfile.info(record).frames > 0
