"""The loudness model of PESQ at 16 kHz, shared by PMSQE: Bark bands, loudness, disturbance per frame.

Tables and constants are those of ITU-T P.862 (reference tables for 16 kHz). Powers are in its units: a
signal with a mean power of `TARGET_POWER` between 350 and 3250 Hz is at listening level.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

N_FFT = 512
HOP = 256
TARGET_POWER = 1e7
"""Mean power of a level-aligned signal."""

SILENT_FRAME_POWER = 1e7
"""A frame with less power than this well above the threshold is silent."""

_BINS = (
    [1] * 8 + [2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3]
    + [4, 3, 4, 5, 4, 5, 6, 6, 7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20]
)  # fmt: skip
"""Number of bins of a 512-point spectrum in each band; the Nyquist bin is unused."""

_WIDTH_BARK = [
    0.157344, 0.317994, 0.322441, 0.326934, 0.331474, 0.336061, 0.340697, 0.345381, 0.350114, 0.354897, 0.359729,
    0.364611, 0.369544, 0.374529, 0.379565, 0.384653, 0.389794, 0.394989, 0.400236, 0.405538, 0.410894, 0.416306,
    0.421773, 0.427297, 0.432877, 0.438514, 0.444209, 0.449962, 0.455774, 0.461645, 0.467577, 0.473569, 0.479621,
    0.485736, 0.491912, 0.498151, 0.504454, 0.510819, 0.517250, 0.523745, 0.530308, 0.536934, 0.543629, 0.550390,
    0.557220, 0.564119, 0.571085, 0.578125, 0.585232,
]  # fmt: skip

_DENSITY = (
    [100.0] * 8 + [50.0] + [100.0] * 5 + [
    53.0471, 110.0, 117.992, 65.0, 68.7601, 69.9999, 71.4288, 75.0, 76.8434, 80.9688, 88.6461, 63.8644, 68.1553,
    72.5478, 75.5848, 58.3792, 80.9508, 64.1357, 54.3848, 73.8219, 64.4371, 59.1765, 65.5213, 61.3998, 58.144,
    57.0045, 64.1263, 54.311, 61.115, 55.0778, 56.8493, 55.6289, 53.1371, 54.9858, 79.547]
)  # fmt: skip
"""Width of each band in Hz per Bark and bin, which converts the power of its bins to power density."""

_THRESHOLD_DB = [
    77.1, 63.9, 48.5, 36.9, 30.7, 25.9, 20.2, 16.6, 12.5, 9.9, 6.9, 4.9, 2.8, 1.0, -0.1, -1.4, -2.5, -3.4, -4.1,
    -4.8, -5.3, -5.7, -5.9, -6.0, -6.0, -6.0, -6.0, -5.8, -5.4, -5.1, -4.7, -4.3, -4.0, -3.6, -3.3, -3.1, -3.0, -3.0,
    -2.9, -2.8, -2.8, -2.8, -2.9, -3.2, -3.7, -4.3, -4.4, -3.8, -2.7,
]  # fmt: skip
"""Absolute threshold of hearing in each band."""

_POWER_SCALE = 6.910853e-6
_LOUDNESS_SCALE = 0.1866055
_ZWICKER = 0.23
_MASKED = 0.25
"""Audibility threshold of a difference, as a share of the fainter loudness."""

_LARGEST_DISTURBANCE = 45.0
_EPS = 5e-7


@dataclass(frozen=True)
class BarkScale:
    """Constants of the bands, each `(bands,)` except `matrix`.

    Attributes:
        matrix: maps power spectra to power densities, `(bins, bands)`.
        width: widths in Bark.
        threshold: thresholds of hearing.
        exponent: loudness exponents (Zwicker's, steeper below 4 Bark).
        gain: loudness gains.
    """

    matrix: Tensor
    width: Tensor
    threshold: Tensor
    exponent: Tensor
    gain: Tensor


@lru_cache(maxsize=16)
def bark_scale(device: torch.device, dtype: torch.dtype, lowest: int = 0) -> BarkScale:
    """Constants of the bands from number `lowest` on, cached per device."""
    with torch.inference_mode(False):  # otherwise tables made during validation could not be used in training
        width = torch.tensor(_WIDTH_BARK, dtype=torch.float64)
        centre = width.cumsum(0) - width / 2
        steep = torch.where(centre < 4, (6 / (centre + 2)).clamp(max=2.0), torch.ones_like(centre))
        exponent = _ZWICKER * steep**0.15
        threshold = 10 ** (torch.tensor(_THRESHOLD_DB, dtype=torch.float64) / 10)
        gain = _LOUDNESS_SCALE * (threshold / 0.5) ** exponent
        matrix = torch.zeros(N_FFT // 2 + 1, len(_BINS), dtype=torch.float64)
        first = 0
        for band, (bins, density) in enumerate(zip(_BINS, _DENSITY, strict=True)):
            matrix[first : first + bins, band] = _POWER_SCALE * density
            first += bins
        tables = (matrix[:, lowest:], *(table[lowest:] for table in (width, threshold, exponent, gain)))
        return BarkScale(*(table.to(device, dtype) for table in tables))


class _PowerSpectra(torch.autograd.Function):
    """Power spectra of windowed frames, with a gradient by one real FFT instead of autograd's complex one."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        spectra = torch.fft.rfft(frames)
        ctx.save_for_backward(spectra)
        power: Tensor = spectra.real.square() + spectra.imag.square()
        return power

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (spectra,) = ctx.saved_tensors
        spectra = spectra * gradients[0]
        spectra[..., [0, -1]] *= 2  # all other bins count twice in the transform
        size = 2 * (spectra.shape[-1] - 1)
        gradient: Tensor = torch.fft.irfft(spectra, size, norm="forward")
        return gradient


def power_spectra(signal: Tensor, window: Tensor) -> Tensor:
    """Power spectra of the frames that fit in `(batch, samples)`: `(batch, frames, bins)`."""
    count = signal.shape[-1] // HOP - 1
    halves = signal[..., : (count + 1) * HOP].reshape(*signal.shape[:-1], count + 1, HOP)
    frames = torch.cat([halves[..., :-1, :], halves[..., 1:, :]], dim=-1)  # N_FFT is twice HOP
    spectra: Tensor = _PowerSpectra.apply(frames * window)  # type: ignore[no-untyped-call]
    return spectra


def audible_power(power: Tensor, scale: BarkScale, factor: float = 1.0) -> Tensor:
    """Total power of the bands above `factor` times the threshold, `(batch, frames, 1)`."""
    return torch.where(power > factor * scale.threshold, power, 0.0).sum(-1, keepdim=True)


def loudness(power: Tensor, scale: BarkScale) -> Tensor:
    """Loudness density of the bands in sone per Bark."""
    level = 0.5 + 0.5 * power / scale.threshold
    return scale.gain * (level**scale.exponent - 1).clamp(min=0)


def frame_disturbances(degraded: Tensor, reference: Tensor, scale: BarkScale) -> tuple[Tensor, Tensor]:
    """Symmetric and asymmetric disturbance of frames, `(batch, frames)` each.

    Args:
        degraded: equalised power densities, `(batch, frames, bands)`.
        reference: equalised power densities, `(batch, frames, bands)`.
        scale: constants of the bands.
    """
    heard, meant = loudness(degraded, scale), loudness(reference, scale)
    difference = ((heard - meant).abs() - _MASKED * torch.minimum(heard, meant)).clamp(min=0) * scale.width
    ratio = ((degraded + 50) / (reference + 50)) ** 1.2
    added = torch.where(ratio < 3, 0.0, ratio.clamp(max=12.0)) * difference
    symmetric = (difference.square().sum(-1) + _EPS).sqrt() * scale.width.sum().sqrt()
    weight = ((audible_power(reference, scale)[..., 0] + 1e5) / 1e7) ** -0.04
    return (
        (symmetric * weight).clamp(max=_LARGEST_DISTURBANCE),
        (added.sum(-1) * weight).clamp(max=_LARGEST_DISTURBANCE),
    )
