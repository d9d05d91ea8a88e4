"""Reads models made with the paper authors' public code (huyanxin/DeepComplexCRN)."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from dccrn_cli.errors import CheckpointError, OptionError
from dccrn_cli.nn.checkpoint import build_filled
from dccrn_cli.nn.config import DCCRNConfig
from dccrn_cli.nn.dccrn import DCCRN
from dccrn_cli.nn.stft import STFT

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_MAX_WRAPPERS = 8
_KERNEL_TOLERANCE = 1e-4

_RULES = (
    (r"(encoder|decoder)\.(\d+)\.0\.(real|imag)_conv\.(weight|bias)", r"\1.\2.conv.\3_\4"),
    (r"(encoder|decoder)\.(\d+)\.1\.(weight|bias|running_mean|running_var)", r"\1.\2.norm.\3"),
    (r"(encoder|decoder)\.(\d+)\.2\.weight", r"\1.\2.activation.weight"),
    (r"enhance\.(weight|bias)_(ih|hh)_l(\d+)", r"bottleneck.0.lstm.\1_\2_l\3"),
    (r"tranform\.(weight|bias)", r"bottleneck.0.linear.\1"),
    (r"enhance\.(\d+)\.(real|imag)_lstm\.(\w+)", r"bottleneck.0.\2.\1.\3"),
    (r"enhance\.\d+\.r_trans\.(weight|bias)", r"bottleneck.0.real_linear.\1"),
    (r"enhance\.\d+\.i_trans\.(weight|bias)", r"bottleneck.0.imag_linear.\1"),
)

_COMPLEX_NORM = {
    "weight": ("Wrr", "Wri", "Wii"),
    "bias": ("Br", "Bi"),
    "running_mean": ("RMr", "RMi"),
    "running_cov": ("RVrr", "RVri", "RVii"),
}


def read_reference(path: str | os.PathLike[str], preset: DCCRNConfig) -> DCCRN:
    """Build a DCCRN from a state dict in the authors' layout.

    Args:
        path: a file written by `torch.save`; only its tensors are read.
        preset: supplies the mask and the STFT, which a state dict does not record; channels, units and
            the complex variants are inferred from the tensors.

    Raises:
        CheckpointError: the file is unreadable or not in that layout.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError("no such model file", path) from None
    except Exception as error:  # a damaged file fails in many ways inside torch
        raise CheckpointError(f"not a file of tensors written by torch.save ({type(error).__name__})", path) from None
    try:
        return from_reference(loaded, preset)
    except CheckpointError as error:
        raise CheckpointError(error.message, path) from None


def from_reference(state: object, preset: DCCRNConfig) -> DCCRN:
    """Build a DCCRN from a state dict in the authors' layout.

    Args:
        state: the state dict, bare or inside a training checkpoint.
        preset: supplies the mask and the STFT, which a state dict does not record.

    Raises:
        CheckpointError: the state dict is not in that layout.
        OptionError: the preset is not one of the paper's networks.
    """
    if preset.input_channels != 2 or preset.compression != 1.0 or preset.level_tracking:
        raise OptionError("that preset is not in the authors' code; use dccrn-r, dccrn-c, dccrn-e or dccrn-cl")
    state = _unwrap(state)
    if not isinstance(state, Mapping):
        raise CheckpointError(f"expected a state dict, found a {type(state).__name__}")
    tensors = {
        key.removeprefix("module."): value
        for key, value in state.items()
        if isinstance(key, str) and isinstance(value, Tensor) and not key.endswith("num_batches_tracked")
    }
    kernel = tensors.pop("stft.weight", None)
    tensors = {key: value for key, value in tensors.items() if not key.startswith("istft.")}
    config = _infer_config(tensors, preset)
    if kernel is not None:
        _check_kernel(kernel, config)
    converted, unknown = _rename(tensors)
    if unknown:
        raise CheckpointError(f"unknown tensors, such as {unknown[0]}")
    model = build_filled(config, converted)
    assert isinstance(model, DCCRN)
    return model.eval()


def _unwrap(state: object) -> object:
    """Extract the state dict from the wrappers that training scripts save it in."""
    for _ in range(_MAX_WRAPPERS):  # one may hold itself
        if not isinstance(state, Mapping):
            break
        inner = [state[key] for key in _WRAPPERS if isinstance(state.get(key), Mapping)]
        if not inner:
            break
        state = inner[0]
    return state


def _infer_config(tensors: Mapping[str, Tensor], preset: DCCRNConfig) -> DCCRNConfig:
    channels: list[int] = []
    while (kernel := tensors.get(f"encoder.{len(channels)}.0.real_conv.weight")) is not None:
        channels.append(2 * kernel.shape[0] if kernel.dim() else 0)
    complex_rnn = "enhance.0.real_lstm.weight_hh_l0" in tensors
    recurrent = tensors.get("enhance.0.real_lstm.weight_hh_l0" if complex_rnn else "enhance.weight_hh_l0")
    if not channels or recurrent is None or recurrent.dim() != 2:
        raise CheckpointError("not in the layout of the authors' code: no encoder or no LSTM")
    pattern = r"enhance\.(\d+)\.real_lstm\.weight_hh_l0" if complex_rnn else r"enhance\.weight_hh_l(\d+)"
    layers = sum(1 for key in tensors if re.fullmatch(pattern, key))
    if 0 in channels:
        raise CheckpointError("not in the layout of the authors' code: a kernel without channels")
    return dataclasses.replace(
        preset,
        channels=tuple(channels),
        rnn_units=recurrent.shape[1] * (2 if complex_rnn else 1),
        rnn_layers=layers,
        complex_rnn=complex_rnn,
        complex_norm="encoder.0.1.Wrr" in tensors,
        look_ahead=len(channels),
    )


def _check_kernel(kernel: Tensor, config: DCCRNConfig) -> None:
    ours = STFT(config).analysis.T[:, None]
    if kernel.shape != ours.shape or (kernel - ours).abs().max() > _KERNEL_TOLERANCE:
        raise CheckpointError("its STFT (window, sizes) differs from the preset's")


def _rename(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    converted: dict[str, Tensor] = {}
    unknown: list[str] = []
    for key, value in tensors.items():
        for pattern, target in _RULES:
            if re.fullmatch(pattern, key):
                converted[re.sub(pattern, target, key)] = value
                break
        else:
            unknown.append(key)
    norms = sorted({key.rpartition(".")[0] for key in unknown if key.endswith(".Wrr")})
    for norm in norms:
        converted_norm = norm.removesuffix(".1") + ".norm"
        for name, parts in _COMPLEX_NORM.items():
            keys = [f"{norm}.{part}" for part in parts]
            if all(key in tensors for key in keys):
                converted[f"{converted_norm}.{name}"] = torch.stack([tensors[key].flatten() for key in keys])
                unknown = [key for key in unknown if key not in keys]
    return converted, unknown
