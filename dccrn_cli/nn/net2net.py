"""A larger network that starts as the same function as a smaller one (after Net2Net, Chen et al. 2016)."""

from __future__ import annotations

import dataclasses
import itertools

import torch
from torch import Tensor, nn

from dccrn_cli.errors import OptionError
from dccrn_cli.nn.config import DCCRNConfig, NetworkConfig
from dccrn_cli.nn.dccrn import DCCRN
from dccrn_cli.nn.layers import ComplexConv, DualPath, RealLSTM
from dccrn_cli.nn.network import ConvBlock, SpectralNetwork

_GATES = 4


def widen(model: SpectralNetwork, config: NetworkConfig, seed: int = 0) -> DCCRN:
    """Add channels, LSTM units and dual-path blocks to a trained network.

    New weights start at random but do not affect the existing ones, so the result gives the same output and can be
    trained further. It matches to float rounding, with two exceptions: the layer norms of dual-path blocks cover
    more channels, which changes the output by about -40 dB; and with a different look-ahead, layers of the decoder
    see frames one later or earlier than they were trained on.

    Args:
        model: the smaller network.
        config: configuration of the larger network; it may differ in `channels`, `rnn_units`, `intra_units`,
            `dual_path_blocks` and `look_ahead`.
        seed: seed of the new weights.

    Raises:
        OptionError: the configurations differ in anything else, `config` is smaller somewhere, or either
            network is not a DCCRN.
    """
    if not (isinstance(model, DCCRN) and isinstance(config, DCCRNConfig)):
        raise OptionError("only a DCCRN can be widened; other networks must start from one of the same size")
    old = model.config
    names = ("channels", "rnn_units", "intra_units", "dual_path_blocks", "look_ahead")
    alike = dataclasses.replace(old, **{name: getattr(config, name) for name in names})
    same_kind = len(old.channels) == len(config.channels) and bool(old.dual_path_blocks) == bool(
        config.dual_path_blocks
    )
    if alike != config or not same_kind or config.complex_rnn or config.complex_norm:
        raise OptionError(
            "a network can be widened in channels, LSTM units and dual-path blocks only, with plain LSTMs and norms"
        )
    sizes = [*zip(old.channels, config.channels, strict=True), (old.rnn_units, config.rnn_units)]
    sizes += [(old.intra_units, config.intra_units), (old.dual_path_blocks, config.dual_path_blocks)]
    if any(wide < narrow for narrow, wide in sizes):
        raise OptionError("the initial network is wider than the one to be trained")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wide = DCCRN(config)
    for source, target in zip([*model.encoder, *model.decoder], [*wide.encoder, *wide.decoder], strict=True):
        _fill_block(source, target)
    features = _halves(old.channels[-1], config.channels[-1])
    for source, target in itertools.zip_longest(model.bottleneck, wide.bottleneck):
        if isinstance(target, DualPath):
            _fill_dual_path(source, target, features)
        else:
            _fill_lstm_bottleneck(source, target, _bins_of(features, config.inner_bins))
    return wide.train(model.training)


def _halves(narrow: int, wide: int) -> Tensor:
    """Indices of the narrow channels among the wide ones: at the start of the real and of the imaginary half."""
    half = torch.arange(narrow // 2)
    return torch.cat([half, half + wide // 2])


def _bins_of(channels: Tensor, bins: int) -> Tensor:
    """Indices of the features of a frame that belong to the given channels."""
    return (channels[:, None] * bins + torch.arange(bins)).flatten()


def _inputs(source: ComplexConv, target: ComplexConv) -> Tensor:
    """Indices of the old inputs (one half) of a convolution, which may be several features concatenated."""
    starts = itertools.accumulate((size // 2 for size in target.joined[:-1]), initial=0)
    return torch.cat([torch.arange(size // 2) + start for size, start in zip(source.joined, starts, strict=True)])


@torch.no_grad()
def _place(target: Tensor, source: Tensor, outputs: Tensor, inputs: Tensor) -> None:
    """Copy weights `(out, in, ...)` into a wider layer; the new inputs do not reach the old outputs."""
    target[outputs] = 0.0
    target[outputs[:, None], inputs] = source


def _fill_block(source: nn.Module, target: nn.Module) -> None:
    assert isinstance(source, ConvBlock)
    assert isinstance(target, ConvBlock)
    conv, wide = source.conv, target.conv
    assert isinstance(conv, ComplexConv)
    assert isinstance(wide, ComplexConv)
    outputs = torch.arange(conv.out_channels // 2)
    for name in ("real_weight", "imag_weight"):
        new: Tensor = wide.get_parameter(name)
        old: Tensor = conv.get_parameter(name)
        if conv.transposed:
            new, old = new.transpose(0, 1), old.transpose(0, 1)
        _place(new, old, outputs, _inputs(conv, wide))
    both = _halves(conv.out_channels, wide.out_channels)
    with torch.no_grad():
        for name in ("real_bias", "imag_bias"):
            wide.get_parameter(name)[outputs] = conv.get_parameter(name)
        if isinstance(norm := source.norm, nn.BatchNorm2d):
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(target.norm, name)[both] = getattr(norm, name)
    target.activation.load_state_dict(source.activation.state_dict())


def _fill_lstm(source: nn.LSTM, target: nn.LSTM, features: Tensor) -> None:
    units = torch.arange(source.hidden_size)
    gates = torch.cat([units + gate * target.hidden_size for gate in range(_GATES)])
    for name, weight in source.named_parameters():
        if name.startswith("weight"):
            inputs = features if name.startswith("weight_ih_l0") else units
            _place(target.get_parameter(name), weight, gates, inputs)
        else:
            with torch.no_grad():
                target.get_parameter(name)[gates] = weight


@torch.no_grad()
def _fill_linear(source: nn.Linear, target: nn.Linear, features: Tensor, ways: int = 1) -> None:
    units = torch.arange(source.in_features // ways)
    inputs = torch.cat([units + way * (target.in_features // ways) for way in range(ways)])
    _place(target.weight, source.weight, features, inputs)
    target.bias[features] = source.bias


def _fill_lstm_bottleneck(source: nn.Module, target: nn.Module, features: Tensor) -> None:
    assert isinstance(source, RealLSTM)
    assert isinstance(target, RealLSTM)
    _fill_lstm(source.lstm, target.lstm, features)
    _fill_linear(source.linear, target.linear, features)


@torch.no_grad()
def _fill_dual_path(source: nn.Module | None, target: DualPath, features: Tensor) -> None:
    for name, ways in (("intra", 2), ("inter", 1)):
        linear, norm = getattr(target, f"{name}_linear"), getattr(target, f"{name}_norm")
        if source is None:  # an additional block, which starts by adding nothing
            nn.init.zeros_(norm.weight)
            nn.init.zeros_(norm.bias)
            continue
        _fill_lstm(getattr(source, name), getattr(target, name), features)
        _fill_linear(getattr(source, f"{name}_linear"), linear, features, ways)
        # New channels that vary like the old ones leave the statistics of the norm almost unchanged.
        new = [channel for channel in range(linear.out_features) if channel not in set(features.tolist())]
        alike = features[torch.arange(len(new)) % len(features)]
        linear.weight[new], linear.bias[new] = linear.weight[alike], linear.bias[alike]
        for part in ("weight", "bias"):
            getattr(norm, part)[:, features] = getattr(getattr(source, f"{name}_norm"), part)
