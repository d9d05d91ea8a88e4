"""The folder of a run: what lets it go on, the best model, the log."""

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
from dccrn_cli.utils.atomic import remove_leftovers
from dccrn_cli.utils.storage import write_whole

LAST = "last.pt"
BEST = "best.safetensors"
LOG = "log.jsonl"
RECIPE = "recipe.toml"
ASKED = "asked.json"
"""What a fine-tuning was begun with."""


class RunFolder:
    """A folder that holds `last.pt`, `best.safetensors`, `log.jsonl` and `recipe.toml`.

    Args:
        path: made if missing.

    Raises:
        OptionError: it cannot be a folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cannot be the folder of a run ({error.strerror})", self.path) from None

    @property
    def best(self) -> Path:
        """File of the best model."""
        return self.path / BEST

    @property
    def last(self) -> Path:
        """File of the state to go on from."""
        return self.path / LAST

    def remove(self) -> None:
        """Remove what a run has put here, and the folder if nothing else is in it."""
        for name in (LAST, BEST, LOG, RECIPE, ASKED):
            with contextlib.suppress(OSError):
                (self.path / name).unlink()
        remove_leftovers([self.last])
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the state of a run, in place of the one before.

        Raises:
            StorageError: the disk is full, say; the state before is kept.
        """
        content = io.BytesIO()
        torch.save(dict(state), content)
        write_whole(self.last, content.getvalue())

    def load(self) -> dict[str, Any] | None:
        """The state of the run, its tensors on the CPU; None if there is none.

        Raises:
            CheckpointError: it is damaged.
        """
        if not self.last.exists():
            return None
        with _readable(self.last):
            state: dict[str, Any] = torch.load(self.last, map_location="cpu", weights_only=True)
            return state

    def taking_up(self) -> AbstractContextManager[None]:
        """Around what takes up the state, which fails if it is of another network."""
        return _readable(self.last)

    def keep_recipe(self, text: str) -> None:
        """Keep the recipe of the run.

        Raises:
            StorageError: the disk is full, say.
        """
        write_whole(self.path / RECIPE, text.encode())

    def log(self, record: Mapping[str, Any]) -> None:
        """Add a line to the log; null stands for what is no finite number.

        Raises:
            StorageError: the disk is full, say.
        """
        path = self.path / LOG
        line = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in record.items()
        }
        try:
            with open(path, "a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        except OSError as error:
            raise StorageError(f"cannot be written: {error.strerror}", path) from error

    def forget_after(self, step: int) -> None:
        """Take lines about later steps out of the log: these steps will be done again."""
        path = self.path / LOG
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) < len(lines):
            write_whole(path, "".join(f"{line}\n" for line in kept).encode())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever a damaged file raises inside torch, as a `CheckpointError`."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        if "weights_only" in str(error):  # torch advises to load it all the same, which would run what is in it
            reason = "not a state of training"
        raise CheckpointError(f"cannot be resumed ({type(error).__name__}: {reason})", path) from error


def _step_of(line: str) -> float:
    """Step of a line of the log; infinite for one that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
