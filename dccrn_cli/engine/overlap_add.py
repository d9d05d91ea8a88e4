"""Enhances samples at 16 kHz block by block."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dccrn_cli.engine.dynamic_batching import DynamicBatching
from dccrn_cli.engine.stream import StreamingNetwork
from dccrn_cli.nn.base import SAMPLE_RATE, NetworkConfig
from dccrn_cli.nn.stft import frame_count

FRAMES_PER_STEP = 192
"""Frames per call of the network; more cost memory, fewer cost time."""

GATE_BAND_HZ = (4000.0, 8000.0)
"""Band whose gain is applied to everything above it in a full-band recording."""

WEIGHT_EPS = 1e-8
"""Added to the summed windows before dividing by them."""

_TINY = 1e-20


def gate_band(config: NetworkConfig) -> slice:
    """The bins of `GATE_BAND_HZ`."""
    low, high = (round(hz * config.n_fft / SAMPLE_RATE) for hz in GATE_BAND_HZ)
    return slice(low, high + 1)


def band_gain(estimate: Tensor, spectrum: Tensor, band: slice) -> Tensor:
    """Amplitude ratio of estimate to noisy spectrum within a band, at most 1: `(channels, frames, 1)`."""
    out, plain = (s[:, :, band].square().sum((1, 2)) for s in (estimate, spectrum))
    return (out / (plain + _TINY)).sqrt().clamp_max(1.0)[..., None]


def linked(estimate: Tensor, spectrum: Tensor) -> Tensor:
    """Apply one gain per bin to all noisy channels, from the sums of their energies, at most 1.

    Panned sounds keep their position; the phase is that of the noisy channels.

    Args:
        estimate, spectrum: `(channels, 2, bins, frames)`.
    """
    out, plain = (s.square().sum((0, 1)) for s in (estimate, spectrum))
    return spectrum * (out / (plain + _TINY)).sqrt().clamp_max(1.0)


class SpectralEnhancer:
    """A network with its STFT as a stage at 16 kHz.

    `process` accepts blocks `(frames, channels)` of any length and returns the samples that are final, so
    that the concatenated output has the length of the concatenated input and is aligned with it.
    Channels go through the network as a batch.

    Args:
        network: may serve other streams as well.
        link_channels: apply one gain to all channels.
    """

    def __init__(self, network: StreamingNetwork | DynamicBatching, *, link_channels: bool = False) -> None:
        self._link = link_channels
        self.config, self.device, self._stft = network.config, network.device, network.stft
        self._stream = network.open()
        self._gate = gate_band(self.config)
        self.reset()

    @property
    def latency(self) -> int:
        """Largest delay of the output relative to the input, in samples."""
        return self.config.latency_samples

    def reset(self) -> None:
        """Start a new signal."""
        self._stream.reset()
        self._received = 0
        self._emitted = 0
        self._framed = 0
        self._input: Tensor | None = None
        self._tails: list[Tensor] | None = None

    @torch.inference_mode()
    def process(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Enhance a block.

        Args:
            block: float32 `(frames, channels)`.

        Returns:
            Enhanced samples `(frames', channels)`, and in the same shape the network's gain (0 to 1) in
            the band `GATE_BAND_HZ`.
        """
        self._received += len(block)
        channels = block.shape[1]
        self._append(torch.from_numpy(np.ascontiguousarray(block.T, dtype=np.float32)).to(self.device))
        return self._collect(self._run(), channels)

    @torch.inference_mode()
    def flush(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rest of the output at the end of the signal; the next block starts a new one."""
        if self._input is None:
            return np.zeros((0, 1), np.float32), np.zeros((0, 1), np.float32)
        channels = self._input.shape[0]
        if self._received == 0:
            self.reset()
            return np.zeros((0, channels), np.float32), np.zeros((0, channels), np.float32)
        cfg = self.config
        missing = frame_count(cfg, self._received) - self._framed
        wanted = (missing - 1) * cfg.hop_length + cfg.win_length if missing > 0 else 0
        pad = max(wanted - self._input.shape[1], 0)
        self._append(self._input.new_zeros(channels, pad))
        parts = self._run()
        parts.append(self._overlap_add(*self._stream.flush()))
        # Samples near the end are covered by fewer windows.
        total, gain, weight = self._tails_or_zeros(channels)
        parts.append((total / (weight + WEIGHT_EPS), gain / (weight + WEIGHT_EPS)))
        enhanced, gate = self._collect(parts, channels, until=self._received)
        self.reset()
        return enhanced, gate

    def _append(self, samples: Tensor) -> None:
        if self._input is None:
            self._input = samples.new_zeros(samples.shape[0], self.config.overlap)
        self._input = torch.cat([self._input, samples], dim=1)

    def _run(self) -> list[tuple[Tensor, Tensor]]:
        """Run all complete frames through the network; returns pieces of (signal, gain), `(channels, n)`."""
        assert self._input is not None
        cfg, parts = self.config, []
        available = max((self._input.shape[1] - cfg.win_length) // cfg.hop_length + 1, 0)
        for first in range(0, available, FRAMES_PER_STEP):
            count = min(FRAMES_PER_STEP, available - first)
            start = first * cfg.hop_length
            samples = self._input[:, start : start + (count - 1) * cfg.hop_length + cfg.win_length]
            parts.append(self._overlap_add(*self._stream.process(self._stft.analyse(samples))))
        self._framed += available
        self._input = self._input[:, available * cfg.hop_length :].clone()
        return parts

    def _overlap_add(self, estimate: Tensor, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Add frames to the tails; returns the samples that no later frame will change."""
        channels, frames = estimate.shape[0], estimate.shape[-1]
        tails = self._tails_or_zeros(channels)
        if frames == 0:
            return tails[0][:, :0], tails[1][:, :0]
        if self._link and channels > 1:
            estimate = linked(estimate, spectrum)
        power = self._stft.power.expand(channels, frames, -1)
        layers = [self._stft.frames(estimate), power * band_gain(estimate, spectrum, self._gate), power]
        size = frames * self.config.hop_length
        sums = []
        for tail, layer in zip(tails, layers, strict=True):
            added = self._stft.overlap_add(layer)
            added[:, : tail.shape[1]] += tail
            sums.append(added)
        self._tails = [added[:, size:].clone() for added in sums]
        weight = sums[2][:, :size] + WEIGHT_EPS
        return sums[0][:, :size] / weight, sums[1][:, :size] / weight

    def _tails_or_zeros(self, channels: int) -> list[Tensor]:
        if self._tails is None:
            self._tails = [torch.zeros(channels, self.config.overlap, device=self.device) for _ in range(3)]
        return self._tails

    def _collect(
        self, parts: list[tuple[Tensor, Tensor]], channels: int, until: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Join pieces, dropping the padding before the first sample and after the last (`until`)."""
        results = []
        size = sum(part[0].shape[1] for part in parts)
        # `_emitted` counts from the start of the padding.
        start = max(self.config.overlap - self._emitted, 0)
        stop = size if until is None else self.config.overlap + until - self._emitted
        for which in (0, 1):
            joined = torch.cat([part[which] for part in parts], dim=1) if parts else torch.zeros(channels, 0)
            results.append(joined[:, start:stop].T.contiguous().cpu().numpy())
        self._emitted += size
        if self.config.clamp:
            np.clip(results[0], -1.0, 1.0, out=results[0])
        return results[0], results[1]
