"""Options of the training loss: named terms, their weights and a few shared parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dccrn_cli.errors import OptionError
from dccrn_cli.utils.toml_options import from_table

TERMS: Mapping[str, str] = {
    "si-snr": "negative SI-SNR in dB, at least -35; ignores the output level",
    "snr": "negative SNR in dB, at least -35; preserves the level",
    "level": "level difference between output and speech in dB, quadratic below 1 dB",
    "mse": "mean squared error of samples",
    "mae": "mean absolute error of samples",
    "multi-resolution": "spectral convergence and log magnitudes at several frame lengths",
    "compressed-magnitude": "mean squared error of magnitudes raised to `exponent`; excess is weighted by `over`",
    "compressed-complex": "mean squared error of complex spectra with compressed magnitudes",
    "log-spectral-mse": "log of the summed errors of real, imaginary and magnitude spectra",
    "lms": "log-mel spectra with 16, 32 and 64 bands",
    "pmsqe": "PMSQE: mean loudness disturbance over frames",
    "pesq": "wide-band PESQ's deduction from its best raw score of 4.5",
    "csa": "complex spectrum approximation",
    "msa": "magnitude spectrum approximation",
    "crm": "error of the complex ratio mask implied by the estimate",
    "smm": "error of the spectral magnitude mask implied by the estimate",
}
"""Loss terms and their descriptions; lower is better for all."""

PARAMETERS = ("exponent", "over", "n_fft", "resolutions")
"""Settings that terms share."""

NEED_NOISY = frozenset({"crm", "smm"})

_DEFAULT = {"si-snr": 0.025, "snr": 0.025, "compressed-magnitude": 1.0, "compressed-complex": 0.5}

COMBINATIONS: Mapping[str, Mapping[str, float]] = {
    "default": _DEFAULT,
    "default+pesq": {**_DEFAULT, "pesq": 0.1},
    "default+pmsqe": {**_DEFAULT, "pmsqe": 0.15},
    "mse+lms": {"mse": 10 / 11, "lms": 1 / 11},
    "sdr+lms": {"snr": 1 / 3, "lms": 2 / 3},
    "si-snr+lms": {"si-snr": 1 / 3, "lms": 2 / 3},
    "mse+pmsqe": {"mse": 10 / 11, "pmsqe": 1 / 11},
    "sdr+pmsqe": {"snr": 1 / 16, "pmsqe": 15 / 16},
    "si-snr+pmsqe": {"si-snr": 1 / 9, "pmsqe": 8 / 9},
}
"""Weights of known combinations.

Added to the default, PESQ and PMSQE contribute about half of its gradient, as measured in a trained network. The
others are weighted means with the coupling constants published in "DCCRN with various loss functions" (Hwang, Byun
and Park): 1:2 for LMS, 1:15 and 1:8 for PMSQE. The paper's 1000:1 for MSE with LMS applies to unscaled signals;
for speech at -20 dBFS it corresponds to 10:1 with signals at an RMS of one, as used here. The paper gives no
constant for MSE with PMSQE; we use the same.
"""


@dataclass(frozen=True)
class LossOptions:
    """Terms of the loss (`TERMS`) and their weights.

    Attributes:
        terms: weights by name.
        exponent: compression of the spectra in the `compressed-…` terms.
        n_fft: frame length of all spectra except those of the perceptual terms and `multi-resolution`; the hop is
            half of it.
        resolutions: frame lengths of `multi-resolution` in samples; the hops are a quarter of them.
        over: weight, in `compressed-magnitude`, of magnitudes that are too large (residual noise) relative to those
            that are too small (lost speech).

    Raises:
        OptionError: unknown names, negative weights, no terms, or parameters out of range.
    """

    terms: Mapping[str, float] = field(default_factory=lambda: dict(_DEFAULT))
    exponent: float = 0.3
    n_fft: int = 512
    resolutions: tuple[int, ...] = (512, 1024, 2048)
    over: float = 1.0

    def __post_init__(self) -> None:
        for name, weight in self.terms.items():
            if name not in TERMS:
                raise OptionError(f"no loss named {name!r}; choose from {', '.join(TERMS)}")
            if not (_is_number(weight) and 0 <= weight < math.inf):
                raise OptionError(f"the weight of the loss {name} must be a non-negative number, not {weight!r}")
        if not any(self.terms.values()):
            raise OptionError(f"no loss has a weight; choose from {', '.join(TERMS)}")
        if not (_is_number(self.exponent) and 0 < self.exponent <= 1):
            raise OptionError(f"exponent must be above 0 and at most 1, not {self.exponent!r}")
        if not (_is_number(self.over) and 0 < self.over < math.inf):
            raise OptionError(f"over must be a number above 0, not {self.over!r}")
        for frame in (self.n_fft, *self.resolutions):
            if type(frame) is not int or frame not in range(16, 16_385, 4):
                raise OptionError(f"frame lengths must be multiples of 4 from 16 to 16384 samples, not {frame!r}")
        if not self.resolutions:
            raise OptionError("resolutions must not be empty")
        object.__setattr__(self, "terms", {name: float(weight) for name, weight in self.terms.items()})

    @classmethod
    def from_table(cls, table: Mapping[str, object]) -> LossOptions:
        """Options from the `[loss]` table of a recipe.

        Keys are terms with their weights, parameters, and `combination`, a name in `COMBINATIONS` that supplies
        the weights of terms not in the table. Without terms the default combination is used.

        Raises:
            OptionError: unknown names, negative weights, no terms, or parameters out of range.
        """
        known = (*TERMS, "combination", *PARAMETERS)
        if unknown := [key for key in table if key not in known]:
            raise OptionError(f"[loss] has no {unknown[0]!r}; choose from {', '.join(known)}")
        combination = table.get("combination", "default")
        if not isinstance(combination, str) or combination not in COMBINATIONS:
            raise OptionError(f"no loss combination named {combination!r}; choose from {', '.join(COMBINATIONS)}")
        terms: dict[str, Any] = {key: value for key, value in table.items() if key in TERMS}
        if "combination" in table or not terms:
            terms = {**COMBINATIONS[combination], **terms}
        return from_table(cls(terms), {key: value for key, value in table.items() if key in PARAMETERS}, "loss")

    def to_dict(self) -> dict[str, object]:
        """The options as JSON-compatible data for `from_table`."""
        parameters = {name: getattr(self, name) for name in PARAMETERS}
        parameters["resolutions"] = list(self.resolutions)
        return {**self.terms, **parameters}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
