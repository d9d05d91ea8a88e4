"""The network on one stream: spectrum in, masked spectrum out, piece by piece.

Streaming is exact because the network is causal but for its look-ahead.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dccrn_cli.engine.folded import FoldedNetwork, Piece, State
from dccrn_cli.engine.timeline import TimelineStream
from dccrn_cli.nn.dccrn import DCCRN, apply_mask, encoder_input
from dccrn_cli.nn.network import Network, SpectralNetwork


class Stream:
    """One signal on its way through a network.

    Args:
        network: may serve several streams.
    """

    def __init__(self, network: FoldedNetwork) -> None:
        self.config = network.config
        self._network = network
        self.reset()

    def reset(self) -> None:
        """Forget everything heard so far."""
        self._level: Tensor | None = None
        self._state: State | None = None
        self._spectrum: Tensor | None = None
        self._position = 0

    def process(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Take frames, give frames, `look_ahead` behind.

        Args:
            spectrum: `(batch, 2, n_fft / 2 + 1, frames)`.

        Returns:
            the masked and the plain spectrum of the frames that are final, of one shape.
        """
        features, self._level = encoder_input(spectrum, self.config, self._level)
        return self._run(features, spectrum)

    def flush(self) -> tuple[Tensor, Tensor]:
        """The frames still under way at the end of the signal, as `process` gives them.

        The next `process` starts a new signal.
        """
        if self._spectrum is None:
            raise ValueError("nothing has been processed")
        cfg = self.config
        silence = self._spectrum.new_zeros(len(self._spectrum), cfg.input_channels, cfg.bins, cfg.look_ahead)
        rest = self._run(silence, self._spectrum[..., :0], total=self._position)
        self.reset()
        return rest

    def _run(self, features: Tensor, spectrum: Tensor, total: int | None = None) -> tuple[Tensor, Tensor]:
        frames = features.shape[-1]
        queue = spectrum if self._spectrum is None else torch.cat([self._spectrum, spectrum], dim=-1)
        if frames == 0:
            self._spectrum = queue
            return queue[..., :0], queue[..., :0]
        if self._state is None:
            self._state = self._network.fresh_state(len(features))
        mask, self._state = self._advance(Piece(features, self._state, self._position, total))
        mask = mask[..., max(self.config.look_ahead - self._position, 0) :]
        self._position += frames
        done = mask.shape[-1]
        self._spectrum = queue[..., done:].clone()
        return apply_mask(mask, queue[..., :done], self.config.mask), queue[..., :done]

    def _advance(self, piece: Piece) -> tuple[Tensor, State]:
        return self._network.advance([piece])[0]


class StreamingNetwork(Stream):
    """A trained DCCRN for one stream.

    Args:
        model: the network; it is copied.
        device: where to run.
    """

    def __init__(self, model: DCCRN, device: torch.device) -> None:
        super().__init__(FoldedNetwork(model, device))


def open_stream(model: Network, device: torch.device) -> Stream | TimelineStream:
    """A stream through a trained network of any kind.

    Args:
        model: the network; it is copied.
        device: where to run.
    """
    if isinstance(model, DCCRN):
        return StreamingNetwork(model, device)
    assert isinstance(model, SpectralNetwork)
    return TimelineStream(model, device)
