"""How files are enhanced, and by whom."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, SupportsFloat, get_args

from dccrn_cli.errors import OptionError

HighBand = Literal["gate", "keep", "drop"]
Precision = Literal["auto", "fp32", "bf16"]
Purpose = Literal["listening", "asr"]
Loudness = float | Literal["keep"]
Track = int | Literal["all"] | None

ASR_ATTENUATION_DB = 12.0
"""Limit for speech recognition. A quarter of the noise stays, which fills the gaps that a recogniser stumbles over,
while a recording at 0 dB SNR still comes to 12 dB."""

FILE_S = 0.5
"""Audio that takes about as long as the work around each file."""

WORKER_S = 120.0
"""Audio that makes a further process worth its start."""


@dataclass(frozen=True)
class EnhanceOptions:
    """How files are enhanced.

    Attributes:
        model: name of a bundled model or path of a model file; None for the default.
        high_band: what happens above 8 kHz: "gate", "keep" or "drop".
        attenuation_limit_db: nothing is made fainter by more than this; None for no limit.
        mix: share of the result in what comes out, 0 to 1; the rest is the input as it was.
        purpose: "asr" for results that a speech recogniser gets: an attenuation limit of 12 dB unless another is given,
            and the share of the noise that stays in pauses is measured.
        loudness: integrated loudness of the results in LUFS, by one gain for each file, or "keep" for that of the
            original; None for no gain.
        true_peak_dbtp: limit to that gain.
        device: "cpu", "cuda" or "mps"; "auto" for CUDA where there is a device for it, else the CPU.
        precision: of the network: "fp32", "bf16" or "auto".
        sample_format: of the results, `s16`, `f32` … or in libsndfile's names; None for that of the source.
        sample_rate: of the results in Hz; None for that of the source.
        track: of several sound tracks the number of the one that is enhanced, from 1 on; None for the default one.
            "all": in a video that stays one, all of them.
        keep_mtime: results get the time of modification of their source.
        overwrite: replace targets that exist; else they are left as they are.
        threads: CPU threads of the network.

    Raises:
        OptionError: an invalid value.
    """

    model: str | None = None
    high_band: HighBand = "gate"
    attenuation_limit_db: float | None = None
    mix: float = 1.0
    purpose: Purpose = "listening"
    loudness: Loudness | None = None
    true_peak_dbtp: float = -1.0
    device: str = "auto"
    precision: Precision = "auto"
    sample_format: str | None = None
    sample_rate: int | None = None
    track: Track = None
    keep_mtime: bool = False
    overwrite: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        check_strength(self.mix, self.attenuation_limit_db, self.high_band)
        if self.precision not in get_args(Precision):
            raise OptionError(f"precision must be auto, fp32 or bf16, not {self.precision!r}")
        if self.purpose not in get_args(Purpose):
            raise OptionError(f"purpose must be listening or asr, not {self.purpose!r}")
        if self.purpose == "asr" and self.attenuation_limit_db is None:
            object.__setattr__(self, "attenuation_limit_db", ASR_ATTENUATION_DB)
        if self.loudness not in (None, "keep") and not _is_number(self.loudness, -70, 0):
            raise OptionError(f"loudness must be keep or -70 to 0 LUFS, not {self.loudness!r}")
        if not _is_number(self.true_peak_dbtp, -70, 0):
            raise OptionError(f"true_peak_dbtp must be -70 to 0, not {self.true_peak_dbtp!r}")
        if self.sample_format is not None:
            from dccrn_cli.audio.formats import sample_format

            object.__setattr__(self, "sample_format", sample_format(self.sample_format))
        track = None if self.track == "all" else self.track
        for name, value, least in (
            ("threads", self.threads, 1),
            ("sample_rate", self.sample_rate, 1),
            ("track", track, 1),
        ):
            whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
            if value is not None and not (whole and value >= least):
                raise OptionError(f"{name} must be a whole number from {least} on, not {value!r}")

    def changed(self, changes: Mapping[str, Any]) -> EnhanceOptions:
        """The same with single fields changed.

        Raises:
            OptionError: no such field, or an invalid value.
        """
        try:
            return replace(self, **changes)
        except TypeError as error:
            raise OptionError(str(error)) from None


def dry_share(mix: float, attenuation_limit_db: float | None) -> float:
    """Amplitude with which the original is in the result, 0 to 1."""
    floor = 0.0 if attenuation_limit_db is None else 10 ** (-attenuation_limit_db / 20)
    return 1.0 - mix * (1.0 - floor)


def check_strength(mix: float, attenuation_limit_db: float | None, high_band: str) -> None:
    """Refuse invalid values of the options that say how much is removed.

    Raises:
        OptionError: one of them is invalid.
    """
    if attenuation_limit_db is not None and not _is_number(attenuation_limit_db, 0, math.inf):
        raise OptionError(f"attenuation_limit_db must be 0 or more, not {attenuation_limit_db!r}")
    if not _is_number(mix, 0, 1):
        raise OptionError(f"mix must be 0 to 1, not {mix!r}")
    if high_band not in get_args(HighBand):
        raise OptionError(f"high_band must be gate, keep or drop, not {high_band!r}")


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, SupportsFloat) and not isinstance(value, str) and low <= float(value) <= high


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
