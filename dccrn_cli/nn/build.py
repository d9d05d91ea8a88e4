"""Builds networks from configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
