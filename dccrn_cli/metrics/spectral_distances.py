"""Distances between the short-time spectra of a pair.

`llr` and `wss` are components of Hu & Loizou's composite metrics, here per frame, on `(frames, samples)`.
"""

from __future__ import annotations

import functools

import numpy as np

from dccrn_cli.errors import MetricError
from dccrn_cli.metrics.checks import check_pair
from dccrn_cli.metrics.frames import blocks, dots, framed

LSD_FRAME_S, LSD_RANGE_DB = 0.032, 50.0

# Klatt's critical bands from Quackenbush et al. (1988): centres and widths in Hz.
_CENTRES = (
    50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30, 1288.72,
    1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
)  # fmt: skip
_WIDTHS = (
    70, 70, 70, 70, 70, 70, 70, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823,
    168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
)  # fmt: skip
_BAND_FLOOR = np.exp(-30 / (2 * 2.303))
_K_MAX, _K_LOCAL = 20.0, 1.0


def lsd(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Log-spectral distance in dB; 0 for equal signals.

    The RMS over frequency of the difference of the two power spectra in dB, averaged over
    Hann-windowed frames of 32 ms every 8 ms. Both spectra are floored 50 dB below the reference's
    loudest bin (the dynamic range of Cohen & Gannot), so that pauses do not dominate.

    Raises:
        MetricError: the reference is silent, or there is less than one frame.
    """
    reference, estimate = check_pair(reference, estimate)
    length = round(LSD_FRAME_S * sample_rate)
    hop = length // 4
    count = 1 + (len(reference) - length) // hop
    if count < 1:
        raise MetricError("shorter than 32 ms")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)

    def power(signal: np.ndarray, start: int, stop: int) -> np.ndarray:
        return _power(framed(signal, window, hop, start, stop), length)

    loudest = max(power(reference, *block).max() for block in blocks(count))
    if loudest == 0:  # any sound may be in the last, incomplete frame
        raise MetricError("the reference is silent")
    floor = loudest * 10 ** (-LSD_RANGE_DB / 10)
    total = 0.0
    for block in blocks(count):
        ratio = np.maximum(power(reference, *block), floor) / np.maximum(power(estimate, *block), floor)
        total += float(np.sqrt(np.mean((10 * np.log10(ratio)) ** 2, axis=1)).sum())
    return total / count


def llr(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> np.ndarray:
    """Log-likelihood ratio of each frame, unlimited, of order 16 (10 below 10 kHz): `(frames,)`.

    The log of the residual energy of the reference under the estimate's linear predictor, relative to
    that under its own predictor.
    """
    order = 10 if sample_rate < 10_000 else 16
    correlation = _autocorrelation(reference, order)
    own = _residual(_predictor(correlation), correlation)
    foreign = _residual(_predictor(_autocorrelation(estimate, order)), correlation)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = foreign / own
    # The residual of digital silence is rounding noise of either sign: count it among the worst frames.
    return np.log(np.where(np.isfinite(ratio) & (ratio > 0), ratio, 1000.0))


def wss(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> np.ndarray:
    """Klatt's weighted spectral slope distance of each frame, over 25 bands up to 3.8 kHz: `(frames,)`."""
    bands = _bands(sample_rate, reference.shape[1])
    slopes, weights = [], []
    for frames in (reference, estimate):
        size = 2 * bands.shape[0]
        level = 10 * np.log10(np.maximum(_power(frames, size)[:, : size // 2] @ bands, 1e-10))
        slope = np.diff(level, axis=1)
        near_maximum = _K_MAX / (_K_MAX + level.max(axis=1, keepdims=True) - level[:, :-1])
        near_peak = _K_LOCAL / (_K_LOCAL + _nearest_peaks(slope, level) - level[:, :-1])
        slopes.append(slope)
        weights.append(near_maximum * near_peak)
    weight = weights[0] + weights[1]
    distance: np.ndarray = dots(weight, (slopes[0] - slopes[1]) ** 2) / weight.sum(axis=1)
    return distance


def _power(frames: np.ndarray, size: int) -> np.ndarray:
    spectrum = np.fft.rfft(frames, size)
    power: np.ndarray = spectrum.real**2 + spectrum.imag**2
    return power


@functools.cache
def _bands(sample_rate: int, frame: int) -> np.ndarray:
    """Gaussian band filters on power spectra, truncated at -30 dB: `(bins, bands)`."""
    bins = 1 << (frame - 1).bit_length()
    per_hz = bins / (sample_rate / 2)
    centres, widths = np.array(_CENTRES), np.array(_WIDTHS)
    offset = (np.arange(bins)[:, None] - np.floor(centres * per_hz)) / (widths * per_hz)
    gain = np.exp(-11 * offset**2) * widths[0] / widths
    return np.where(gain > _BAND_FLOOR, gain, 0.0)


def _nearest_peaks(slope: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Level of the nearest peak of each band: to the right if the slope is positive, otherwise to the left.

    To the right, the band before the peak is used, as in the public code.
    """
    peaks = level[:, :-1].copy()
    rising = slope > 0
    for band in range(slope.shape[1] - 2, -1, -1):
        np.copyto(peaks[:, band], peaks[:, band + 1], where=rising[:, band] & rising[:, band + 1])
    for band in range(1, slope.shape[1]):
        np.copyto(peaks[:, band], peaks[:, band - 1], where=~rising[:, band] & ~rising[:, band - 1])
    return peaks


def _autocorrelation(frames: np.ndarray, order: int) -> np.ndarray:
    """Lags 0 to `order` of each frame: `(frames, order + 1)`."""
    length = frames.shape[1]
    return np.stack([dots(frames[:, : length - lag], frames[:, lag:]) for lag in range(order + 1)], axis=1)


def _predictor(correlation: np.ndarray) -> np.ndarray:
    """Prediction error filters `(frames, order + 1)` by the Levinson-Durbin recursion; first coefficient 1."""
    order = correlation.shape[1] - 1
    coefficients = np.zeros_like(correlation)
    coefficients[:, 0] = 1
    error = correlation[:, 0].copy()
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for i in range(1, order + 1):
            reflection = -dots(coefficients[:, :i], correlation[:, i:0:-1]) / error
            coefficients[:, 1 : i + 1] += reflection[:, None] * coefficients[:, i - 1 :: -1][:, :i]
            error *= 1 - reflection**2
    return coefficients


def _residual(predictor: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Residual energy of signals with these autocorrelations after the error filters: `(frames,)`."""
    own = _autocorrelation(predictor, correlation.shape[1] - 1)
    energy: np.ndarray = 2 * dots(own, correlation) - own[:, 0] * correlation[:, 0]
    return energy
