"""Real-time enhancement without an audio device."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import speechlike

from dccrn_cli import Enhancer, LiveOptions
from dccrn_cli.engine.live import choice
from dccrn_cli.engine.live.choice import choose_model, measure_load
from dccrn_cli.engine.live.realtime import LivePipe
from dccrn_cli.engine.live.recorder import Recording
from dccrn_cli.errors import OptionError
from dccrn_cli.nn.cost import macs_per_second

RATE, BLOCK = 16_000, 512


class Slow(Enhancer):
    """Blocks while `gate` is not set."""

    gate: threading.Event

    def process(self, block: Any, axis: int | None = None) -> Any:
        self.gate.wait(20)
        return super().process(block, axis)


def play(pipe: LivePipe, signal: np.ndarray, step: int = BLOCK // 2) -> np.ndarray:
    """A whole signal, as fast as the network allows."""
    out = []
    for start in range(0, len(signal), step):
        # The callback never waits, so the test waits until all final output is available.
        deadline = time.monotonic() + 20
        block = signal[start : start + step]
        while pipe._ready.available < len(block) and pipe.error is None and time.monotonic() < deadline:
            time.sleep(0.001)
        played = np.full_like(block, np.nan)
        pipe.exchange(block, played)
        out.append(played)
    return np.concatenate(out)


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
def test_live_result_equals_file_result_at_the_stated_delay(tiny_model_file: Path, rate: int, channels: int) -> None:
    signal = speechlike(rate * 2, rate, channels).reshape(-1, channels)
    enhancer = Enhancer(tiny_model_file, rate, low_latency=True)
    with LivePipe(enhancer, channels, BLOCK) as pipe:
        played = play(pipe, signal)
    assert pipe.error is None
    assert pipe.status().missing_s == 0.0
    assert played[: pipe.delay].any() == np.False_
    whole = Enhancer(tiny_model_file, rate, low_latency=True)(signal)
    np.testing.assert_allclose(played[pipe.delay :], whole[: len(signal) - pipe.delay], atol=2e-6)


def test_short_resampling_filters_agree_with_long_ones(tiny_model_file: Path) -> None:
    signal = speechlike(96_000, 48_000)
    short, long = Enhancer(tiny_model_file, 48_000, low_latency=True), Enhancer(tiny_model_file, 48_000)
    assert long.latency - short.latency > 48 * 50
    error = np.square(short(signal) - long(signal)).mean() / np.square(long(signal)).mean()
    assert error < 1e-4


def test_late_network_gives_silence_without_added_delay(tiny_model_file: Path) -> None:
    signal = speechlike(40 * BLOCK, RATE).reshape(-1, 1)
    enhancer = Slow(tiny_model_file, RATE)
    enhancer.gate = threading.Event()
    with LivePipe(enhancer, 1, BLOCK) as pipe:
        played = np.zeros_like(signal)
        half = len(signal) // 2
        for start in range(0, half, BLOCK):  # while the network is blocked
            pipe.exchange(signal[start : start + BLOCK], played[start : start + BLOCK])
        assert pipe.status().missing_s == (half - pipe.delay) / RATE
        assert not played[:half].any()
        enhancer.gate.set()
        while pipe._ready.available < half - pipe.delay:
            time.sleep(0.001)
        played[half:] = play(pipe, signal[half:], BLOCK)
    whole = Enhancer(tiny_model_file, RATE)(signal)
    np.testing.assert_allclose(played[half:], whole[half - pipe.delay : len(signal) - pipe.delay], atol=2e-6)


def test_bypass_has_the_same_delay(tiny_model_file: Path) -> None:
    signal = speechlike(RATE, RATE).reshape(-1, 1) * 0.5
    with LivePipe(Enhancer(tiny_model_file, RATE), 1, BLOCK) as pipe:
        pipe.bypass = True
        played = play(pipe, signal)
    np.testing.assert_array_equal(played[pipe.delay + 200 :], signal[200 : len(signal) - pipe.delay])
    assert np.abs(np.diff(played[:, 0])).max() <= 2 * np.abs(np.diff(signal[:, 0])).max()


def test_network_error_is_raised(tiny_model_file: Path) -> None:
    bad = np.full((BLOCK, 1), np.nan, np.float32)
    with LivePipe(Enhancer(tiny_model_file, RATE), 1, BLOCK) as pipe:
        pipe.exchange(bad, np.zeros_like(bad))
    assert "NaN" in str(pipe.error)


def test_recording_is_aligned_and_complete(tiny_model_file: Path, tmp_path: Path) -> None:
    signal = speechlike(20_000, RATE).reshape(-1, 1) * 0.5
    path = tmp_path / "both.wav"
    with (
        Recording(path, RATE, 1) as recording,
        LivePipe(Enhancer(tiny_model_file, RATE), 1, BLOCK, recording.add) as pipe,
    ):
        play(pipe, signal)
    got, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(got[:, 0], signal[:, 0], atol=2e-7)
    whole = Enhancer(tiny_model_file, RATE)(signal)[:, 0]
    np.testing.assert_allclose(got[400:, 1], whole[400:], atol=2e-6)
    with pytest.raises(OptionError, match="already exists"):
        Recording(path, RATE, 1)


def test_no_input_leaves_no_recording(tmp_path: Path) -> None:
    with Recording(tmp_path / "both.flac", RATE, 1):
        pass
    assert list(tmp_path.iterdir()) == []


def test_too_slow_model_is_rejected_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = {"dccrn": 0.9, "dccrn-small": 0.5}

    def build(name: str) -> Any:
        return type("Named", (), {"name": name, "sample_rate": RATE})()

    monkeypatch.setattr(choice, "measure_load", lambda enhancer, channels, block: loads[enhancer.name])
    assert choose_model("dccrn-small", build, 1, BLOCK).model == "dccrn-small"
    chosen = choose_model(None, build, 1, BLOCK)
    assert (chosen.model, chosen.load) == ("dccrn-small", 0.5)
    loads["dccrn"] = 0.3
    assert choose_model(None, build, 1, BLOCK).model == "dccrn"  # 80 ms before 128 ms
    loads.update({"dccrn": 1.25, "dccrn-small": 1.5})
    with pytest.raises(OptionError, match=r"dccrn takes 1\.25 s .* blocks of 32 ms; dccrn-small takes 1\.50 s"):
        choose_model(None, build, 1, BLOCK)
    for wanted, other in (("dccrn", "dccrn-small"), ("dccrn-small", "dccrn")):
        costs = {name: macs_per_second(choice._config(name)) for name in (wanted, other)}
        remedy = f"--model {other}" if costs[other] < costs[wanted] else "no bundled model is smaller"
        with pytest.raises(OptionError, match=remedy):
            choose_model(wanted, build, 1, BLOCK)


def test_load_measurement_leaves_no_state(tiny_model_file: Path) -> None:
    enhancer = Enhancer(tiny_model_file, RATE)
    assert 0.0 < measure_load(enhancer, 1, BLOCK) < 20.0
    signal = speechlike(8000)
    np.testing.assert_array_equal(enhancer(signal), Enhancer(tiny_model_file, RATE)(signal))


@pytest.mark.parametrize("block_ms", [1, 32, 160, 500, 900, 1000])
def test_load_does_not_depend_on_the_block(block_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    class Timed:
        """Takes 0.4 s per second of audio, and 1 s more for the first block."""

        sample_rate = RATE
        extra_s = 1.0

        def process(self, block: np.ndarray, axis: int) -> None:
            nonlocal now_s
            now_s += 0.4 * len(block) / RATE + self.extra_s
            self.extra_s = 0.0

        def reset(self) -> None:
            pass

    monkeypatch.setattr("dccrn_cli.engine.live.choice.time.perf_counter", lambda: now_s)
    timed: Any = Timed()
    assert measure_load(timed, 1, RATE * block_ms // 1000) == pytest.approx(0.4)


@pytest.mark.parametrize("wrong", [{"block_ms": 0}, {"channels": 3}, {"mix": 2.0}])
def test_invalid_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        LiveOptions(**wrong)
