"""Losses and levels of waveforms `(batch, samples)`."""

from __future__ import annotations

import torch
from torch import Tensor

_EPS = 1e-8
_FAINT = 1e-3
CEILING = 10**-3.5
"""Ratios above 35 dB earn nothing more, so that clean examples do not dominate a batch."""
LEAST_SPEECH = 10**-2.6
"""Power of a clean signal relative to the noisy one below which the example has no speech: -26 dB."""


def at_clean_level(estimate: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Scale both signals by the gain that brings the clean one to an RMS of one."""
    gain = unit_gain(clean)
    return estimate * gain, clean * gain


def unit_gain(signal: Tensor) -> Tensor:
    """The gain that brings signals to an RMS of one, `(batch, 1)`."""
    return 1.0 / (signal.square().mean(-1, keepdim=True).sqrt() + 1e-5)


def has_speech(clean: Tensor, noisy: Tensor) -> Tensor:
    """Whether the clean signal is significant relative to the noisy one, `(batch, 1)`."""
    return clean.square().mean(-1, keepdim=True) > LEAST_SPEECH * noisy.square().mean(-1, keepdim=True)


def si_snr_db(estimate: Tensor, clean: Tensor, ceiling: float = 0.0, missing: Tensor | float = 0.0) -> Tensor:
    """SI-SNR in dB with means removed, `(batch,)` (paper eq. 10; Le Roux et al. 2019).

    Args:
        estimate, clean: `(batch, samples)`.
        ceiling: error energy added, relative to the signal, which limits the ratio.
        missing: mean power added to that of the signal, `(batch,)`, for examples without speech.
    """
    estimate = estimate - estimate.mean(-1, keepdim=True)
    clean = clean - clean.mean(-1, keepdim=True)
    energy = clean.square().sum(-1, keepdim=True)
    target = (estimate * clean).sum(-1, keepdim=True) / (energy + _EPS) * clean
    return _ratio_db(target.square().sum(-1) + missing * clean.shape[-1], (estimate - target).square().sum(-1), ceiling)


def snr_db(estimate: Tensor, clean: Tensor, ceiling: float = 0.0, missing: Tensor | float = 0.0) -> Tensor:
    """Plain signal-to-noise ratio in dB, `(batch,)`.

    Args:
        estimate, clean: `(batch, samples)`.
        ceiling: error energy added, relative to the signal, which limits the ratio.
        missing: mean power added to that of the signal, `(batch,)`, for examples without speech.
    """
    return _ratio_db(clean.square().sum(-1) + missing * clean.shape[-1], (estimate - clean).square().sum(-1), ceiling)


def _ratio_db(signal: Tensor, error: Tensor, ceiling: float) -> Tensor:
    return 10 * torch.log10((signal + _EPS) / (error + ceiling * signal + _EPS))


def level_db(estimate: Tensor, clean: Tensor) -> Tensor:
    """Level of the estimate relative to the clean signal in dB, `(batch,)`; levels far below one count as equal."""
    return 10 * torch.log10((estimate.square().mean(-1) + _FAINT) / (clean.square().mean(-1) + _FAINT))
