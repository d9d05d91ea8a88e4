"""One gain for a whole file, determined after all of it has been measured."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from dccrn_cli.engine.enhance_options import Loudness
from dccrn_cli.errors import AudioError
from dccrn_cli.metrics.loudness import LoudnessMeter
from dccrn_cli.metrics.true_peak import TruePeakMeter

_BLOCK = 1 << 20  # samples, all channels together
_ROUNDS = 8


@dataclass(frozen=True)
class Levelled:
    """Measurements, and the gain derived from them.

    Attributes:
        input_lufs, output_lufs: integrated loudness of the original and of the written result; None for silence.
        true_peak_dbtp: true peak of the written result; None for silence.
        gain_db: gain applied to the result.
        note: why the requested loudness was not reached, or "".
    """

    input_lufs: float | None
    output_lufs: float | None
    true_peak_dbtp: float | None
    gain_db: float
    note: str = ""


class LoudnessPass:
    """Buffers a result in an unnamed temporary file, measures it, and returns it with the gain applied.

    Args:
        folder: folder of the temporary file; that of the result, which needs as much room.
        source_hz, result_hz: sample rates of the original and of the result.
        channels: number of channels of both.

    Raises:
        AudioError: the file cannot be created.
    """

    def __init__(self, folder: Path, source_hz: int, result_hz: int, channels: int) -> None:
        self._channels = channels
        self._before = LoudnessMeter(source_hz, channels)
        self._after = LoudnessMeter(result_hz, channels)
        self._peak = TruePeakMeter(result_hz, channels)
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        except OSError as error:
            raise AudioError(f"no temporary file in {folder} ({error.strerror})") from None

    def hear(self, block: np.ndarray) -> None:
        """Measure a block of the original, `(frames, channels)`."""
        self._before.process(block)

    def write(self, block: np.ndarray) -> None:
        """Buffer a block of the result, `(frames, channels)`.

        Raises:
            AudioError: it cannot be written, for instance because the disk is full.
        """
        block = np.ascontiguousarray(block, np.float32)
        self._after.process(block)
        self._peak.process(block)
        try:
            self._file.write(block.tobytes())
        except OSError as error:
            raise AudioError(f"the temporary file cannot be written ({error.strerror})") from None

    def level(self, wanted: Loudness, limit_dbtp: float) -> Levelled:
        """Determine the gain at the end of the signal.

        Args:
            wanted: integrated loudness in LUFS, or "keep" for that of the original.
            limit_dbtp: true peak that the result must not exceed.
        """
        before, after, peak = self._before.integrated_lufs, self._after.integrated_lufs, self._peak.finish()
        target = before if wanted == "keep" else float(wanted)
        gain, note = 0.0, ""
        if not (math.isfinite(target) and math.isfinite(after)):
            note = "too quiet to adjust the loudness (nothing above -70 LUFS); only the true peak is limited"
        else:
            for _ in range(_ROUNDS):  # the gain moves blocks across the absolute gate
                reached = self._after.lufs_after(gain)
                if not math.isfinite(reached) or abs(target - reached) < 1e-3:
                    break
                gain += target - reached
        if peak + gain > limit_dbtp:
            gain = limit_dbtp - peak
            if not note:
                note = (
                    f"{target:.1f} LUFS would exceed {limit_dbtp:g} dBTP: written with "
                    f"{self._after.lufs_after(gain):.1f} LUFS"
                )
        return Levelled(_finite(before), _finite(self._after.lufs_after(gain)), _finite(peak + gain), gain, note)

    def blocks(self, gain_db: float) -> Iterator[np.ndarray]:
        """Yield the result with the gain applied, float32 `(frames, channels)`."""
        gain = np.float32(10 ** (gain_db / 20))
        self._file.seek(0, os.SEEK_SET)
        size = max(_BLOCK // self._channels, 1) * self._channels * np.dtype(np.float32).itemsize
        while data := self._file.read(size):
            yield gain * np.frombuffer(data, np.float32).reshape(-1, self._channels)

    def __enter__(self) -> LoudnessPass:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
