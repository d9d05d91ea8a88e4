"""What all networks have in common, and how they meet time.

The layers of a network that reach over frames leave it to a timeline where the frames beside
the new ones come from. A plain one stands for a signal that lies there whole; that of a stream
keeps what it needs between two pieces. So each network is written once for both.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.nn.base import NetworkConfig
from dccrn_cli.nn.level import tracked_level
from dccrn_cli.nn.stft import STFT


class Network(nn.Module):
    """A network from noisy to enhanced samples.

    Shape: `(batch, samples)` at 16 kHz → the same.
    """

    config: NetworkConfig

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.stft = STFT(config)


class Timeline:
    """Time of a signal that lies there whole: silence before and after."""

    def extend(self, x: Tensor, past: int, future: int) -> Tensor:
        """`[..., frames]` → the same with `past` frames before and `future` frames after it."""
        return F.pad(x, (past, future))

    def align(self, x: Tensor, late: Tensor) -> Tensor:
        """The frames of `x` that belong to those of `late`, which has seen more future."""
        return x

    def level(self, spectrum: Tensor, hop_length: int) -> Tensor:
        """The tracked level of a spectrum, `(batch, 1, 1, frames)`."""
        return tracked_level(spectrum, hop_length).exp()[:, None, None]

    def run_lstm(self, lstm: nn.LSTM, x: Tensor) -> Tensor:
        """`(batch, frames, features)` → `(batch, frames, units)`."""
        return cast(Tensor, lstm(x)[0])


class TimeConv(nn.Module):
    """A convolution over frames, which lie last.

    Args:
        conv: without padding in time: `frames` in gives `frames - reach` out.
        reach: frames that it sees beside the one whose place the output takes.
        future: how many of them come later.
    """

    def __init__(self, conv: nn.Module, reach: int, future: int) -> None:
        super().__init__()
        self.conv = conv
        self.reach = reach
        self.future = future

    def forward(self, x: Tensor, timeline: Timeline) -> Tensor:
        x = timeline.extend(x, self.reach - self.future, self.future)
        missing = self.reach + 1 - x.shape[-1]
        y: Tensor = self.conv(F.pad(x, (0, max(missing, 0))))
        return y[..., :0] if missing > 0 else y


class ConvBlock(nn.Module):
    """A convolution over frames, a norm and an activation."""

    def __init__(self, conv: TimeConv, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor, timeline: Timeline) -> Tensor:
        y: Tensor = self.activation(self.norm(self.conv(x, timeline)))
        return y


class SpectralNetwork(Network):
    """A network that works on spectra frame by frame but for what a timeline gives it.

    Spectra are `(batch, 2, n_fft / 2 + 1, frames)`.
    """

    def forward(self, signal: Tensor) -> Tensor:
        """Enhance `(batch, samples)` at 16 kHz; the same shape comes back."""
        with torch.autocast(signal.device.type, enabled=False):
            spectrum = self.stft.analyse(self.stft.pad(signal.float()))
        estimate, _ = self.estimate(spectrum, Timeline())
        with torch.autocast(signal.device.type, enabled=False):
            output: Tensor = self.stft.synthesise(estimate, signal.shape[-1])
        return output.clamp(-1.0, 1.0) if self.config.clamp else output

    def estimate(self, spectrum: Tensor, timeline: Timeline) -> tuple[Tensor, Tensor]:
        """The estimated and the noisy spectrum of all frames that are final."""
        with torch.autocast(spectrum.device.type, enabled=False):
            level = torch.ones_like(spectrum[:, :1, :1])
            if self.config.level_tracking:
                level = timeline.level(spectrum, self.config.hop_length)
            features = self.features(spectrum / level)
        y = self.core(features, timeline)
        spectrum, level = timeline.align(spectrum, y), timeline.align(level, y)
        with torch.autocast(spectrum.device.type, enabled=False):
            return self.apply_output(y.float(), spectrum / level) * level, spectrum

    def features(self, spectrum: Tensor) -> Tensor:
        """What the network sees of a spectrum, `[..., frames]`."""
        raise NotImplementedError

    def core(self, features: Tensor, timeline: Timeline) -> Tensor:
        """Features → `[..., frames]` for `apply_output`."""
        raise NotImplementedError

    def apply_output(self, y: Tensor, spectrum: Tensor) -> Tensor:
        """The estimate from the network's output and the noisy spectrum of the same frames."""
        raise NotImplementedError
