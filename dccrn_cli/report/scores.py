"""Pictures of the scores of one or more systems."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from dccrn_cli.errors import OptionError
from dccrn_cli.metrics.registry import Metric, select_metrics
from dccrn_cli.report.figure import NOTE, WIDTH, figure_at
from dccrn_cli.report.panels import Series, against_noisy, against_snr, boxes, sorted_scores
from dccrn_cli.scoring.snr_classes import SnrClasses

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ROWS = 5
"""With more metrics than this, each gets one panel in a grid instead of its own row."""

_PANEL_HEIGHT, _GRID_COLUMNS = 2.2, 3
_LABEL_CHARACTERS, _NOTE_CHARACTERS = 24, 33
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (2, 1)), (0, (7, 1.5, 1, 1.5, 1, 1.5)))
_NOISY_LOOK = ("#404040", "x", (0, (1, 1.2)))


@dataclass(frozen=True)
class ScoredFile:
    """The scores of one file.

    Attributes:
        name: identifies the same recording in all systems.
        values: scores of the enhanced file by metric; None if there is none.
        noisy: scores of the noisy file by metric; may be empty.
        snr_db: input SNR, if known.
    """

    name: str
    values: dict[str, float | None]
    noisy: dict[str, float | None]
    snr_db: float | None = None


@dataclass(frozen=True)
class ScoredSystem:
    """One enhancement system and its scores.

    Attributes:
        label: label in the legend.
        files: scored files, in any order.
    """

    label: str
    files: list[ScoredFile]


def draw_scores(
    systems: Sequence[ScoredSystem],
    metrics: Iterable[str],
    path: str | os.PathLike[str],
    classes: SnrClasses | None = None,
) -> None:
    """Write a picture of scores for a paper or report.

    Each metric has a row: its mean with 95 % confidence interval by input SNR, or all scores sorted if no
    SNR is known; box plots; and, if the noisy files were scored, each file's score against that of its
    noisy file. With more than `MAX_ROWS` metrics each gets only the first panel. Missing values are
    skipped, and a note says how many there are.

    Args:
        systems: one to about five.
        metrics: names from `METRICS`.
        path: picture to write, .png, .pdf or .svg.
        classes: classes of input SNRs, to match those of a table; None to derive them from these files.

    Raises:
        OptionError: no system, no file, no metric or an unknown one, or an unsupported picture format.
        MissingDependency: matplotlib is not installed.
    """
    selected = select_metrics(metrics)
    if not selected or not any(system.files for system in systems):
        raise OptionError("there are no scores to draw", path)
    noisy = _noisy_system(systems, selected)
    shown = [*systems, noisy] if noisy.files else list(systems)
    classes = classes or SnrClasses.of(file.snr_db for system in systems for file in system.files)
    first = against_snr if classes.centres else sorted_scores
    is_grid = len(selected) > MAX_ROWS
    columns = _GRID_COLUMNS if is_grid else 3 if noisy.files else 2
    rows = -(-len(selected) // columns) if is_grid else len(selected)
    note = fill(_note(systems, noisy, selected), columns * _NOTE_CHARACTERS)
    labels = [_short(system.label) for system in shown]
    abreast = max(min(len(shown), columns * 25 // (max(map(len, labels)) + 7)), 1)
    height = 0.45 + rows * _PANEL_HEIGHT + 0.25 * -(-len(shown) // abreast) + 0.17 * note.count("\n")
    with figure_at(path, height, WIDTH * columns / 3) as figure:
        axes = figure.subplots(rows, columns, squeeze=False)
        for place, metric in enumerate(selected):
            series = _series(shown, metric, noisy)
            if is_grid:
                first(axes.flat[place], metric, series, classes)
            else:
                for axis, draw in zip(axes[place], (first, boxes, against_noisy), strict=False):
                    draw(axis, metric, series, classes)
        for axis in axes[1:].flat:
            axis.set_title("")
        for axis in axes.flat[len(selected) if is_grid else axes.size :]:
            axis.set_axis_off()
        _draw_legend(figure, series, labels, abreast)
        figure.supxlabel(note, x=0.01, ha="left", fontsize=NOTE)


def _noisy_system(systems: Sequence[ScoredSystem], metrics: Sequence[Metric]) -> ScoredSystem:
    """The noisy files as a system that changes nothing, each once."""
    files: dict[str, ScoredFile] = {}
    for system in systems:
        for file in system.files:
            if any(file.noisy.get(metric.name) is not None for metric in metrics):
                files.setdefault(file.name, ScoredFile(file.name, file.noisy, {}, file.snr_db))
    return ScoredSystem("noisy", list(files.values()))


def _series(systems: Sequence[ScoredSystem], metric: Metric, noisy: ScoredSystem) -> list[Series]:
    """The series in the panels of one metric."""
    looks = [
        (_COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)], _LINES[index % len(_LINES)])
        if system is not noisy
        else _NOISY_LOOK
        for index, system in enumerate(systems)
    ]
    return [
        Series(
            system.label,
            _numbers(file.values.get(metric.name) for file in system.files),
            _numbers(file.noisy.get(metric.name) for file in system.files),
            _numbers(file.snr_db for file in system.files),
            *look,
            is_noisy=system is noisy,
        )
        for system, look in zip(systems, looks, strict=True)
    ]


def _numbers(values: Iterable[float | None]) -> np.ndarray:
    """Convert to an array, with NaN for missing or infinite values."""
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _note(systems: Sequence[ScoredSystem], noisy: ScoredSystem, metrics: Sequence[Metric]) -> str:
    """Note with the number of files and of missing values."""
    counts = [len(system.files) for system in systems]
    if len(set(counts)) == 1:
        parts = [f"{counts[0]} file{'s' * (counts[0] != 1)}"]
    else:
        parts = ["files: " + ", ".join(f"{n} ({system.label})" for n, system in zip(counts, systems, strict=True))]
    snrs = _numbers(file.snr_db for system in systems for file in system.files)
    if np.isnan(snrs).any() and not np.isnan(snrs).all():
        parts.append(f"without input SNR: {np.isnan(snrs).sum()} of {len(snrs)}")
    for metric in metrics:
        scored = systems if metric.needs_noisy or not noisy.files else [*systems, noisy]
        missing = {
            system.label: sum(np.isnan(_numbers(file.values.get(metric.name) for file in system.files)))
            for system in scored
        }
        if any(missing.values()):
            where = ", ".join(f"{count} ({label})" for label, count in missing.items() if count)
            parts.append(f"without {metric.title.partition(' (')[0]}: {where}")
    return "; ".join(parts)


def _draw_legend(figure: Figure, series: Sequence[Series], labels: Sequence[str], abreast: int) -> None:
    """Draw the legend above the panels, where it covers nothing."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=one.colour, marker=one.marker, ls=one.line, ms=6) for one in series]
    legend = figure.legend(handles, [" "] * len(series), loc="outside upper center", ncols=abreast, frameon=False)
    # Set afterwards, since a label that starts with _ would be omitted.
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)


def _short(label: str) -> str:
    half = _LABEL_CHARACTERS // 2
    return label if len(label) <= 2 * half else f"{label[:half]}…{label[1 - half :]}"
