"""Training losses on `(batch, samples)` signals at 16 kHz. Lower is better."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from dccrn_cli.errors import OptionError
from dccrn_cli.training.losses import spectral, targets
from dccrn_cli.training.losses.loss_options import COMBINATIONS, NEED_NOISY, TERMS, LossOptions
from dccrn_cli.training.losses.pesq import pesq_disturbance
from dccrn_cli.training.losses.pmsqe import pmsqe
from dccrn_cli.training.losses.waveform import CEILING, has_speech, level_db, si_snr_db, snr_db, unit_gain

__all__ = ["COMBINATIONS", "TERMS", "LossOptions", "loss_terms", "si_snr_db", "snr_db", "training_loss"]

SILENT = 1e-12
"""Power below which a clean signal cannot set the level."""

MIN_SAMPLES = 256
"""Length of the shortest signals that a loss accepts: 16 ms."""


class _Signals:
    """Signals normalised by the level of the clean one, or of the noisy one if there is no speech.

    Where no noisy signal is given, a silent clean one is replaced by the estimate.

    Attributes:
        speech: whether there is speech, `(batch,)`.
        missing: without speech, the power that the clean signal lacks to an RMS of one, otherwise 0, `(batch,)`.
    """

    def __init__(self, estimate: Tensor, clean: Tensor, noisy: Tensor | None, options: LossOptions) -> None:
        self.options = options
        if noisy is None:
            other, speech = estimate.detach(), clean.square().mean(-1, keepdim=True) > SILENT
        else:
            other, speech = noisy, has_speech(clean, noisy)
        speech = speech | (other.square().mean(-1, keepdim=True) == 0)
        gain = torch.where(speech, unit_gain(clean), unit_gain(other))
        self.speech = speech[..., 0]
        self.noisy = None if noisy is None else noisy * gain
        self.estimate, self.clean = estimate * gain, clean * gain
        self.missing = torch.where(self.speech, 0.0, 1 - self.clean.square().mean(-1))

    @property
    def mixture(self) -> Tensor:
        assert self.noisy is not None
        return self.noisy

    @cached_property
    def compressed(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        n_fft, exponent = self.options.n_fft, self.options.exponent
        return spectral.compressed(self.estimate, n_fft, exponent), spectral.compressed(self.clean, n_fft, exponent)

    def of_speech(self, losses: Tensor) -> Tensor:
        """Mean of `(batch,)` losses about how well speech is heard, counted as 0 without speech."""
        return torch.where(self.speech, losses, 0.0).mean()


def _compressed_magnitude(signals: _Signals) -> Tensor:
    (_, got), (_, want) = signals.compressed
    excess = got - want
    error = excess.square()
    if signals.options.over != 1:
        error = torch.where(excess > 0, signals.options.over * error, error)
    return error.mean()


def _compressed_complex(signals: _Signals) -> Tensor:
    (got, _), (want, _) = signals.compressed
    return (got - want).square().sum(-1).mean()


_FUNCTIONS: dict[str, Callable[[_Signals], Tensor]] = {
    "si-snr": lambda s: -si_snr_db(s.estimate, s.clean, CEILING, s.missing).mean(),
    "snr": lambda s: -snr_db(s.estimate, s.clean, CEILING, s.missing).mean(),
    # A hyperbola: small errors hardly matter, and no single faint example dominates a batch.
    "level": lambda s: ((1 + level_db(s.estimate, s.clean).square()).sqrt() - 1).mean(),
    "mse": lambda s: (s.estimate - s.clean).square().mean(),
    "mae": lambda s: (s.estimate - s.clean).abs().mean(),
    "multi-resolution": lambda s: spectral.multi_resolution(s.estimate, s.clean, s.options.resolutions, s.missing),
    "compressed-magnitude": _compressed_magnitude,
    "compressed-complex": _compressed_complex,
    "log-spectral-mse": lambda s: spectral.log_spectral_mse(s.estimate, s.clean, s.options.n_fft, s.missing),
    "lms": lambda s: spectral.log_mel(s.estimate, s.clean, s.options.n_fft),
    "pmsqe": lambda s: s.of_speech(pmsqe(s.estimate, s.clean)),
    "pesq": lambda s: s.of_speech(pesq_disturbance(s.estimate, s.clean)),
    "csa": lambda s: targets.complex_spectrum(s.estimate, s.clean, s.options.n_fft),
    "msa": lambda s: targets.magnitude_spectrum(s.estimate, s.clean, s.options.n_fft),
    "crm": lambda s: targets.complex_ratio_mask(s.estimate, s.clean, s.mixture, s.options.n_fft),
    "smm": lambda s: targets.spectral_magnitude_mask(s.estimate, s.clean, s.mixture, s.options.n_fft),
}


def loss_terms(estimate: Tensor, clean: Tensor, options: LossOptions, noisy: Tensor | None = None) -> dict[str, Tensor]:
    """Unweighted values of the terms with a weight, by name; scalars.

    All signals are normalised by the level of the clean one and processed in float32 even under autocast. Spectra
    are taken from the resynthesised estimate, so that inconsistencies between overlapping frames of a mask count
    only as far as they can be heard.

    An example whose clean signal is more than 26 dB below its noisy one has no speech: it is normalised by the level
    of the noisy signal, its ratios are relative to speech at that level, and the perceptual terms ignore it. Without
    a noisy signal this holds for silent clean ones, with the level of the estimate.

    Args:
        estimate: `(batch, samples)` at 16 kHz, at least `MIN_SAMPLES` of them.
        clean: clean speech of the same shape.
        options: terms and their parameters.
        noisy: noisy signal of the same shape; needed for `crm`, `smm` and examples without speech.

    Raises:
        OptionError: a term lacks the noisy signal, or the signals are too short.
    """
    names = [name for name, weight in options.terms.items() if weight]
    if noisy is None and (lacking := sorted(NEED_NOISY.intersection(names))):
        raise OptionError(f"the loss {lacking[0]} needs the noisy signal")
    if estimate.shape[-1] < MIN_SAMPLES:
        raise OptionError(f"signals of {estimate.shape[-1]} samples are too short (at least {MIN_SAMPLES} needed)")
    dtype = torch.promote_types(torch.promote_types(estimate.dtype, clean.dtype), torch.float32)
    with torch.autocast(estimate.device.type, enabled=False):
        noisy = None if noisy is None else noisy.to(dtype)
        signals = _Signals(estimate.to(dtype), clean.to(dtype), noisy, options)
        return {name: _FUNCTIONS[name](signals) for name in names}


def training_loss(estimate: Tensor, clean: Tensor, options: LossOptions, noisy: Tensor | None = None) -> Tensor:
    """Weighted sum of `loss_terms`, a scalar."""
    values = loss_terms(estimate, clean, options, noisy)
    return torch.stack([options.terms[name] * value for name, value in values.items()]).sum()
