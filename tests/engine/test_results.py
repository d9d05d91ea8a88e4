"""What a result is like: place, format, strength, noise output, media files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from commands import run, tree
from conftest import TINY, speechlike

from dccrn_cli.nn.checkpoint import save_model
from dccrn_cli.nn.dccrn import DCCRN


def silencer(path: Path) -> Path:
    """A network that removes everything."""
    model = DCCRN(TINY)
    with torch.no_grad():
        for parameter in model.decoder[-1].parameters():
            parameter.zero_()
    save_model(model, path)
    return path


def test_results_beside_the_originals(tmp_path: Path, tiny_model_file: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(4000), 16_000)
    for _ in range(2):  # the second time, the first result is not an input
        result = run("enhance", tmp_path, "--suffix", "_clean", "--model", tiny_model_file)
        assert result.exit_code == 0
        assert tree(tmp_path) == ["a.wav", "a_clean.wav"]
    assert "1 skipped" in result.output


def test_format_of_results(tmp_path: Path, tiny_model_file: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 44_100, 2, "PCM_24") as file:
        file.title, file.artist = "Gespräch", "Someone"
        file.write(speechlike(44_100, 44_100, 2))
    os.utime(tmp_path / "a.wav", ns=(10**18, 10**18))
    out = tmp_path / "out"
    options = ("--format", "flac", "--sample-format", "s16", "--sample-rate", 48_000, "--keep-mtime")
    result = run("enhance", tmp_path / "a.wav", "-o", out, "--model", tiny_model_file, *options)
    assert result.exit_code == 0
    assert "44100 Hz resampled to 48000 Hz" in result.output
    with soundfile.SoundFile(out / "a.flac") as file:
        assert (file.samplerate, file.subtype, file.frames, file.channels) == (48_000, "PCM_16", 48_000, 2)
        assert (file.title, file.artist) == ("Gespräch", "Someone")
    assert (out / "a.flac").stat().st_mtime_ns == 10**18


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_attenuation_limit_and_mix(rate: int, tmp_path: Path) -> None:
    x = speechlike(rate * 2 + 3, rate, 2)
    soundfile.write(tmp_path / "a.wav", x, rate, subtype="FLOAT")
    model = silencer(tmp_path / "silencer.safetensors")

    def enhanced(*options: object) -> np.ndarray:
        arguments = ("enhance", tmp_path / "a.wav", "-o", tmp_path / "b.wav", "--model", model, "--overwrite")
        assert run(*arguments, *options).exit_code == 0
        samples: np.ndarray = soundfile.read(tmp_path / "b.wav", dtype="float32")[0]
        return samples

    assert np.abs(enhanced("--high-band", "drop")).max() < 1e-6
    limited = enhanced("--attenuation-limit", 12, "--high-band", "drop")
    np.testing.assert_allclose(limited, x * 10 ** (-12 / 20), atol=1e-6)
    np.testing.assert_allclose(enhanced("--mix", 0.25, "--high-band", "drop"), 0.75 * x, atol=1e-6)
    np.testing.assert_array_equal(enhanced("--mix", 0), x)
    np.testing.assert_array_equal(enhanced("--attenuation-limit", 0), x)


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_noise_output(rate: int, tmp_path: Path, tiny_model_file: Path) -> None:
    x = speechlike(rate * 4 + 1, rate)
    soundfile.write(tmp_path / "a.wav", x, rate, subtype="FLOAT")
    options = ("--noise-out", tmp_path / "noise", "--model", tiny_model_file)
    assert run("enhance", tmp_path / "a.wav", "-o", tmp_path / "out", *options).exit_code == 0
    result, noise = (soundfile.read(tmp_path / name / "a.wav", always_2d=True)[0] for name in ("out", "noise"))
    np.testing.assert_allclose(result + noise, x, atol=1e-6)
    assert np.abs(noise).max() > 0.01
    before = (tmp_path / "out" / "a.wav").stat().st_mtime_ns
    (tmp_path / "noise" / "a.wav").unlink()
    assert run("enhance", tmp_path / "a.wav", "-o", tmp_path / "out", *options).exit_code == 0
    np.testing.assert_array_equal(soundfile.read(tmp_path / "noise" / "a.wav", always_2d=True)[0], noise)
    assert (tmp_path / "out" / "a.wav").stat().st_mtime_ns == before


def test_media_files(tmp_path: Path, tiny_model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "in" / "film.mp4"
    path.parent.mkdir()
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", 25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", 48_000, layout="stereo")
        for index in range(50):
            image = np.full((48, 64, 3), index, np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(speechlike(96_000, 48_000, 2).T), "fltp", "stereo")
        frame.sample_rate = 48_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        container.mux(picture.encode(None))
    options = ("-o", tmp_path / "out", "--model", tiny_model_file)
    result = run("enhance", path.parent, *options)
    assert result.exit_code == 0, result.output
    assert "AAC samples converted to PCM_16" in result.output
    assert soundfile.info(tmp_path / "out" / "film.flac").channels == 2
    result = run("enhance", path.parent, *options, "--keep-video", "--noise-out", tmp_path / "noise")
    assert result.exit_code == 0, result.output
    assert tree(tmp_path / "out") == ["film.flac", "film.mp4"]
    assert tree(tmp_path / "noise") == ["film.flac"]
    with av.open(str(tmp_path / "out" / "film.mp4")) as container:
        assert {stream.type for stream in container.streams} == {"video", "audio"}
    monkeypatch.setitem(sys.modules, "av", None)
    result = run("enhance", path.parent, *options, "--overwrite")
    assert result.exit_code == 1
    assert "pip install 'dccrn-cli[av]'" in result.output
