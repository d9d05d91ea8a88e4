"""Spectrograms as pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from dccrn_cli.errors import MissingDependency

RANGE_DB = 80.0
_WINDOW_S, _HOP_S = 0.032, 0.008


def level_db(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power spectrogram in dB, `(samples,)` → `(bins, frames)`; 0 dB is a full-scale sine."""
    size, hop = round(_WINDOW_S * sample_rate), round(_HOP_S * sample_rate)
    padded = np.pad(np.asarray(signal, dtype=np.float64), (0, max(size - len(signal), 0)))
    window = np.hanning(size)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    magnitude = np.abs(np.fft.rfft(frames, axis=1)) / (window.sum() / 2)
    decibels: np.ndarray = 20 * np.log10(np.maximum(magnitude.T, 1e-7))
    return decibels


def draw_spectrograms(
    signals: Sequence[tuple[str, np.ndarray]], sample_rate: int, path: str | os.PathLike[str]
) -> None:
    """Write one picture with a spectrogram per signal, above each other on one scale.

    Args:
        signals: titles with mono signals `(samples,)`.
        sample_rate: of all, Hz.
        path: picture to write, .png or another form that matplotlib knows.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("matplotlib", "plots") from None
    levels = [level_db(signal, sample_rate) for _, signal in signals]
    top = max(float(level.max()) for level in levels)
    figure = Figure(figsize=(8, 2.3 * len(signals)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(signals), 1, sharex=True))
    for axis, (title, signal), level in zip(axes, signals, levels, strict=True):
        extent = (0.0, len(signal) / sample_rate, 0.0, sample_rate / 2000)
        image = axis.imshow(
            level, origin="lower", aspect="auto", extent=extent, vmin=top - RANGE_DB, vmax=top, cmap="magma"
        )
        axis.set_title(title, loc="left")
        axis.set_ylabel("kHz")
    axes[-1].set_xlabel("s")
    figure.colorbar(image, ax=list(axes), label="dB", shrink=0.6)
    figure.savefig(path, dpi=110)
