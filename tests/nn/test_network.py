"""The network: shapes, STFT, variants, causality, level."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from conftest import SMALL_PRESETS, TINY, lively, speechlike
from hypothesis import given, settings
from hypothesis import strategies as st

from dccrn_cli.errors import CheckpointError, OptionError
from dccrn_cli.nn.config import DCCRN_PRESETS, PRESETS, DCCRNConfig, MaskKind, config_from_dict, preset
from dccrn_cli.nn.cost import count_parameters, macs_per_second
from dccrn_cli.nn.dccrn import DCCRN, multiply_mask
from dccrn_cli.nn.layers import ComplexBatchNorm, ComplexConv, DualPath, PReLU
from dccrn_cli.nn.net2net import widen
from dccrn_cli.nn.network import Timeline
from dccrn_cli.nn.stft import STFT

STFTS = [
    DCCRNConfig(),
    PRESETS["dccrn-lstm-small"],
    DCCRNConfig(win_length=480, hop_length=160, window="sqrt_hann"),
    DCCRNConfig(win_length=320, hop_length=160),
]


@pytest.mark.parametrize("config", STFTS, ids=lambda c: f"{c.win_length}-{c.hop_length}-{c.window}")
@given(length=st.integers(1, 3000))
@settings(max_examples=30, deadline=None)
def test_stft_reconstructs_any_length(config: DCCRNConfig, length: int) -> None:
    stft = STFT(config)
    x = torch.randn(2, length, generator=torch.Generator().manual_seed(length))
    y = stft.synthesise(stft.analyse(stft.pad(x)), length)
    # Where only the end of a Hann window covers the last samples, dividing by its square costs precision.
    torch.testing.assert_close(y, x, atol=2e-4, rtol=0)


def test_stft_window_starts_with_the_frame() -> None:
    config = DCCRNConfig()
    x = torch.randn(1, 400, dtype=torch.float64).float()
    got = STFT(config).analyse(x)[0, :, :, 0]
    expected = torch.fft.rfft(torch.nn.functional.pad(x[0] * torch.hann_window(400), (0, 112)))
    torch.testing.assert_close(got, torch.view_as_real(expected).T, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_preserve_any_length(name: str) -> None:
    model = lively(preset(name))
    for length in (1, 2, 99, 100, 101, 399, 1000):
        with torch.inference_mode():
            y = model(torch.randn(2, length) * 0.1)
        assert y.shape == (2, length)
        assert torch.isfinite(y).all()


@pytest.mark.parametrize(
    ("name", "gmacs"), [("dccrn-e", 6.07), ("dccrn-cl", 8.57)]
)  # measured by others on the authors' code
def test_cost_of_the_papers_networks(name: str, gmacs: float) -> None:
    assert macs_per_second(preset(name)) / 1e9 == pytest.approx(gmacs, rel=0.02)


def test_size_of_the_small_preset() -> None:
    assert count_parameters(DCCRN(DCCRN_PRESETS["dccrn-small"])) < 200_000


@pytest.mark.parametrize("mask", ["R", "C", "E", "M"])
@pytest.mark.parametrize("complex_rnn", [False, True])
def test_new_network_is_close_to_the_identity(mask: MaskKind, complex_rnn: bool) -> None:
    torch.manual_seed(0)
    model = DCCRN(dataclasses.replace(TINY, mask=mask, complex_rnn=complex_rnn)).eval()
    x = torch.from_numpy(speechlike(8000).T)
    x = x - x.mean()
    with torch.inference_mode():
        y = model(x)
    correlation = torch.corrcoef(torch.cat([x, y]))[0, 1]
    assert correlation > 0.95


def test_magnitude_mask_keeps_the_phase() -> None:
    torch.manual_seed(0)
    mask, spectrum = torch.randn(2, 1, 2, 16, 5).unbind()
    masked = multiply_mask(mask, spectrum, "M")
    turned = torch.complex(*masked.unbind(1)) / torch.complex(*spectrum.unbind(1))
    torch.testing.assert_close(turned.real, torch.complex(*mask.unbind(1)).abs())
    torch.testing.assert_close(turned.imag, torch.zeros_like(turned.imag), atol=1e-5, rtol=0)


@pytest.mark.parametrize("look_ahead", [0, 2, 6])
def test_output_depends_on_the_future_only_within_the_look_ahead(look_ahead: int) -> None:
    model = lively(dataclasses.replace(TINY, look_ahead=look_ahead, level_tracking=True))
    x = torch.from_numpy(speechlike(12_000).T)
    changed = x.clone()
    at = 8_000
    changed[:, at:] += 0.1
    with torch.inference_mode():
        moved = (model(x) - model(changed)).abs()[0]
    first = int(moved.nonzero()[0])
    assert at - model.config.latency_samples <= first
    assert first < at - look_ahead * model.config.hop_length + model.config.hop_length


def test_output_follows_the_input_gain() -> None:
    model = lively(TINY)
    x = torch.from_numpy(speechlike(16_000).T)
    with torch.inference_mode():
        y = model(x)
        for gain in (10 ** (-42 / 20), 3.0):
            torch.testing.assert_close(model(x * gain) / gain, y, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_silence_stays_silence(name: str) -> None:
    with torch.inference_mode():
        assert not lively(preset(name))(torch.zeros(1, 5000)).any()


def test_complex_convolution_equals_complex_arithmetic() -> None:
    layer = ComplexConv(4, 6, (5, 2))
    x = torch.randn(2, 4, 16, 7)
    z = torch.complex(*x.chunk(2, 1))
    weight = torch.complex(layer.real_weight, layer.imag_weight)
    padded = torch.nn.functional.pad(z, (1, 0))
    expected = torch.nn.functional.conv2d(padded, weight, stride=(2, 1), padding=(2, 0))
    got = torch.complex(*layer(x, Timeline()).chunk(2, 1))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_complex_batch_norm_whitens() -> None:
    torch.manual_seed(0)
    norm = ComplexBatchNorm(4, momentum=1.0).train()
    real = 3 * torch.randn(8, 2, 16, 20) + 1
    x = torch.cat([real, 0.5 * real + torch.randn_like(real) - 2], 1)
    y = norm(x)
    for index in range(2):
        parts = torch.stack([y[:, index].flatten(), y[:, index + 2].flatten()])
        torch.testing.assert_close(torch.cov(parts), torch.eye(2), atol=1e-3, rtol=0)
        torch.testing.assert_close(parts.mean(1), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(norm.eval()(x), y, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": ()}, "empty"),
        ({"channels": (3, 4)}, "even"),
        ({"n_fft": 500}, "divisible"),
        ({"hop_length": 300}, "hop_length"),
        ({"look_ahead": 7}, "look_ahead"),
        ({"mask": "X"}, "mask"),
    ],
)
def test_invalid_configurations_are_rejected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        dataclasses.replace(DCCRNConfig(), **change)


def test_configuration_round_trip() -> None:
    for config in PRESETS.values():
        assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(CheckpointError):
        config_from_dict({"colour": "blue"})
    assert config_from_dict({"rnn_units": 8}) == DCCRNConfig(rnn_units=8)  # files that predate the other architectures
    with pytest.raises(OptionError, match="dccrn-cl"):
        preset("dccrn-x")


@pytest.mark.parametrize("name", ["dccrn-lstm-small", "dccrn", "dccrn-e"])
def test_widened_network_computes_the_same_function(name: str) -> None:
    narrow = lively(SMALL_PRESETS[name]).eval()
    assert isinstance(narrow, DCCRN)
    small = narrow.config
    config = dataclasses.replace(
        small, channels=tuple(2 * c + 2 for c in small.channels), rnn_units=small.rnn_units + 6
    )
    dual = small.dual_path_blocks > 0
    if dual:
        config = dataclasses.replace(
            config, intra_units=small.intra_units + 2, dual_path_blocks=small.dual_path_blocks + 1
        )
    wide = widen(narrow, config)
    assert wide.config == config
    signal = 0.1 * torch.randn(2, 5000)
    with torch.no_grad():
        before, after = narrow(signal), wide(signal)
    change = 10 * torch.log10((after - before).square().sum() / before.square().sum())
    assert change < (-20 if dual else -100)  # layer norms over more channels differ slightly

    optimizer = torch.optim.SGD(wide.train().parameters(), lr=0.1)
    for _ in range(2):  # new weights take effect after the first step
        optimizer.zero_grad()
        wide(signal).square().sum().backward()
        optimizer.step()
    gradient = wide.encoder[1].get_parameter("conv.real_weight").grad
    assert gradient is not None
    assert all(kernel.abs().sum() > 0 for kernel in gradient[small.channels[1] // 2 :])
    with pytest.raises(OptionError, match="wider"):
        widen(wide, small)


def test_weights_transfer_to_another_look_ahead() -> None:
    model = lively(SMALL_PRESETS["dccrn"])
    assert isinstance(model, DCCRN)
    config = dataclasses.replace(model.config, look_ahead=0)
    assert all(torch.equal(a, b) for a, b in zip(widen(model, config).parameters(), model.parameters(), strict=True))


def test_prelu_and_its_gradients_equal_torch() -> None:
    ours, theirs = PReLU(0.3), torch.nn.PReLU(init=0.3)
    x = torch.randn(2, 8, 6, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    ways = torch.randn(2, 16, 6, 5)[:, ::2]  # strides different from those of x
    for layer in (ours, theirs):
        layer(x).backward(ways)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 2 * torch.autograd.grad(theirs(x), x, ways)[0])


def test_concatenation_keeps_real_and_imaginary_halves() -> None:
    """A complex convolution of two features is the sum of those of each."""
    both = ComplexConv((4, 6), 8, (5, 2))
    first, second = ComplexConv(4, 8, (5, 2)), ComplexConv(6, 8, (5, 2))
    x, y = torch.randn(2, 4, 16, 7), torch.randn(2, 6, 16, 7)
    with torch.no_grad():
        for name in ("real_weight", "imag_weight"):
            joined = torch.cat([getattr(layer, name) for layer in (first, second)], dim=1)
            getattr(both, name).copy_(joined)
        want = first(x, Timeline()) + second(y, Timeline())
        torch.testing.assert_close(both(torch.cat([x, y], 1), Timeline()), want)
        torch.testing.assert_close(both.as_real()(torch.cat([x, y], 1), Timeline()), want)


@torch.no_grad()
def test_dual_path_in_bfloat16_is_close_to_float32() -> None:
    layer, x = DualPath(8, 4, 6, 8), torch.randn(2, 8, 4, 20)
    want = layer(x, Timeline())
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(x.bfloat16(), Timeline())
    assert got.dtype == torch.bfloat16
    assert float((got.float() - want).square().mean() / want.square().mean()) < 1e-4
