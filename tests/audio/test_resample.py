"""The resampler: quality, alignment, delay, and independence of block size."""

from __future__ import annotations

import numpy as np
import pytest

from dccrn_cli.audio.resample import Resampler

RATES = [(8000, 16_000), (16_000, 8000), (48_000, 16_000), (16_000, 48_000), (44_100, 16_000), (16_000, 11_025)]


def resample(x: np.ndarray, rates: tuple[int, int], size: int) -> np.ndarray:
    resampler = Resampler(*rates, x.shape[1])
    parts = [resampler.process(x[start : start + size]) for start in range(0, len(x), size)]
    return np.concatenate([*parts, resampler.flush()])


def tone(hz: float, rate: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(rate) / rate, dtype=np.float64)[:, None].astype(np.float32)


@pytest.mark.parametrize("rates", RATES)
def test_tones_pass_aligned_and_images_are_suppressed(rates: tuple[int, int]) -> None:
    low = min(rates) / 2
    middle = slice(rates[1] // 4, -rates[1] // 4)
    for part in (0.05, 0.5, 0.9):
        got = resample(tone(part * low, rates[0]), rates, 1000)
        assert len(got) == rates[1]
        np.testing.assert_allclose(got[middle], tone(part * low, rates[1])[middle], atol=2e-3 if part == 0.9 else 1e-4)
    if rates[0] > rates[1]:
        for part in (1.005, 1.1, 1.3):
            assert np.abs(resample(tone(part * low, rates[0]), rates, 1000)[middle]).max() < 2e-6


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("frames", [0, 1, 50, 5000])
def test_output_is_independent_of_blocks(rates: tuple[int, int], frames: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((frames, 2)).astype(np.float32)
    whole = resample(x, rates, max(frames, 1))
    assert abs(len(whole) - frames * rates[1] / rates[0]) <= 1
    for size in (1, 7, 333):
        np.testing.assert_allclose(resample(x, rates, size), whole, atol=1e-5)


@pytest.mark.parametrize("rate", [2000, 3001, 8000, 11_025, 12_000, 44_100, 48_000, 88_200, 192_000])
def test_lag_is_bounded_tightly(rate: int, rng: np.random.Generator) -> None:
    for rates in ((rate, 16_000), (16_000, rate)):
        resampler = Resampler(*rates, 1)
        received, emitted, most = 0, 0, 0.0
        for size in rng.integers(1, rates[0] // 50, 400):
            emitted += len(resampler.process(np.zeros((size, 1), np.float32)))
            received += int(size)
            most = max(most, received - emitted * rates[0] / rates[1])
        assert most <= resampler.latency <= most + 0.03 * rates[0]
