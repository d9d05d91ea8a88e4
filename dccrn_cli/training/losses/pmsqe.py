"""PMSQE, the perceptual metric for speech quality evaluation (Martín-Doñas et al. 2018), at 16 kHz."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dccrn_cli.training.losses.bark import (
    N_FFT,
    SILENT_FRAME_POWER,
    TARGET_POWER,
    audible_power,
    bark_scale,
    frame_disturbances,
    power_spectra,
)

_SYMMETRIC, _ASYMMETRIC = 0.1, 0.0309
_WINDOW_GAIN = 2.0  # inverse of the mean power of a square-root Hann window
_FAINT_POWER = 1e-8  # relative to the clean signal; fainter estimates are not raised to listening level


@lru_cache(maxsize=16)
def _constants(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Window, and weights of the bins in the mean power between 350 and 3250 Hz."""
    with torch.inference_mode(False):
        window = torch.hann_window(N_FFT, dtype=torch.float64).sqrt()
        level = torch.zeros(N_FFT // 2 + 1, dtype=torch.float64)
        level[11], level[12:104], level[104] = 0.4, 1.0, 0.5
        level *= _WINDOW_GAIN * (N_FFT + 2) / N_FFT**2 / len(level)
        return window.to(device, dtype), level.to(device, dtype)


def pmsqe(estimate: Tensor, clean: Tensor) -> Tensor:
    """PMSQE of `(batch, samples)` signals, `(batch,)`; 0 if the clean signal is silent."""
    if (short := N_FFT - clean.shape[-1]) > 0:
        estimate, clean = F.pad(estimate, (0, short)), F.pad(clean, (0, short))
    window, _ = _constants(clean.device, clean.dtype)
    return pmsqe_of_spectra(power_spectra(estimate, window), power_spectra(clean, window))


def pmsqe_of_spectra(estimate: Tensor, clean: Tensor) -> Tensor:
    """PMSQE of power spectra `(batch, frames, 257)` of 512-sample frames with a square-root Hann window."""
    _, level = _constants(clean.device, clean.dtype)
    scale = bark_scale(clean.device, clean.dtype)

    def densities(spectra: Tensor) -> tuple[Tensor, Tensor]:
        power = (spectra @ level).mean(-1)
        return (spectra @ scale.matrix) * (TARGET_POWER / (power + _FAINT_POWER))[:, None, None], power

    reference, clean_power = densities(clean)
    degraded, _ = densities(estimate)

    heard = reference >= 1e2 * scale.threshold
    heard = heard & (audible_power(reference, scale, 1e2) >= SILENT_FRAME_POWER)
    spectra = [torch.where(heard, power, 0.0).sum(1, keepdim=True) for power in (reference, degraded)]
    degraded = degraded * ((spectra[0] + 1e3) / (spectra[1] + 1e3)).clamp(0.01, 100.0)

    gain = (audible_power(reference, scale) + 5e3) / (audible_power(degraded, scale) + 5e3)
    degraded = degraded * gain.clamp(3e-4, 5.0)

    symmetric, asymmetric = frame_disturbances(degraded, reference, scale)
    loss = (_SYMMETRIC * symmetric + _ASYMMETRIC * asymmetric).mean(-1)
    return torch.where(clean_power > _FAINT_POWER, loss, 0.0)
