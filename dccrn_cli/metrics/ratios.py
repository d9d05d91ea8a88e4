"""Signal-to-noise ratios in dB of float arrays `(samples,)` of equal length, at any sample rate.

Each function raises `MetricError` if the ratio is undefined.
"""

from __future__ import annotations

import math

import numpy as np

from dccrn_cli.errors import MetricError
from dccrn_cli.metrics.checks import check_pair, check_varying
from dccrn_cli.metrics.frames import dots, framed_pair

MIN_SEGMENT_DB, MAX_SEGMENT_DB = -10.0, 35.0
MAX_RATIO_DB = 150.0
"""SI-SNR and SNR are limited to ± this value, beyond which float64 cannot resolve the difference."""


def si_snr(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Scale-invariant signal-to-noise ratio, with means removed (Le Roux et al. 2019).

    Raises:
        MetricError: a silent or constant signal.
    """
    reference, estimate = check_varying(reference, estimate)
    reference = reference - reference.mean()
    estimate = estimate - estimate.mean()
    target = (estimate @ reference) / (reference @ reference) * reference
    return _ratio_db(target, estimate - target)


def si_snr_improvement(
    reference: np.ndarray, estimate: np.ndarray, noisy: np.ndarray, sample_rate: int = 16_000
) -> float:
    """SI-SNR of the estimate minus that of the noisy signal from which it was made.

    Raises:
        MetricError: a silent or constant signal.
    """
    after = si_snr(reference, estimate)
    try:
        return after - si_snr(reference, noisy)
    except MetricError as error:
        raise MetricError(f"noisy signal as the estimate: {error}") from None


def snr(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Energy of the reference over that of the error; sensitive to level, delay and offset.

    Raises:
        MetricError: a silent reference.
    """
    reference, estimate = check_pair(reference, estimate)
    return _ratio_db(reference, estimate - reference)


def segmental_snr(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Mean SNR of 30 ms frames, each limited to -10…35 dB: SNRseg of Hu & Loizou's composite metrics.

    Uses Hann-windowed frames every 7.5 ms, pauses included.

    Raises:
        MetricError: a silent reference, or less than two frames.
    """
    reference, estimate = check_pair(reference, estimate)
    blocks = framed_pair(reference, estimate, sample_rate)
    return float(np.concatenate([segment_snrs(clean, processed) for clean, processed in blocks]).mean())


def segment_snrs(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Limited SNR of each frame: `(frames, samples)` to `(frames,)`."""
    noise = reference - estimate
    # A silent frame gets the lowest value, as in the MATLAB code.
    signal_energy, noise_energy = dots(reference, reference), dots(noise, noise)
    least, most = 10 ** (MIN_SEGMENT_DB / 10), 10 ** (MAX_SEGMENT_DB / 10)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(signal_energy > 0, signal_energy / noise_energy, least)
    limited: np.ndarray = 10 * np.log10(np.clip(ratio, least, most))
    return limited


def _ratio_db(signal: np.ndarray, noise: np.ndarray) -> float:
    """Ratio of energies in dB, independent of a common gain since no epsilon is added."""
    signal_energy, noise_energy = float(signal @ signal), float(noise @ noise)
    limit = 10 ** (MAX_RATIO_DB / 10)
    if noise_energy * limit <= signal_energy:
        return MAX_RATIO_DB
    return max(10 * math.log10(signal_energy / noise_energy), -MAX_RATIO_DB) if signal_energy else -MAX_RATIO_DB
