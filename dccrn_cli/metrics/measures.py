"""Measures of one estimate against its reference: float arrays `(samples,)` of equal length.

Each returns a float, or raises `MetricError` where the measure is not defined.
"""

from __future__ import annotations

import warnings

import numpy as np

from dccrn_cli.errors import DccrnError

_MIN_PESQ_S = 0.25


class MetricError(DccrnError):
    """A measure is not defined for this pair."""


def _check(reference: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reference, estimate = np.asarray(reference, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    if reference.ndim != 1 or reference.shape != estimate.shape:
        raise MetricError(f"shapes {reference.shape} and {estimate.shape}; two equal one-dimensional arrays are needed")
    if not (np.isfinite(reference).all() and np.isfinite(estimate).all()):
        raise MetricError("NaN or infinite samples")
    if not reference.any():
        raise MetricError("the reference is silent")
    return reference, estimate


def si_snr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-noise ratio in dB, means removed (Le Roux et al. 2019)."""
    reference, estimate = _check(reference, estimate)
    reference = reference - reference.mean()
    estimate = estimate - estimate.mean()
    energy = float(reference @ reference)
    if energy == 0.0 or not estimate.any():
        raise MetricError("the reference or the estimate is constant")
    target = (estimate @ reference) / energy * reference
    error = estimate - target
    tiny = np.finfo(np.float64).eps
    return float(10 * np.log10((target @ target + tiny) / (error @ error + tiny)))


def pesq_wb(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Wide-band PESQ as MOS-LQO, 1.0 to 4.64 (ITU-T P.862.2)."""
    import pesq

    reference, estimate = _check(reference, estimate)
    if sample_rate != 16_000:
        raise MetricError(f"wide-band PESQ needs 16000 Hz, not {sample_rate}")
    if len(reference) < _MIN_PESQ_S * sample_rate:
        raise MetricError("shorter than 0.25 s")
    if not estimate.any():
        raise MetricError("the estimate is silent")
    try:
        return float(pesq.pesq(sample_rate, reference, estimate, "wb"))
    except pesq.PesqError as error:
        raise MetricError(f"PESQ: {error.args[0] if error.args else error}") from None


def stoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Short-time objective intelligibility, about 0 to 1 (Taal et al. 2011)."""
    import pystoi

    reference, estimate = _check(reference, estimate)
    with warnings.catch_warnings():
        # Below 30 active frames pystoi warns and returns 1e-5, which is no measurement.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(reference, estimate, sample_rate))
        except (RuntimeWarning, np.exceptions.AxisError):
            raise MetricError("too little active speech for STOI") from None
