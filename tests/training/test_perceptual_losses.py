"""PESQ and PMSQE as losses, compared with their references."""

from __future__ import annotations

import numpy as np
import pesq
import pytest
import torch
from conftest import speechlike
from torch import Tensor

from dccrn_cli.training.losses.bark import HOP, N_FFT, bark_scale, loudness, power_spectra
from dccrn_cli.training.losses.pesq import pesq_disturbance, pesq_mos_lqo
from dccrn_cli.training.losses.pmsqe import pmsqe, pmsqe_of_spectra

SAMPLES = 48_000


def clean_speech(samples: int = SAMPLES) -> Tensor:
    """Phrases with pauses, `(1, samples)`, RMS of one."""
    signal = torch.from_numpy(speechlike(samples, seed=1)[:, 0])[None]
    signal = signal * (torch.sin(2 * np.pi * torch.arange(samples) / 16_000) > -0.2)
    return signal / signal.square().mean().sqrt()


def damage(kind: str, clean: Tensor) -> Tensor:
    samples = clean.shape[-1]
    noise = torch.from_numpy(np.random.default_rng(2).standard_normal((1, samples))).float()
    seconds = torch.arange(samples) / 16_000
    return {
        "noise": clean + 0.3 * noise,
        "faint noise": clean + 0.03 * noise,
        "hum": clean + 0.5 * torch.sin(2 * np.pi * 440 * seconds),
        "clipped": clean.clamp(-1, 1),
        "muffled": torch.nn.functional.avg_pool1d(clean[:, None], 9, 1, 4)[:, 0],
        "gated": clean * (torch.sin(2 * np.pi * 1.5 * seconds) > 0),
        "only noise": noise,
    }[kind]


PMSQE = {
    "noise": 1.144838, "faint noise": 0.769686, "hum": 0.469745, "clipped": 0.199828, "muffled": 0.169683,
    "gated": 1.222950, "only noise": 2.993850,
}  # fmt: skip
"""What the implementation of the authors of PMSQE, in asteroid 0.7.0, says of power spectra."""


@pytest.mark.parametrize("kind", PMSQE)
def test_pmsqe_equals_the_reference(kind: str) -> None:
    clean = clean_speech()
    window = torch.hann_window(N_FFT).sqrt()
    spectra = [power_spectra(signal, window) for signal in (damage(kind, clean), clean)]
    assert float(pmsqe_of_spectra(*spectra)) == pytest.approx(PMSQE[kind], abs=1e-4)
    assert float(pmsqe(damage(kind, clean), clean)) == pytest.approx(PMSQE[kind], abs=1e-4)


@pytest.mark.parametrize("kind", PMSQE)
def test_pesq_loss_equals_the_package(kind: str) -> None:
    clean = clean_speech()
    estimate = damage(kind, clean)
    wanted = pesq.pesq(16_000, clean[0].numpy(), estimate[0].numpy(), "wb")
    delays = 0.03 if kind in ("gated", "only noise") else 0.001  # P.862 moves parts of these
    assert float(pesq_mos_lqo(estimate, clean)) == pytest.approx(wanted, abs=delays)


@pytest.mark.parametrize(("before", "after"), [(9000, 0), (0, 9000), (3333, 7777), (30_000, 30_000)])
def test_pesq_loss_ignores_surrounding_silence_like_the_package(before: int, after: int) -> None:
    clean = torch.nn.functional.pad(clean_speech(), (before, after))
    estimate = clean + 0.1 * torch.from_numpy(np.random.default_rng(3).standard_normal(clean.shape)).float()
    wanted = pesq.pesq(16_000, clean[0].numpy(), estimate[0].numpy(), "wb")
    assert float(pesq_mos_lqo(estimate, clean)) == pytest.approx(wanted, abs=0.005)


def test_pesq_loss_weights_late_disturbances_more() -> None:
    clean = clean_speech(20 * 16_000)
    late = clean.clone()
    late[:, 12 * 16_000 :] = damage("noise", clean)[:, 12 * 16_000 :]
    wanted = pesq.pesq(16_000, clean[0].numpy(), late[0].numpy(), "wb")
    assert float(pesq_mos_lqo(late, clean)) == pytest.approx(wanted, abs=0.005)


def test_pesq_loss_is_lowest_for_the_clean_signal() -> None:
    clean = clean_speech()
    assert float(pesq_mos_lqo(clean, clean)) == pytest.approx(0.999 + 4 / (1 + np.exp(3.8224 - 1.3669 * 4.5)), abs=1e-3)
    assert float(pesq_mos_lqo(0.01 * clean, clean)) == pytest.approx(float(pesq_mos_lqo(clean, clean)), abs=1e-3)


def test_bark_bands_are_calibrated() -> None:
    """P.862: a 1 kHz tone with an amplitude of 29.54 has a peak density of 10 000 and a loudness of 1 sone."""
    scale = bark_scale(torch.device("cpu"), torch.float64)
    tone = 29.54 * torch.sin(2 * np.pi * torch.arange(N_FFT + HOP, dtype=torch.float64) / 16)[None]
    density = power_spectra(tone, torch.hann_window(N_FFT, dtype=torch.float64)) @ scale.matrix
    assert float(density.amax()) == pytest.approx(1e4, rel=1e-3)
    assert float((loudness(density, scale) * scale.width).sum(-1).mean()) == pytest.approx(1, rel=1e-2)
    assert (scale.matrix > 0).sum() == N_FFT // 2
    assert float(scale.width.sum()) == pytest.approx(21.335652)


@pytest.mark.parametrize("loss", [pesq_disturbance, pmsqe])
def test_examples_are_independent(loss) -> None:  # type: ignore[no-untyped-def]
    clean = torch.cat((clean_speech(), 0 * clean_speech(), clean_speech().roll(9000, -1)))
    estimate = clean + 0.2 * torch.from_numpy(np.random.default_rng(4).standard_normal(clean.shape)).float()
    values = loss(estimate, clean)
    assert values.shape == (3,)
    assert values[1] == 0
    for number in range(3):
        alone = loss(estimate[number : number + 1], clean[number : number + 1])
        torch.testing.assert_close(alone[0], values[number], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", [pesq_disturbance, pmsqe])
def test_gradient_descent_improves_the_score(loss) -> None:  # type: ignore[no-untyped-def]
    clean = clean_speech()
    for kind in ("noise", "only noise"):
        estimate = damage(kind, clean).requires_grad_()
        before = loss(estimate, clean)
        (gradient,) = torch.autograd.grad(before.sum(), estimate)
        assert float(gradient.norm()) > 1e-3
        after = loss(estimate - 0.3 * gradient / gradient.norm(), clean)
        assert float((before - after).detach()) > 1e-3
