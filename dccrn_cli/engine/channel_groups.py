"""Processes many channels in groups, so that memory is bounded."""

from __future__ import annotations

import numpy as np

from dccrn_cli.engine.dynamic_batching import DynamicBatching
from dccrn_cli.engine.overlap_add import SpectralEnhancer
from dccrn_cli.engine.stream import StreamingNetwork

CHANNELS_AT_ONCE = 8
"""Channels per batch of the network; more cost memory and save no time."""


class ChannelGroups:
    """A stage at 16 kHz for any number of channels, with the interface of `SpectralEnhancer`.

    Args:
        network: may serve other streams as well.
        link_channels: apply one gain to all channels of a group.
    """

    def __init__(self, network: StreamingNetwork | DynamicBatching, *, link_channels: bool = False) -> None:
        self._network, self._link = network, link_channels
        self._groups = [SpectralEnhancer(network, link_channels=link_channels)]

    @property
    def latency(self) -> int:
        """Largest delay of the output relative to the input, in samples."""
        return self._groups[0].latency

    def reset(self) -> None:
        """Start a new signal."""
        del self._groups[1:]
        self._groups[0].reset()

    def process(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Enhance a block `(frames, channels)`; returns samples and gain like `SpectralEnhancer.process`."""
        starts = range(0, block.shape[1], CHANNELS_AT_ONCE)
        while len(self._groups) < len(starts):
            self._groups.append(SpectralEnhancer(self._network, link_channels=self._link))
        parts = [
            group.process(block[:, start : start + CHANNELS_AT_ONCE])
            for group, start in zip(self._groups, starts, strict=True)
        ]
        return _beside(parts)

    def flush(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rest of the output at the end of the signal; the next block starts a new one."""
        return _beside([group.flush() for group in self._groups])


def _beside(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    if len(parts) == 1:
        return parts[0]
    samples, gains = zip(*parts, strict=True)
    return np.concatenate(samples, axis=1), np.concatenate(gains, axis=1)
