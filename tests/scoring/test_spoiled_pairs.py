"""Mismatched pairs are rejected with a reason, or repaired with a note."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr
from voices import RATE, hiss, voice, write

from dccrn_cli import score_pair
from dccrn_cli.metrics.align import find_shift
from dccrn_cli.scoring.measurement import Repairs, measure_files
from dccrn_cli.scoring.sound_cache import SoundCache

Spoiled = Callable[[np.ndarray], tuple[np.ndarray, int, np.ndarray, int]]


def at(x: np.ndarray, rate: int) -> np.ndarray:
    resampled: np.ndarray = soxr.resample(x, RATE, rate)
    return resampled


def with_nan(x: np.ndarray) -> np.ndarray:
    y = x.copy()
    y[100] = np.nan
    return y


def stereo(*channels: np.ndarray) -> np.ndarray:
    return np.stack(channels, axis=1)


REFUSED: dict[str, tuple[Spoiled, str]] = {
    "silent reference": (lambda x: (0 * x, RATE, x, RATE), "the reference is silent"),
    "silent estimate": (lambda x: (x, RATE, 0 * x, RATE), "estimate is silent"),
    "NaN in estimate": (lambda x: (x, RATE, with_nan(x), RATE), "NaN or infinite samples in the estimate"),
    "NaN in reference": (lambda x: (with_nan(x), RATE, x, RATE), "NaN or infinite samples in the reference"),
    "infinite": (lambda x: (x, RATE, with_nan(x) * np.inf, RATE), "NaN or infinite"),
    "NaN at another rate": (lambda x: (x, RATE, with_nan(at(x, 8000)), 8000), "NaN or infinite"),
    "10 ms": (lambda x: (x[:160], RATE, x[:160], RATE), "shorter than 0.25 s"),
    "10 ms of estimate": (lambda x: (x, RATE, x[:160], RATE), "1.49 s shorter than the reference"),
    "10 ms of reference": (lambda x: (x[:160], RATE, x, RATE), "1.49 s longer than the reference"),
    "rates swapped in the header": (lambda x: (x, RATE, x, 8000), "longer than the reference"),
    "0.2 s too long": (lambda x: (x, RATE, np.append(x, x[:3200]), RATE), "0.20 s longer"),
    "0.2 s too short": (lambda x: (x, RATE, x[3200:], RATE), "0.20 s shorter"),
    "two channels and three": (lambda x: (stereo(x, x), RATE, stereo(x, x, x), RATE), "3 channels, the reference 2"),
    "no samples": (lambda x: (x, RATE, x[:0], RATE), "contains no samples"),
    "no reference samples": (lambda x: (x[:0], RATE, x, RATE), "reference: contains no samples"),
    "constant": (lambda x: (x, RATE, 0 * x + 0.5, RATE), "the estimate is constant"),
    "one sample": (lambda x: (x[:1], RATE, x[:1], RATE), "constant"),
    "silent in one channel": (lambda x: (stereo(x, 0 * x), RATE, stereo(x, x), RATE), "channel 2"),
}

REPAIRED: dict[str, tuple[Spoiled, str]] = {
    "nothing wrong": (lambda x: (x, RATE, hiss(x), RATE), ""),
    "quiet": (lambda x: (x, RATE, 1e-4 * hiss(x), RATE), ""),
    "one sample short": (lambda x: (x, RATE, hiss(x)[:-1], RATE), "reference trimmed by 1 sample ("),
    "50 ms long": (lambda x: (x, RATE, np.append(hiss(x), x[:800]), RATE), "estimate trimmed by 800 samples (50 ms)"),
    "estimate of 8 kHz": (lambda x: (x, RATE, at(hiss(x), 8000), 8000), "estimate resampled from 8000 to 16000 Hz"),
    "estimate of 48 kHz": (lambda x: (x, RATE, at(hiss(x), 48_000), 48_000), "resampled from 48000 to 16000 Hz"),
    "reference of 48 kHz": (lambda x: (at(x, 48_000), 48_000, hiss(x), RATE), "resampled from 16000 to 48000 Hz"),
    "both of 8 kHz": (lambda x: (at(x, 8000), 8000, at(hiss(x), 8000), 8000), "only 8000 Hz: pesq_wb upsampled"),
    "both of 44.1 kHz": (lambda x: (at(x, 44_100), 44_100, at(hiss(x), 44_100), 44_100), ""),
    "both of 11.025 kHz": (lambda x: (at(x, 11_025), 11_025, at(hiss(x), 11_025), 11_025), "only 11025 Hz"),
    "stereo": (lambda x: (stereo(x, x), RATE, stereo(hiss(x), x * 0.7 + hiss(x)), RATE), ""),
    "mono reference": (lambda x: (x, RATE, stereo(hiss(x), hiss(x, 0.03)), RATE), "mono reference compared with each"),
    "mono estimate": (lambda x: (stereo(x, x), RATE, hiss(x), RATE), "mono estimate compared with the mean"),
    "inverted": (lambda x: (x, RATE, -hiss(x), RATE), "inverted polarity (kept)"),
    "late": (lambda x: (x, RATE, np.append(np.zeros(1234), hiss(x))[: len(x)], RATE), "delayed by 1234 samples (+77.1"),
    "early": (lambda x: (x, RATE, np.append(hiss(x)[500:], np.zeros(500)), RATE), "advanced by 500 samples (-31.2 ms)"),
    "late and inverted": (
        lambda x: (x, RATE, -np.append(np.zeros(77), hiss(x)), RATE),
        "inverted polarity (kept); estimate delayed by 77 samples",
    ),
    "late by more than the tolerance": (lambda x: (x, RATE, np.append(np.zeros(8000), hiss(x)), RATE), "+500 ms"),
    "clipped": (lambda x: (x, RATE, np.clip(8 * hiss(x), -1, 1), RATE), ""),
    "an offset": (lambda x: (x, RATE, hiss(x) + 0.2, RATE), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_spoiled_pair_is_rejected_with_a_reason(name: str, tmp_path: Path) -> None:
    spoil, reason = REFUSED[name]
    clean, rate, out, other = spoil(voice())
    reference, estimate = write(tmp_path / "r.wav", clean, rate), write(tmp_path / "e.wav", out, other)
    found = measure_files(SoundCache(), reference, estimate, None, ("si_snr", "pesq_wb", "stoi"), Repairs())
    assert found.values["pesq_wb"] is None
    assert reason in found.note()


@pytest.mark.parametrize("name", REPAIRED)
def test_spoiled_pair_is_repaired_and_reported(name: str, tmp_path: Path) -> None:
    spoil, note = REPAIRED[name]
    clean, rate, out, other = spoil(voice())
    reference, estimate = write(tmp_path / "r.wav", clean, rate), write(tmp_path / "e.wav", out, other)
    align = any(word in name for word in ("late", "early"))
    found = measure_files(SoundCache(), reference, estimate, None, ("si_snr", "pesq_wb", "stoi"), Repairs(align=align))
    assert note in found.note() if note else found.note() == ""
    assert None not in found.values.values()
    assert found.values["si_snr"] is not None
    if name not in ("clipped", "an offset", "mono estimate") and "8 kHz" not in name:
        good = score_pair(voice(), hiss(voice()), RATE, ("si_snr", "stoi"))
        assert found.values["si_snr"] == pytest.approx(good["si_snr"], abs=2.5)
        assert found.values["stoi"] == pytest.approx(good["stoi"], abs=0.08)


def test_delays_are_found_to_the_sample() -> None:
    x = voice()
    for delay in (-7000, -500, -1, 0, 1, 63, 1234, 11_000):
        y = np.append(np.zeros(delay), hiss(x)) if delay >= 0 else hiss(x)[-delay:]
        for sign in (1, -1):
            shift = find_shift(x[:, None], sign * y[:, None], RATE)
            assert shift is not None
            assert (shift.delay_samples, shift.inverted) == (delay, sign < 0)
    assert find_shift(x[:, None], 0 * x[:, None], RATE) is None
    assert find_shift(x[:, None], np.random.default_rng(3).standard_normal((len(x), 1)), RATE) is None


def test_delay_gives_a_hint_without_align(tmp_path: Path) -> None:
    x = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    reference = write(tmp_path / "r.wav", x)
    estimate = write(tmp_path / "e.wav", np.append(np.zeros(1234), x)[: len(x)])
    found = measure_files(SoundCache(), reference, estimate, None, ("si_snr",), Repairs())
    assert (found.values["si_snr"] or 0) < 0
    assert "delayed by 1234 samples (+77.1 ms), kept (--align removes it)" in found.note()


def test_alignment_also_shifts_the_noisy_file(tmp_path: Path) -> None:
    x = voice()
    noisy, out = hiss(x, 0.1), hiss(x)
    paths = [write(tmp_path / f"{n}.wav", y) for n, y in enumerate((x, np.append(out[500:], np.zeros(500)), noisy))]
    found = measure_files(
        SoundCache(), paths[0], paths[1], paths[2], ("si_snr", "si_snr_improvement"), Repairs(align=True)
    )
    expected = score_pair(x[500:], out[500:], RATE, ("si_snr", "si_snr_improvement"), noisy[500:])
    assert found.values == pytest.approx(expected, abs=1e-6)
    assert found.delay_samples == -500


@pytest.mark.parametrize("delay", [1, 4, 10, 28, 50, 100, 200, 320, -7, -60])
@pytest.mark.parametrize("sign", [1, -1])
def test_delay_is_distinguished_from_polarity(delay: int, sign: int, tmp_path: Path) -> None:
    x = voice()
    moved = np.append(np.zeros(delay), x)[: len(x)] if delay > 0 else np.append(x[-delay:], np.zeros(-delay))
    paths = write(tmp_path / "r.wav", x), write(tmp_path / "e.wav", sign * hiss(moved, 1e-4))
    note = measure_files(SoundCache(), *paths, None, ("si_snr",), Repairs()).note()
    assert f"{'delayed' if delay > 0 else 'advanced'} by {abs(delay)} samples" in note
    assert ("inverted" in note) == (sign < 0)


@pytest.mark.parametrize("level", [1e-4, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_no_hint_without_a_delay(level: float, seed: int, tmp_path: Path) -> None:
    x = voice(seed)
    paths = write(tmp_path / "r.wav", x), write(tmp_path / "e.wav", hiss(x, level, seed))
    assert measure_files(SoundCache(), *paths, None, ("si_snr",), Repairs()).note() == ""
