"""The DCCRN of Hu et al. (Interspeech 2020): a complex convolutional encoder and decoder around an LSTM."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dccrn_cli.nn.config import DCCRNConfig, MaskKind
from dccrn_cli.nn.layers import (
    ComplexBatchNorm,
    ComplexConv2d,
    ComplexConvTranspose2d,
    ComplexLSTM,
    PReLU,
    RealLSTM,
    complex_cat,
)
from dccrn_cli.nn.level import tracked_level
from dccrn_cli.nn.network import Network

IDENTITY: Mapping[MaskKind, tuple[float, float]] = {"R": (1.0, 1.0), "C": (1.0, 0.0), "E": (1.5, 0.0), "M": (1.0, 0.0)}
"""Real and imaginary part of the mask that a new network starts at."""

_TINY = 1e-12


class DCCRN(Network):
    """Deep Complex Convolution Recurrent Network.

    Args:
        config: sizes and variants, see `DCCRNConfig`.

    A new network starts as the identity: the mask is 1 wherever its input is 0.
    """

    config: DCCRNConfig

    def __init__(self, config: DCCRNConfig) -> None:
        super().__init__(config)
        sizes = (2, *config.channels)
        depth = len(config.channels)
        self.encoder = nn.ModuleList(
            nn.Sequential(ComplexConv2d(i, o), self._norm(o), PReLU())
            for i, o in itertools.pairwise((config.input_channels, *config.channels))
        )
        rnn = ComplexLSTM if config.complex_rnn else RealLSTM
        self.rnn = rnn(config.rnn_features, config.rnn_units, config.rnn_layers)
        self.decoder = nn.ModuleList()
        for index in range(depth):
            inputs, outputs = 2 * sizes[depth - index], sizes[depth - index - 1]
            conv = ComplexConvTranspose2d(inputs, outputs, look_ahead=index < config.look_ahead)
            is_mask = index == depth - 1
            self.decoder.append(nn.Sequential(conv) if is_mask else nn.Sequential(conv, self._norm(outputs), PReLU()))
        conv.start_at(*IDENTITY[config.mask])

    def _norm(self, channels: int) -> nn.Module:
        return ComplexBatchNorm(channels) if self.config.complex_norm else nn.BatchNorm2d(channels)

    def forward(self, signal: Tensor) -> Tensor:
        """Enhance `(batch, samples)` at 16 kHz; the same shape comes back."""
        with torch.autocast(signal.device.type, enabled=False):
            spectrum = self.stft.analyse(self.stft.pad(signal.float()))
            features, _ = encoder_input(spectrum, self.config)
        mask = self.mask(features)
        with torch.autocast(signal.device.type, enabled=False):
            estimate = apply_mask(mask.float(), spectrum, self.config.mask)
            output: Tensor = self.stft.synthesise(estimate, signal.shape[-1])
        return output.clamp(-1.0, 1.0) if self.config.clamp else output

    def mask(self, features: Tensor) -> Tensor:
        """Features `(batch, input_channels, bins, frames)` → mask `(batch, 2, bins, frames)`."""
        x, skips = features.contiguous(memory_format=torch.channels_last), []
        for layer in self.encoder:
            x = layer(x)
            skips.append(x)
        x = self.rnn(x)[0].contiguous(memory_format=torch.channels_last)
        for layer, skip in zip(self.decoder, reversed(skips), strict=True):
            x = layer(complex_cat(x, skip))
        mask: Tensor = x
        return mask


def encoder_input(spectrum: Tensor, config: DCCRNConfig, level: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """What the encoder sees of a spectrum.

    Args:
        spectrum: `(batch, 2, n_fft / 2 + 1, frames)`.
        level: `(batch,)`, the tracked level (natural log) before the first frame; None at the start.

    Returns:
        features `(batch, config.input_channels, n_fft / 2, frames)` without the constant bin, and
        the level after the last frame, which is None without `config.level_tracking`.
    """
    x = spectrum[:, :, 1:]
    if config.level_tracking:
        tracked = tracked_level(x, config.hop_length, level)
        x = x * torch.exp(-tracked)[:, None, None, :]
        level = tracked[:, -1] if x.shape[-1] else level
    if config.compression != 1.0:
        power = x.square().sum(1, keepdim=True)
        x = x * (power + _TINY) ** ((config.compression - 1.0) / 2)
    if config.magnitude_input:
        magnitude = (x.square().sum(1, keepdim=True) + _TINY).sqrt()
        x = torch.cat([x[:, :1], magnitude, x[:, 1:], torch.zeros_like(magnitude)], dim=1)
    return x, level


def apply_mask(mask: Tensor, spectrum: Tensor, kind: MaskKind) -> Tensor:
    """Mask a spectrum; its constant bin becomes 0 (paper eq. 7 to 9).

    Args:
        mask: `(batch, 2, n_fft / 2, frames)`.
        spectrum: `(batch, 2, n_fft / 2 + 1, frames)`.
    """
    estimate = multiply_mask(mask, spectrum[:, :, 1:], kind)
    return torch.cat([torch.zeros_like(spectrum[:, :, :1]), estimate], dim=2)


def multiply_mask(mask: Tensor, spectrum: Tensor, kind: MaskKind) -> Tensor:
    """Mask a spectrum bin by bin, both `(batch, 2, bins, frames)`.

    The polar form E is computed as a complex product with the mask's magnitude `m` replaced by
    `tanh(m)`; it equals the paper's sum of phases and keeps silence exactly silent.
    """
    mask_real, mask_imag = mask.unbind(1)
    real, imag = spectrum.unbind(1)
    if kind == "R":
        return torch.stack([real * mask_real, imag * mask_imag], dim=1)
    if kind in ("E", "M"):
        magnitude = (mask_real.square() + mask_imag.square() + _TINY).sqrt()
        if kind == "M":
            return spectrum * magnitude.unsqueeze(1)
        bound = torch.tanh(magnitude) / magnitude
        mask_real, mask_imag = mask_real * bound, mask_imag * bound
    return torch.stack([real * mask_real - imag * mask_imag, real * mask_imag + imag * mask_real], dim=1)
