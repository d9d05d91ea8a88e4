"""The folder of a run: state for resuming, best model and log."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from dccrn_cli.errors import CheckpointError, OptionError, StorageError
from dccrn_cli.utils.atomic import open_no_link, remove_leftovers
from dccrn_cli.utils.paths import exists
from dccrn_cli.utils.storage import write_whole

LAST = "last.pt"
BEST = "best.safetensors"
LOG = "log.jsonl"
RECIPE = "recipe.toml"
ASKED = "asked.json"
"""Options that a fine-tuning run was started with."""


class RunFolder:
    """A folder with `last.pt`, `best.safetensors`, `log.jsonl` and `recipe.toml`.

    Args:
        path: the folder, created if missing.

    Raises:
        OptionError: the folder cannot be created.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cannot be used as a run folder ({error.strerror})", self.path) from None

    @property
    def best(self) -> Path:
        """File of the best model."""
        return self.path / BEST

    @property
    def last(self) -> Path:
        """File with the state for resuming."""
        return self.path / LAST

    def remove(self) -> None:
        """Remove the files of a run, and the folder if nothing else is in it."""
        for name in (LAST, BEST, LOG, RECIPE, ASKED):
            with contextlib.suppress(OSError):
                (self.path / name).unlink()
        remove_leftovers([self.last])
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def save(self, state: Mapping[str, Any]) -> None:
        """Save the state of a run, replacing the previous one.

        Raises:
            StorageError: the state cannot be written, for example because the disk is full; the previous one is kept.
        """
        content = io.BytesIO()
        torch.save(dict(state), content)
        write_whole(self.last, content.getvalue())

    def load(self) -> dict[str, Any] | None:
        """Load the state of the run with tensors on the CPU; None if there is none.

        Raises:
            CheckpointError: the state is damaged.
        """
        if not exists(self.last):
            return None
        with _readable(self.last):
            state: dict[str, Any] = torch.load(self.last, map_location="cpu", weights_only=True)
            return state

    def taking_up(self) -> AbstractContextManager[None]:
        """Context for restoring the state, which raises `CheckpointError` if it belongs to another network."""
        return _readable(self.last)

    def keep_recipe(self, text: str) -> None:
        """Save the recipe of the run.

        Raises:
            StorageError: the recipe cannot be written.
        """
        write_whole(self.path / RECIPE, text.encode())

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line to the log, with null for numbers that are not finite.

        Raises:
            StorageError: the log cannot be written.
        """
        path = self.path / LOG
        line = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in record.items()
        }
        try:
            with open(path, "a", encoding="utf-8", opener=open_no_link) as log:
                log.write(json.dumps(line) + "\n")
        except OSError as error:
            raise StorageError(f"cannot be written: {error.strerror}", path) from error

    def forget_after(self, step: int) -> None:
        """Remove lines about later steps from the log, since those steps will be repeated."""
        path = self.path / LOG
        if not exists(path):
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) < len(lines):
            write_whole(path, "".join(f"{line}\n" for line in kept).encode())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert whatever torch raises for a damaged file to a `CheckpointError`."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        if "weights_only" in str(error):  # torch's advice to load it anyway would run code in it
            reason = "not a training state"
        raise CheckpointError(f"cannot be resumed ({type(error).__name__}: {reason})", path) from error


def _step_of(line: str) -> float:
    """Step of a log line; infinite for a truncated line."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
