"""Spectral losses. Signals are `(batch, samples)` with the clean one at an RMS of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.training.losses.waveform import CEILING

_FLOOR = 1e-3
"""Power below which differences in a bin are ignored: about 53 dB below the mean."""

_RELATIVE_FLOOR = 1e-6
"""Power floor for spectra in which white noise at an RMS of one has a power of one: 60 dB below it."""

_EPS = 1e-8
_MEL_BANDS = (16, 32, 64)
_MEL_FLOOR = 3e-6
"""Equivalent of the 1e-7 in the published LMS, which applies to speech at about -30 dBFS."""


@lru_cache(maxsize=32)
def _window(n_fft: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # otherwise windows made during validation could not be used in training
        return torch.hann_window(n_fft, device=device, dtype=dtype)


def spectrum(signal: Tensor, n_fft: int, hop: int | None = None) -> Tensor:
    """Complex spectra `(batch, bins, frames, 2)` with a Hann window, by default with a hop of half a frame."""
    window = _window(n_fft, signal.device, signal.dtype)
    mode = "reflect" if signal.shape[-1] > n_fft // 2 else "constant"
    return torch.view_as_real(
        torch.stft(signal, n_fft, hop or n_fft // 2, window=window, pad_mode=mode, return_complex=True)
    )


def unit_spectrum(signal: Tensor, n_fft: int, hop: int | None = None) -> Tensor:
    """`spectrum` scaled so that white noise at an RMS of one has a mean power of one."""
    return spectrum(signal, n_fft, hop) / math.sqrt(0.375 * n_fft)


def magnitude(spectra: Tensor, floor: float) -> Tensor:
    """Magnitudes of `(…, 2)` spectra; `floor` is a power that keeps gradients finite in silence."""
    return (spectra.square().sum(-1) + floor).sqrt()


def compressed(signal: Tensor, n_fft: int, exponent: float) -> tuple[Tensor, Tensor]:
    """Spectrum `(batch, bins, frames, 2)` with magnitudes raised to a power, and those magnitudes."""
    spectra = spectrum(signal, n_fft)
    power = spectra.square().sum(-1) + _FLOOR
    magnitudes = power ** (exponent / 2)
    return spectra * (magnitudes / power.sqrt())[..., None], magnitudes


def multi_resolution(estimate: Tensor, clean: Tensor, frames: Sequence[int], missing: Tensor | float = 0.0) -> Tensor:
    """Spectral convergence plus mean absolute difference of log magnitudes (Yamamoto et al. 2020).

    `missing` is added to the mean power of the clean signal in the denominator of relative errors, `(batch,)`.
    """
    total = estimate.new_zeros(())
    for n_fft in frames:
        got, want = (magnitude(unit_spectrum(x, n_fft, n_fft // 4), _RELATIVE_FLOOR) for x in (estimate, clean))
        error = (got - want).square().mean((1, 2))
        convergence = ((error + _EPS) / (want.square().mean((1, 2)) + missing)).sqrt()
        total = total + convergence.mean() + (got.log() - want.log()).abs().mean()
    return total / len(frames)


def log_spectral_mse(estimate: Tensor, clean: Tensor, n_fft: int, missing: Tensor | float = 0.0) -> Tensor:
    """Log of the errors of real, imaginary and magnitude spectra (Le et al. 2021), bounded at 35 dB.

    `missing` is added to the mean power of the clean signal that sets the bound, `(batch,)`.
    """
    got, want = unit_spectrum(estimate, n_fft), unit_spectrum(clean, n_fft)
    floor = _RELATIVE_FLOOR
    error = (got - want).square().sum(-1) + (magnitude(got, floor) - magnitude(want, floor)).square()
    least = CEILING * (want.square().sum(-1).mean((1, 2)) + missing) + _EPS
    return (error.mean((1, 2)) + least).log().mean()


@lru_cache(maxsize=16)
def _mel(bands: int, n_fft: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Triangular mel filters from 0 to 8 kHz, `(bins, bands)`, each normalised to unit sum."""
    with torch.inference_mode(False):
        hz = torch.linspace(0, SAMPLE_RATE / 2, n_fft // 2 + 1, dtype=torch.float64)
        top = math.log1p(SAMPLE_RATE / 2 / 700)
        edges = 700 * torch.expm1(torch.linspace(0, top, bands + 2, dtype=torch.float64))
        rise = (hz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
        fall = (edges[2:] - hz[:, None]) / (edges[2:] - edges[1:-1])
        bank = torch.minimum(rise, fall).clamp(min=0)
        nearest = F.one_hot((hz[:, None] - edges[1:-1]).abs().argmin(0), len(hz)).T.to(bank)
        bank = torch.where(bank.sum(0) > 0, bank, nearest)  # a band narrower than a bin uses the nearest one
        return (bank / bank.sum(0)).to(device, dtype)


def log_mel(estimate: Tensor, clean: Tensor, n_fft: int) -> Tensor:
    """RMS difference of log-mel spectra over bands, averaged over frames and over 16, 32 and 64 bands."""
    got, want = (magnitude(spectrum(x, n_fft), _EPS).transpose(1, 2) / n_fft for x in (estimate, clean))
    total = estimate.new_zeros(())
    for bands in _MEL_BANDS:
        bank = _mel(bands, n_fft, estimate.device, estimate.dtype)
        difference = (got @ bank + _MEL_FLOOR).log() - (want @ bank + _MEL_FLOOR).log()
        total = total + (difference.square().mean(-1) + _EPS).sqrt().mean()
    return total / len(_MEL_BANDS)
