"""Composite metrics CSIG, CBAK and COVL (Hu & Loizou 2008), estimates of MOS from 1 to 5.

There are several variants. This is the one in the public MATLAB code `composite.m` with wide-band
PESQ at 16 kHz, used for published tables on VoiceBank-DEMAND:

    CSIG = 3.093 - 1.029 LLR + 0.603 PESQ - 0.009 WSS
    CBAK = 1.634 + 0.478 PESQ - 0.007 WSS + 0.063 SNRseg
    COVL = 1.594 + 0.805 PESQ - 0.512 LLR - 0.007 WSS

PESQ is the MOS-LQO of P.862.2. LLR (not limited per frame) and WSS are averaged over the lowest 95 %
of the frames, SNRseg over all frames. A reference with digital silence in more than a few frames has
no meaningful LLR, and low CSIG and COVL.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dccrn_cli.metrics.checks import check_varying
from dccrn_cli.metrics.frames import framed_pair
from dccrn_cli.metrics.perceptual import pesq_wb
from dccrn_cli.metrics.ratios import segment_snrs
from dccrn_cli.metrics.spectral_distances import llr, wss

_KEPT = 0.95


class Composite(NamedTuple):
    """The three metrics, each from 1 to 5."""

    csig: float
    """Signal distortion."""
    cbak: float
    """Intrusiveness of the background."""
    covl: float
    """Overall quality."""


def composite_scores(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000, pesq: float | None = None
) -> Composite:
    """All three metrics of float arrays `(samples,)` at 16 kHz.

    Args:
        pesq: wide-band PESQ of the pair, if already known.

    Raises:
        MetricError: PESQ is undefined.
    """
    reference, estimate = check_varying(reference, estimate)
    quality = pesq_wb(reference, estimate, sample_rate) if pesq is None else pesq
    # Keeps LLR defined for digital silence, as in the MATLAB code.
    tiny = np.finfo(np.float64).eps
    parts = [
        (llr(clean, processed, sample_rate), wss(clean, processed, sample_rate), segment_snrs(clean, processed))
        for clean, processed in framed_pair(reference + tiny, estimate + tiny, sample_rate)
    ]
    likelihoods, slopes, ratios = (np.concatenate(part) for part in zip(*parts, strict=True))
    likelihood, slope, ratio = _mean_of_lowest(likelihoods), _mean_of_lowest(slopes), float(ratios.mean())
    return Composite(
        csig=_limited(3.093 - 1.029 * likelihood + 0.603 * quality - 0.009 * slope),
        cbak=_limited(1.634 + 0.478 * quality - 0.007 * slope + 0.063 * ratio),
        covl=_limited(1.594 + 0.805 * quality - 0.512 * likelihood - 0.007 * slope),
    )


def csig(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Signal distortion, 1 to 5, at 16 kHz.

    Raises:
        MetricError: PESQ is undefined.
    """
    return composite_scores(reference, estimate, sample_rate).csig


def cbak(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Intrusiveness of the background, 1 to 5, at 16 kHz.

    Raises:
        MetricError: PESQ is undefined.
    """
    return composite_scores(reference, estimate, sample_rate).cbak


def covl(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Overall quality, 1 to 5, at 16 kHz.

    Raises:
        MetricError: PESQ is undefined.
    """
    return composite_scores(reference, estimate, sample_rate).covl


def _mean_of_lowest(values: np.ndarray) -> float:
    kept = int(_KEPT * len(values) + 0.5)
    return float(np.sort(values)[:kept].mean())


def _limited(score: float) -> float:
    return min(max(score, 1.0), 5.0)
