"""`dccrn enhance -`: streaming, usage errors, signals."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import command, posix, run
from conftest import speechlike


@posix
def test_pipe_streams(tmp_path: Path, tiny_model_file: Path) -> None:
    x = np.clip(speechlike(16_000 * 4), -1, 1)
    data = (x * 32767).astype("<i2").tobytes()
    arguments = ("enhance", "-", "-o", "-", "--raw", "s16le", "--rate", 16_000, "--model", tiny_model_file)
    process = subprocess.Popen(command(*arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(data[:9600])  # 0.3 s
    process.stdin.flush()
    first = os.read(process.stdout.fileno(), 1 << 16)
    assert len(first) > 2000  # while input continues
    rest = process.communicate(data[9600:], timeout=60)[0]
    assert len(first) + len(rest) == len(data)
    assert process.returncode == 0

    soundfile.write(tmp_path / "a.wav", np.frombuffer(data, "<i2"), 16_000)
    assert run("enhance", tmp_path / "a.wav", "-o", tmp_path / "b.wav", "--model", tiny_model_file).exit_code == 0
    want = soundfile.read(tmp_path / "b.wav", dtype="int16")[0].astype(int)
    assert np.abs(np.frombuffer(first + rest, "<i2").astype(int) - want).max() <= 1


def test_pipe_usage(tmp_path: Path, tiny_model_file: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(4000), 16_000)
    wav = (tmp_path / "a.wav").read_bytes()

    def piped(given: bytes, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command("enhance", *arguments, "--model", tiny_model_file), input=given, capture_output=True
        )

    assert len(piped(wav, "-").stdout) == len(wav)
    assert piped(wav, "-", "-o", tmp_path / "b.flac").returncode == 0
    assert soundfile.info(tmp_path / "b.flac").frames == 4000
    for given, arguments in (
        (wav, ("-", "-o", tmp_path / "b.flac")),
        (b"", ("-",)),
        (b"no audio at all, but text" * 9, ("-",)),
        (wav, ("-", "--raw", "s7")),
        (wav, ("-", tmp_path / "a.wav")),
        (wav, ("-", "--report", tmp_path / "r.csv")),
        (wav, ("-", "-o", tmp_path, "--overwrite")),
        (wav, ("-", "-o", f"{tmp_path}/new/")),
        (wav, (tmp_path / "b.flac", "-o", tmp_path / "c.flac", "--raw", "s16le")),
    ):
        result = piped(given, *arguments)
        no_audio = given != wav
        assert result.returncode == (1 if no_audio else 2), arguments
        assert result.stdout == b""
        assert result.stderr.count(b"\n") == 1


@posix
def test_pipe_whose_reader_has_gone(tmp_path: Path, tiny_model_file: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(4000), 16_000)
    closed = shlex.join(command("enhance", tmp_path / "a.wav", "-o", "-", "--model", tiny_model_file)) + " >&-"
    result = subprocess.run(closed, shell=True, capture_output=True)
    assert result.returncode == 1
    assert b"standard output: is closed" in result.stderr


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("output", ["-", "out.wav"])
def test_signal_ends_pipe_input(number: signal.Signals, output: str, tmp_path: Path, tiny_model_file: Path) -> None:
    """Everything sent is written, although the sender stays alive without sending more."""
    samples = np.rint(20_000 * speechlike(32_000)[:, 0]).astype("<i2").tobytes()
    target = "-" if output == "-" else tmp_path / output
    process = subprocess.Popen(
        command("enhance", "-", "-o", target, "--raw", "s16le", "--model", tiny_model_file),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(samples)
    process.stdin.flush()
    got = b""
    if output == "-":
        got = os.read(process.stdout.fileno(), 1 << 16)  # processing has started
    else:
        wait_for(lambda: any(path.name.startswith(".dccrn-") for path in tmp_path.iterdir()))
        time.sleep(1)
    process.send_signal(number)
    try:
        got += process.communicate(timeout=20)[0]
    finally:
        process.kill()
    assert process.returncode == 0
    assert (len(got) if output == "-" else 2 * soundfile.info(target).frames) == len(samples)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
