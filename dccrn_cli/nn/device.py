"""Devices for networks."""

from __future__ import annotations

import torch

from dccrn_cli.errors import OptionError


def pick_device(name: str | torch.device) -> torch.device:
    """Find a device by name.

    Args:
        name: `cpu`, `cuda`, `cuda:1` … or `mps`; `auto` is `cuda` if torch finds a CUDA device, otherwise
            `cpu`, and never `mps`, which must be requested. A `torch.device` is returned unchanged.

    Raises:
        OptionError: the device is unknown or unavailable.
    """
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind, _, index = name.partition(":")
    if not present.get(kind, False) or (index and not (index.isdecimal() and int(index) < _device_count(kind))):
        raise OptionError(f"device {name!r} is not available")
    return torch.device(name)


def _device_count(kind: str) -> int:
    return torch.cuda.device_count() if kind == "cuda" else 1
