"""Checkpoints: one safetensors file with half-precision weights, and configuration and provenance as metadata."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from dccrn_cli.errors import CheckpointError
from dccrn_cli.nn.build import build_network, network_shapes
from dccrn_cli.nn.config import NetworkConfig, config_from_dict
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.utils.paths import is_file
from dccrn_cli.utils.storage import write_whole

FORMAT = "dccrn-1"

_RENAMED = (
    (r"^(encoder|decoder)\.(\d+)\.0\.", r"\1.\2.conv."),
    (r"^(encoder|decoder)\.(\d+)\.1\.", r"\1.\2.norm."),
    (r"^(encoder|decoder)\.(\d+)\.2\.", r"\1.\2.activation."),
    (r"^rnn\.", "bottleneck.0."),
    (r"\.conv\.conv\.(real|imag)_", r".conv.\1_"),
)
"""Tensor names in files written before all networks shared the same blocks, and their current names."""


def save_model(
    model: SpectralNetwork,
    path: str | os.PathLike[str],
    provenance: Mapping[str, Any] | None = None,
    *,
    half: bool = True,
) -> None:
    """Write a model atomically.

    Args:
        model: the network.
        path: the file to write.
        provenance: origin of the weights as plain data (training data, recipe, figures, licence).
        half: store the weights in half precision.

    Raises:
        OptionError: the path is a folder.
        StorageError: the file cannot be written.
    """
    # Vectors (biases, norms and their statistics) take little space and span more decades than half precision.
    tensors = {
        name: (tensor.half() if half and tensor.dim() > 1 and "running" not in name else tensor)
        .detach()
        .cpu()
        .contiguous()
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }
    metadata = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict()),
        # File names in it may not be valid text.
        "provenance": json.dumps(dict(provenance or {}), ensure_ascii=False).encode(errors="replace").decode(),
    }
    write_whole(path, _in_order(safetensors_bytes(tensors, metadata)))


def _in_order(content: bytes) -> bytes:
    """The file with its metadata sorted; the library leaves their order undefined."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[SpectralNetwork, dict[str, Any]]:
    """Read a model, in evaluation mode and full precision, with its provenance.

    Raises:
        CheckpointError: the file is missing, damaged, or not a network of this package.
    """
    metadata, tensors = _read(path, with_tensors=True)
    config, provenance = _config(metadata, path), _provenance(metadata, path)
    try:
        model = build_filled(config, {_current_name(name): tensor for name, tensor in tensors.items()})
    except CheckpointError as error:
        raise CheckpointError(error.message, path) from None
    return model.eval(), provenance


def _current_name(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def build_filled(config: NetworkConfig, state: Mapping[str, Tensor]) -> SpectralNetwork:
    """Build a network with these weights in full precision, checking sizes before allocating memory.

    Raises:
        CheckpointError: a tensor is missing, unexpected, of the wrong shape or type, or not finite.
    """
    try:
        expected = network_shapes(config)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"impossible sizes ({type(error).__name__})") from None
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    if names := [*missing, *(name for name in state if name not in expected)]:
        raise CheckpointError(f"missing or unexpected weights: {', '.join(names[:3])}")
    for name, tensor in state.items():
        if tuple(tensor.shape) != expected[name]:
            found = f"{list(tensor.shape)} instead of {list(expected[name])}"
            raise CheckpointError(f"weights do not fit the configuration ({name} is {found})")
        # A view may declare any size.
        if tensor.is_sparse or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise CheckpointError(f"{name} is shorter than its shape")
        if not tensor.is_floating_point():
            raise CheckpointError(f"{name} is not a floating-point tensor")
    model = build_network(config)
    fill(model, {name: tensor.float() for name, tensor in state.items()})
    return model


def fill(model: SpectralNetwork, state: Mapping[str, Tensor]) -> None:
    """Load tensors into a model.

    Raises:
        CheckpointError: a tensor is missing, unexpected, of the wrong shape, or not finite.
    """
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name} contains NaN or infinite weights")
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"weights do not fit the configuration ({reason})") from None
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        names = ", ".join([*missing, *unexpected][:3])
        raise CheckpointError(f"missing or unexpected weights: {names}")


def read_metadata(path: str | os.PathLike[str]) -> tuple[NetworkConfig, dict[str, Any]]:
    """Read the configuration and provenance of a model file without its weights.

    Raises:
        CheckpointError: the file is missing, damaged, or not a network of this package.
    """
    metadata, _ = _read(path, with_tensors=False)
    return _config(metadata, path), _provenance(metadata, path)


def _read(path: str | os.PathLike[str], *, with_tensors: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not is_file(path):
        raise CheckpointError("no such model file", path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        hint = "; use `dccrn convert` for models from the paper authors' code" if is_pickled(path) else ""
        raise CheckpointError(f"not a model file ({error}){hint}", path) from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError("not a dccrn model; use `dccrn convert` for models from the paper authors' code", path)
    return metadata, tensors


def is_pickled(path: str | os.PathLike[str]) -> bool:
    """Whether a file looks written by `torch.save`, by its first bytes or its name."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read(4) in (b"PK\x03\x04", b"\x80\x02\x8a\x0a"):
            return True
    return Path(path).suffix.lower() in (".pth", ".pt", ".ckpt", ".bin")


def _config(metadata: Mapping[str, str], path: str | os.PathLike[str]) -> NetworkConfig:
    try:
        return config_from_dict(json.loads(metadata["config"]))
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"unreadable configuration ({error})", path) from None
    except CheckpointError as error:
        raise CheckpointError(error.message, path) from None


def _provenance(metadata: Mapping[str, str], path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        provenance = json.loads(metadata.get("provenance", "{}"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"unreadable provenance ({error})", path) from None
    if not isinstance(provenance, dict):
        raise CheckpointError("unreadable provenance", path)
    return provenance
