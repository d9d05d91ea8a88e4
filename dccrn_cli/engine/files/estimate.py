"""Estimates how long a batch will take."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from dccrn_cli.audio.reader import Probe
from dccrn_cli.engine.enhance_options import FILE_S, EnhanceOptions
from dccrn_cli.engine.enhancer import Enhancer
from dccrn_cli.engine.files.worker import prepare_torch
from dccrn_cli.nn.config import SAMPLE_RATE

_TRIAL_S, _TRIALS = 3.0, 3
_START_S = 3.0
"""Start-up time of a process, including imports."""


def estimate_s(probes: Sequence[Probe], options: EnhanceOptions, processes: int) -> float:
    """Estimate the seconds that a batch will take on this machine, from a short trial of the network.

    Args:
        probes: the files.
        options: how they will be enhanced.
        processes: number of processes.

    Raises:
        CheckpointError: the model cannot be loaded.
    """
    prepare_torch(options.threads)
    enhancer = Enhancer(options.model, device=options.device)
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(_TRIAL_S * SAMPLE_RATE)).astype(np.float32)
    enhancer(noise)
    times = []
    for _ in range(_TRIALS):
        started = time.perf_counter()
        enhancer(noise)
        times.append(time.perf_counter() - started)
    work_s = sum(found.work_s for found in probes) + FILE_S * len(probes)
    return _START_S + work_s * min(times) / _TRIAL_S / processes
