"""What runs in each process of a batch."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Sequence

import torch

from dccrn_cli.audio.plan import Job
from dccrn_cli.engine.board import ProgressBoard
from dccrn_cli.engine.file import FileEnhancer
from dccrn_cli.engine.options import EnhanceOptions
from dccrn_cli.engine.results import FileResult

_kept = threading.local()


def prepare_torch(threads: int) -> None:
    """Settings of a process that runs networks on the CPU."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def enhance_chunk(
    items: Sequence[tuple[int, Job]], options: EnhanceOptions, board: ProgressBoard | None, parent: int | None
) -> list[tuple[int, FileResult]]:
    """Enhance some files, each given with its number in the batch; the model is kept for the next chunk.

    Args:
        items: numbers and jobs.
        options: see there.
        board: where progress is noted.
        parent: the process without which this one has no reason to go on; None for none.

    Raises:
        Stopped: the parent has died.
        CheckpointError: the model cannot be loaded.
        OptionError: the device is not there.
    """
    if getattr(_kept, "options", None) != options:
        prepare_torch(options.threads)
        # A killed parent must not leave workers behind that race with the run that takes over.
        _kept.enhance = FileEnhancer(options, stop=lambda: parent is not None and os.getppid() != parent)
        _kept.options = options
    return [
        (index, _kept.enhance(job, None if board is None else functools.partial(board.note, index)))
        for index, job in items
    ]
