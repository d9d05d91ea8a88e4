"""Wide-band PESQ (ITU-T P.862.2) as a differentiable function of time-aligned signals.

P.862's delay compensation, per utterance and in bad intervals, is omitted, since training pairs have no delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.training.losses.bark import (
    HOP,
    N_FFT,
    SILENT_FRAME_POWER,
    TARGET_POWER,
    BarkScale,
    audible_power,
    bark_scale,
    frame_disturbances,
    power_spectra,
)
from dccrn_cli.training.losses.waveform import at_clean_level

_PADDING = 5120
"""Samples of silence that P.862 adds to the length of the signal (320 ms)."""

_LOWEST_BAND = 1  # the first band is excluded from all sums in P.862
_SYLLABLE = 20  # frames: 320 ms, half overlapping
_FADE = 16  # samples
_AUDIBLE = 500.0  # sum of five samples at listening level that marks the start and end of speech
_LONG = 1000  # number of frames above which late disturbances count more
_SYMMETRIC, _ASYMMETRIC = 0.1, 0.0309
_FAINT_POWER = 1e-8  # relative to the clean signal; fainter estimates are not raised to listening level
_EPS = 1e-18

_BIQUAD = ((2.740826, -5.4816519, 2.740826), (1.0, -1.9444777, 0.94597794))
"""Numerator and denominator of the input filter of P.862.2."""

_RINGING = 1024
"""Samples after which the response of the input filter is below 1e-12."""


@dataclass(frozen=True)
class _Filters:
    """Filters on the bins of a whole signal: power gain of the level filter with Parseval weights, and input filter."""

    level: Tensor
    input: Tensor


@lru_cache(maxsize=16)
def _filters(n_fft: int, device: torch.device, dtype: torch.dtype) -> _Filters:
    hz = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    gain_db = np.interp(hz, (300, 350, 3250, 3500), (-500, 0, 0, -500))
    level = 10 ** (gain_db / 10) * 2 / n_fft  # neither 0 Hz nor the Nyquist bin passes
    delay = np.exp(-2j * np.pi * hz / SAMPLE_RATE)
    response = np.polyval(_BIQUAD[0][::-1], delay) / np.polyval(_BIQUAD[1][::-1], delay)
    with torch.inference_mode(False):
        complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        return _Filters(torch.tensor(level).to(device, dtype), torch.tensor(response).to(device, complex_dtype))


@lru_cache(maxsize=16)
def _windows(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Frame window; fade ramp; smoothing kernel of the frame gain, latest frame last."""
    with torch.inference_mode(False):
        ramp = torch.arange(1, _FADE, dtype=dtype, device=device) / _FADE
        memory = 0.8 * 0.2 ** torch.arange(15, -1, -1, dtype=dtype, device=device)
        return torch.hann_window(N_FFT, dtype=dtype, device=device), ramp, memory[None, None]


def _transform_length(samples: int) -> int:
    """A length with small prime factors and room for the ringing of the filter."""
    needed = samples + _RINGING
    step = max(1, 1 << ((needed - 1).bit_length() - 4))
    return -(-needed // step) * step


def _at_the_ear(signal: Tensor) -> Tensor:
    """The signal at listening level after the input filter, `(batch, samples)`."""
    samples = signal.shape[-1]
    ramp = _windows(signal.device, signal.dtype)[1]
    length = _transform_length(samples)
    filters = _filters(length, signal.device, signal.dtype)
    fade = F.pad(ramp, (0, samples - len(ramp)), value=1.0)
    spectrum = torch.fft.rfft(signal * fade * fade.flip(-1), length)
    power = (torch.view_as_real(spectrum).square().sum(-1) @ filters.level) / (samples + _PADDING)
    gain = (TARGET_POWER / (power + _FAINT_POWER)).sqrt()
    filtered: Tensor = torch.fft.irfft(spectrum * filters.input, length)[:, :samples]
    return filtered * gain[:, None]


def _powers(signal: Tensor, scale: BarkScale) -> Tensor:
    """Power densities of all frames that start at least half a frame before the end."""
    window = _windows(signal.device, signal.dtype)[0]
    return power_spectra(F.pad(signal, (0, HOP)), window) @ scale.matrix


def _speech_frames(clean: Tensor) -> tuple[Tensor, Tensor]:
    """First and last frame to be judged, `(batch,)` each."""
    samples = clean.shape[-1]
    loud = F.avg_pool1d(F.pad(clean.abs(), (0, 4))[:, None], 5, 1)[:, 0] * 5 >= _AUDIBLE
    ends = torch.stack((loud, loud.flip(-1)))
    first, last = torch.where(ends.any(-1), ends.to(torch.uint8).argmax(-1), samples)
    most = samples // 2 + 4800  # half of the signal with the margins of the reference implementation
    first, last = first.clamp(max=most), (last + _PADDING - 4).clamp(max=most)
    frames = samples // HOP
    first = (first // HOP).clamp(max=frames - 1)
    last = ((samples + _PADDING - last) // HOP - 1).clamp(max=frames - 1)
    return first, torch.maximum(first, last)


def _mean(disturbance: Tensor, first: Tensor, last: Tensor, weight: Tensor) -> Tensor:
    """L6 mean of `(batch, frames)` disturbances within syllables, then L2 mean over syllables, `(batch,)`."""
    frames = disturbance.shape[-1]
    starts = torch.arange(0, frames, _SYLLABLE // 2, device=disturbance.device)
    index = first[:, None, None] + starts[:, None] + torch.arange(_SYLLABLE, device=disturbance.device)
    inside = index <= last[:, None, None]
    index = index.clamp(max=frames - 1)
    picked = disturbance.gather(1, index.flatten(1)).view(index.shape) * inside
    syllable = (picked.pow(6).mean(-1) + _EPS) ** (1 / 6)
    weight = weight[starts] * inside[..., 0]
    return ((weight * syllable).square().sum(-1) / weight.square().sum(-1)).sqrt()


def pesq_disturbance(estimate: Tensor, clean: Tensor) -> Tensor:
    """PESQ's deduction from its best raw score of 4.5, `(batch,)`; 0 if the clean signal is silent.

    It keeps growing where MOS-LQO is almost flat, so that poor estimates have gradients too.
    """
    samples = clean.shape[-1]
    if samples < N_FFT:
        estimate, clean = (F.pad(signal, (0, N_FFT - samples)) for signal in (estimate, clean))
        samples = N_FFT
    scale = bark_scale(clean.device, clean.dtype, _LOWEST_BAND)
    audible = clean.square().mean(-1) > _FAINT_POWER
    clean = _at_the_ear(clean)
    first, last = _speech_frames(clean)
    degraded, reference = _powers(_at_the_ear(estimate), scale), _powers(clean, scale)

    frames = reference.shape[1]
    number = torch.arange(frames, device=clean.device)
    counts = audible_power(reference, scale, 1e2) >= SILENT_FRAME_POWER
    counts = counts & (number <= last[:, None])[..., None]
    total = max((samples + _PADDING) // HOP - 1, 1)
    spectra = [
        torch.where(counts & (power > 1e2 * scale.threshold), power, 0.0).sum(1, keepdim=True) / total
        for power in (degraded, reference)
    ]
    reference = reference * ((spectra[0] + 1e3) / (spectra[1] + 1e3)).clamp(0.01, 100.0)

    gain = (audible_power(reference, scale) + 5e3) / (audible_power(degraded, scale) + 5e3)
    memory = _windows(clean.device, clean.dtype)[2]
    gain = F.conv1d(F.pad(gain.transpose(1, 2), (memory.shape[-1] - 1, 0), mode="replicate"), memory)
    degraded = degraded * gain.transpose(1, 2).clamp(3e-4, 5.0)

    symmetric, asymmetric = frame_disturbances(degraded, reference, scale)
    late = min((frames - 1 - _LONG) / 5500, 0.5) if frames > _LONG else 0.0
    weight = 1 - late + late * number.to(clean.dtype) / max(frames - 1, 1)
    taken = _SYMMETRIC * _mean(symmetric, first, last, weight)
    taken = taken + _ASYMMETRIC * _mean(asymmetric, first, last, weight)
    return torch.where(audible, taken, 0.0)


def pesq_mos_lqo(estimate: Tensor, clean: Tensor) -> Tensor:
    """MOS-LQO of wide-band PESQ, `(batch,)`, for `(batch, samples)` at 16 kHz (mapping of P.862.2)."""
    raw = 4.5 - pesq_disturbance(*at_clean_level(estimate, clean))
    return 0.999 + 4 / (1 + torch.exp(3.8224 - 1.3669 * raw))
