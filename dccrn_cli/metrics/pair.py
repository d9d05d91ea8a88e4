"""All metrics of one estimate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from statistics import fmean

import numpy as np

from dccrn_cli.audio.arrays import as_frames
from dccrn_cli.errors import MetricError, OptionError
from dccrn_cli.metrics.inputs import Signals
from dccrn_cli.metrics.registry import DEFAULT_METRICS, Metric, select_metrics


@dataclass(frozen=True)
class PairScore:
    """Result of a measurement.

    Attributes:
        values: values by metric, in display order; None if a metric is undefined.
        reasons: for those that are None, the reason.
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
    *,
    axis: int | None = None,
) -> PairScore:
    """What `score_pair` returns, with the reasons for undefined metrics.

    Arguments and errors are those of `score_pair`.
    """
    selected = select_metrics(metrics)
    estimates = _columns(estimate, axis)
    references, noisies = (_columns_like(estimates, signal, axis) for signal in (reference, noisy))
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
    *,
    axis: int | None = None,
) -> dict[str, float | None]:
    """Score an estimate: values by metric, averaged over channels; None if a metric is undefined.

    Signals are resampled for metrics that are not defined at the sample rate.

    Args:
        reference: the clean signal, numpy or torch, `(samples,)` or `(samples, channels)`: floating
            point with full scale 1.0, or PCM as int16, int32 or uint8. None allows only metrics that
            need no reference.
        estimate: the signal to score, of the same shape.
        sample_rate: sample rate of all signals in Hz.
        metrics: names from `METRICS`.
        noisy: the signal from which the estimate was made, of the same shape, for metrics that need it.
        dnsmos_model: the ONNX file of DNSMOS, if requested.
        axis: time axis of all signals. None for the first axis; more channels than samples are then rejected.

    Raises:
        OptionError: an unknown metric, or DNSMOS without its file.
        MetricError: the signals differ in shape, are `(channels, samples)` without `axis`, or have an
            unsupported dtype.
        CheckpointError, MissingDependency: DNSMOS cannot be loaded.
    """
    return measure_pair(reference, estimate, sample_rate, metrics, noisy, dnsmos_model, axis=axis).values


class _Channel:
    """The signals of one channel at every sample rate requested so far."""

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


def _columns(signal: np.ndarray, axis: int | None) -> np.ndarray:
    """Contiguous float64 channels: `(channels, samples)`."""
    try:
        frames = as_frames(signal, axis)
    except OptionError as error:
        raise MetricError(error.message) from None
    if not frames.size:
        raise MetricError(f"a signal of shape {frames.shape} has no samples")
    return np.array(frames.T, np.float64, order="C")


def _columns_like(estimates: np.ndarray, signal: np.ndarray | None, axis: int | None) -> Sequence[np.ndarray | None]:
    """The channels of another signal of the same shape, or None for each channel."""
    if signal is None:
        return [None] * len(estimates)
    columns = _columns(signal, axis)
    if columns.shape != estimates.shape:
        (channels, samples), (others, length) = estimates.shape, columns.shape
        raise MetricError(
            f"expected the estimate's {samples} samples in {channels} channels, found {length} in {others}"
        )
    return list(columns)
