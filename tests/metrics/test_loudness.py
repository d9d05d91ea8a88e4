"""Loudness by BS.1770-4, on synthesised test signals of EBU Tech 3341."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import speechlike

from dccrn_cli.metrics.loudness import LoudnessMeter, integrated_loudness, k_weighting


def tone(level_db: float, seconds: float, rate: int, channels: int = 2) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return np.repeat(10 ** (level_db / 20) * np.sin(2 * np.pi * 1000 * time)[:, None], channels, axis=1)


CASES: dict[str, list[tuple[float, float]]] = {
    "1": [(-23, 20)],
    "2": [(-33, 20)],
    "3": [(-36, 10), (-23, 60), (-36, 10)],
    "4": [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)],
    "5": [(-26, 20), (-20, 20.1), (-26, 20)],
}


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("case", CASES)
def test_signals_of_the_ebu(case: str, rate: int) -> None:
    signal = np.concatenate([tone(level, seconds, rate) for level, seconds in CASES[case]])
    assert integrated_loudness(signal, rate) == pytest.approx(-33 if case == "2" else -23, abs=0.1)


@pytest.mark.parametrize("with_lfe", [False, True])
def test_surround(with_lfe: bool) -> None:
    levels = [-28, -28, -24, *([-3] if with_lfe else []), -30, -30]
    signal = np.concatenate([tone(level, 20, 48_000, 1) for level in levels], axis=1)
    assert integrated_loudness(signal, 48_000) == pytest.approx(-23, abs=0.1)


def test_coefficients_of_the_standard() -> None:
    shelf, high_pass = k_weighting(48_000)
    assert shelf == pytest.approx(
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585], abs=1e-9
    )
    assert high_pass == pytest.approx([1, -2, 1, 1, -1.99004745483398, 0.99007225036621], abs=1e-9)


@pytest.mark.parametrize("rate", [11_025, 16_000, 44_100])
def test_blocks_and_whole_agree(rate: int) -> None:
    signal = speechlike(3 * rate + 17, rate, 2)
    meter = LoudnessMeter(rate, 2)
    rest = signal
    for size in [1, 0, 7, 1000, rate, 333, rate]:
        meter.process(rest[:size])
        rest = rest[size:]
    meter.process(rest)
    assert meter.integrated_lufs == pytest.approx(integrated_loudness(signal, rate), abs=1e-9)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_agrees_with_pyloudnorm(rate: int) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    signal = speechlike(8 * rate, rate)[:, 0].astype(np.float64)
    signal[3 * rate : 6 * rate] *= 0.02  # gated
    expected = pyloudnorm.Meter(rate).integrated_loudness(signal)
    assert integrated_loudness(signal, rate) == pytest.approx(expected, abs=0.05)


def test_silent_and_short_signals() -> None:
    assert integrated_loudness(np.zeros(48_000), 48_000) == -math.inf
    assert integrated_loudness(np.zeros(0), 48_000) == -math.inf
    assert integrated_loudness(tone(-23, 0.3, 48_000), 48_000) == pytest.approx(-23, abs=0.2)
