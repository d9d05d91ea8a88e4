"""Options for enhancing files, and for the processes that do it."""

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
"""Attenuation limit for speech recognition. A quarter of the noise remains, which fills gaps that would confuse a
recogniser, while a recording at 0 dB SNR still reaches 12 dB."""

FILE_S = 0.5
"""Overhead per file, expressed as seconds of audio."""

WORKER_S = 120.0
"""Seconds of audio that make it worth starting another process."""


@dataclass(frozen=True)
class EnhanceOptions:
    """Options for enhancing files.

    Attributes:
        model: name of a bundled model or path of a model file; None for the default.
        high_band: treatment of the band above 8 kHz: "gate", "keep" or "drop".
        attenuation_limit_db: limits attenuation to this; None for no limit.
        mix: share of the enhanced signal in the output, 0 to 1; the rest is the input.
        purpose: "asr" for results meant for a speech recogniser: an attenuation limit of 12 dB unless another is given,
            with the share of the noise left in pauses measured.
        loudness: integrated loudness of the results in LUFS, reached by one gain per file, or "keep" for that of the
            original; None for no gain.
        true_peak_dbtp: true-peak limit of that gain.
        link_channels: apply one gain to all channels of a file, up to eight, from the sum of their energies.
        device: "cpu", "cuda" or "mps"; "auto" for CUDA if available, otherwise the CPU.
        precision: precision of the network: "fp32", "bf16" or "auto".
        sample_format: sample format of the results, such as `s16` or `f32`, or libsndfile's name; None for the
            source's.
        sample_rate: sample rate of the results in Hz; None for the source's.
        track: number of the audio track to enhance, from 1; None for the default track. "all" enhances every track
            of a video that stays a video.
        keep_mtime: give results the modification time of their source.
        overwrite: replace existing targets; otherwise they are skipped.
        threads: CPU threads for the network.

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
    link_channels: bool = False
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
                raise OptionError(f"{name} must be a whole number of at least {least}, not {value!r}")

    def changed(self, changes: Mapping[str, Any]) -> EnhanceOptions:
        """A copy with some fields changed.

        Raises:
            OptionError: no such field, or an invalid value.
        """
        try:
            return replace(self, **changes)
        except TypeError as error:
            raise OptionError(str(error)) from None


def dry_share(mix: float, attenuation_limit_db: float | None) -> float:
    """Amplitude of the original in the result, 0 to 1."""
    floor = 0.0 if attenuation_limit_db is None else 10 ** (-attenuation_limit_db / 20)
    return 1.0 - mix * (1.0 - floor)


def check_strength(mix: float, attenuation_limit_db: float | None, high_band: str) -> None:
    """Check the options that control how much is removed.

    Raises:
        OptionError: one of them is invalid.
    """
    if attenuation_limit_db is not None and not _is_number(attenuation_limit_db, 0, math.inf):
        raise OptionError(f"attenuation_limit_db must be at least 0, not {attenuation_limit_db!r}")
    if not _is_number(mix, 0, 1):
        raise OptionError(f"mix must be between 0 and 1, not {mix!r}")
    if high_band not in get_args(HighBand):
        raise OptionError(f"high_band must be gate, keep or drop, not {high_band!r}")


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, SupportsFloat) and not isinstance(value, str) and low <= float(value) <= high


@dataclass(frozen=True)
class Workers:
    """Processes that do the work.

    Attributes:
        jobs: number of processes, or on a GPU of files in progress at once; None for as many as are worthwhile.
        backend: local processes, or a dask cluster on a shared file system.
        scheduler: address of the dask scheduler.
    """

    jobs: int | None = None
    backend: Literal["local", "dask"] = "local"
    scheduler: str | None = None

    def processes(self, lengths: Sequence[float], threads: int) -> int:
        """Number of processes for files of these lengths in seconds, without oversubscribing the cores."""
        if self.jobs == 1 or len(lengths) < 2:
            return 1
        import joblib

        cores: int = joblib.cpu_count()
        most = max(min(cores // threads, len(lengths)), 1)
        if self.jobs is not None:
            return min(self.jobs, most)
        work_s = sum(lengths) + FILE_S * len(lengths)
        return max(min(most, math.ceil(work_s / WORKER_S)), 1)
