"""All metrics of one estimate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from statistics import fmean

import numpy as np

from dccrn_cli.errors import MetricError
from dccrn_cli.metrics.inputs import Signals
from dccrn_cli.metrics.registry import DEFAULT_METRICS, Metric, select_metrics


@dataclass(frozen=True)
class PairScore:
    """What was measured.

    Attributes:
        values: by name, in the order of display; None where a metric is not defined.
        reasons: why, for those that are None.
    """

    values: dict[str, float | None]
    reasons: dict[str, str]


def measure_pair(
    reference: np.ndarray | None,
    estimate: np.ndarray,
    sample_rate: int,
    metrics: Iterable[str] = DEFAULT_METRICS,
    noisy: np.ndarray | None = None,
    dnsmos_model: str | PathLike[str] | None = None,
) -> PairScore:
    """Measure each channel and average; resampled for the metrics that are not defined at the rate.

    Args:
        reference: the clean signal: floats, full scale 1, `(samples,)` or `(samples, channels)`;
            None leaves the metrics that need none.
        estimate: what is scored, of the same shape.
        sample_rate: of all signals, in Hz.
        metrics: names out of `METRICS`.
        noisy: the signal that the estimate was made from, of the same shape, for `si_snr_improvement`.
        dnsmos_model: the ONNX file of DNSMOS, where it is asked for.

    Raises:
        OptionError: an unknown metric, or DNSMOS without its file.
        MetricError: signals of different shapes.
        CheckpointError, MissingDependency: DNSMOS cannot be loaded.
    """
    selected = select_metrics(metrics)
    estimates = _columns(estimate)
    references, noisies = (_columns_like(estimates, signal) for signal in (reference, noisy))
    channels = [
        _Channel(Signals(estimate, sample_rate, reference, noisy, dnsmos_model))
        for estimate, reference, noisy in zip(estimates, references, noisies, strict=True)
    ]
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for metric in selected:
        try:
            values[metric.name] = _average(metric, channels)
        except MetricError as error:
            values[metric.name] = None
            reasons[metric.name] = error.message
    return PairScore(values, reasons)


def score_pair(
    reference: np.ndarray | None,
    estimate: np.ndarray,
    sample_rate: int,
    metrics: Iterable[str] = DEFAULT_METRICS,
    noisy: np.ndarray | None = None,
    dnsmos_model: str | PathLike[str] | None = None,
) -> dict[str, float | None]:
    """The values of `measure_pair` alone; None where a metric is not defined."""
    return measure_pair(reference, estimate, sample_rate, metrics, noisy, dnsmos_model).values


class _Channel:
    """The signals of one channel, at every rate that is asked for."""

    def __init__(self, signals: Signals) -> None:
        self._own = signals
        self._by_rate = {signals.sample_rate: signals}

    def measure(self, metric: Metric) -> float:
        rate = metric.rate_for(self._own.sample_rate)
        if rate not in self._by_rate:
            self._by_rate[rate] = self._own.resampled(rate)
        return metric.function(self._by_rate[rate])


def _average(metric: Metric, channels: list[_Channel]) -> float:
    values = []
    for number, channel in enumerate(channels, start=1):
        try:
            values.append(channel.measure(metric))
        except MetricError as error:
            raise MetricError(f"channel {number}: {error}" if len(channels) > 1 else error.message) from None
    return fmean(values)


def _columns(signal: np.ndarray) -> np.ndarray:
    """Float64 channels, one after the other in memory: `(channels, samples)`."""
    signal = np.asarray(signal)
    if signal.ndim not in (1, 2) or not signal.size:
        raise MetricError(f"a signal of the shape {signal.shape}; (samples,) or (samples, channels) is needed")
    if signal.dtype.kind != "f":
        raise MetricError(f"{signal.dtype} samples; floats between -1 and 1 are needed")
    return np.array(signal.T, np.float64, order="C", ndmin=2)


def _columns_like(estimates: np.ndarray, signal: np.ndarray | None) -> Sequence[np.ndarray | None]:
    """The channels of another signal of the same shape, or so many times None."""
    if signal is None:
        return [None] * len(estimates)
    columns = _columns(signal)
    if columns.shape != estimates.shape:
        (channels, samples), (others, length) = estimates.shape, columns.shape
        raise MetricError(
            f"{length} samples of {others} channels do not fit the estimate's {samples} samples of {channels}"
        )
    return list(columns)
