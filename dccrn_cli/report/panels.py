"""Panels of a picture of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from dccrn_cli.metrics.registry import Metric
from dccrn_cli.scoring.snr_classes import SnrClasses
from dccrn_cli.scoring.statistics import mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_BOXES = 24
_LABEL_CHARACTERS, _TICK_CHARACTERS = 16, 18


@dataclass(frozen=True)
class Series:
    """One system's scores on one metric, and their appearance.

    Attributes:
        label: label in the legend.
        values: score of each file; NaN if there is none.
        noisy: score of each noisy file; NaN if there is none.
        snrs: input SNR of each file in dB; NaN if unknown.
        colour, marker, line: distinguishable even without colour.
        is_noisy: whether these are the noisy files themselves.
    """

    label: str
    values: np.ndarray
    noisy: np.ndarray
    snrs: np.ndarray
    colour: str
    marker: str
    line: Any
    is_noisy: bool = False

    @property
    def known(self) -> np.ndarray:
        """The scores that are not NaN."""
        known: np.ndarray = self.values[~np.isnan(self.values)]
        return known

    def classed(self, classes: SnrClasses) -> list[np.ndarray]:
        """The known scores in each class."""
        found = np.array([classes.find(float(snr)) for snr in self.snrs], np.float64)  # None becomes NaN
        return [self.values[~np.isnan(self.values) & (found == centre)] for centre in classes.centres]


def against_snr(axis: Axes, metric: Metric, series: Sequence[Series], classes: SnrClasses) -> None:
    """Draw the mean of each SNR class with its 95 % confidence interval."""
    centres = np.array(classes.centres)
    gaps = np.diff(centres) if len(centres) > 1 else np.ones(1)
    for one, shift in zip(series, _shifts(len(series), min(0.1, 0.4 / len(series)) * gaps.min()), strict=True):
        groups = one.classed(classes)
        filled = [index for index, group in enumerate(groups) if len(group)]
        if not filled:
            continue
        axis.errorbar(
            centres[filled] + shift,
            [groups[index].mean() for index in filled],
            np.transpose([_arms(groups[index]) for index in filled]),
            elinewidth=1,
            capsize=2,
            **_look(one),
        )
    axis.set_xlim(centres[0] - gaps.min() / 2, centres[-1] + gaps.min() / 2)
    if np.allclose(gaps, gaps[0]):
        axis.set_xticks(centres, _thinned(classes.centres))
    _finish(axis, metric, "Mean, 95 % CI", classes.label)


def _arms(values: np.ndarray) -> tuple[float, float]:
    """Distances from the mean to the lower and upper end of its interval; NaN for a single value."""
    ends, mean = mean_interval(values), float(values.mean())
    return (np.nan, np.nan) if ends is None else (max(mean - ends[0], 0.0), max(ends[1] - mean, 0.0))


def sorted_scores(axis: Axes, metric: Metric, series: Sequence[Series], classes: SnrClasses) -> None:
    """Draw all scores in ascending order."""
    for one in series:
        values = np.sort(one.known)
        percent = 100 * (np.arange(len(values)) + 0.5) / max(len(values), 1)
        if len(values):
            axis.plot(percent, values, markevery=(len(values) // 10, -(-len(values) // 5)), **_look(one))
    axis.set(xlim=(0, 100), xticks=(0, 50, 100))
    _finish(axis, metric, "Sorted", "Files in %")


def boxes(axis: Axes, metric: Metric, series: Sequence[Series], classes: SnrClasses) -> None:
    """Draw median, quartiles, 5th and 95th percentile and mean, by SNR class unless that gives too many boxes."""
    by_class = 0 < len(classes.centres) * len(series) <= MAX_BOXES
    places = len(classes.centres) if by_class else 1
    width = min(0.8 / len(series), 0.3)
    for one, shift in zip(series, _shifts(len(series), width), strict=True):
        groups = one.classed(classes) if by_class else [one.known]
        filled = [index for index, group in enumerate(groups) if len(group)]
        if not filled:
            continue
        axis.bxp(
            [_summary(groups[index]) for index in filled],
            positions=[index + shift for index in filled],
            widths=0.8 * width,
            showfliers=False,
            showmeans=True,
            manage_ticks=False,
            patch_artist=True,
            boxprops={"facecolor": f"{one.colour}40", "edgecolor": one.colour},
            whiskerprops={"color": one.colour},
            capprops={"color": one.colour},
            medianprops={"color": one.colour, "linewidth": 1.6},
            meanprops={
                "marker": one.marker,
                "markersize": 4.5 if places * len(series) <= MAX_BOXES // 2 else 3,
                "markeredgewidth": 0.8,
                "markerfacecolor": "white",
                "markeredgecolor": one.colour,
            },
        )
    axis.set_xlim(-0.5, places - 0.5)
    axis.set_xticks(*((range(places), _thinned(classes.centres)) if by_class else [()]))
    _finish(axis, metric, "Quartiles, 5–95 %", classes.label if by_class else "All files")


def against_noisy(axis: Axes, metric: Metric, series: Sequence[Series], classes: SnrClasses) -> None:
    """Draw each file's score against that of its noisy file."""
    enhanced = [one for one in series if not one.is_noisy]
    points = [np.stack([one.noisy, one.values])[:, ~np.isnan(one.noisy + one.values)] for one in enhanced]
    both = np.concatenate(points, axis=1)
    if metric.needs_noisy or not both.size:
        axis.set_axis_off()
        return
    crowd = both.shape[1] ** 0.5
    for one, (before, after) in zip(enhanced, points, strict=True):
        axis.scatter(
            before,
            after,
            s=min(max(150 / crowd, 2), 25),
            color=one.colour,
            marker=one.marker,
            alpha=min(max(8 / crowd, 0.1), 0.9),
            linewidths=0,
            rasterized=True,  # thousands of vector marks make a file slow
        )
    margin = 0.07 * (np.ptp(both) or 1.0)
    limits = (both.min() - margin, both.max() + margin)
    axis.plot(limits, limits, color="#404040", lw=0.9, zorder=1)
    axis.set(xlim=limits, ylim=limits)
    _finish(axis, metric, "Each file", f"Noisy: {_named(metric)}")
    axis.locator_params(nbins=4)


def _summary(values: np.ndarray) -> dict[str, float]:
    names = ("whislo", "q1", "med", "q3", "whishi")
    return {**dict(zip(names, np.percentile(values, (5, 25, 50, 75, 95)), strict=True)), "mean": values.mean()}


def _look(one: Series) -> dict[str, Any]:
    return {"color": one.colour, "marker": one.marker, "ls": one.line, "lw": 1.4, "ms": 4.5}


def _shifts(count: int, distance: float) -> np.ndarray:
    """Evenly spaced offsets centred on 0."""
    return (np.arange(count) - (count - 1) / 2) * distance


def _thinned(centres: Sequence[float]) -> list[str]:
    """Tick labels, thinned out if they would not all fit."""
    labels = [f"{centre:g}".replace("-", "\N{MINUS SIGN}") for centre in centres]
    every = -(-len(" ".join(labels) + " ") // _TICK_CHARACTERS)
    return [label if index % every == 0 else "" for index, label in enumerate(labels)]


def _named(metric: Metric) -> str:
    return metric.title + (f" in\N{NO-BREAK SPACE}{metric.unit}" if metric.unit else "")


def _folded(label: str) -> str:
    return fill(label, _LABEL_CHARACTERS, break_on_hyphens=False, break_long_words=False)


def _finish(axis: Axes, metric: Metric, title: str, label: str) -> None:
    """Label the axes, and note if nothing was drawn."""
    axis.set(title=title, xlabel=_folded(label), ylabel=_folded(_named(metric)))
    axis.spines[["top", "right"]].set_visible(False)
    axis.locator_params(axis="y", nbins=5)
    if not axis.has_data():
        axis.text(0.5, 0.5, "no values", transform=axis.transAxes, ha="center", va="center")
        axis.set_yticks([])
    else:
        axis.grid(color="#dddddd", lw=0.6)
