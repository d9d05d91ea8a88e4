"""Builds networks from configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from dccrn_cli.nn.base import NetworkConfig
from dccrn_cli.nn.config import DCCRNConfig
from dccrn_cli.nn.crn import CRN
from dccrn_cli.nn.dccrn import DCCRN
from dccrn_cli.nn.dcunet import DCUNet
from dccrn_cli.nn.lstm import LSTMMask
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.nn.systems import CRNConfig, DCUNetConfig, LSTMConfig

_NETWORKS: Mapping[type[NetworkConfig], Callable[[Any], SpectralNetwork]] = {
    DCCRNConfig: DCCRN,
    CRNConfig: CRN,
    LSTMConfig: LSTMMask,
    DCUNetConfig: DCUNet,
}


def build_network(config: NetworkConfig) -> SpectralNetwork:
    """A new network with that configuration and random weights."""
    return _NETWORKS[type(config)](config)


class _NoValues(TorchFunctionMode):
    """Tensors keep whatever values they have: filling those without memory takes seconds of imports."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def network_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's tensors, found without the memory that they take.

    Raises:
        RuntimeError: a size is too large for any tensor.
    """
    with torch.device("meta"), _NoValues():
        return {name: tuple(tensor.shape) for name, tensor in build_network(config).state_dict().items()}
