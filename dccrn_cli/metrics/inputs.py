"""The signals of one comparison, with intermediate results that several metrics share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike

import numpy as np
import soxr

from dccrn_cli.errors import MetricError
from dccrn_cli.metrics.composite import Composite, composite_scores
from dccrn_cli.metrics.dnsmos import Dnsmos, dnsmos_scores
from dccrn_cli.metrics.perceptual import pesq_nb, pesq_wb


@dataclass(frozen=True)
class Signals:
    """One channel as float arrays `(samples,)` of equal length.

    Attributes:
        estimate: the signal to score.
        sample_rate: sample rate of all signals in Hz.
        reference: the clean signal, or None.
        noisy: the signal from which the estimate was made, or None.
        dnsmos_model: ONNX file of DNSMOS, or None.
    """

    estimate: np.ndarray
    sample_rate: int
    reference: np.ndarray | None = None
    noisy: np.ndarray | None = None
    dnsmos_model: str | PathLike[str] | None = None

    @property
    def pair(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Reference, estimate and sample rate.

        Raises:
            MetricError: there is no reference.
        """
        if self.reference is None:
            raise MetricError("there is no reference")
        return self.reference, self.estimate, self.sample_rate

    @property
    def triple(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Reference, estimate, noisy signal and sample rate.

        Raises:
            MetricError: there is no reference or no noisy signal.
        """
        reference, estimate, sample_rate = self.pair
        if self.noisy is None:
            raise MetricError("there is no noisy signal")
        return reference, estimate, self.noisy, sample_rate

    def resampled(self, sample_rate: int) -> Signals:
        """The same signals at another sample rate."""

        def convert(signal: np.ndarray) -> np.ndarray:
            converted: np.ndarray = soxr.resample(signal, self.sample_rate, sample_rate)
            # Keep a constant constant, so metrics do not mistake the filter's edge effects for sound.
            return np.full_like(converted, signal[0]) if signal.min() == signal.max() else converted

        return Signals(
            convert(self.estimate),
            sample_rate,
            None if self.reference is None else convert(self.reference),
            None if self.noisy is None else convert(self.noisy),
            self.dnsmos_model,
        )

    @cached_property
    def pesq_wb(self) -> float:
        """Wide-band PESQ."""
        return pesq_wb(*self.pair)

    @cached_property
    def pesq_nb(self) -> float:
        """Narrow-band PESQ."""
        return pesq_nb(*self.pair)

    @cached_property
    def composite(self) -> Composite:
        """CSIG, CBAK and COVL."""
        return composite_scores(*self.pair, pesq=self.pesq_wb)

    @cached_property
    def dnsmos(self) -> Dnsmos:
        """SIG, BAK and OVRL."""
        return dnsmos_scores(self.estimate, self.sample_rate, self.dnsmos_model)
