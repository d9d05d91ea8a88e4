"""What every measure asks of its signals."""

from __future__ import annotations

import numpy as np

from dccrn_cli.audio.arrays import as_floats
from dccrn_cli.audio.levels import EXCESS
from dccrn_cli.errors import MetricError, OptionError

SILENCE = 1e-10
"""Peaks below this count as silence."""


def check_signal(signal: np.ndarray, name: str = "estimate") -> np.ndarray:
    """One signal as float64 `(samples,)`, full scale 1.0.

    Args:
        signal: numpy or torch, of any dtype that `dccrn_cli.audio.arrays.as_floats` takes.
        name: what the signal is called in messages.

    Raises:
        MetricError: another shape or dtype, no samples, NaN, infinite or absurdly large ones.
    """
    try:
        array = as_floats(signal)
    except OptionError as error:
        raise MetricError(f"the {name}: {error.message}") from None
    if array.ndim != 1 or not len(array):
        raise MetricError(f"the {name} has the shape {array.shape}; (samples,) is needed")
    array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        raise MetricError(f"NaN or infinite samples in the {name}")
    if np.abs(array).max() > EXCESS:
        raise MetricError(f"samples beyond {EXCESS:.0e} in the {name}")
    return array


def is_silent(signal: np.ndarray) -> bool:
    """No sample reaches -200 dB of full scale."""
    return bool(np.abs(signal).max() < SILENCE)


def check_pair(reference: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both signals as float64 `(samples,)` of one length; the reference is not silent.

    Raises:
        MetricError: signals that do not fit or cannot be measured.
    """
    reference, estimate = check_signal(reference, "reference"), check_signal(estimate)
    if len(reference) != len(estimate):
        raise MetricError(f"lengths differ: {len(reference)} samples of reference, {len(estimate)} of estimate")
    if is_silent(reference):
        raise MetricError("the reference is silent")
    return reference, estimate


def check_varying(reference: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same, for measures that need a signal on both sides.

    Raises:
        MetricError: as above, and where a signal is silent or constant.
    """
    reference, estimate = check_pair(reference, estimate)
    if is_silent(estimate):
        raise MetricError("the estimate is silent")
    for signal, name in ((reference, "reference"), (estimate, "estimate")):
        if signal.min() == signal.max():
            raise MetricError(f"the {name} is constant")
    return reference, estimate
