"""Losses and measures of waveforms, `(batch, samples)` each."""

from __future__ import annotations

import torch
from torch import Tensor

_EPS = 1e-8
_FAINT = 1e-3
CEILING = 10**-3.5
"""A ratio above 35 dB earns nothing more, so that clean examples do not rule a batch."""


def at_clean_level(estimate: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Both signals with the gain that brings the clean one to an RMS of one."""
    gain = 1.0 / (clean.square().mean(-1, keepdim=True).sqrt() + 1e-5)
    return estimate * gain, clean * gain


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


def level_db(estimate: Tensor, clean: Tensor) -> Tensor:
    """Level of the estimate above that of the clean signal in dB, `(batch,)`; both far below one count as equal."""
    return 10 * torch.log10((estimate.square().mean(-1) + _FAINT) / (clean.square().mean(-1) + _FAINT))
