"""PESQ and STOI of float arrays `(samples,)` of equal length, computed by the packages `pesq` and `pystoi`.

Signals are passed on unchanged. Each function raises `MetricError` if the package fails or returns a
number that is not a measurement.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from dccrn_cli.errors import MetricError
from dccrn_cli.metrics.checks import check_varying
from dccrn_cli.metrics.utterances import SAFE_PESQ_S, count_utterances

MIN_PESQ_S, MAX_PESQ_S = 0.25, 600.0
MAX_UTTERANCES = 42
"""The package has room for 50; on concatenated speech our count was off by up to 6."""


def pesq_wb(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Wide-band PESQ as MOS-LQO, 1.0 to 4.64 (ITU-T P.862.2), at 16 kHz.

    Raises:
        MetricError: another sample rate, or a signal that is silent, constant, without speech, shorter
            than 0.25 s, longer than 10 minutes, or of more utterances than PESQ can hold.
    """
    return _pesq(reference, estimate, sample_rate, "wb")


def pesq_nb(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Narrow-band PESQ as MOS-LQO, 1.0 to 4.55 (ITU-T P.862.1), at 8 or 16 kHz.

    Raises:
        MetricError: another sample rate, or a signal that is silent, constant, without speech, shorter
            than 0.25 s, longer than 10 minutes, or of more utterances than PESQ can hold.
    """
    return _pesq(reference, estimate, sample_rate, "nb")


def pesq_raw(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Narrow-band PESQ on the raw scale of ITU-T P.862, -0.5 to 4.5: the scale of the DCCRN paper's tables.

    Raises:
        MetricError: `pesq_nb` is undefined.
    """
    return raw_from_nb(pesq_nb(reference, estimate, sample_rate))


def raw_from_nb(mos_lqo: float) -> float:
    """Convert a narrow-band MOS-LQO y to the raw score x, by the exact inverse of P.862.1.

    P.862.1 defines y = 0.999 + 4 / (1 + exp(4.6607 - 1.4945 x)).
    """
    return (4.6607 - math.log(4 / (mos_lqo - 0.999) - 1)) / 1.4945


def stoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Short-time objective intelligibility, about 0 to 1 (Taal et al. 2011), at any sample rate.

    Raises:
        MetricError: a silent or constant signal, or less than 0.4 s of speech.
    """
    return _stoi(reference, estimate, sample_rate, extended=False)


def estoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int = 16_000) -> float:
    """Extended STOI, about 0 to 1 (Jensen & Taal 2016), at any sample rate.

    Raises:
        MetricError: a silent or constant signal, or less than 0.4 s of speech.
    """
    return _stoi(reference, estimate, sample_rate, extended=True)


def _pesq(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, mode: str) -> float:
    rates = (16_000,) if mode == "wb" else (8_000, 16_000)
    if sample_rate not in rates:
        wanted = " or ".join(map(str, rates))
        raise MetricError(f"{'wide' if mode == 'wb' else 'narrow'}-band PESQ needs {wanted} Hz, not {sample_rate}")
    reference, estimate = check_varying(reference, estimate)
    seconds = len(reference) / sample_rate
    if seconds < MIN_PESQ_S:
        raise MetricError("shorter than 0.25 s")
    if seconds > MAX_PESQ_S:
        raise MetricError("longer than 10 minutes, the limit of PESQ; score shorter pieces")
    # The package does not check for full tables: it returns wrong figures, then crashes.
    if seconds > SAFE_PESQ_S and (utterances := count_utterances(reference, sample_rate)) > MAX_UTTERANCES:
        raise MetricError(f"about {utterances} utterances (PESQ is safe up to {MAX_UTTERANCES}); score shorter pieces")
    import pesq

    try:
        score = float(pesq.pesq(sample_rate, reference, estimate, mode))
    except pesq.NoUtterancesError:
        raise MetricError("PESQ found no utterance") from None
    except pesq.PesqError as error:
        raise MetricError(f"PESQ failed: {type(error).__name__}") from None
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise MetricError("PESQ has no result: one signal is almost silent")
    return score


def _stoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, *, extended: bool) -> float:
    reference, estimate = check_varying(reference, estimate)
    import pystoi

    with warnings.catch_warnings():
        # With fewer than 30 active frames pystoi warns and returns 1e-5, which is not a measurement.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            score = float(pystoi.stoi(reference, estimate, sample_rate, extended=extended))
        except (RuntimeWarning, np.exceptions.AxisError):
            raise MetricError("less than 0.4 s of speech, the minimum for STOI") from None
    if not math.isfinite(score):
        raise MetricError("STOI has no result")
    return score
