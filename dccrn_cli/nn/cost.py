"""Size and computational cost of a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dccrn_cli.nn.base import SAMPLE_RATE, NetworkConfig
from dccrn_cli.nn.build import build_network
from dccrn_cli.nn.layers import ComplexConv
from dccrn_cli.nn.network import Timeline

_FRAMES = 8


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters in a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs_per_second(config: NetworkConfig) -> float:
    """Real multiply-accumulates per second of mono audio.

    Counts convolutions (at output positions), transposed convolutions (at input positions; counting
    output positions would double them), LSTM and linear layers, and the STFT as matrix products.
    Norms, activations and the mask are not counted.
    """
    with torch.device("meta"):
        network = build_network(config).eval()
        spectrum = torch.empty(1, 2, config.n_fft // 2 + 1, _FRAMES)
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        counts.append(_macs(module, inputs[0], output))

    for module in network.modules():
        module.register_forward_hook(count)
    network.core(network.features(spectrum[:, :, network.first_bin :]), Timeline())
    stft = 2 * config.win_length * (config.n_fft + 2)
    return (sum(counts) / _FRAMES + stft) * SAMPLE_RATE / config.hop_length


def _macs(module: nn.Module, x: Tensor, y: Any) -> int:
    """Multiply-accumulates of one call; `y` is a tensor, except for LSTMs."""
    if isinstance(module, nn.LSTM):
        weights = sum(weight.numel() for name, weight in module.named_parameters() if name.startswith("weight"))
        return x.numel() // x.shape[-1] * weights
    if isinstance(module, nn.Linear):
        return x.numel() // x.shape[-1] * module.weight.numel()
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return int(y.numel()) // int(y.shape[1]) * module.weight.numel()
    if isinstance(module, nn.ConvTranspose2d):
        return x.shape[0] * x.shape[2] * int(y.shape[-1]) * module.weight.numel()
    if isinstance(module, ComplexConv):
        bins = int((x if module.transposed else y).shape[2])
        return x.shape[0] * bins * int(y.shape[-1]) * 4 * module.real_weight.numel()
    return 0
