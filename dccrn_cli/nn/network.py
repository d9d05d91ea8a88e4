"""What all networks have in common, and how they handle time.

A layer that spans several frames asks a timeline for the frames around the new ones, and a recurrent layer has it
keep its state. A plain timeline represents a whole signal; the engine's timelines keep frames and states between the
pieces of a stream. So each network is written once for training, streams, batches of streams and export.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.nn.base import NetworkConfig
from dccrn_cli.nn.level import tracked_level
from dccrn_cli.nn.stft import STFT


class Timeline:
    """The timeline of a whole signal: silence before and after."""

    def extend(self, x: Tensor, past: int, future: int) -> Tensor:
        """Extend `[..., frames]` by `past` frames before and `future` frames after it."""
        silence = torch.zeros_like(x[..., :1])
        return torch.cat([*[silence] * past, x, *[silence] * future], dim=-1)  # faster than F.pad

    def align(self, x: Tensor, delayed: Tensor) -> Tensor:
        """The frames of `x` that correspond to those of `delayed`, which has seen more of the future."""
        return x

    def level(self, spectrum: Tensor, hop_length: int) -> Tensor:
        """The tracked level of a spectrum `(batch, 2, bins, frames)`, as `(batch, 1, 1, frames)`."""
        return tracked_level(spectrum, hop_length).exp()[:, None, None]

    def run_lstm(self, lstm: nn.LSTM, x: Tensor) -> Tensor:
        """`(rows, frames, features)` → `(rows, frames, units)`; the rows of each signal are adjacent."""
        return cast(Tensor, lstm(x)[0])


class TimeConv(nn.Module):
    """A convolution over frames, the last dimension.

    Args:
        reach: frames that it sees besides the one at the output's position.
        future: how many of those are future frames.
    """

    def __init__(self, reach: int, future: int) -> None:
        super().__init__()
        self.reach = reach
        self.future = future

    def convolve(self, x: Tensor) -> Tensor:
        """The convolution without padding in time: `frames` in gives `frames - reach` out."""
        raise NotImplementedError

    def forward(self, x: Tensor, timeline: Timeline) -> Tensor:
        return self.convolve(timeline.extend(x, self.reach - self.future, self.future))


class RealTimeConv(TimeConv):
    """A `TimeConv` around a torch layer.

    Args:
        conv: the layer, without padding in time.
        reach: frames that it sees besides the one at the output's position.
        future: how many of those are future frames.
    """

    def __init__(self, conv: nn.Module, reach: int, future: int) -> None:
        super().__init__(reach, future)
        self.conv = conv
        self.dtypes: tuple[torch.dtype, torch.dtype] | None = None
        """Of the convolution and of its output; None leaves both to the input."""

    def convolve(self, x: Tensor) -> Tensor:
        if self.dtypes is None:
            return cast(Tensor, self.conv(x))
        inner, outer = self.dtypes
        return cast(Tensor, self.conv(x.to(inner)).to(outer))


class ConvBlock(nn.Module):
    """A convolution over frames, a norm and an activation."""

    def __init__(self, conv: TimeConv, norm: nn.Module | None = None, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm or nn.Identity()
        self.activation = activation or nn.Identity()

    def forward(self, x: Tensor, timeline: Timeline) -> Tensor:
        y: Tensor = self.activation(self.norm(self.conv(x, timeline)))
        return y


class SpectralNetwork(nn.Module):
    """A network from noisy to enhanced samples that works on spectra; only its timeline links frames.

    Spectra are `(batch, 2, bins, frames)`, real and imaginary parts.
    """

    config: NetworkConfig
    first_bin: ClassVar[int] = 0
    """The lowest bin that the network sees; bins below it are silent in its output."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.stft = STFT(config)

    def forward(self, signal: Tensor) -> Tensor:
        """Enhance `(batch, samples)` at 16 kHz; the output has the same shape."""
        with torch.autocast(signal.device.type, enabled=False):
            spectrum = self.stft.analyse(self.stft.pad(signal.float()))
        estimate, _ = self.estimate(spectrum, Timeline())
        with torch.autocast(signal.device.type, enabled=False):
            output: Tensor = self.stft.synthesise(estimate, signal.shape[-1])
        return output.clamp(-1.0, 1.0) if self.config.clamp else output

    def estimate(self, spectrum: Tensor, timeline: Timeline) -> tuple[Tensor, Tensor]:
        """The estimated spectrum and the noisy spectrum of the same frames."""
        with torch.autocast(spectrum.device.type, enabled=False):
            noisy = spectrum[:, :, self.first_bin :]
            level = torch.ones_like(noisy[:, :1, :1])
            if self.config.level_tracking:
                level = timeline.level(noisy, self.config.hop_length)
            features = self.features(noisy / level)
        y = self.core(features, timeline)
        level = timeline.align(level, y) if self.config.level_tracking else level[..., : y.shape[-1]]
        spectrum = timeline.align(spectrum, y)
        with torch.autocast(spectrum.device.type, enabled=False):
            noisy = spectrum[:, :, self.first_bin :]
            estimate = self.apply_output(y.float(), noisy / level) * level
            return F.pad(estimate, (0, 0, self.first_bin, 0)), spectrum

    def features(self, spectrum: Tensor) -> Tensor:
        """Network input computed from a spectrum, `[..., frames]`."""
        raise NotImplementedError

    def core(self, features: Tensor, timeline: Timeline) -> Tensor:
        """Features → `[..., frames]` for `apply_output`."""
        raise NotImplementedError

    def apply_output(self, y: Tensor, spectrum: Tensor) -> Tensor:
        """The estimate from the network's output and the noisy spectrum of the same frames."""
        raise NotImplementedError
