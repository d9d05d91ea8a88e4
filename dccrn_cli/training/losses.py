"""Losses on `(batch, samples)` signals. Lower is better."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_EPS = 1e-8
_CEILING = 10**-3.5
"""A ratio above 35 dB earns nothing more, so that clean examples do not rule a batch."""

_FLOOR = 1e-3
"""Power of a bin below which it does not matter how faint it is: about 53 dB below a mean one."""


@dataclass(frozen=True)
class LossOptions:
    """Weights of the terms.

    Attributes:
        si_snr: per dB; blind to the level of the output.
        snr: per dB; holds the level.
        magnitude: mean squared error of magnitudes raised to `exponent`.
        complex: mean squared error of complex spectra with such magnitudes.
        exponent: compression of the spectra.
        n_fft: frame of the spectra; the hop is half of it.
    """

    si_snr: float = 0.025
    snr: float = 0.025
    magnitude: float = 1.0
    complex: float = 0.5
    exponent: float = 0.3
    n_fft: int = 512


def si_snr_db(estimate: Tensor, clean: Tensor, ceiling: float = 0.0) -> Tensor:
    """SI-SNR in dB with means removed, `(batch,)` (paper eq. 10; Le Roux et al. 2019)."""
    estimate = estimate - estimate.mean(-1, keepdim=True)
    clean = clean - clean.mean(-1, keepdim=True)
    energy = clean.square().sum(-1, keepdim=True)
    target = (estimate * clean).sum(-1, keepdim=True) / (energy + _EPS) * clean
    signal = target.square().sum(-1)
    error = (estimate - target).square().sum(-1)
    return 10 * torch.log10((signal + _EPS) / (error + ceiling * signal + _EPS))


def snr_db(estimate: Tensor, clean: Tensor, ceiling: float = 0.0) -> Tensor:
    """Plain signal-to-noise ratio in dB, `(batch,)`."""
    signal = clean.square().sum(-1)
    error = (estimate - clean).square().sum(-1)
    return 10 * torch.log10((signal + _EPS) / (error + ceiling * signal + _EPS))


def training_loss(estimate: Tensor, clean: Tensor, options: LossOptions) -> Tensor:
    """Weighted sum of the terms, both signals scaled by the level of the clean one."""
    scale = 1.0 / (clean.square().mean(-1, keepdim=True).sqrt() + 1e-5)
    estimate, clean = estimate * scale, clean * scale
    loss = -options.si_snr * si_snr_db(estimate, clean, _CEILING).mean()
    loss = loss - options.snr * snr_db(estimate, clean, _CEILING).mean()
    got, got_magnitude = _compressed(estimate, options)
    want, want_magnitude = _compressed(clean, options)
    loss = loss + options.magnitude * (got_magnitude - want_magnitude).square().mean()
    return loss + options.complex * (got - want).square().sum(-1).mean()


def _compressed(signal: Tensor, options: LossOptions) -> tuple[Tensor, Tensor]:
    """Compressed complex spectrum `(batch, bins, frames, 2)` and its magnitude."""
    window = torch.hann_window(options.n_fft, device=signal.device)
    spectrum = torch.view_as_real(
        torch.stft(signal, options.n_fft, options.n_fft // 2, window=window, return_complex=True)
    )
    power = spectrum.square().sum(-1) + _FLOOR
    magnitude = power ** (options.exponent / 2)
    return spectrum * (magnitude / power.sqrt())[..., None], magnitude
