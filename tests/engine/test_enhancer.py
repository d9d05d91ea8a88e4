"""The engine: any block sizes give the whole-file result, at any sample rate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from conftest import TINY, lively, speechlike
from hypothesis import given, settings
from hypothesis import strategies as st

from dccrn_cli import Enhancer
from dccrn_cli.audio.resample import Resampler
from dccrn_cli.engine.enhance_options import HighBand
from dccrn_cli.engine.overlap_add import SpectralEnhancer
from dccrn_cli.engine.stream import StreamingNetwork
from dccrn_cli.errors import CheckpointError, InvalidSamples, OptionError
from dccrn_cli.nn.config import DCCRN_PRESETS, NetworkConfig
from dccrn_cli.nn.dccrn import DCCRN

TOLERANCE = 1e-5


def stream(enhancer: Enhancer, x: np.ndarray, sizes: list[int]) -> np.ndarray:
    out, start = [], 0
    for size in sizes:
        out.append(enhancer.process(x[start : start + size], axis=0))
        start += size
    assert start >= len(x)
    return np.concatenate([*out, enhancer.flush()])


VARIANTS: dict[str, NetworkConfig] = {
    "paper-e": dataclasses.replace(DCCRN_PRESETS["dccrn-e"], channels=(8, 8, 8, 8, 8, 8), rnn_units=16),
    "paper-cl": dataclasses.replace(DCCRN_PRESETS["dccrn-cl"], channels=(8, 8, 8, 8, 8, 8), rnn_units=16),
    "complex-norm": dataclasses.replace(
        DCCRN_PRESETS["dccrn-c"], channels=(8, 8, 8, 8, 8, 8), rnn_units=8, complex_norm=True
    ),
    "small": TINY,
    "no-look-ahead": dataclasses.replace(TINY, look_ahead=0),
    "some-look-ahead": dataclasses.replace(TINY, look_ahead=3),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_stream_equals_the_network_on_the_whole_signal(variant: str) -> None:
    model = lively(VARIANTS[variant])
    enhancer = Enhancer(model, precision="fp32")
    for frames in (1, 130, 1000, 9001):
        x = speechlike(frames, channels=2)
        with torch.inference_mode():
            expected = model(torch.from_numpy(x.T.copy())).T.numpy()
        np.testing.assert_allclose(enhancer(x, axis=0), expected, atol=TOLERANCE)
        for size in (7, 100, 1000, 16_000):
            np.testing.assert_allclose(stream(enhancer, x, [size] * -(-frames // size)), expected, atol=TOLERANCE)


def test_blocks_of_one_sample() -> None:
    x = speechlike(3000)[:, 0]
    enhancer = Enhancer(lively(TINY), precision="fp32")
    np.testing.assert_allclose(stream(enhancer, x, [1] * 3000), enhancer(x), atol=TOLERANCE)


@pytest.mark.parametrize("high_band", ["gate", "keep", "drop"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [8000, 16_000, 22_050, 44_100, 48_000])
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_any_blocks_at_any_rate(sample_rate: int, channels: int, high_band: HighBand, data: st.DataObject) -> None:
    frames = data.draw(st.integers(1, sample_rate))
    x = speechlike(frames, sample_rate, channels, seed=frames)
    enhancer = Enhancer(lively(TINY), sample_rate, high_band, precision="fp32")
    whole = enhancer(x, axis=0)
    assert whole.shape == x.shape
    assert whole.dtype == np.float32
    sizes, left = [], frames
    while left > 0:
        sizes.append(data.draw(st.sampled_from([1, 7, 100, 1000, 16_000])))
        left -= sizes[-1]
        if len(sizes) > 50:
            sizes.append(max(left, 0))
            break
    np.testing.assert_allclose(stream(enhancer, x, sizes), whole, atol=TOLERANCE)


@pytest.mark.parametrize(
    "sample_rate", [2000, 3001, 8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]
)
def test_latency_bounds_the_lag(sample_rate: int) -> None:
    enhancer = Enhancer(lively(TINY), sample_rate, precision="fp32")
    x = speechlike(sample_rate * 2, sample_rate)
    received = emitted = 0
    for start in range(0, len(x), 331):
        block = x[start : start + 331]
        received += len(block)
        emitted += len(enhancer.process(block))
        assert emitted >= received - enhancer.latency
    emitted += len(enhancer.flush())
    assert emitted == received


@pytest.mark.parametrize(
    "rates", [(44_100, 16_000), (8000, 16_000), (16_000, 2000), (2000, 16_000), (16_000, 192_000), (11_025, 16_000)]
)
def test_resampler_delay_is_small(rates: tuple[int, int]) -> None:
    resampler = Resampler(*rates, 1)
    received = emitted = 0
    for _ in range(300):
        received += 101
        emitted += len(resampler.process(np.zeros((101, 1), np.float32)))
        assert received - emitted * rates[0] / rates[1] <= resampler.latency


def test_high_band() -> None:
    """An identity network shows what the bands do: keep and gate pass all, drop stops at 8 kHz."""
    model = DCCRN(TINY)
    with torch.no_grad():
        for name in ("real_weight", "imag_weight"):
            getattr(model.decoder[-1].conv, name).zero_()
    rate = 48_000
    time = np.arange(rate) / rate
    low, high = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 15_000 * time)
    x = (0.3 * low + 0.1 * high).astype(np.float32)
    middle = slice(rate // 4, -rate // 4)
    for mode in ("keep", "gate"):
        np.testing.assert_allclose(Enhancer(model, rate, mode)(x)[middle], x[middle], atol=2e-3)
    dropped = Enhancer(model, rate, "drop")(x)
    np.testing.assert_allclose(dropped[middle], 0.3 * low[middle], atol=2e-3)


def test_gate_follows_the_networks_gain() -> None:
    """A network that halves everything halves the high band too when gated, and not when kept."""
    model = DCCRN(TINY)
    with torch.no_grad():
        last = dict(model.decoder[-1].named_parameters())
        for name in ("real", "imag"):
            last[f"conv.{name}_weight"].zero_()
            last[f"conv.{name}_bias"].mul_(0.5)
    rng = np.random.default_rng(0)
    x = (0.1 * rng.standard_normal(48_000)).astype(np.float32)
    np.testing.assert_allclose(Enhancer(model, 48_000, "gate")(x)[9000:-9000], 0.5 * x[9000:-9000], atol=5e-3)
    kept = Enhancer(model, 48_000, "keep")(x)
    assert np.abs(kept - 0.5 * x)[9000:-9000].max() > 0.05


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 44_100])
def test_silence_stays_silence(sample_rate: int) -> None:
    enhancer = Enhancer(lively(TINY), sample_rate, precision="fp32")
    assert not enhancer(np.zeros((sample_rate, 2), np.float32)).any()


def test_silence_after_speech_becomes_silent() -> None:
    x = speechlike(32_000)[:, 0]
    x[16_000:] = 0
    assert not Enhancer(lively(TINY), precision="fp32")(x)[16_000 + TINY.win_length :].any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_samples_are_rejected_with_their_time(value: float) -> None:
    x = speechlike(48_000)
    x[24_000] = value
    enhancer = Enhancer(lively(TINY), precision="fp32")
    with pytest.raises(InvalidSamples, match=r"at 1\.500 s"):
        enhancer(x)
    enhancer.process(x[:20_000])
    with pytest.raises(InvalidSamples, match=r"at 1\.500 s"):
        enhancer.process(x[20_000:])
    clean = speechlike(4000)
    np.testing.assert_array_equal(enhancer(clean), Enhancer(lively(TINY), precision="fp32")(clean))  # no state remains


def test_reset_starts_anew() -> None:
    enhancer = Enhancer(lively(TINY), 44_100, precision="fp32")
    x = speechlike(44_100, 44_100)
    first = enhancer(x)
    enhancer.process(x[:10_000])
    enhancer.reset()
    np.testing.assert_array_equal(enhancer(x), first)


def test_empty_signals() -> None:
    enhancer = Enhancer(lively(TINY), precision="fp32")
    assert enhancer(np.zeros(0, np.float32)).shape == (0,)
    assert enhancer(np.zeros((0, 2), np.float32)).shape == (0, 2)
    assert enhancer.flush().shape == (0,)


def test_stream_memory_is_bounded() -> None:
    core = SpectralEnhancer(StreamingNetwork(lively(TINY), precision="fp32"))
    sizes = []
    for _ in range(6):
        core.process(speechlike(20_000))
        held = [core._input, *(tensor for kept in core._stream._state or () for tensor in kept)]
        sizes.append(sum(t.untyped_storage().nbytes() for t in held if t is not None))
    # The input waiting for a whole frame may vary by less than a hop.
    assert max(sizes[1:]) - min(sizes[1:]) < 4 * TINY.hop_length


def test_invalid_arguments_are_reported() -> None:
    enhancer = Enhancer(lively(TINY), precision="fp32")
    with pytest.raises(OptionError, match="floating point"):
        enhancer(np.zeros(10, np.int64))
    with pytest.raises(OptionError, match="channels"):
        enhancer.process(np.zeros((10, 2), np.float32))
        enhancer.process(np.zeros((10, 1), np.float32))
    with pytest.raises(OptionError, match="high_band"):
        Enhancer(lively(TINY), 44_100, "some")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="not supported"):
        Enhancer(lively(TINY), 10)
    with pytest.raises(CheckpointError, match="neither a file nor a bundled model"):
        Enhancer("no-such-model")


def test_many_channels_are_independent_in_bounded_memory(tiny_model: DCCRN) -> None:
    signal = np.concatenate([speechlike(4000, seed=seed) for seed in range(20)], axis=1)
    got = Enhancer(tiny_model)(signal, axis=0)
    assert got.shape == signal.shape
    for channel in (0, 7, 8, 19):
        alone = Enhancer(tiny_model)(signal[:, channel])
        np.testing.assert_allclose(got[:, channel], alone, atol=1e-5)
    stages = []
    network = StreamingNetwork(tiny_model)
    advance = network.advance
    network.advance = lambda pieces: (stages.append(sum(piece.rows for piece in pieces)), advance(pieces))[1]  # type: ignore[method-assign, func-returns-value]
    Enhancer(network)(signal, axis=0)
    assert max(stages) == 8
    assert sum(stages) >= 20


def test_linked_channels_preserve_panning(tiny_model: DCCRN) -> None:
    """Each bin of all channels gets one gain, so what is common to the channels keeps its ratio between them."""
    shared = speechlike(16_000)
    panned = np.concatenate([shared, 0.6 * shared], axis=1)
    got = Enhancer(tiny_model, link_channels=True)(panned)
    np.testing.assert_allclose(got[:, 1], 0.6 * got[:, 0], atol=1e-5)
    assert np.abs(got).max() > 0.01
    # From the sum of the energies: the first channel alone decides where the second is silent.
    alone = np.concatenate([shared, 0 * shared], axis=1)
    one = Enhancer(tiny_model, link_channels=True)(alone)
    assert not one[:, 1].any()
    noisy = np.concatenate([shared, speechlike(16_000, seed=5)[:, :1] * 0.3], axis=1)
    apart, together = (Enhancer(tiny_model, link_channels=link)(noisy) for link in (False, True))
    assert np.abs(apart - together).max() > 1e-3
    enhancer = Enhancer(tiny_model, link_channels=True)
    blocks = [enhancer.process(noisy[start : start + 777], axis=0) for start in range(0, 16_000, 777)]
    np.testing.assert_allclose(np.concatenate([*blocks, enhancer.flush()]), together, atol=1e-5)
