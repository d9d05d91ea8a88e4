"""Checks on the signals of every metric."""

from __future__ import annotations

import numpy as np

from dccrn_cli.audio.arrays import as_floats
from dccrn_cli.audio.levels import EXCESS
from dccrn_cli.errors import MetricError, OptionError

SILENCE = 1e-10
"""Peaks below this count as silence."""


def check_signal(signal: np.ndarray, name: str = "estimate") -> np.ndarray:
    """Convert a signal to float64 `(samples,)`, full scale 1.0.

    Args:
        signal: numpy or torch, of any dtype that `dccrn_cli.audio.arrays.as_floats` accepts.
        name: name of the signal in messages.

    Raises:
        MetricError: wrong shape or dtype, no samples, or NaN, infinite or absurdly large ones.
    """
    try:
        array = as_floats(signal)
    except OptionError as error:
        raise MetricError(f"the {name}: {error.message}") from None
    if array.ndim != 1 or not len(array):
        raise MetricError(f"the {name} must have the shape (samples,), not {array.shape}")
    array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        raise MetricError(f"NaN or infinite samples in the {name}")
    if np.abs(array).max() > EXCESS:
        raise MetricError(f"samples beyond {EXCESS:.0e} in the {name}")
    return array


def is_silent(signal: np.ndarray) -> bool:
    """Whether every sample is below -200 dBFS."""
    return bool(np.abs(signal).max() < SILENCE)


def check_pair(reference: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert both signals to float64 `(samples,)`; lengths must agree and the reference must not be silent.

    Raises:
        MetricError: the signals do not match or cannot be measured.
    """
    reference, estimate = check_signal(reference, "reference"), check_signal(estimate)
    if len(reference) != len(estimate):
        raise MetricError(f"lengths differ: reference {len(reference)} samples, estimate {len(estimate)}")
    if is_silent(reference):
        raise MetricError("the reference is silent")
    return reference, estimate


def check_varying(reference: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`check_pair` for metrics that need a varying signal on both sides.

    Raises:
        MetricError: the signals do not match or cannot be measured, or one is silent or constant.
    """
    reference, estimate = check_pair(reference, estimate)
    if is_silent(estimate):
        raise MetricError("the estimate is silent")
    for signal, name in ((reference, "reference"), (estimate, "estimate")):
        if signal.min() == signal.max():
            raise MetricError(f"the {name} is constant")
    return reference, estimate
