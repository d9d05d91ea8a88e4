"""An oracle: the DCCRN as computed by the paper authors' public code, with that code's parameter layout.

Written from its description in the simplest way (four real convolutions for a complex one,
phases by atan2, whole file at once), sharing nothing with the package.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, transposed: bool) -> None:
        super().__init__()
        self.transposed = transposed
        if transposed:
            kind: Any = partial(nn.ConvTranspose2d, output_padding=(1, 0))
        else:
            kind = nn.Conv2d
        self.real_conv, self.imag_conv = (
            kind(inputs // 2, outputs // 2, (5, 2), (2, 1), padding=(2, 0)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        if not self.transposed:
            x = F.pad(x, (1, 0, 0, 0))
        real, imag = torch.chunk(x, 2, 1)
        return torch.cat([self.real_conv(real) - self.imag_conv(imag), self.imag_conv(real) + self.real_conv(imag)], 1)


class ComplexNorm(nn.Module):
    Wrr: Tensor
    Wri: Tensor
    Wii: Tensor
    Br: Tensor
    Bi: Tensor
    RMr: Tensor
    RMi: Tensor
    RVrr: Tensor
    RVri: Tensor
    RVii: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        for name in ("Wrr", "Wri", "Wii", "Br", "Bi"):
            self.register_parameter(name, nn.Parameter(torch.zeros(half)))
        for name in ("RMr", "RMi", "RVrr", "RVri", "RVii"):
            self.register_buffer(name, torch.zeros(half))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        real, imag = (part.double() for part in torch.chunk(x, 2, 1))
        shape = (1, -1, 1, 1)
        real, imag = real - self.RMr.view(shape), imag - self.RMi.view(shape)
        eye = torch.eye(2, dtype=torch.float64) * 1e-5
        covariance = torch.stack([self.RVrr, self.RVri, self.RVri, self.RVii], -1).double().view(-1, 2, 2) + eye
        values, vectors = torch.linalg.eigh(covariance)
        whiten = vectors @ torch.diag_embed(values**-0.5) @ vectors.mT
        gain = torch.stack([self.Wrr, self.Wri, self.Wri, self.Wii], -1).double().view(-1, 2, 2)
        z = gain @ whiten
        out_real = z[:, 0, 0].view(shape) * real + z[:, 0, 1].view(shape) * imag + self.Br.view(shape)
        out_imag = z[:, 1, 0].view(shape) * real + z[:, 1, 1].view(shape) * imag + self.Bi.view(shape)
        return torch.cat([out_real, out_imag], 1).float()


class ComplexLSTM(nn.Module):
    def __init__(self, inputs: int, units: int, projection: int | None) -> None:
        super().__init__()
        self.real_lstm = nn.LSTM(inputs // 2, units // 2)
        self.imag_lstm = nn.LSTM(inputs // 2, units // 2)
        if projection:
            self.r_trans = nn.Linear(units // 2, projection // 2)
            self.i_trans = nn.Linear(units // 2, projection // 2)
        self.projection = projection

    def forward(self, parts: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        real, imag = parts
        out_real = self.real_lstm(real)[0] - self.imag_lstm(imag)[0]
        out_imag = self.real_lstm(imag)[0] + self.imag_lstm(real)[0]
        if self.projection:
            out_real, out_imag = self.r_trans(out_real), self.i_trans(out_imag)
        return out_real, out_imag


class AuthorsDCCRN(nn.Module):
    """`(batch, samples)` → `(batch, samples floored to a multiple of 100)`."""

    def __init__(self, channels: list[int], units: int, mask: str, use_clstm: bool, use_cbn: bool) -> None:
        super().__init__()
        self.mask, self.use_clstm = mask, use_clstm
        sizes = [2, *channels]
        norm = ComplexNorm if use_cbn else nn.BatchNorm2d
        self.encoder = nn.ModuleList(
            nn.Sequential(Conv(a, b, False), norm(b), nn.PReLU()) for a, b in itertools.pairwise(sizes)
        )
        features = channels[-1] * 4
        if use_clstm:
            self.enhance: nn.Module = nn.Sequential(
                ComplexLSTM(features, units, None), ComplexLSTM(units, units, features)
            )
        else:
            self.enhance = nn.LSTM(features, units, 2)
            self.tranform = nn.Linear(units, features)
        self.decoder = nn.ModuleList()
        for index in range(len(channels), 0, -1):
            layers: list[nn.Module] = [Conv(sizes[index] * 2, sizes[index - 1], True)]
            if index > 1:
                layers += [norm(sizes[index - 1]), nn.PReLU()]
            self.decoder.append(nn.Sequential(*layers))
        window = torch.hann_window(400, periodic=True, dtype=torch.float64)
        basis = torch.fft.rfft(torch.eye(512, dtype=torch.float64))[:400]
        kernel = torch.cat([basis.real, basis.imag], 1).T  # (514, 400)
        self.window = window
        self.analysis = (kernel * window)[:, None].float()
        self.synthesis = (torch.linalg.pinv(kernel).T * window)[:, None].float()

    def forward(self, x: Tensor) -> Tensor:
        spectrum = F.conv1d(F.pad(x[:, None], (300, 300)), self.analysis, stride=100)
        real, imag = spectrum[:, :257], spectrum[:, 257:]
        magnitude, phase = torch.sqrt(real**2 + imag**2 + 1e-8), torch.atan2(imag, real)
        out = torch.stack([real, imag], 1)[:, :, 1:]
        skips = []
        for layer in self.encoder:
            out = layer(out)
            skips.append(out)
        batch, channels, bins, frames = out.shape
        out = out.permute(3, 0, 1, 2)
        if self.use_clstm:
            parts = tuple(
                p.reshape(frames, batch, -1) for p in (out[:, :, : channels // 2], out[:, :, channels // 2 :])
            )
            parts = self.enhance(parts)
            out = torch.cat([p.reshape(frames, batch, channels // 2, bins) for p in parts], 2)
        else:
            out = self.tranform(self.enhance(out.reshape(frames, batch, -1))[0])
            out = out.reshape(frames, batch, channels, bins)
        out = out.permute(1, 2, 3, 0)
        for layer, skip in zip(self.decoder, reversed(skips), strict=True):
            (a, b), (c, d) = torch.chunk(out, 2, 1), torch.chunk(skip, 2, 1)
            out = layer(torch.cat([a, c, b, d], 1))[..., 1:]
        mask_real, mask_imag = F.pad(out[:, 0], (0, 0, 1, 0)), F.pad(out[:, 1], (0, 0, 1, 0))
        if self.mask == "E":
            size = (mask_real**2 + mask_imag**2) ** 0.5
            turn = torch.atan2(mask_imag / (size + 1e-8), mask_real / (size + 1e-8))
            new = torch.tanh(size) * magnitude
            real, imag = new * torch.cos(phase + turn), new * torch.sin(phase + turn)
        elif self.mask == "C":
            real, imag = real * mask_real - imag * mask_imag, real * mask_imag + imag * mask_real
        else:
            real, imag = real * mask_real, imag * mask_imag
        signal = F.conv_transpose1d(torch.cat([real, imag], 1), self.synthesis, stride=100)
        squares = (self.window**2).float()[None, :, None].repeat(1, 1, frames)
        weight = F.conv_transpose1d(squares, torch.eye(400)[:, None], stride=100)
        return (signal / (weight + 1e-8))[:, 0, 300:-300].clamp(-1, 1)

    def randomise(self, seed: int) -> None:
        """Set weights, biases and statistics to values plausible for a trained network."""
        generator = torch.Generator().manual_seed(seed)

        def noise(shape: torch.Size) -> Tensor:
            return torch.randn(shape, generator=generator)

        with torch.no_grad():
            for name, tensor in [*self.named_parameters(), *self.named_buffers()]:
                leaf = name.rpartition(".")[2]
                if leaf in ("running_var", "RVrr", "RVii"):
                    tensor.copy_(0.5 + noise(tensor.shape).abs())
                elif leaf == "RVri":
                    tensor.copy_(0.2 * noise(tensor.shape).clamp(-2, 2))
                elif leaf in ("Wrr", "Wii"):
                    tensor.copy_(1 + 0.1 * noise(tensor.shape))
                elif leaf in ("Wri", "Br", "Bi", "RMr", "RMi", "running_mean", "bias"):
                    tensor.copy_(0.1 * noise(tensor.shape))


def authors_model(kind: str, use_cbn: bool, seed: int = 0) -> AuthorsDCCRN:
    """A network from the paper's Table 1 (r, c, e or cl) with plausible trained weights."""
    torch.manual_seed(seed)
    if kind == "cl":
        model = AuthorsDCCRN([32, 64, 128, 256, 256, 256], 256, "E", use_clstm=True, use_cbn=use_cbn)
    else:
        model = AuthorsDCCRN([32, 64, 128, 128, 256, 256], 256, kind.upper(), use_clstm=False, use_cbn=use_cbn)
    model.randomise(seed)
    return model.eval()
