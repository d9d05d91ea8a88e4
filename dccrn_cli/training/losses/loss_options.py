"""What a training loss is made of: named terms, their weights and the few parameters they share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dccrn_cli.errors import OptionError

TERMS: Mapping[str, str] = {
    "si-snr": "negative SI-SNR in dB, at least -35; blind to the level of the output",
    "snr": "negative SNR in dB, at least -35; holds the level",
    "level": "decibels between the levels of output and speech, squared below 1 dB",
    "mse": "mean squared error of samples",
    "mae": "mean absolute error of samples",
    "multi-resolution": "spectral convergence and log magnitudes at several frame lengths",
    "compressed-magnitude": "mean squared error of magnitudes raised to `exponent`; too much weighs `over` times",
    "compressed-complex": "mean squared error of complex spectra with such magnitudes",
    "log-spectral-mse": "logarithm of the summed errors of real, imaginary and magnitude spectra",
    "lms": "log-mel spectra with 16, 32 and 64 bands",
    "pmsqe": "PMSQE: disturbance of loudness, mean of frames",
    "pesq": "what wide-band PESQ takes off its best raw score of 4.5",
    "csa": "complex spectrum approximation",
    "msa": "magnitude spectrum approximation",
    "crm": "error of the complex ratio mask that the estimate stands for",
    "smm": "error of the spectral magnitude mask that the estimate stands for",
}
"""Terms of a loss, lower is better for all, and what they are."""

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

Beside the default, PESQ and PMSQE have about half of its gradient, as measured in a trained network. The rest
are weighted means with the coupling constants published with "DCCRN with various loss functions" (Hwang, Byun
and Park): 1:2 for LMS, 1:15 and 1:8 for PMSQE. MSE with LMS is 1000:1 there, of signals at their own level; for
speech at -20 dBFS that is 10:1 of signals at an RMS of one, as they are here. MSE with PMSQE has none there that
was in use; ours is the same.
"""


@dataclass(frozen=True)
class LossOptions:
    """Terms of the loss and their weights, see `TERMS`.

    Attributes:
        terms: weights by name.
        exponent: compression of the spectra of the `compressed-…` terms.
        n_fft: frame of all spectra but those of the perceptual terms and `multi-resolution`; the hop is half of it.
        resolutions: frames of `multi-resolution`, in samples; hops are a quarter of them.
        over: weight, in `compressed-magnitude`, of magnitudes that are too large (noise left) against those that are
            too small (speech lost).

    Raises:
        OptionError: names that are not known, negative weights, no terms, or parameters out of range.
    """

    terms: Mapping[str, float] = field(default_factory=lambda: dict(_DEFAULT))
    exponent: float = 0.3
    n_fft: int = 512
    resolutions: tuple[int, ...] = (512, 1024, 2048)
    over: float = 1.0

    def __post_init__(self) -> None:
        for name, weight in self.terms.items():
            if name not in TERMS:
                raise OptionError(f"no loss is called {name!r}; there are {', '.join(TERMS)}")
            if not (_is_number(weight) and 0 <= weight < math.inf):
                raise OptionError(f"weight of the loss {name} is {weight!r}: a number from 0 is meant")
        if not any(self.terms.values()):
            raise OptionError(f"no loss has a weight; there are {', '.join(TERMS)}")
        if not (_is_number(self.exponent) and 0 < self.exponent <= 1):
            raise OptionError(f"exponent of the loss is {self.exponent!r}: a number above 0 and up to 1 is meant")
        if not (_is_number(self.over) and 0 < self.over < math.inf):
            raise OptionError(f"over of the loss is {self.over!r}: a number above 0 is meant")
        for frame in (self.n_fft, *self.resolutions):
            if type(frame) is not int or frame not in range(16, 16_385, 4):
                raise OptionError(
                    f"frame of the loss is {frame!r}: samples, a multiple of 4 from 16 to 16384, are meant"
                )
        if not self.resolutions:
            raise OptionError("resolutions of the loss are empty")
        object.__setattr__(self, "terms", {name: float(weight) for name, weight in self.terms.items()})

    @classmethod
    def from_table(cls, table: Mapping[str, object]) -> LossOptions:
        """Options from the `[loss]` table of a recipe.

        Keys are names of terms with their weights, parameters, and `combination`, a name in `COMBINATIONS`
        whose weights hold for terms that the table does not weight itself. Without terms the default holds.

        Raises:
            OptionError: as for the class, or a combination that is not known.
        """
        terms: dict[str, object] = {}
        parameters: dict[str, object] = {}
        for key, value in table.items():
            if key == "combination":
                if not isinstance(value, str) or value not in COMBINATIONS:
                    raise OptionError(
                        f"no combination of losses is called {value!r}; there are {', '.join(COMBINATIONS)}"
                    )
            elif key in ("exponent", "over", "n_fft"):
                parameters[key] = value
            elif key == "resolutions":
                if not isinstance(value, list | tuple):
                    raise OptionError(f"resolutions of the loss are {value!r}: a list of samples is meant")
                parameters[key] = tuple(value)
            elif key in TERMS:
                terms[key] = value
            else:
                raise OptionError(
                    f"[loss] knows no {key!r}; there are {', '.join(TERMS)}, combination, exponent, over, "
                    "n_fft, resolutions"
                )
        if "combination" in table or not terms:
            terms = {**COMBINATIONS[str(table.get("combination", "default"))], **terms}
        return cls(terms=terms, **parameters)  # type: ignore[arg-type]  # the class checks them

    def to_dict(self) -> dict[str, object]:
        """The options as JSON can hold them, and `from_table` reads them back."""
        parameters = {
            "exponent": self.exponent, "over": self.over, "n_fft": self.n_fft, "resolutions": list(self.resolutions)
        }  # fmt: skip
        return {**self.terms, **parameters}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
