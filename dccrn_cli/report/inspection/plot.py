"""Distributions of SNR and bandwidth over the recordings of a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from dccrn_cli.errors import OptionError
from dccrn_cli.report.figure import figure_at
from dccrn_cli.report.inspection.inspection import CLEAN_SNR_DB, Inspection

_COLOUR, _LINE = "#0072B2", "#D55E00"


def draw_inspections(inspections: Sequence[Inspection], path: str | os.PathLike[str]) -> None:
    """Plot histograms of SNR and bandwidth.

    Args:
        inspections: inspections of the recordings; those without a value are skipped.
        path: picture to write, .png, .pdf or .svg.

    Raises:
        OptionError: no recording has a value, or the picture format is unsupported.
        MissingDependency: matplotlib is not installed.
    """
    snrs = [it.snr_db for it in inspections if it.snr_db is not None]
    bands = [it.bandwidth_hz / 1000 for it in inspections if it.bandwidth_hz]
    if not snrs and not bands:
        raise OptionError("there is nothing to plot", path)
    with figure_at(path, 3.0) as figure:
        left, right = figure.subplots(1, 2)
        left.hist(snrs, np.arange(-15, 66, 3), color=_COLOUR)
        left.axvline(CLEAN_SNR_DB, color=_LINE, lw=1.2, ls="--")
        left.set(xlabel="Estimated SNR in dB", ylabel="Files", xlim=(-15, 63))
        right.hist(bands, np.arange(-0.25, max([*bands, 8.0]) + 1, 0.5), color=_COLOUR)
        right.set(xlabel="Bandwidth in kHz", ylabel="Files")
        for axis in (left, right):
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", color="#dddddd", lw=0.6)
            axis.locator_params(axis="y", integer=True)
