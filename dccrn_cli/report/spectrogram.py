"""Pictures of spectrograms."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from dccrn_cli.report.figure import figure_at

RANGE_DB = 80.0
_WINDOW_S, _HOP_S = 0.032, 0.008
_MAX_FRAMES = 4000


def level_db(signal: np.ndarray, sample_rate: int, hop: int | None = None) -> np.ndarray:
    """Power spectrogram in dB, `(samples,)` → `(bins, frames)`; 0 dB is a full-scale sine.

    Args:
        signal: mono signal, padded with silence so that frame `i` is centred on sample `i * hop`.
        sample_rate: sample rate in Hz.
        hop: samples between frames; 8 ms if None.
    """
    size = _window_size(sample_rate)
    padded = np.pad(np.asarray(signal, dtype=np.float64), (size // 2, size - size // 2))
    window = np.hanning(size)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: hop or _hop(sample_rate)] * window
    magnitude = np.abs(np.fft.rfft(frames, axis=1)) / (window.sum() / 2)
    decibels: np.ndarray = 20 * np.log10(np.maximum(magnitude.T, 1e-7))
    return decibels


def _window_size(sample_rate: int) -> int:
    return max(round(_WINDOW_S * sample_rate), 4)


def _hop(sample_rate: int) -> int:
    return max(round(_HOP_S * sample_rate), 1)


def draw_spectrograms(
    signals: Sequence[tuple[str, np.ndarray]], sample_rate: int, path: str | os.PathLike[str], title: str = ""
) -> None:
    """Write a picture with one spectrogram per signal, stacked on a common scale.

    Args:
        signals: titles with mono signals `(samples,)`.
        sample_rate: sample rate of all signals in Hz.
        path: picture to write, .png, .pdf or .svg.
        title: title of the picture.

    Raises:
        MissingDependency: matplotlib is not installed.
        OptionError: the picture format is not supported.
    """
    longest = max(max(len(signal) for _, signal in signals), 1)
    # Recordings of several minutes have more frames than the picture has pixels.
    hop = max(_hop(sample_rate), -(-longest // _MAX_FRAMES))
    with figure_at(path, 0.7 + 1.75 * len(signals)) as figure:
        axes = np.atleast_1d(figure.subplots(len(signals), 1, sharex=True, sharey=True))
        levels = [level_db(signal, sample_rate, hop) for _, signal in signals]
        top = max(float(level.max()) for level in levels)
        half_bin = sample_rate / _window_size(sample_rate) / 2000
        for axis, (name, _), level in zip(axes, signals, levels, strict=True):
            end, half_hop = level.shape[1] * hop / sample_rate, hop / sample_rate / 2
            image = axis.imshow(
                level,
                extent=(-half_hop, end - half_hop, -half_bin, 2 * half_bin * (len(level) - 0.5)),
                origin="lower",
                aspect="auto",
                vmin=top - RANGE_DB,
                vmax=top,
                cmap="magma",
            )
            axis.set_title(name, loc="left")
        axes[0].set(xlim=(0, longest / sample_rate), ylim=(0, sample_rate / 2000))
        axes[-1].set_xlabel("Time in s")
        figure.supylabel("Frequency in kHz", fontsize="medium")
        figure.colorbar(image, ax=list(axes), label="Level in dB", shrink=min(1.0, 2 / len(signals)), pad=0.02)
        if title:
            figure.suptitle(title)


def draw_comparison(
    path: str | os.PathLike[str],
    sample_rate: int,
    noisy: np.ndarray | None,
    reference: np.ndarray | None,
    estimate: np.ndarray,
    title: str = "",
) -> None:
    """Write a picture of an estimate below its noisy and clean signals.

    Args:
        path: picture to write, .png, .pdf or .svg.
        sample_rate: sample rate of all signals in Hz.
        noisy: the noisy signal, or None to omit it. Signals are `(samples,)` or `(samples, channels)`;
            only the first channel is drawn.
        reference: the clean signal, or None to omit it.
        estimate: the enhanced signal.
        title: title of the picture, such as a file name.

    Raises:
        MissingDependency: matplotlib is not installed.
        OptionError: the picture format is not supported.
    """
    named = (("Noisy", noisy), ("Clean", reference), ("Enhanced", estimate))
    signals = [(name, signal if signal.ndim == 1 else signal[:, 0]) for name, signal in named if signal is not None]
    draw_spectrograms(signals, sample_rate, path, title)
