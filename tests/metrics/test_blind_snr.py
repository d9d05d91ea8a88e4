"""SNR from what is kept and removed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import voice

from dccrn_cli.data.speech_level import active_rms
from dccrn_cli.metrics.blind_snr import BlindSnrMeter, calibrated


def mixture(snr_db: float) -> tuple[np.ndarray, np.ndarray]:
    clean = voice(12, 3)
    noise = np.random.default_rng(3).standard_normal(len(clean)).astype(np.float32)
    return clean, noise * np.float32(active_rms(clean) * 10 ** (-snr_db / 20))


@pytest.mark.parametrize("snr_db", [-5, 5, 12])
def test_ideal_network_gives_the_true_snr(snr_db: float) -> None:
    clean, noise = mixture(snr_db)
    meter = BlindSnrMeter()
    for start in range(0, len(clean), 7001):
        part = slice(start, start + 7001)
        meter.process((clean + noise)[part], clean[part])
    found = meter.estimate()
    assert found.raw_db == pytest.approx(snr_db, abs=0.5)
    assert found.raw_db is not None
    assert found.snr_db == calibrated(found.raw_db)
    assert found.speech_dbfs == pytest.approx(20 * np.log10(active_rms(clean)), abs=0.3)
    assert 0.3 < found.speech_share < 0.9


def test_steady_sound_counts_as_noise() -> None:
    clean, noise = mixture(5)
    meter = BlindSnrMeter()
    meter.process(clean + noise, clean + noise)  # a network that removes nothing
    raw = meter.estimate().raw_db
    assert raw is not None
    assert raw < 12


def test_calibration_is_monotonic() -> None:
    values = [calibrated(raw) for raw in np.arange(-30, 80, 0.25)]
    assert all(after >= before for before, after in itertools.pairwise(values))
    assert values[-1] == 60


def test_without_speech_or_sound() -> None:
    meter = BlindSnrMeter()
    meter.process(0.1 * np.ones(32_000, np.float32), np.zeros(32_000, np.float32))
    assert meter.estimate().snr_db is None
    assert BlindSnrMeter().estimate().speech_share == 0
