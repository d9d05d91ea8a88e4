"""Bundled models."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dccrn_cli.errors import CheckpointError
from dccrn_cli.utils.paths import is_file, is_folder

if TYPE_CHECKING:
    from dccrn_cli.nn.config import NetworkConfig
    from dccrn_cli.nn.network import SpectralNetwork

DEFAULT_MODEL = "dccrn"
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class BundledModel:
    """A bundled model: its name, file and provenance."""

    name: str
    path: Path
    config: NetworkConfig
    provenance: dict[str, Any]


def models_folder() -> Path:
    """Folder of the bundled models: inside an installed package, or beside it in a checkout."""
    package = Path(str(resources.files("dccrn_cli")))
    inside = package / "pretrained"
    return inside if is_folder(inside) else package.parent / "pretrained"


def model_names() -> list[str]:
    """Names of the bundled models."""
    return sorted(path.name.removesuffix(SUFFIX) for path in models_folder().glob(f"*{SUFFIX}"))


def find_model(model: str | os.PathLike[str] | None = None) -> Path:
    """Find the file of a model given by bundled name or path; None means the default.

    Raises:
        CheckpointError: neither a bundled name nor a file.
    """
    wanted = DEFAULT_MODEL if model is None else os.fspath(model)
    bundled = models_folder() / f"{wanted}{SUFFIX}"
    if os.sep not in wanted and is_file(bundled):
        return bundled
    if is_file(wanted):
        return Path(wanted)
    names = ", ".join(model_names()) or "none"
    raise CheckpointError(f"no model {wanted!r}: neither a file nor a bundled model ({names})")


def portable_name(model: str | os.PathLike[str] | None = None) -> str:
    """A name by which every process and machine finds a model: the bundled name or an absolute path.

    Raises:
        CheckpointError: neither a bundled name nor a file.
    """
    path = find_model(model)
    return path.stem if path.parent == models_folder() else str(path.absolute())


def is_onnx(path: Path) -> bool:
    """Whether a model file was written by `dccrn export`, by its first bytes, whatever its name.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})", path) from None
    # A safetensors file starts with eight bytes of length and JSON, an ONNX file with its version as field 1.
    return start[8:9] != b"{" and (start[:1] == b"\x08" or path.suffix.lower() == ".onnx")


def load_model(name_or_path: str | os.PathLike[str] | None = None) -> SpectralNetwork:
    """Load a network by the name of a bundled model or the path of a model file.

    Args:
        name_or_path: one of `available_models()`, or a path; None for the default.

    Returns:
        The network, in evaluation mode and full precision, on the CPU.

    Raises:
        CheckpointError: neither a bundled name nor a file, or the file is damaged.
    """
    from dccrn_cli.nn import checkpoint

    return checkpoint.load_checkpoint(find_model(name_or_path))[0]


def available_models() -> list[str]:
    """Names of the bundled models, the default first."""
    return [model.name for model in bundled_models()]


def bundled_models() -> list[BundledModel]:
    """All bundled models, the default first."""
    from dccrn_cli.nn.checkpoint import read_metadata

    models = []
    for name in sorted(model_names(), key=lambda name: (name != DEFAULT_MODEL, name)):
        path = models_folder() / f"{name}{SUFFIX}"
        models.append(BundledModel(name, path, *read_metadata(path)))
    return models
