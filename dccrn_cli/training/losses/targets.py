"""Classic training targets as losses: the spectrum of clean speech, and masks that map the noisy spectrum to it."""

from __future__ import annotations

import torch
from torch import Tensor

from dccrn_cli.training.losses.spectral import magnitude, unit_spectrum

_FLOOR = 1e-6
"""Power floor, 60 dB below white noise at an RMS of one, that keeps masks and gradients finite in silence."""

_MASK_LIMIT = 2.0
_MASK_STEEPNESS = 1.0
"""Nearly linear up to one. With the 10 and 0.1 of Williamson et al. the loss is dominated by the few bins where
speech and noise cancel, whose ratio is meaningless, and training is slower."""


def complex_spectrum(estimate: Tensor, clean: Tensor, n_fft: int) -> Tensor:
    """CSA: mean squared error of complex spectra."""
    return (unit_spectrum(estimate, n_fft) - unit_spectrum(clean, n_fft)).square().sum(-1).mean()


def magnitude_spectrum(estimate: Tensor, clean: Tensor, n_fft: int) -> Tensor:
    """MSA: mean squared error of magnitudes."""
    got, want = (magnitude(unit_spectrum(x, n_fft), _FLOOR) for x in (estimate, clean))
    return (got - want).square().mean()


def complex_ratio_mask(estimate: Tensor, clean: Tensor, noisy: Tensor, n_fft: int) -> Tensor:
    """CRM: mean squared error of bounded complex ratio masks (Williamson et al. 2016)."""
    base = unit_spectrum(noisy, n_fft)
    power = base.square().sum(-1, keepdim=True) + _FLOOR
    got, want = (_bounded(_times_conjugate(unit_spectrum(x, n_fft), base) / power) for x in (estimate, clean))
    return (got - want).square().sum(-1).mean()


def spectral_magnitude_mask(estimate: Tensor, clean: Tensor, noisy: Tensor, n_fft: int) -> Tensor:
    """SMM: mean squared error of bounded ratios of magnitudes (Wang et al. 2014)."""
    base = magnitude(unit_spectrum(noisy, n_fft), _FLOOR)
    got, want = (_bounded(magnitude(unit_spectrum(x, n_fft), _FLOOR) / base) for x in (estimate, clean))
    return (got - want).square().mean()


def _times_conjugate(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack(
        (a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1], a[..., 1] * b[..., 0] - a[..., 0] * b[..., 1]), -1
    )


def _bounded(mask: Tensor) -> Tensor:
    """K (1 - exp(-C x)) / (1 + exp(-C x)), a smooth bound that keeps gradients where clipping would not."""
    return _MASK_LIMIT * torch.tanh(_MASK_STEEPNESS / 2 * mask)
