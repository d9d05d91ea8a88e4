"""Headerless samples."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from dccrn_cli.audio.formats import SAMPLE_BYTES, AudioInfo
from dccrn_cli.errors import OptionError

_WIDE = {"s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE"}
_NARROW = {"u8": "PCM_U8", "s8": "PCM_S8", "mulaw": "ULAW", "alaw": "ALAW"}

RAW_SAMPLE_FORMATS = (*(name + order for name in _WIDE for order in ("le", "be")), *_NARROW)
"""Names of headerless sample formats, as used by other programs."""

MAX_CHANNELS = 1024


@dataclass(frozen=True)
class RawFormat:
    """Format of interleaved samples without a header.

    Args:
        sample_format: one of `RAW_SAMPLE_FORMATS`.
        sample_rate: sample rate in Hz.
        channels: number of channels.

    Raises:
        OptionError: unknown sample format, or invalid sample rate or number of channels.
    """

    sample_format: str
    sample_rate: int
    channels: int

    def __post_init__(self) -> None:
        if self.sample_format not in RAW_SAMPLE_FORMATS:
            known = ", ".join(RAW_SAMPLE_FORMATS)
            raise OptionError(f"unknown sample format {self.sample_format!r}; choose from {known}")
        if not 1 <= self.sample_rate < 1 << 31:
            raise OptionError(f"invalid sample rate of {self.sample_rate} Hz")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise OptionError(f"invalid number of channels: {self.channels}")

    @property
    def info(self) -> AudioInfo:
        """The format as for files; the length is unknown."""
        name = self.sample_format
        subtype = _NARROW.get(name) or _WIDE[name[:3]]
        return AudioInfo(self.sample_rate, self.channels, 0, "RAW", subtype, byte_order(subtype, name.endswith("be")))


def byte_order(subtype: str, big: bool) -> str:
    """libsndfile's name of a byte order, which must not be given for one-byte samples."""
    if SAMPLE_BYTES[subtype] == 1:
        return "FILE"
    return "BIG" if big else "LITTLE"


# Both use libsndfile, so that samples are rounded as in files.


def decode(data: bytes, info: AudioInfo) -> np.ndarray:
    """Decode complete frames to float32 `(frames, channels)`, full scale 1.0; the container in `info` is ignored."""
    samples: np.ndarray = soundfile.read(
        io.BytesIO(data),
        dtype="float32",
        always_2d=True,
        samplerate=info.sample_rate,
        channels=info.channels,
        format="RAW",
        subtype=info.subtype,
        endian=byte_order(info.subtype, info.endian == "BIG"),
    )[0]
    return samples


def encode(block: np.ndarray, info: AudioInfo) -> bytes:
    """Encode samples within full scale; the inverse of `decode`."""
    data = io.BytesIO()
    order = byte_order(info.subtype, info.endian == "BIG")
    soundfile.write(data, block, info.sample_rate, info.subtype, order, "RAW")
    return data.getvalue()
