"""Confidence intervals and significance tests, shared by tables and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95
"""Confidence level of all intervals."""

FEW = 15
"""With fewer values the bootstrap undercovers, so Student's t is used."""

MANY = 2000
"""From this many values on, the bootstrap of a mean agrees with Student's t."""

INTERVAL = f"95 % interval: BCa bootstrap, Student's t below {FEW} files"
"""Description of the intervals for display."""

_RESAMPLES, _SEED, _AT_ONCE = 2000, 0, 200


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float] | None:
    """95 % confidence interval of the mean, deterministic and independent of the order of values.

    Uses the bias-corrected and accelerated bootstrap (Efron 1987) from 15 values on, and Student's t for
    fewer, or for thousands, where the two agree.

    Args:
        values: finite numbers, one per file.

    Returns:
        Lower and upper end, or None for fewer than two values.
    """
    x = np.sort(np.asarray(values, np.float64))  # rounding of sums and resamples depend on the order
    n = len(x)
    if n < 2:
        return None
    if x[0] == x[-1]:
        return float(x[0]), float(x[0])
    # Imported here: scipy.stats takes half a second to load, and most commands do not need it.
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
    """Two-sided p-value of Wilcoxon's signed-rank test that paired differences are symmetric about 0.

    Args:
        differences: finite numbers, one per file.

    Returns:
        The p-value; 1 if all differences are 0; None for fewer than two values.
    """
    x = np.sort(np.asarray(differences, np.float64))
    if len(x) < 2:
        return None
    if not x.any():
        return 1.0
    from scipy import stats

    return float(stats.wilcoxon(x).pvalue)


def binomial_p(successes: int, trials: int, *, two_sided: bool = False) -> float:
    """p-value of the exact binomial test that successes are as likely as not.

    Args:
        successes: of the trials.
        trials: at least one.
        two_sided: False for "as many or more", True for "as far from half or farther".
    """
    from scipy import stats

    alternative = "two-sided" if two_sided else "greater"
    return float(stats.binomtest(successes, trials, 0.5, alternative=alternative).pvalue)
