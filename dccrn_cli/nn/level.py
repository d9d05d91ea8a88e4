"""Running level of a signal, used to make networks invariant to its gain."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dccrn_cli.nn.base import SAMPLE_RATE

RELEASE_DB_PER_S = 6.0
"""Rate at which the tracked level falls after the input does; it rises instantly."""

FLOOR = 1e-5
"""Tracked level of silence, which limits how far spectra are scaled up (about -100 dBFS)."""


@torch.no_grad()
def tracked_level(spectrum: Tensor, hop_length: int, before: Tensor | None = None) -> Tensor:
    """Peak level with release: natural log of the RMS over bins, `(batch, frames)`.

    With a decay of `release` per frame, the level at frame t is the maximum over frames s ≤ t of
    `rms(s) - release * (t - s)`; a running maximum computes it for all frames at once.

    Args:
        spectrum: `(batch, 2, bins, frames)`.
        hop_length: samples between frames.
        before: `(batch,)`, the level before the first frame; None at the start of a signal.
    """
    release = RELEASE_DB_PER_S * math.log(10) / 20 * hop_length / SAMPLE_RATE
    rms = spectrum.square().sum(1).mean(1).clamp_min(FLOOR**2).log() / 2
    slope = release * torch.arange(1, rms.shape[1] + 1, device=rms.device)
    raised = rms + slope
    if before is not None:
        raised = torch.cat([before.to(raised.dtype)[:, None], raised], dim=1)
    tracked = torch.cummax(raised, dim=1).values[:, -rms.shape[1] :] if rms.shape[1] else raised[:, :0]
    return (tracked - slope).clamp_min(math.log(FLOOR))
