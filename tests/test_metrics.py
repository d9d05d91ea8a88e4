"""Measures agree with their reference packages, and refuse what they cannot measure."""

from __future__ import annotations

import numpy as np
import pesq
import pystoi
import pytest
from conftest import speechlike

from dccrn_cli.metrics import MetricError, pesq_wb, si_snr, stoi


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    clean = speechlike(48_000)[:, 0]
    return clean, clean + 0.02 * rng.standard_normal(len(clean)).astype(np.float32)


def test_equal_to_the_packages(pair: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = pair
    assert pesq_wb(clean, noisy) == pytest.approx(pesq.pesq(16_000, clean, noisy, "wb"), abs=1e-6)
    assert stoi(clean, noisy) == pytest.approx(pystoi.stoi(clean, noisy, 16_000), abs=1e-6)


def test_si_snr(rng: np.random.Generator) -> None:
    clean = rng.standard_normal(16_000)
    noise = rng.standard_normal(16_000)
    clean, noise = clean - clean.mean(), noise - noise.mean()
    noise -= noise @ clean / (clean @ clean) * clean
    noise *= np.linalg.norm(clean) / np.linalg.norm(noise) / 10
    assert si_snr(clean, clean + noise) == pytest.approx(20, abs=1e-6)
    assert si_snr(clean, -0.3 * (clean + noise) + 5) == pytest.approx(20, abs=1e-6)
    assert si_snr(clean, clean) > 100


@pytest.mark.parametrize("measure", [si_snr, pesq_wb, stoi])
def test_what_cannot_be_measured_is_an_error(measure, pair: tuple[np.ndarray, np.ndarray]) -> None:  # type: ignore[no-untyped-def]
    clean, noisy = pair
    for reference, estimate in (
        (np.zeros(48_000), noisy),
        (clean, noisy[:-1]),
        (clean, np.where(np.arange(48_000) == 5, np.nan, noisy)),
        (clean[:, None], noisy[:, None]),
    ):
        with pytest.raises(MetricError):
            measure(reference, estimate)


def test_too_short() -> None:
    x = speechlike(1600)[:, 0]
    with pytest.raises(MetricError, match=r"0\.25 s"):
        pesq_wb(x, x)
    with pytest.raises(MetricError, match="too little"):
        stoi(x, x)
    with pytest.raises(MetricError, match="too little"):
        stoi(x[:300], x[:300])
