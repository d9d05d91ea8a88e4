"""How files are enhanced, and by whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

HighBand = Literal["gate", "keep", "drop"]

FILE_S = 0.5
"""Audio that takes about as long as the work around each file."""

WORKER_S = 120.0
"""Audio that makes a further process worth its start."""


@dataclass(frozen=True)
class EnhanceOptions:
    """How files are enhanced.

    Attributes:
        model: name of a bundled model or path of a model file; None for the default.
        high_band, attenuation_limit_db, mix, device, precision: as for `Enhancer`.
        sample_format: of the results, in libsndfile's names; None for that of the source.
        sample_rate: of the results in Hz; None for that of the source.
        keep_mtime: results get the time of modification of their source.
        overwrite: replace targets that exist; else they are left as they are.
        threads: CPU threads of the network.
    """

    model: str | None = None
    high_band: HighBand = "gate"
    attenuation_limit_db: float | None = None
    mix: float = 1.0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    sample_format: str | None = None
    sample_rate: int | None = None
    keep_mtime: bool = False
    overwrite: bool = False
    threads: int = 1


@dataclass(frozen=True)
class Workers:
    """Who does the work.

    Attributes:
        jobs: processes; or, on a GPU, files under way at once. None for as many as pay.
        backend: processes of this machine, or a dask cluster on a shared file system.
        scheduler: address of the dask scheduler.
    """

    jobs: int | None = None
    backend: Literal["local", "dask"] = "local"
    scheduler: str | None = None

    def processes(self, lengths: Sequence[float], threads: int) -> int:
        """How many for files of these lengths in seconds, so that no core has two threads to run."""
        if self.jobs == 1 or len(lengths) < 2:
            return 1
        import joblib

        cores: int = joblib.cpu_count()
        most = max(min(cores // threads, len(lengths)), 1)
        if self.jobs is not None:
            return min(self.jobs, most)
        work_s = sum(lengths) + FILE_S * len(lengths)
        return max(min(most, math.ceil(work_s / WORKER_S)), 1)
