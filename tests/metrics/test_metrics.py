"""Metrics agree with their reference packages, and reject what they cannot measure."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pesq
import pystoi
import pytest
import soxr
from conftest import speechlike

from dccrn_cli.errors import OptionError
from dccrn_cli.metrics import (
    DEFAULT_METRICS,
    METRICS,
    MetricError,
    cbak,
    covl,
    csig,
    estoi,
    lsd,
    measure_pair,
    pause_attenuation,
    pesq_nb,
    pesq_raw,
    pesq_wb,
    score_pair,
    segmental_snr,
    select_metrics,
    si_snr,
    si_snr_improvement,
    snr,
    stoi,
)
from dccrn_cli.metrics.utterances import count_utterances

Measure = Callable[..., float]
MEASURES: list[Measure] = [
    si_snr, snr, segmental_snr, pesq_wb, pesq_nb, pesq_raw, stoi, estoi, lsd, csig, cbak, covl
]  # fmt: skip
NEED_SOUND: list[Measure] = [si_snr, pesq_wb, pesq_nb, pesq_raw, stoi, estoi, csig, cbak, covl]
WITHOUT_NETWORK = [name for name in METRICS if not name.startswith(("dnsmos", "pause"))]


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    clean = speechlike(48_000)[:, 0]
    return clean, clean + 0.02 * rng.standard_normal(len(clean)).astype(np.float32)


def bursts(count: int, sample_rate: int = 16_000) -> np.ndarray:
    """`count` bursts of 0.4 s of noise, each followed by 0.6 s of near silence."""
    rng = np.random.default_rng(0)
    gate = np.arange(count * sample_rate) % sample_rate < 0.4 * sample_rate
    return rng.standard_normal(len(gate)) * np.where(gate, 0.1, 1e-5)


def test_values_equal_those_of_the_packages(pair: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = pair
    assert pesq_wb(clean, noisy) == pytest.approx(pesq.pesq(16_000, clean, noisy, "wb"), abs=1e-6)
    assert pesq_nb(clean, noisy) == pytest.approx(pesq.pesq(16_000, clean, noisy, "nb"), abs=1e-6)
    assert pesq_nb(clean, noisy, 8000) == pytest.approx(pesq.pesq(8000, clean, noisy, "nb"), abs=1e-6)
    assert stoi(clean, noisy) == pytest.approx(pystoi.stoi(clean, noisy, 16_000), abs=1e-6)
    assert estoi(clean, noisy) == pytest.approx(pystoi.stoi(clean, noisy, 16_000, extended=True), abs=1e-6)


def test_raw_pesq_maps_onto_the_narrow_band_scale(pair: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = pair
    raw = pesq_raw(clean, noisy)
    assert 0.999 + 4 / (1 + math.exp(4.6607 - 1.4945 * raw)) == pytest.approx(pesq_nb(clean, noisy), abs=1e-12)
    assert pesq_raw(clean, clean) == pytest.approx(4.5, abs=1e-5)


def test_si_snr(rng: np.random.Generator) -> None:
    clean = rng.standard_normal(16_000)
    noise = rng.standard_normal(16_000)
    clean, noise = clean - clean.mean(), noise - noise.mean()
    noise -= noise @ clean / (clean @ clean) * clean
    noise *= np.linalg.norm(clean) / np.linalg.norm(noise) / 10
    assert si_snr(clean, clean + noise) == pytest.approx(20, abs=1e-6)
    assert si_snr(clean, -0.3 * (clean + noise) + 5) == pytest.approx(20, abs=1e-6)
    assert si_snr(clean, clean) > 100
    assert si_snr_improvement(clean, clean + noise, clean + 10 * noise) == pytest.approx(20, abs=1e-6)


def test_si_snr_equals_torchmetrics() -> None:
    # scale_invariant_signal_distortion_ratio(zero_mean=True) and signal_noise_ratio of torchmetrics 1.9.0.
    rng = np.random.default_rng(5)
    clean = rng.standard_normal(8000) + 0.2
    estimate = 0.5 * clean + 0.3 * rng.standard_normal(8000) - 0.1
    assert si_snr(clean, estimate) == pytest.approx(4.304954071, abs=1e-6)
    assert snr(clean, estimate) == pytest.approx(4.286609865, abs=1e-6)


def test_snr_is_sensitive_to_level() -> None:
    clean = np.sin(np.arange(16_000) / 5)
    assert snr(clean, 0.9 * clean) == pytest.approx(20)
    assert snr(clean, 0 * clean) == pytest.approx(0)
    assert segmental_snr(clean, 0.9 * clean) == pytest.approx(20)
    assert segmental_snr(clean, clean) == 35
    assert segmental_snr(clean, 100 * clean) == -10


def test_log_spectral_distance() -> None:
    clean = np.random.default_rng(0).standard_normal(16_000)
    assert lsd(clean, clean) == 0
    assert lsd(clean, 10 * clean) == pytest.approx(20, abs=0.01)
    assert lsd(clean, 10 * clean, 48_000) == pytest.approx(20, abs=0.01)


def test_attenuation_in_pauses(rng: np.random.Generator) -> None:
    clean = speechlike(32_000)[:, 0] * (np.arange(32_000) % 8192 < 5120)
    noise = 0.1 * rng.standard_normal(32_000)
    assert pause_attenuation(clean, clean + 0.1 * noise, clean + noise) == pytest.approx(-20, abs=0.01)
    assert pause_attenuation(clean, 0.5 * (clean + noise), clean + noise) == pytest.approx(-6.02, abs=0.01)
    assert pause_attenuation(clean, clean, clean + noise) == -120
    faint = clean + 1e-6 * rng.standard_normal(32_000)
    assert pause_attenuation(faint, clean + 0.1 * noise, clean + noise) == pytest.approx(-20, abs=0.1)
    loud_start = clean + noise * (np.arange(32_000) < 4096)
    assert pause_attenuation(clean, clean, clean + 0.1 * noise + loud_start - clean) == -120
    with pytest.raises(MetricError, match="no pauses with noise"):
        pause_attenuation(noise, noise, noise)
    with pytest.raises(MetricError, match="no pauses with noise"):
        pause_attenuation(clean, clean, clean)
    with pytest.raises(MetricError, match="shorter than 32 ms"):
        pause_attenuation(noise[:511], noise[:511], noise[:511])


@pytest.mark.parametrize("measure", MEASURES)
def test_undefined_measurements_are_errors(measure: Measure, pair: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = pair
    for reference, estimate in (
        (np.zeros(48_000), noisy),
        (1e-30 * clean.astype(np.float64), noisy),
        (clean, noisy[:-1]),
        (clean, np.where(np.arange(48_000) == 5, np.nan, noisy)),
        (np.where(np.arange(48_000) == 5, np.inf, clean), noisy),
        (1e200 * clean.astype(np.float64), noisy),
        (clean[:, None], noisy[:, None]),
        (clean[:0], noisy[:0]),
        ((1000 * clean).astype(np.int64), (1000 * noisy).astype(np.int64)),
    ):
        with pytest.raises(MetricError):
            measure(reference, estimate)


@pytest.mark.parametrize("measure", NEED_SOUND)
def test_silence_and_constants_are_errors(measure: Measure, pair: tuple[np.ndarray, np.ndarray]) -> None:
    clean, _ = pair
    flat = np.full(48_000, 0.5)
    for reference, estimate, reason in (
        (clean, 0 * clean, "estimate is silent"),
        (clean, flat, "estimate is constant"),
        (flat, clean, "reference is constant"),
    ):
        with pytest.raises(MetricError, match=reason):
            measure(reference, estimate)


def test_too_short() -> None:
    x = speechlike(1600)[:, 0]
    with pytest.raises(MetricError, match=r"0\.25 s"):
        pesq_wb(x, x)
    with pytest.raises(MetricError, match="minimum for STOI"):
        stoi(x, x)
    with pytest.raises(MetricError, match="minimum for STOI"):
        estoi(x[:300], x[:300])
    with pytest.raises(MetricError, match="38 ms"):
        segmental_snr(x[:599], x[:599])
    with pytest.raises(MetricError, match="32 ms"):
        lsd(x[:511], x[:511])


def test_wrong_rate_is_an_error_without_output(
    pair: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    for measure, rate in ((pesq_wb, 8000), (pesq_nb, 44_100), (pesq_raw, 11_025), (csig, 48_000)):
        with pytest.raises(MetricError, match="16000 Hz"):
            measure(*pair, rate)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (pesq.NoUtterancesError(b"No utterances detected"), "PESQ found no utterance"),
        (pesq.OutOfMemoryError(b"Out of memory"), "PESQ failed: OutOfMemoryError"),
        (ValueError("cannot convert float NaN to integer"), "almost silent"),
    ],
)
def test_pesq_errors_become_reasons(
    error: Exception, reason: str, pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise error

    monkeypatch.setattr(pesq, "pesq", fail)
    for measure in (pesq_wb, pesq_nb, pesq_raw, covl):
        with pytest.raises(MetricError, match=reason):
            measure(*pair)
    monkeypatch.setattr(pesq, "pesq", lambda *_: math.nan)
    with pytest.raises(MetricError, match="no result"):
        pesq_wb(*pair)


@pytest.mark.parametrize("sample_rate", [8000, 16_000])
@pytest.mark.parametrize("count", [1, 25, 60])
def test_utterances_are_counted(count: int, sample_rate: int) -> None:
    assert count_utterances(bursts(count, sample_rate), sample_rate) == count


def test_signals_too_long_for_pesq_are_rejected() -> None:
    x = bursts(60)
    with pytest.raises(MetricError, match="60 utterances"):
        pesq_wb(x, x)
    assert pesq_wb(x[: 30 * 16_000], x[: 30 * 16_000]) > 4
    x = bursts(601, 8000)
    with pytest.raises(MetricError, match="10 minutes"):
        pesq_nb(x, x, 8000)


def test_registry() -> None:
    assert tuple(METRICS) == (
        "si_snr", "si_snr_improvement", "snr", "segmental_snr", "pesq_wb", "pesq_nb", "pesq_raw", "stoi", "estoi",
        "lsd", "pause_attenuation", "csig", "cbak", "covl", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl",
    )  # fmt: skip
    assert [metric.name for metric in select_metrics(reversed(DEFAULT_METRICS))] == list(DEFAULT_METRICS)
    assert {name for name, metric in METRICS.items() if not metric.higher_is_better} == {"lsd", "pause_attenuation"}
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)
    with pytest.raises(OptionError, match="unknown metric mos, pesq; choose from si_snr, "):
        select_metrics(["stoi", "pesq", "mos"])


@pytest.mark.parametrize(("own", "rate"), [(8000, 8000), (16_000, 16_000), (11_025, 16_000), (48_000, 16_000)])
def test_rates(own: int, rate: int) -> None:
    assert METRICS["pesq_nb"].rate_for(own) == rate
    assert METRICS["pesq_wb"].rate_for(own) == 16_000
    assert METRICS["stoi"].rate_for(own) == own


def test_score_pair_equals_the_single_metrics(pair: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = pair
    values = score_pair(clean, noisy, 16_000, WITHOUT_NETWORK, noisy=noisy)
    assert list(values) == WITHOUT_NETWORK
    assert values.pop("si_snr_improvement") == 0
    for measure in MEASURES:
        assert values.pop(measure.__name__) == pytest.approx(measure(clean, noisy), abs=1e-9)
    assert not values
    assert list(score_pair(clean, noisy, 16_000)) == list(DEFAULT_METRICS)


def test_shared_work_is_done_once(pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    original = pesq.pesq

    def watched(*args: Any) -> Any:
        modes.append(args[-1])
        return original(*args)

    monkeypatch.setattr(pesq, "pesq", watched)
    score_pair(*pair, 16_000, WITHOUT_NETWORK)
    assert modes == ["wb", "nb"]


def test_channels_are_averaged_and_resampled(pair: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = (soxr.resample(signal, 16_000, 44_100) for signal in pair)
    stereo = np.stack([noisy, clean + 0.5 * (noisy - clean)], axis=1)
    both = score_pair(np.stack([clean, clean], axis=1), stereo, 44_100, WITHOUT_NETWORK, noisy=stereo)
    each = [score_pair(clean, side, 44_100, WITHOUT_NETWORK, noisy=side) for side in stereo.T]
    for name, value in both.items():
        assert value == pytest.approx((each[0][name] + each[1][name]) / 2, abs=1e-6)  # type: ignore[operator]
    assert both["stoi"] == pytest.approx(np.mean([stoi(clean, side, 44_100) for side in stereo.T]), abs=1e-6)
    wide = soxr.resample(clean, 44_100, 16_000), soxr.resample(noisy, 44_100, 16_000)
    assert each[0]["pesq_wb"] == pytest.approx(pesq_wb(*wide), abs=1e-3)


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 44_100])
def test_reasons(pair: tuple[np.ndarray, np.ndarray], sample_rate: int) -> None:
    clean, noisy = pair
    score = measure_pair(clean, np.full(48_000, 0.25, np.float32), sample_rate, WITHOUT_NETWORK)
    assert [name for name, value in score.values.items() if value is not None] == ["snr", "segmental_snr", "lsd"]
    assert score.reasons.pop("si_snr_improvement") == "there is no noisy signal"
    assert set(score.reasons.values()) == {"the estimate is constant"}
    score = measure_pair(0 * clean, noisy, sample_rate, WITHOUT_NETWORK, noisy=noisy)
    assert set(score.values.values()) == {None}
    assert set(score.reasons.values()) == {"the reference is silent"}
    assert set(measure_pair(None, noisy, sample_rate).reasons.values()) == {"there is no reference"}
    assert pickle.loads(pickle.dumps(score)) == score


def test_reason_names_the_channel(pair: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = pair
    stereo = np.stack([clean, 0 * clean], axis=1)
    score = measure_pair(stereo, np.stack([noisy, noisy], axis=1), 16_000)
    assert score.values == dict.fromkeys(DEFAULT_METRICS)
    assert set(score.reasons.values()) == {"channel 2: the reference is silent"}


def test_signals_of_different_shapes(pair: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = pair
    for reference, estimate in (
        (clean[:-1], noisy),
        (np.stack([clean, clean], axis=1), noisy),
        (clean[None, None], noisy[None, None]),
        (clean[:0], noisy[:0]),
        ((1000 * clean).astype(np.int64), noisy),
    ):
        with pytest.raises(MetricError):
            measure_pair(reference, estimate, 16_000)
    with pytest.raises(MetricError, match="expected the estimate"):
        measure_pair(clean, noisy, 16_000, noisy=noisy[1:])


@pytest.mark.parametrize("gain", [1e-8, 1e-4, 1.0, 1e4])
def test_ratios_are_scale_invariant(gain: float) -> None:
    rng = np.random.default_rng(3)
    clean = rng.standard_normal(16_000)
    close, far = clean + 1e-3 * rng.standard_normal(16_000), rng.standard_normal(16_000)
    for measure in (si_snr, snr, segmental_snr):
        for estimate in (close, far, clean):
            assert measure(gain * clean, gain * estimate) == pytest.approx(measure(clean, estimate), abs=1e-6)
    assert si_snr(clean, gain * close) == pytest.approx(si_snr(clean, close), abs=1e-6)
    assert si_snr(gain * clean, close) == pytest.approx(59.9, abs=0.3)
    assert snr(clean, clean) == si_snr(clean, 3 * clean) == 150.0


def test_orthogonal_estimate_is_finite() -> None:
    time = np.arange(16_000) / 16_000
    assert -150.0 <= si_snr(np.sin(2 * np.pi * 100 * time), np.cos(2 * np.pi * 100 * time)) < -120
