"""`--loudness`: one gain for each file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speechlike
from typer.testing import CliRunner

from dccrn_cli import OptionError, enhance
from dccrn_cli.cli.app import app
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.metrics.loudness import LoudnessMeter, integrated_loudness
from dccrn_cli.metrics.true_peak import TruePeakMeter


def peak_dbtp(audio: np.ndarray, rate: int) -> float:
    meter = TruePeakMeter(rate, audio.shape[1])
    meter.process(audio)
    return meter.finish()


@pytest.mark.parametrize(("phase", "amplitude"), [(0.0, 0.5), (0.25, 0.5)])
def test_true_peak_lies_between_samples(phase: float, amplitude: float) -> None:
    """A quarter of the rate, 45° off the samples: the case of the EBU's signals 15 to 19."""
    rate = 48_000
    at = np.arange(rate)
    audio = amplitude * np.sin(2 * np.pi * (at / 4 + phase / 2))[:, None].astype(np.float32)
    audio *= np.clip(np.minimum(at, rate - at) / 2000, 0, 1)[:, None].astype(np.float32)
    expected = 20 * np.log10(amplitude)
    assert expected - 0.4 < peak_dbtp(audio, rate) < expected + 0.2
    blocks = TruePeakMeter(rate, 1)
    for start in range(0, rate, 999):
        blocks.process(audio[start : start + 999])
    assert blocks.finish() == pytest.approx(peak_dbtp(audio, rate), abs=1e-4)


def test_silence_has_no_true_peak() -> None:
    assert peak_dbtp(np.zeros((100, 2), np.float32), 8000) == -np.inf


@pytest.mark.parametrize("gain_db", [-30.0, 12.0])
def test_required_gain_is_predicted(gain_db: float) -> None:
    audio = speechlike(48_000) * np.geomspace(1e-4, 0.3, 48_000)[:, None]
    meter = LoudnessMeter(16_000, 1)
    meter.process(audio)
    assert meter.lufs_after(gain_db) == pytest.approx(integrated_loudness(audio * 10 ** (gain_db / 20), 16_000))


@pytest.mark.parametrize(("rate", "channels", "subtype"), [(16_000, 1, "PCM_16"), (44_100, 2, "FLOAT")])
def test_result_has_the_requested_loudness(
    tmp_path: Path, tiny_model_file: Path, rate: int, channels: int, subtype: str
) -> None:
    source, target, plain = (tmp_path / name for name in ("a.wav", "b.wav", "c.wav"))
    soundfile.write(source, 0.02 * speechlike(4 * rate, rate, channels), rate, subtype=subtype)
    model = str(tiny_model_file)
    result = enhance(source, target, model=model, loudness=-30.0, sample_rate=2 * rate)
    enhance(source, plain, model=model, sample_rate=2 * rate)
    got, got_hz = soundfile.read(target, dtype="float32", always_2d=True)
    assert integrated_loudness(got, got_hz) == pytest.approx(-30.0, abs=0.05)
    assert result.output_lufs == pytest.approx(-30.0, abs=0.002)
    assert result.true_peak_dbtp == pytest.approx(peak_dbtp(got, got_hz), abs=0.05)
    # One gain, and nothing else.
    before = soundfile.read(plain, dtype="float32", always_2d=True)[0]
    gain = 10 ** ((result.gain_db or 0.0) / 20)
    np.testing.assert_allclose(got, gain * before, atol=1e-6 if subtype == "FLOAT" else gain * 2**-15)
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "b.wav", "c.wav"}


def test_true_peak_limit_is_applied_and_reported(tmp_path: Path, tiny_model_file: Path) -> None:
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    audio = 0.01 * speechlike(64_000)
    audio[30_000:30_004] = 0.8
    soundfile.write(source, audio, 16_000)
    result = enhance(source, target, model=str(tiny_model_file), loudness=-5.0, true_peak_dbtp=-3.0)
    got = soundfile.read(target, dtype="float32", always_2d=True)[0]
    assert peak_dbtp(got, 16_000) == pytest.approx(-3.0, abs=0.02)
    assert result.true_peak_dbtp == pytest.approx(-3.0, abs=1e-4)
    assert result.clipped == 0
    assert "-5.0 LUFS would exceed -3 dBTP" in result.notes[0]
    assert f"{integrated_loudness(got, 16_000):.1f} LUFS" in result.notes[0]


def test_keep_preserves_the_original_loudness(tmp_path: Path, tiny_model_file: Path) -> None:
    source, target = tmp_path / "a.flac", tmp_path / "b.flac"
    soundfile.write(source, 0.05 * speechlike(64_000), 16_000)
    result = enhance(source, target, model=str(tiny_model_file), loudness="keep")
    before, after = (integrated_loudness(soundfile.read(path)[0], 16_000) for path in (source, target))
    assert after == pytest.approx(before, abs=0.05)
    assert result.input_lufs == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize("wanted", [-16.0, "keep"])
def test_silence_is_unchanged_and_reported(tmp_path: Path, tiny_model_file: Path, wanted: float | str) -> None:
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(source, np.zeros(20_000), 16_000)
    result = enhance(source, target, model=str(tiny_model_file), loudness=wanted)
    assert not soundfile.read(target)[0].any()
    assert "too quiet" in result.notes[0]
    assert (result.output_lufs, result.gain_db) == (None, 0.0)


def test_noise_output_has_no_gain(tmp_path: Path, tiny_model_file: Path) -> None:
    source = tmp_path / "a.wav"
    soundfile.write(source, 0.05 * speechlike(32_000), 16_000, subtype="FLOAT")
    for name, options in (("plain", []), ("loud", ["--loudness", "-20"])):
        noise = tmp_path / f"{name}-noise"
        command = ["enhance", str(source), "-o", str(tmp_path / name), "--noise-out", str(noise), *options]
        shown = CliRunner().invoke(app, [*command, "--model", str(tiny_model_file)])
        assert shown.exit_code == 0, shown.output
    assert (tmp_path / "plain-noise/a.wav").read_bytes() == (tmp_path / "loud-noise/a.wav").read_bytes()
    assert (tmp_path / "plain/a.wav").read_bytes() != (tmp_path / "loud/a.wav").read_bytes()


def test_batches_resume_to_the_same_bytes_and_report(tmp_path: Path, tiny_model_file: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(3):
        soundfile.write(folder / f"{index}.wav", 0.1 * speechlike(20_000, seed=index), 16_000)
    out, report = tmp_path / "out", tmp_path / "report.jsonl"
    command = ["enhance", str(folder), "-o", str(out), "--model", str(tiny_model_file), "--loudness", "-23"]
    assert CliRunner().invoke(app, [*command, "-j", "1", "--report", str(report)]).exit_code == 0
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "1.wav").unlink()
    assert CliRunner().invoke(app, [*command, "-j", "2"]).exit_code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert [row["output_lufs"] for row in rows] == [-23.0] * 3
    assert all(row["gain_db"] and row["input_lufs"] and row["true_peak_dbtp"] <= -1.0 for row in rows)


def test_pipes_and_invalid_values_are_rejected(tmp_path: Path) -> None:
    for command, why in (
        (["-", "--loudness", "-16"], "--loudness cannot be used with standard input or output"),
        (["a.wav", "-o", "b.wav", "--loudness", "loud"], "level in LUFS"),
        (["a.wav", "-o", "b.wav", "--loudness", "3"], "-70 to 0"),
        (["a.wav", "-o", "b.wav", "--true-peak", "-1"], "--true-peak cannot be used without --loudness"),
    ):
        shown = CliRunner().invoke(app, ["enhance", *command])
        assert shown.exit_code == 2
        assert why in shown.output
    with pytest.raises(OptionError):
        EnhanceOptions(true_peak_dbtp=1.0)
