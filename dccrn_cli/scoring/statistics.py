"""The one confidence interval and the one test of a difference, for tables and pictures alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95
"""Of all intervals."""

FEW = 15
"""Below so many values a bootstrap covers too little, and Student's t is used."""

MANY = 2000
"""From so many values on the bootstrap of a mean tells what Student's t tells."""

INTERVAL = f"95 % interval: BCa bootstrap, Student's t below {FEW} files"
"""What the intervals are, for people."""

_RESAMPLES, _SEED, _AT_ONCE = 2000, 0, 200


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float] | None:
    """95 % confidence interval of the mean, the same on every run and for any order of the values.

    From 15 values on it is the bias-corrected and accelerated bootstrap (Efron 1987), below that
    Student's t, as for thousands of values, where both are the same.

    Args:
        values: finite numbers, one for each file.

    Returns:
        Lower and upper end, or None for less than two values.
    """
    x = np.sort(np.asarray(values, np.float64))  # sums hang on the order, and so do resamples
    n = len(x)
    if n < 2:
        return None
    if x[0] == x[-1]:
        return float(x[0]), float(x[0])
    # Imported here: scipy.stats takes half a second, and most commands do without it.
    from scipy import stats

    if FEW <= n < MANY:
        found = stats.bootstrap(
            (x,), np.mean, n_resamples=_RESAMPLES, batch=_AT_ONCE, confidence_level=CONFIDENCE, method="BCa",
            rng=np.random.default_rng(_SEED),
        ).confidence_interval  # fmt: skip
        if math.isfinite(found.low) and math.isfinite(found.high):
            return float(found.low), float(found.high)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * float(x.std(ddof=1)) / math.sqrt(n)
    return float(x.mean()) - half, float(x.mean()) + half


def wilcoxon_p(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of Wilcoxon's signed-rank test that paired differences lie around 0.

    Args:
        differences: finite numbers, one for each file.

    Returns:
        The p-value; 1 where all differences are 0; None for less than two values.
    """
    x = np.sort(np.asarray(differences, np.float64))
    if len(x) < 2:
        return None
    if not x.any():
        return 1.0
    from scipy import stats

    return float(stats.wilcoxon(x).pvalue)
