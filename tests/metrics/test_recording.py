"""What a recording tells about itself."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import soxr
from conftest import speechlike

from dccrn_cli.metrics.recording import RecordingFacts, RecordingMeter


def facts(signal: np.ndarray, rate: int, *sizes: int) -> RecordingFacts:
    frames = np.atleast_2d(signal.T).T.astype(np.float32)
    meter = RecordingMeter(rate, frames.shape[1])
    for size in sizes:
        meter.process(frames[:size])
        frames = frames[size:]
    meter.process(frames)
    return meter.facts()


def noise(seconds: float, rate: int, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def test_measurements_are_independent_of_blocks() -> None:
    x = speechlike(48_000, 16_000, 2)
    x[20_000:20_400] = 0
    x[40_000:] = 0.5
    cut, whole = facts(x, 16_000, 1, 0, 20_001, 399, 3333), facts(x, 16_000)
    assert asdict(cut) | {"level_dbfs": 0} == asdict(whole) | {"level_dbfs": 0}
    assert cut.level_dbfs == pytest.approx(whole.level_dbfs)
    assert whole.dropouts == 1


@pytest.mark.parametrize("low_hz", [6000, 8000, 16_000, 32_000])
def test_bandwidth(low_hz: int) -> None:
    x = soxr.resample(noise(4, low_hz), low_hz, 48_000)
    in_16_bit = np.round(x * 32767) / 32768
    for signal in (x, in_16_bit):
        assert facts(signal, 48_000).bandwidth_hz == pytest.approx(low_hz / 2, rel=0.1)


def test_full_band_and_silence() -> None:
    assert facts(noise(2, 44_100), 44_100).bandwidth_hz == pytest.approx(22_050, rel=0.01)
    silent = facts(np.zeros(16_000), 16_000)
    assert (silent.bandwidth_hz, silent.level_dbfs, silent.dropouts) == (0, -np.inf, 0)
    assert facts(np.zeros((0, 1)), 16_000).seconds == 0


@pytest.mark.parametrize("mains", [50, 60])
def test_hum(mains: int) -> None:
    time = np.arange(8 * 16_000) / 16_000
    hum = sum(0.01 / k * np.sin(2 * np.pi * mains * k * time) for k in (1, 2, 3, 4))
    x = speechlike(8 * 16_000)[:, 0]
    found = facts(x + hum, 16_000)
    assert found.hum_hz == mains
    assert found.hum_dbfs == pytest.approx(10 * np.log10(np.square(hum).mean()), abs=2)
    assert facts(x, 16_000).hum_hz is None
    assert facts(noise(8, 16_000), 16_000).hum_hz is None


def test_clipping() -> None:
    x = 0.3 * np.random.default_rng(0).standard_normal(32_000)
    assert facts(x, 16_000).clipped_share == 0
    clipped = np.clip(np.repeat(x, 2), -0.5, 0.5)  # below full scale too
    assert facts(clipped, 16_000).clipped_share > 0.04
    assert facts(0.01 * np.sign(x), 16_000).clipped_share == 0  # faint


def test_dropouts_only_within_sound() -> None:
    x = noise(3, 16_000)
    x[:4000] = 0
    x[-4000:] = 0
    x[10_000:10_200] = 0
    x[20_000:20_500] = 0
    x[30_000:30_100] = 0  # 6 ms
    assert facts(x, 16_000, 10_100, 50).dropouts == 2


def test_faint_pauses_are_not_dropouts() -> None:
    x = noise(3, 16_000)
    fade = np.clip(np.abs(np.arange(-24_000, 24_000)) / 6000 - 1, 0, 1)
    rounded = np.round(x * fade * 2**15) / 2**15
    assert (rounded[20_000:28_000] == 0).all()
    assert facts(rounded, 16_000).dropouts == 0


def test_channels_and_offset() -> None:
    x = noise(1, 16_000)
    same, inverted = facts(np.stack([x, x], 1), 16_000), facts(np.stack([x, -x], 1), 16_000)
    apart = facts(np.stack([x, noise(1, 16_000, seed=1)], 1), 16_000)
    assert (same.channels_alike, same.channels_inverted) == (True, False)
    assert (inverted.channels_alike, inverted.channels_inverted) == (False, True)
    assert (apart.channels_alike, apart.channels_inverted) == (False, False)
    silent = facts(np.stack([x, 0 * x], 1), 16_000)
    assert silent.silent_channels == (2,)
    assert not silent.channels_alike
    assert facts(x + 0.05, 16_000).dc_offset == pytest.approx(0.05, abs=0.005)
