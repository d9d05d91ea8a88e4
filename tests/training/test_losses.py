"""Losses: options, level, known values, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import speechlike
from torch import Tensor

from dccrn_cli.data.pairs import Pair
from dccrn_cli.errors import OptionError
from dccrn_cli.nn.dccrn import DCCRN
from dccrn_cli.training.losses import (
    COMBINATIONS,
    MIN_SAMPLES,
    TERMS,
    LossOptions,
    loss_terms,
    si_snr_db,
    snr_db,
    training_loss,
)
from dccrn_cli.training.losses.bark import power_spectra
from dccrn_cli.training.validation import validate

ALL = LossOptions(terms=dict.fromkeys(TERMS, 1.0))
BLIND_TO_LEVEL = {"si-snr", "pesq", "pmsqe"}
BLIND_TO_PHASE = {"level", "multi-resolution", "compressed-magnitude", "lms", "pmsqe", "pesq", "msa", "smm"}


def signals(samples: int = 12_000, batch: int = 2, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Clean speech and noise, `(batch, samples)` each."""
    clean = np.stack([speechlike(samples, seed=seed)[:, 0] for seed in range(batch)])
    noise = 0.05 * np.random.default_rng(9).standard_normal((batch, samples))
    return torch.from_numpy(clean).to(dtype), torch.from_numpy(noise).to(dtype)


def values(
    estimate: Tensor, clean: Tensor, noisy: Tensor | None = None, options: LossOptions = ALL
) -> dict[str, float]:
    noisy = estimate if noisy is None else noisy
    return {name: float(value.detach()) for name, value in loss_terms(estimate, clean, options, noisy).items()}


def test_default_loss_is_unchanged() -> None:
    rng = np.random.default_rng(5)
    clean, noise = (torch.from_numpy(rng.standard_normal((2, 8000))).float() for _ in range(2))
    assert float(training_loss(0.1 * clean + 0.03 * noise, 0.1 * clean, LossOptions())) == pytest.approx(
        -0.231441, abs=1e-5
    )


def test_options_from_a_recipe_table() -> None:
    table = {"si-snr": 0.025, "pesq": 1, "exponent": 0.5, "resolutions": [256, 512], "n_fft": 400, "over": 3}
    options = LossOptions.from_table(table)
    assert options == LossOptions({"si-snr": 0.025, "pesq": 1.0}, 0.5, 400, (256, 512), 3)
    assert LossOptions.from_table(options.to_dict()) == options
    assert LossOptions.from_table({}) == LossOptions() == LossOptions(terms=COMBINATIONS["default"])
    assert LossOptions.from_table({"exponent": 0.5}) == LossOptions(exponent=0.5)
    both = LossOptions.from_table({"combination": "si-snr+pmsqe", "lms": 0.5, "pmsqe": 2})
    assert both.terms == {"si-snr": pytest.approx(1 / 9), "pmsqe": 2.0, "lms": 0.5}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"si_snr": 1}, r"no 'si_snr'; choose from si-snr, snr, level, mse,"),
        ({"combination": "all"}, r"no loss combination named 'all'; choose from default"),
        ({"combination": ["a"]}, "no loss combination"),
        ({"snr": -1}, "weight of the loss snr"),
        ({"snr": float("nan")}, "weight of the loss snr"),
        ({"snr": "much"}, "weight of the loss snr"),
        ({"snr": True}, "weight of the loss snr"),
        ({"snr": 0}, "no loss has a weight"),
        ({"exponent": 0}, "exponent"),
        ({"over": 0}, "over must be"),
        ({"over": True}, "over must be"),
        ({"n_fft": 511}, "not 511"),
        ({"n_fft": 512.0}, "n_fft must be a whole number"),
        ({"resolutions": 512}, "resolutions must be a list"),
        ({"resolutions": []}, "empty"),
    ],
)
def test_invalid_tables(table: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        LossOptions.from_table(table)


def test_unknown_terms_are_rejected() -> None:
    with pytest.raises(OptionError, match="no loss named 'sisnr'; choose from si-snr"):
        LossOptions(terms={"sisnr": 1.0})


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_loss_is_the_weighted_sum_of_its_terms(name: str) -> None:
    clean, noise = signals()
    options = LossOptions.from_table({"combination": name})
    terms = loss_terms(clean + noise, clean, options)
    assert terms.keys() == options.terms.keys()
    total = sum(options.terms[term] * float(value) for term, value in terms.items())
    assert float(training_loss(clean + noise, clean, options)) == pytest.approx(total, rel=1e-5)


def test_terms_without_weight_are_not_computed() -> None:
    clean, noise = signals(1000)
    assert loss_terms(clean + noise, clean, LossOptions(terms={"mse": 1.0, "crm": 0.0})).keys() == {"mse"}


@pytest.mark.parametrize("name", ["crm", "smm"])
def test_masks_need_the_noisy_signal(name: str) -> None:
    clean, noise = signals(1000)
    with pytest.raises(OptionError, match=f"{name} needs the noisy"):
        training_loss(clean + noise, clean, LossOptions(terms={name: 1.0}))


def test_too_short_signals_are_rejected() -> None:
    short = torch.ones(1, MIN_SAMPLES - 1)
    with pytest.raises(OptionError, match="255 samples are too short"):
        training_loss(short, short, LossOptions())


def test_clean_estimate_has_the_lowest_loss() -> None:
    clean, noise = signals()
    noisy = clean + noise
    losses = [values(clean + share * noise, clean, noisy) for share in (0.0, 0.03, 0.3, 1.0)]
    for name in TERMS:
        ordered = [loss[name] for loss in losses]
        assert ordered == sorted(ordered), name
        assert ordered[0] < ordered[2] < ordered[3], name
    best = losses[0]
    assert best["si-snr"] == best["snr"] == pytest.approx(-35, abs=1e-3)
    for name in TERMS.keys() - {"si-snr", "snr", "log-spectral-mse"}:
        assert best[name] == pytest.approx(0, abs=5e-4), name


def test_known_values() -> None:
    clean, _ = signals(40_000)
    half = values(0.5 * clean, clean, clean)
    assert half["mse"] == pytest.approx(0.25, rel=1e-3)
    assert half["snr"] == pytest.approx(-10 * math.log10(1 / (0.25 + 10**-3.5)), abs=1e-3)
    assert half["level"] == pytest.approx(math.hypot(1, 20 * math.log10(0.5)) - 1, abs=0.02)
    assert half["csa"] == pytest.approx(0.25, rel=0.02)
    assert half["msa"] == pytest.approx(0.25, rel=0.02)
    assert half["log-spectral-mse"] == pytest.approx(math.log(0.5), abs=0.02)
    assert half["smm"] == pytest.approx(4 * (math.tanh(0.5) - math.tanh(0.25)) ** 2, rel=0.02)
    assert half["crm"] == pytest.approx(half["smm"], rel=0.02)
    assert half["multi-resolution"] == pytest.approx(0.5 + math.log(2), rel=0.01)
    assert values(math.e * clean, clean)["lms"] == pytest.approx(1, abs=0.01)
    offset = clean.square().mean(-1, keepdim=True).sqrt()
    assert values(clean + 0.5 * offset, clean)["mae"] == pytest.approx(0.5, rel=1e-3)
    assert values(-clean, clean, clean)["crm"] == pytest.approx(4 * (2 * math.tanh(0.5)) ** 2, rel=0.02)


def test_snr_losses_have_known_values() -> None:
    clean, noise = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 1, 16_000)))
    noise = noise - (noise * clean).sum() / clean.square().sum() * clean
    assert float(snr_db(clean + 0.1 * noise, clean)) == pytest.approx(20, abs=0.1)
    assert float(si_snr_db(0.01 * (clean + 0.1 * noise) + 3, clean)) == pytest.approx(20, abs=0.1)


def test_invariances_of_losses() -> None:
    clean, noise = signals()
    noisy = clean + noise
    estimate = clean + 0.3 * noise
    plain = values(estimate, clean, noisy)
    for gain in (0.2, -30.0):
        scaled = values(gain * estimate, gain * clean, gain * noisy)
        assert scaled == pytest.approx(plain, rel=5e-3, abs=2e-3)
    louder, flipped = values(3 * estimate, clean, noisy), values(-estimate, clean, noisy)
    for name in TERMS:
        assert (louder[name] == pytest.approx(plain[name], abs=1e-3)) == (name in BLIND_TO_LEVEL), name
        blind = name in BLIND_TO_PHASE or name == "si-snr"
        assert (flipped[name] == pytest.approx(plain[name], abs=1e-3)) == blind, name
    assert values(estimate + 0.1, clean, noisy)["si-snr"] == pytest.approx(plain["si-snr"], abs=1e-3)


def test_batch_loss_is_the_mean_of_its_examples() -> None:
    clean, noise = signals(9000, batch=3)
    clean *= torch.tensor([[1.0], [0.01], [20.0]])
    noisy = clean + noise
    estimate = clean + 0.5 * noise
    alone = [values(estimate[i : i + 1], clean[i : i + 1], noisy[i : i + 1]) for i in range(3)]
    means = {name: float(np.mean([loss[name] for loss in alone])) for name in TERMS}
    assert values(estimate, clean, noisy) == pytest.approx(means, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_gradients_match_finite_differences(name: str) -> None:
    clean, noise = signals(6000, dtype=torch.float64)
    options = LossOptions(terms={name: 1.0})
    estimate = (clean + 0.4 * noise).requires_grad_()
    torch.autograd.backward(training_loss(estimate, clean, options, clean + noise))
    assert estimate.grad is not None
    way = estimate.grad / estimate.grad.norm()
    step = 1e-6
    with torch.no_grad():
        ends = [float(training_loss(estimate + sign * step * way, clean, options, clean + noise)) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(estimate.grad.norm()), rel=1e-3)


@pytest.mark.parametrize("samples", [MIN_SAMPLES, 511, 5000])
@pytest.mark.parametrize("case", ["estimate", "clean", "noisy", "all", "same", "loud", "faint", "far", "half"])
def test_values_and_gradients_are_finite(case: str, samples: int) -> None:
    clean, noise = signals(samples)
    estimate, noisy = clean + 0.5 * noise, clean + noise
    if case == "half":
        clean[:, samples // 2 :] = 0
        estimate[:, : samples // 2] = 0
    clean = {"clean": 0 * clean, "all": 0 * clean, "loud": 1e4 * clean, "faint": 1e-7 * clean}.get(case, clean)
    estimate = {
        "estimate": 0 * clean, "all": 0 * clean, "same": clean, "loud": 1e4 * estimate, "far": 1e5 * estimate
    }.get(case, estimate)  # fmt: skip
    noisy = 0 * noisy if case in ("noisy", "all") else noisy
    for name in TERMS:
        estimate = estimate.detach().requires_grad_()
        loss = training_loss(estimate, clean, LossOptions(terms={name: 1.0}), noisy)
        torch.autograd.backward(loss)
        assert torch.isfinite(loss), name
        assert estimate.grad is not None
        assert torch.isfinite(estimate.grad).all(), name


def test_excess_magnitudes_can_be_weighted() -> None:
    clean, noise = signals()
    plain, over = (LossOptions(terms={"compressed-magnitude": 1.0}, over=weight) for weight in (1.0, 3.0))
    for estimate, ratio in ((2 * clean, 3.0), (0.5 * clean, 1.0)):
        costs = [values(estimate, clean, options=options)["compressed-magnitude"] for options in (plain, over)]
        assert costs[1] / costs[0] == pytest.approx(ratio, rel=1e-3)
    costs = [values(clean + noise, clean, options=options)["compressed-magnitude"] for options in (plain, over)]
    assert 1 < costs[1] / costs[0] < 3


@pytest.mark.parametrize("floor_db", [-math.inf, -100.0, -55.0])
@pytest.mark.parametrize("name", TERMS)
def test_losses_without_speech_are_bounded(name: str, floor_db: float) -> None:
    """They fall with the residual noise, with gradients no larger than those of speech."""
    speech, noise = signals(8000)
    clean = 10 ** (floor_db / 20) * noise.flip(-1)
    options = LossOptions(terms={name: 1.0})

    def cost(share: float, clean: Tensor) -> tuple[float, float]:
        estimate = (clean + share * noise).requires_grad_()
        loss = training_loss(estimate, clean, options, clean + noise)
        (gradient,) = torch.autograd.grad(loss, estimate)
        assert torch.isfinite(gradient).all()
        return float(loss.detach()), float(gradient.norm() * noise.norm())

    losses, pulls = zip(*(cost(share, clean) for share in (1.0, 0.3, 0.1, 0.01, 1e-4)), strict=True)
    if name in ("pmsqe", "pesq"):
        assert losses == pulls == (0.0,) * 5
    else:
        assert list(losses) == sorted(losses, reverse=True)
        assert losses[0] > losses[2]
        faint, near = (cost(share, gain * speech) for share, gain in ((1.0, 0.3), (0.01, 1.0)))
        assert losses[0] - losses[-1] < 7 * (faint[0] - near[0])
        assert max(pulls[:4]) < (150 if name in ("lms", "multi-resolution") else 10) * max(faint[1], near[1])


@pytest.mark.parametrize("name", [name for name in TERMS if name not in ("crm", "smm")])
def test_losses_of_a_silent_target_alone_are_bounded(name: str) -> None:
    estimate = torch.from_numpy(0.1 * speechlike(8000)[:, 0]).float()[None].requires_grad_()
    loss = training_loss(estimate, torch.zeros(1, 8000), LossOptions({name: 1.0}))
    (gradient,) = torch.autograd.grad(loss, estimate)
    assert abs(loss.item()) < 200
    assert gradient.norm() < 1e3


def test_absence_of_speech_is_seen_in_the_noisy_signal() -> None:
    """Faint speech counts as speech; without a noisy signal everything does."""
    clean, noise = signals()
    options = LossOptions(terms={"pmsqe": 1.0, "pesq": 1.0})
    for gain in (1.0, 1e-3):
        heard = gain * clean
        assert min(values(heard + 0.1 * gain * noise, heard, heard + gain * noise, options).values()) > 0.01
    assert values(0.01 * noise, 1e-4 * clean, noise, options) == {"pmsqe": 0.0, "pesq": 0.0}
    assert min(float(v) for v in loss_terms(0.01 * noise, 1e-4 * clean, options).values()) > 0.1


def test_spectra_equal_those_of_the_resynthesised_signal() -> None:
    """Inconsistencies averaged out by the inverse transform do not count: a mask is judged by its audible effect."""
    clean, noise = signals()
    window = torch.hann_window(512).sqrt()
    spectrum = torch.stft(clean + noise, 512, 256, window=window, return_complex=True)
    spectrum = spectrum * torch.from_numpy(np.random.default_rng(0).uniform(0, 1, spectrum.shape)).float()
    estimate = torch.istft(spectrum, 512, 256, window=window, length=clean.shape[-1])
    again = torch.istft(torch.stft(estimate, 512, 256, window=window, return_complex=True), 512, 256, window=window,
                        length=clean.shape[-1])  # fmt: skip
    assert values(estimate, clean) == pytest.approx(values(again, clean), rel=1e-3, abs=1e-4)


def test_autocast_changes_nothing() -> None:
    clean, noise = signals(8000)
    plain = values(clean + noise, clean)
    with torch.autocast("cpu", torch.bfloat16):
        assert values(clean + noise, clean) == plain
    assert loss_terms((clean + noise).bfloat16(), clean, ALL, clean)["pesq"].dtype == torch.float32


def test_validation_results_serve_training() -> None:
    clean, noise = signals(7321)
    with torch.inference_mode():
        training_loss(clean + noise, clean, ALL, clean)
    estimate = (clean + noise).requires_grad_()
    torch.autograd.backward(training_loss(estimate, clean, ALL, clean))
    assert estimate.grad is not None


@pytest.mark.parametrize("name", ["crm", "smm", "pesq"])
def test_validation_gives_losses_what_they_need(name: str, tiny_model: DCCRN) -> None:
    clean, noise = (signal[0].numpy() for signal in signals(8000, batch=1))
    figures = validate(tiny_model, [Pair("one", clean + noise, clean)], LossOptions(terms={name: 1.0}))
    assert 0 < figures["loss"] < 10


def test_power_spectra_and_gradients_equal_torch() -> None:
    signal, window = torch.randn(2, 3000, dtype=torch.float64, requires_grad=True), torch.hann_window(512).double()
    got = power_spectra(signal, window)
    complex_ = torch.stft(signal, 512, 256, window=window, center=False, return_complex=True)
    want = torch.view_as_real(complex_).square().sum(-1).transpose(1, 2)
    torch.testing.assert_close(got, want)
    weight = torch.randn_like(got)
    gradients = [torch.autograd.grad((weight * power).sum(), signal)[0] for power in (got, want)]
    torch.testing.assert_close(*gradients)
