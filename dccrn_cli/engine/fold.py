"""The inference copy of a network: norms folded into convolutions, complex kernels as real ones."""

from __future__ import annotations

import copy
from typing import get_args

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dccrn_cli.engine.enhance_options import Precision as Precision
from dccrn_cli.errors import OptionError
from dccrn_cli.nn.layers import ComplexBatchNorm, ComplexConv, PReLU
from dccrn_cli.nn.network import ConvBlock, RealTimeConv, SpectralNetwork

_EXACT_CONVS = 2
"""Number of convolutions that stay in float32. The second costs 2 % of the time and gains up to 4 dB."""


def pick_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Choose the dtype of convolutions.

    "auto" is bfloat16 on a CPU with instructions for it and float32 elsewhere.

    Raises:
        OptionError: unknown precision.
    """
    if precision not in get_args(Precision):
        raise OptionError(f"precision must be auto, fp32 or bf16, not {precision!r}")
    if precision == "auto":
        return torch.bfloat16 if device.type == "cpu" and _multiplies_bf16() else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _multiplies_bf16() -> bool:
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)


def fold(network: SpectralNetwork, device: torch.device, dtype: torch.dtype = torch.float32) -> SpectralNetwork:
    """Copy a trained network so that it computes the same with fewer and faster operations.

    Args:
        network: of any architecture.
        device: device of the copy.
        dtype: dtype of convolutions but the first two. Recurrent layers stay in float32 as well, since their
            rounding would depend on how a stream is cut into pieces.
    """
    folded = copy.deepcopy(network).cpu().eval().requires_grad_(False).double()  # some devices lack float64
    for block in list(folded.modules()):
        if isinstance(block, ConvBlock):
            _fold_block(block)
    folded = folded.float().to(device)
    convs = [module for module in folded.modules() if isinstance(module, RealTimeConv)]
    for conv in convs[:_EXACT_CONVS]:
        conv.dtypes = torch.float32, dtype
    for conv in convs[_EXACT_CONVS:]:
        conv.to(dtype)
    for module in folded.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return folded


def _fold_block(block: ConvBlock) -> None:
    conv = block.conv.as_real() if isinstance(block.conv, ComplexConv) else block.conv
    assert isinstance(conv, RealTimeConv)
    block.conv = conv
    layer = conv.conv
    if isinstance(block.norm, nn.BatchNorm2d | ComplexBatchNorm):
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        if isinstance(block.norm, ComplexBatchNorm):
            _fold_complex_norm(layer, block.norm)
        else:
            conv.conv = fuse_conv_bn_eval(layer, block.norm, transpose=isinstance(layer, nn.ConvTranspose2d))
        block.norm = nn.Identity()
    if isinstance(block.activation, PReLU):
        block.activation = nn.LeakyReLU(float(block.activation.weight.detach()))
    if isinstance(block.activation, nn.LeakyReLU | nn.ELU):
        block.activation.inplace = True


def _fold_complex_norm(conv: nn.Conv2d | nn.ConvTranspose2d, norm: ComplexBatchNorm) -> None:
    assert conv.bias is not None
    matrix, shift = norm.affine()
    equation = "oc,ic...->io..." if isinstance(conv, nn.ConvTranspose2d) else "oc,ci...->oi..."
    conv.weight = nn.Parameter(torch.einsum(equation, matrix, conv.weight), requires_grad=False)
    conv.bias = nn.Parameter(matrix @ conv.bias + shift, requires_grad=False)
