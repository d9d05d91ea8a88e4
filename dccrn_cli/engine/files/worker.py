"""Code that runs in each process of a batch."""

from __future__ import annotations

import contextlib
import functools
import os
import threading

import torch

from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.file import FileEnhancer
from dccrn_cli.engine.files.plan import Job
from dccrn_cli.engine.files.results import FileResult
from dccrn_cli.engine.files.shared_progress import ProgressBoard
from dccrn_cli.utils.processes import in_progress

_kept = threading.local()


def prepare_torch(threads: int) -> None:
    """Configure torch in a process that runs networks on the CPU."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def enhance_file(
    index: int, job: Job, options: EnhanceOptions, board: ProgressBoard | None, parent: int | None
) -> FileResult:
    """Enhance a file, keeping the model loaded for the next one.

    Args:
        index: index of the file in the batch.
        job: the file and its targets.
        options: how files are enhanced.
        board: receives progress.
        parent: process whose death ends this one; None for none.

    Raises:
        Stopped: the parent has died.
        CheckpointError: the model cannot be loaded.
        OptionError: the device is unavailable.
    """
    with contextlib.nullcontext() if parent is None else in_progress:
        if getattr(_kept, "options", None) != options:
            prepare_torch(options.threads)
            _kept.enhance = FileEnhancer(options, stop=functools.partial(_is_orphan, parent))
            _kept.options = options
        result: FileResult = _kept.enhance(job, None if board is None else functools.partial(board.note, index))
        return result


def _is_orphan(parent: int | None) -> bool:
    return parent is not None and os.getppid() != parent
