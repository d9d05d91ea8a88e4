"""A wider network that starts as the same function as a narrower one (Net2Net, Chen et al. 2016)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from dccrn_cli.errors import OptionError
from dccrn_cli.nn.config import DCCRNConfig, NetworkConfig
from dccrn_cli.nn.dccrn import DCCRN
from dccrn_cli.nn.layers import ComplexConv, RealLSTM
from dccrn_cli.nn.network import ConvBlock, SpectralNetwork

_SHARE_RANGE = (0.2, 0.8)
"""Copies of a channel share its outgoing weights unevenly, or they would learn the same for ever."""


def widen(model: SpectralNetwork, config: NetworkConfig, seed: int = 0) -> DCCRN:
    """Copy channels and LSTM units of a trained network until they fill a wider configuration.

    The result gives the same output, to float rounding, and can be trained on from there.

    Args:
        model: the narrower network.
        config: the wider one; it may differ in `channels` and `rnn_units` only.
        seed: sets how the copies share their outgoing weights.

    Raises:
        OptionError: the configurations differ in more, one is not wider, or one is no DCCRN.
    """
    if not (isinstance(model, DCCRN) and isinstance(config, DCCRNConfig)):
        raise OptionError("only a DCCRN can be widened; a network of another kind starts from one of its own sizes")
    old = model.config
    alike = dataclasses.replace(old, channels=config.channels, rnn_units=config.rnn_units)
    plain = config.skip == "concat" and not (config.complex_rnn or config.complex_norm or config.dual_path_blocks)
    if alike != config or len(old.channels) != len(config.channels) or not plain:
        raise OptionError(
            "only channels and LSTM units can be widened, with a plain LSTM, plain norms and concatenated skips"
        )
    sizes = [*zip(old.channels, config.channels, strict=True), (old.rnn_units, config.rnn_units)]
    if any(wide < narrow for narrow, wide in sizes):
        raise OptionError("the network to start from is wider than the one to be trained")

    rng = torch.Generator().manual_seed(seed)
    wide = DCCRN(config)
    halves = [_copies(narrow // 2, new // 2) for narrow, new in sizes[:-1]]
    ends = torch.arange(old.input_channels // 2), torch.arange(1)

    inputs = ends[0]
    for source, target, outputs in zip(model.encoder, wide.encoder, halves, strict=True):
        _widen_layer(source, target, inputs, outputs, rng)
        inputs = outputs
    (rnn,), (wide_rnn,) = model.bottleneck, wide.bottleneck
    assert isinstance(rnn, RealLSTM)
    assert isinstance(wide_rnn, RealLSTM)
    _widen_lstm(rnn, wide_rnn, _features(halves[-1], old), _copies(*sizes[-1]), rng)
    for depth, (source, target) in enumerate(zip(model.decoder, wide.decoder, strict=True)):
        skip = halves[-1 - depth]
        outputs = halves[-2 - depth] if depth + 1 < len(halves) else ends[1]
        joined = torch.cat([skip, skip + old.channels[-1 - depth] // 2])
        _widen_layer(source, target, joined, outputs, rng)
    return wide.train(model.training)


def _copies(narrow: int, wide: int) -> Tensor:
    """For each of the wide channels the narrow one that it copies."""
    return torch.arange(wide) % narrow


def _features(half: Tensor, config: DCCRNConfig) -> Tensor:
    """The same for the features of a frame: real channels, then imaginary, each with its bins."""
    channels = torch.cat([half, half + config.channels[-1] // 2])
    bins = config.inner_bins
    return (channels[:, None] * bins + torch.arange(bins)).flatten()


def _spread(weight: Tensor, outputs: Tensor, inputs: Tensor, rng: torch.Generator) -> Tensor:
    """`(out, in, ...)` to the wider size; the copies of an input share its weight among them."""
    copied = weight[outputs][:, inputs]
    low, high = _SHARE_RANGE
    shares = low + (high - low) * torch.rand(len(outputs), len(inputs), generator=rng)
    total = torch.zeros(len(outputs), weight.shape[1]).index_add_(1, inputs, shares)
    return copied * (shares / total[:, inputs]).reshape(*shares.shape, *[1] * (weight.dim() - 2))


@torch.no_grad()
def _widen_layer(source: nn.Module, target: nn.Module, inputs: Tensor, outputs: Tensor, rng: torch.Generator) -> None:
    assert isinstance(source, ConvBlock)
    assert isinstance(target, ConvBlock)
    kernel, wide_kernel = source.conv, target.conv
    assert isinstance(kernel, ComplexConv)
    for name in ("real_weight", "imag_weight"):
        weight = getattr(kernel, name).transpose(0, 1) if kernel.transposed else getattr(kernel, name)
        # Each part's shares are its own: the sum over copies is what stays the same.
        spread = _spread(weight, outputs, inputs, rng)
        getattr(wide_kernel, name).copy_(spread.transpose(0, 1) if kernel.transposed else spread)
    for name in ("real_bias", "imag_bias"):
        getattr(wide_kernel, name).copy_(getattr(kernel, name)[outputs])
    if isinstance(norm := source.norm, nn.BatchNorm2d):
        both = torch.cat([outputs, outputs + norm.num_features // 2])
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(target.norm, name).copy_(getattr(norm, name)[both])
    target.activation.load_state_dict(source.activation.state_dict())


@torch.no_grad()
def _widen_lstm(source: RealLSTM, target: RealLSTM, features: Tensor, units: Tensor, rng: torch.Generator) -> None:
    narrow = source.lstm.hidden_size
    gates = torch.cat([units + gate * narrow for gate in range(4)])
    for layer in range(source.lstm.num_layers):
        inputs = features if layer == 0 else units
        for name, columns in ((f"weight_ih_l{layer}", inputs), (f"weight_hh_l{layer}", units)):
            getattr(target.lstm, name).copy_(_spread(getattr(source.lstm, name), gates, columns, rng))
        for name in (f"bias_ih_l{layer}", f"bias_hh_l{layer}"):
            getattr(target.lstm, name).copy_(getattr(source.lstm, name)[gates])
    target.linear.weight.copy_(_spread(source.linear.weight, features, units, rng))
    target.linear.bias.copy_(source.linear.bias[features])
