"""DNSMOS: windows, outputs, and its optional packages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dccrn_cli.metrics.dnsmos as dnsmos_module
from dccrn_cli.errors import CheckpointError, MissingDependency, OptionError
from dccrn_cli.metrics import (
    MetricError,
    dnsmos_scores,
    measure_pair,
    score_pair,
)
from dccrn_cli.metrics.dnsmos import DnsmosMeter


class FakeNetwork:
    """Returns the first sample of the window, which identifies its position."""

    def __init__(self) -> None:
        self.windows: list[np.ndarray] = []

    def get_inputs(self) -> list[Any]:
        return [type("Input", (), {"name": "input_1"})]

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        (window,) = inputs["input_1"]
        self.windows.append(window)
        return [np.array([[3.0, 2.0, 1.0]], np.float32)]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    fake = FakeNetwork()
    monkeypatch.setattr(dnsmos_module, "load_network", lambda path: fake)
    return fake


def test_dnsmos_maps_the_outputs(network: FakeNetwork, rng: np.random.Generator) -> None:
    scores = dnsmos_scores(rng.standard_normal(16_000), model="model.onnx")
    assert scores.sig == pytest.approx(-0.08397278 * 9 + 1.22083953 * 3 + 0.0052439)
    assert scores.bak == pytest.approx(-0.13166888 * 4 + 1.60915514 * 2 - 0.39604546)
    assert scores.ovrl == pytest.approx(-0.06766283 + 1.11546468 + 0.04602535)


@pytest.mark.parametrize(
    ("samples", "starts"),
    [(144_160, [0]), (175_999, [0]), (176_000, [0, 1]), (16_000 * 35, [*range(7), 24, 25]), (72_080, [0])],
)
def test_dnsmos_windows(network: FakeNetwork, samples: int, starts: list[int]) -> None:
    signal = np.arange(1, samples + 1) / 1e6
    dnsmos_scores(signal, model="model.onnx")
    assert all(window.shape == (144_160,) and window.dtype == np.float32 for window in network.windows)
    assert [round(float(window[0]) * 1e6 - 1) for window in network.windows] == [16_000 * s for s in starts]


def test_dnsmos_repeats_short_signals(network: FakeNetwork) -> None:
    signal = np.arange(1, 50_001) / 1e6
    dnsmos_scores(signal, model="model.onnx")
    assert network.windows[0] == pytest.approx(np.tile(signal, 3)[:144_160])


@pytest.mark.parametrize("samples", [50_000, 144_160, 175_999, 16_000 * 35])
@pytest.mark.parametrize("size", [777, 16_000, 100_000])
def test_dnsmos_is_independent_of_blocks(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, samples: int, size: int
) -> None:
    monkeypatch.setattr(dnsmos_module, "load_network", lambda path: None)
    monkeypatch.setattr(dnsmos_module, "_run", lambda session, window: 3 + window[:3])
    signal = rng.standard_normal(samples)
    meter = DnsmosMeter("model.onnx")
    longest = 0
    for start in range(0, samples, size):
        meter.process(signal[start : start + size])
        longest = max(longest, len(meter._held))
    assert meter.scores() == pytest.approx(dnsmos_scores(signal, model="model.onnx"), rel=1e-12)
    assert longest <= 10 * 16_000 + size


def test_dnsmos_of_an_empty_signal(network: FakeNetwork) -> None:
    meter = DnsmosMeter("model.onnx")
    meter.process(np.zeros(0))
    with pytest.raises(MetricError, match="silent"):
        meter.scores()


def test_dnsmos_needs_no_reference(network: FakeNetwork, rng: np.random.Generator) -> None:
    names = ["dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl"]
    values = score_pair(None, rng.standard_normal((88_200, 2)), 44_100, names, dnsmos_model="model.onnx")
    assert all(values.values())
    assert len(network.windows) == 2 * 2  # of 2 s, repeated: those of odd and of even seconds, for all three scores
    score = measure_pair(None, np.zeros(16_000), 16_000, names, dnsmos_model="model.onnx")
    assert set(score.reasons.values()) == {"the estimate is silent"}
    with pytest.raises(MetricError, match="16000 Hz"):
        dnsmos_scores(rng.standard_normal(8000), 8000)


def test_dnsmos_without_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install speechmos.*sig_bak_ovr\.onnx"):
        dnsmos_scores(np.ones(16_000))


def test_dnsmos_finds_the_model_of_speechmos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "speechmos" / "dnsmos_models").mkdir(parents=True)
    (tmp_path / "speechmos" / "__init__.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(OptionError):
        dnsmos_module.find_dnsmos_model()
    file = tmp_path / "speechmos" / "dnsmos_models" / "sig_bak_ovr.onnx"
    file.touch()
    assert dnsmos_module.find_dnsmos_model() == file
    assert dnsmos_module.find_dnsmos_model("mine.onnx") == Path("mine.onnx")


def test_dnsmos_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependency, match=r"dccrn-cli\[dnsmos\]"):
        dnsmos_scores(np.ones(16_000), model="any.onnx")


def test_dnsmos_rejects_other_files(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(CheckpointError, match="no such file"):
        dnsmos_scores(np.ones(16_000), model=tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(CheckpointError, match="not the DNSMOS network"):
        dnsmos_scores(np.ones(16_000), model=tmp_path / "text.onnx")
