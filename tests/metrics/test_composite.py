"""Composite metrics and their components agree with an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest

from dccrn_cli.metrics import MetricError, cbak, composite_scores, covl, csig, pesq_wb, segmental_snr
from dccrn_cli.metrics.composite import _mean_of_lowest
from dccrn_cli.metrics.frames import framed_pair
from dccrn_cli.metrics.spectral_distances import _autocorrelation, _nearest_peaks, _predictor, llr, wss

RATE = 16_000

# LLR, WSS and SNRseg by pysepm-evo 0.1.1 (LLR as in its composite metrics).
GOLDEN = {
    (0, 0.1): (1.677314695, 41.319124573, -9.126581101),
    (1, 0.01): (0.782088374, 24.776268608, -1.823363225),
    (2, 0.001): (0.070524817, 9.685678901, 12.713012575),
}


def babble(seed: int, noise: float, samples: int = 3 * RATE) -> tuple[np.ndarray, np.ndarray]:
    """A signal with speech-like slopes, bursts and pauses, clean and in noise, each `(samples,)`."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    voice = np.sin(np.outer(2 * np.pi * 140 * time, np.arange(1, 30))) @ (0.8 ** np.arange(29))
    envelope = np.maximum(np.sin(2 * np.pi * 1.7 * time + seed), 0.0) ** 2
    clean = 0.05 * voice * envelope + 1e-3 * rng.standard_normal(samples)
    return clean, clean + noise * rng.standard_normal(samples)


def parts(clean: np.ndarray, noisy: np.ndarray) -> tuple[float, float, float]:
    """LLR, WSS and SNRseg of a pair."""
    frames = list(framed_pair(clean, noisy, RATE))
    return (
        _mean_of_lowest(np.concatenate([llr(*block, RATE) for block in frames])),
        _mean_of_lowest(np.concatenate([wss(*block, RATE) for block in frames])),
        segmental_snr(clean, noisy),
    )


@pytest.mark.parametrize("case", GOLDEN)
def test_components_equal_an_independent_implementation(case: tuple[int, float]) -> None:
    assert parts(*babble(*case)) == pytest.approx(GOLDEN[case], abs=1e-6)


@pytest.mark.parametrize("case", GOLDEN)
def test_composites_are_the_published_regressions(case: tuple[int, float]) -> None:
    pair, (likelihood, slope, ratio) = babble(*case), GOLDEN[case]
    quality = pesq_wb(*pair)
    expected = (
        3.093 - 1.029 * likelihood + 0.603 * quality - 0.009 * slope,
        1.634 + 0.478 * quality - 0.007 * slope + 0.063 * ratio,
        1.594 + 0.805 * quality - 0.512 * likelihood - 0.007 * slope,
    )
    scores = composite_scores(*pair)
    assert scores == pytest.approx(np.clip(expected, 1, 5), abs=1e-6)
    assert (csig(*pair), cbak(*pair), covl(*pair)) == scores
    assert composite_scores(*pair, pesq=quality) == scores


def test_clean_is_best_and_noise_is_worst(rng: np.random.Generator) -> None:
    clean, _ = babble(0, 0.0)
    scores = composite_scores(clean, clean)
    assert (scores.csig, scores.covl) == (5, 5)
    assert scores.cbak > 4.5
    assert max(composite_scores(clean, rng.standard_normal(len(clean)))) < 2


def test_digital_silence_is_measurable() -> None:
    clean, noisy = babble(0, 0.01)
    for signal in (clean, noisy):
        signal[5000:15_000] = 0
    assert all(np.isfinite(composite_scores(clean, noisy)))
    clean[20_000:40_000] = 0
    assert all(np.isfinite(composite_scores(clean, noisy)))


def test_result_is_independent_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = babble(1, 0.02)
    whole = parts(*pair)
    monkeypatch.setattr("dccrn_cli.metrics.frames._BLOCK", 7)
    assert parts(*pair) == pytest.approx(whole, abs=1e-9)


def test_predictors_solve_the_normal_equations(rng: np.random.Generator) -> None:
    correlation = _autocorrelation(rng.standard_normal((5, 200)), 16)
    for lags, predictor in zip(correlation, _predictor(correlation), strict=True):
        toeplitz = lags[np.abs(np.subtract.outer(np.arange(16), np.arange(16)))]
        assert predictor[1:] == pytest.approx(-np.linalg.solve(toeplitz, lags[1:]), abs=1e-9)


def test_nearest_peaks_equal_a_plain_search(rng: np.random.Generator) -> None:
    level = rng.integers(0, 6, (50, 25)).astype(float)
    slope = np.diff(level, axis=1)
    for row, (slopes, levels) in enumerate(zip(slope, level, strict=True)):
        for band in range(24):
            at = band
            if slopes[band] > 0:
                while at < 24 and slopes[at] > 0:
                    at += 1
                peak = levels[at - 1]
            else:
                while at >= 0 and slopes[at] <= 0:
                    at -= 1
                peak = levels[at + 1]
            assert _nearest_peaks(slope, level)[row, band] == peak


def test_undefined_measurements_are_errors() -> None:
    clean, noisy = babble(0, 0.1)
    for reference, estimate, rate in (
        (clean, noisy, 8000),
        (clean, 0 * noisy, RATE),
        (0 * clean, noisy, RATE),
        (clean[:3999], noisy[:3999], RATE),
    ):
        for measure in (csig, cbak, covl):
            with pytest.raises(MetricError):
                measure(reference, estimate, rate)
