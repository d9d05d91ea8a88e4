"""Cache of earlier measurements on disk.

There is one small file per pair, named by a digest of everything its values depend on. A lost, damaged
or outdated file costs a measurement, but never gives a wrong value.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dccrn_cli import __version__
from dccrn_cli.errors import OptionError, StorageError
from dccrn_cli.metrics.registry import METRICS
from dccrn_cli.scoring.measurement import Measurement, Repairs
from dccrn_cli.utils.storage import write_whole

KEPT_DAYS = 90
"""Days after which measurements are removed when new ones are made."""

_PASSING = ("pip install", "permission denied", "no such file", "emory", "Error: ")
"""Texts in errors that may not recur on another try."""

_FORMAT = 2  # to be incremented when the measurement of a value changes within one version
_FACTS = {"notes": list, "seconds": float, "sample_rate": int, "delay_samples": int | None}


def default_folder() -> Path | None:
    """The system's folder for cached files; None for a user without a home."""
    try:
        return _user_folder() / "dccrn" / "scores"
    except RuntimeError:  # no HOME, and no such user in the user database
        return None


def _user_folder() -> Path:
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home())
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


class Store:
    """Measurements by files and repairs; any number of processes may share a folder.

    A file counts as unchanged while its path, size and modification time are.

    Args:
        folder: created on demand; None for a store that keeps nothing.
        repairs: repairs used for all measurements.
        dnsmos_model: DNSMOS model used for all measurements.
    """

    def __init__(self, folder: Path | None, repairs: Repairs, dnsmos_model: Path | None = None) -> None:
        self.folder = folder
        self.repairs = repairs
        self.dnsmos_model = dnsmos_model

    def unaligned(self) -> Store:
        """A store for measurements without alignment."""
        return Store(self.folder, replace(self.repairs, align=False), self.dnsmos_model)

    def load(self, reference: Path | None, estimate: Path, noisy: Path | None, metrics: Iterable[str]) -> Measurement:
        """Load those of the metrics that are known; the result may be empty."""
        entry = self._read(self._path(reference, estimate))
        found = Measurement(**{key: entry[key] for key in _FACTS}) if entry else Measurement()
        for name in metrics if entry else ():
            cell = entry["cells"].get(self._cell(name, noisy))
            if cell is not None:
                found.values[name], why = cell
                if why:
                    found.reasons[name] = why
        return found

    def save(self, reference: Path | None, estimate: Path, noisy: Path | None, found: Measurement) -> None:
        """Save all values, and failures caused by the files themselves, as far as they can be saved."""
        path = self._path(reference, estimate)
        if path is None or any(passing in found.error for passing in _PASSING):
            return
        cells = self._read(path).get("cells", {})
        for name, value in found.values.items():
            cells[self._cell(name, noisy)] = [value, found.reasons.get(name, found.error)]
        facts = asdict(found)
        text = json.dumps({**{key: facts[key] for key in _FACTS}, "cells": cells})
        with contextlib.suppress(StorageError, OptionError):
            write_whole(path, text.encode("utf-8", "surrogateescape"), durable=False)

    def prune(self) -> None:
        """Remove measurements older than `KEPT_DAYS`."""
        if self.folder is not None:
            prune(self.folder)

    def _path(self, reference: Path | None, estimate: Path) -> Path | None:
        if self.folder is None:
            return None
        key = _digest(_FORMAT, _versions(), identity(reference), identity(estimate), asdict(self.repairs))
        return self.folder / key[:2] / f"{key}.json"

    def _cell(self, name: str, noisy: Path | None) -> str:
        """Key of a metric, including the further files that it depends on."""
        if METRICS[name].needs_noisy:
            return f"{name} {_digest(identity(noisy))}"
        if name.startswith("dnsmos"):
            return f"{name} {_digest(identity(self.dnsmos_model))}"
        return name

    def _read(self, path: Path | None) -> dict[str, Any]:
        if path is None:
            return {}
        try:
            entry = json.loads(path.read_bytes())
            whole = (
                all(isinstance(entry[key], kind) for key, kind in _FACTS.items())
                and all(isinstance(note, str) for note in entry["notes"])
                and math.isfinite(entry["seconds"])
                and all(_is_cell(*cell) for cell in entry["cells"].values())
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}
        return entry if whole else {}


def _is_cell(value: object, why: object) -> bool:
    """Whether a cached cell is valid: a finite value, or None with a reason."""
    if value is None:
        return isinstance(why, str) and why != ""
    return isinstance(value, float) and math.isfinite(value) and why == ""


def prune(folder: Path) -> None:
    """Remove files older than `KEPT_DAYS` from the folders of a cache."""
    oldest = time.time() - KEPT_DAYS * 86_400
    for path in folder.glob("??/*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def identity(path: Path | None) -> Sequence[object]:
    """Path, size and modification time, which change when a file does."""
    if path is None:
        return ()
    try:
        status = os.stat(path)
    except OSError:
        return (os.path.abspath(path),)
    return (os.path.abspath(path), status.st_size, status.st_mtime_ns)


@functools.cache
def _versions() -> tuple[str, ...]:
    """Versions of all packages that values depend on."""
    versions = [__version__]
    for package in ("numpy", "scipy", "pesq", "pystoi", "soxr"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(importlib.metadata.version(package))
    return tuple(versions)


def _digest(*parts: object) -> str:
    return hashlib.blake2b(os.fsencode(repr(parts)), digest_size=16).hexdigest()
