"""The STFT of the DCCRN, as matrix products, with the window at the start of the frame."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dccrn_cli.nn.base import NetworkConfig

_EPS = 1e-8  # as in the authors' code, added to the summed window before dividing by it


def _window(config: NetworkConfig) -> np.ndarray:
    n = np.arange(config.win_length)
    mean = 0.54 if config.window == "hamming" else 0.5
    window = mean - (1 - mean) * np.cos(2 * np.pi * n / config.win_length)
    return np.sqrt(window) if config.window == "sqrt_hann" else window


@functools.lru_cache(maxsize=1)  # a network is built twice in a row, the first time to check its shapes
def _transforms(n_fft: int, win_length: int) -> tuple[np.ndarray, np.ndarray]:
    """The DFT of the first `win_length` samples of a frame and the transpose of its pseudo-inverse.

    Returns:
        Two arrays `(win_length, n_fft + 2)`; columns are real parts of all bins, then imaginary parts.
    """
    basis = np.fft.rfft(np.eye(n_fft))[:win_length]
    kernel = np.concatenate([basis.real, basis.imag], axis=1)
    return kernel, np.linalg.solve(kernel @ kernel.T, kernel)


def frame_count(config: NetworkConfig, length: int) -> int:
    """Number of frames for a signal of `length` samples.

    The authors' code takes the frames that lie wholly inside the padded signal. With windows that
    overlap by only half, the last samples would then be covered by a single fading window, so one
    more frame is taken.
    """
    padded = length + config.win_length - 2 * config.hop_length
    if config.win_length < 3 * config.hop_length:
        padded += config.hop_length - 1
    return padded // config.hop_length + 1


class STFT(nn.Module):
    """Analysis and synthesis as in the authors' code (a convolutional STFT).

    A frame is `win_length` windowed samples followed by zeros, so phases refer to the start of
    the window (`torch.stft` would centre it). The synthesis is the pseudo-inverse of the
    analysis, which for a modified spectrum differs from a truncated inverse FFT.
    """

    analysis: Tensor
    synthesis: Tensor
    power: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        window = _window(config)
        kernel, inverse = _transforms(config.n_fft, config.win_length)
        for name, array in (
            ("analysis", kernel * window[:, None]),
            ("synthesis", inverse.T * window),
            ("power", window**2),
        ):
            self.register_buffer(name, torch.from_numpy(array.astype(np.float32)), persistent=False)

    def pad(self, signal: Tensor) -> Tensor:
        """Pad `(batch, samples)` with zeros before and after to complete its frames."""
        cfg = self.config
        frames = frame_count(cfg, signal.shape[-1])
        total = (frames - 1) * cfg.hop_length + cfg.win_length
        right = max(total - cfg.overlap - signal.shape[-1], 0)
        return F.pad(signal, (cfg.overlap, right))[..., :total]

    def analyse(self, padded: Tensor) -> Tensor:
        """Padded samples `(batch, samples)` → spectrum `(batch, 2, n_fft / 2 + 1, frames)`."""
        return self.spectrum(padded.unfold(-1, self.config.win_length, self.config.hop_length))

    def spectrum(self, frames: Tensor) -> Tensor:
        """Frames of samples `(batch, frames, win_length)` → spectrum `(batch, 2, n_fft / 2 + 1, frames)`."""
        spectrum = frames @ self.analysis
        return torch.stack(spectrum.chunk(2, dim=-1), dim=1).transpose(2, 3)

    def frames(self, spectrum: Tensor) -> Tensor:
        """Spectrum `(batch, 2, bins, frames)` → windowed pieces `(batch, frames, win_length)`."""
        return spectrum.permute(0, 3, 1, 2).flatten(2) @ self.synthesis

    def synthesise(self, spectrum: Tensor, length: int) -> Tensor:
        """Overlap-add of a spectrum from `analyse(pad(signal))` back to `(batch, length)`."""
        cfg = self.config
        pieces = self.frames(spectrum)
        total = self.overlap_add(pieces)
        weight = self.overlap_add(self.power.expand(1, pieces.shape[1], -1))
        return (total / (weight + _EPS))[..., cfg.overlap : cfg.overlap + length]

    def overlap_add(self, pieces: Tensor) -> Tensor:
        """`(batch, frames, win_length)` → `(batch, (frames - 1) * hop_length + win_length)`."""
        cfg = self.config
        size = (pieces.shape[1] - 1) * cfg.hop_length + cfg.win_length
        folded = F.fold(pieces.transpose(1, 2), (1, size), (1, cfg.win_length), stride=(1, cfg.hop_length))
        return folded[:, 0, 0]
