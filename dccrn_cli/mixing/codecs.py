"""Coding artefacts: recordings encoded and decoded in memory with libsndfile's codecs."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import soundfile
import soxr

from dccrn_cli.mixing.effects import low_pass
from dccrn_cli.nn.config import SAMPLE_RATE

_BLOCK = 1 << 16  # the Vorbis encoder cannot cope with long blocks


@dataclass(frozen=True)
class Codec:
    """A lossy format that keeps samples aligned in time.

    Attributes:
        container, subtype: libsndfile's names.
        sample_rate: sample rate in Hz at which it encodes.
        strength: range of libsndfile's compression level; None if it has none.
        band_hz: upper end of the band that it preserves; None for half of its sample rate.
        weight: relative probability of being drawn.
    """

    container: str
    subtype: str
    sample_rate: int = SAMPLE_RATE
    strength: tuple[float, float] | None = None
    band_hz: float | None = None
    weight: float = 1.0

    def apply(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Encode and decode `x`, float32 `(samples,)`; same length, no delay."""
        options: dict[str, Any] = {}
        if self.strength is not None:
            options["compression_level"] = rng.uniform(*self.strength)
        if self.container == "MP3":
            options["bitrate_mode"] = "VARIABLE"  # at a constant one libsndfile lowers the level and adds a shift
        at_rate = _resample(x, SAMPLE_RATE, self.sample_rate)
        file = io.BytesIO()
        with soundfile.SoundFile(
            file, "w", self.sample_rate, 1, self.subtype, format=self.container, **options
        ) as writer:
            for start in range(0, len(at_rate), _BLOCK):
                writer.write(at_rate[start : start + _BLOCK])
        file.seek(0)
        coded, _ = soundfile.read(file, dtype="float32")
        coded = _resample(coded[: len(at_rate)], self.sample_rate, SAMPLE_RATE)[: len(x)]
        return np.pad(coded, (0, len(x) - len(coded)))

    def band(self, x: np.ndarray) -> np.ndarray:
        """Limit `x` to the band that the codec preserves, without coding artefacts."""
        if self.band_hz is not None:
            return low_pass(x, self.band_hz)
        within = _resample(_resample(x, SAMPLE_RATE, self.sample_rate), self.sample_rate, SAMPLE_RATE)[: len(x)]
        return np.pad(within, (0, len(x) - len(within)))


CODECS = (
    Codec("WAV", "ULAW", 8000),
    Codec("WAV", "ALAW", 8000),
    Codec("WAV", "ULAW", 16_000, weight=0.5),
    Codec("WAV", "IMA_ADPCM", 8000),
    Codec("WAV", "IMA_ADPCM", 16_000, weight=0.5),
    Codec("WAV", "GSM610", 8000),
    Codec("OGG", "VORBIS", strength=(0.5, 0.95), weight=2),
    Codec("OGG", "OPUS", strength=(0.8, 0.95)),
    Codec("MP3", "MPEG_LAYER_III", strength=(0.5, 0.9), band_hz=7200.0, weight=2),
)
"""Codecs to draw from: those of telephones, recorders and the internet."""


def draw_codec(rng: np.random.Generator) -> Codec:
    """Draw a codec from those that this build of libsndfile supports."""
    codecs, cumulative = _available()
    return codecs[int(np.searchsorted(cumulative, rng.random(), side="right"))]


@cache
def _available() -> tuple[list[Codec], np.ndarray]:
    codecs = [codec for codec in CODECS if soundfile.check_format(codec.container, codec.subtype)]
    weights = np.cumsum([codec.weight for codec in codecs])
    return codecs, weights[:-1] / weights[-1]


def _resample(x: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    return x if rate == to_rate else np.asarray(soxr.resample(x, rate, to_rate), dtype=np.float32)
