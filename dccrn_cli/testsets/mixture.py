"""One mixture: its samples, computed from a metadata row, and its files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dccrn_cli.audio.decode import read_sound
from dccrn_cli.audio.formats import AudioInfo, sample_format
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.data.clips import digest
from dccrn_cli.data.speech_level import active_rms, rms
from dccrn_cli.errors import AudioError
from dccrn_cli.mixing.effects import convolve
from dccrn_cli.mixing.impulse_responses import early_part, from_direct_sound
from dccrn_cli.mixing.rooms import LEAD, simulate_room
from dccrn_cli.testsets.mixture_recipe import FORMATS
from dccrn_cli.testsets.rows import Row
from dccrn_cli.utils.paths import exists

_GAP_S = 0.2


class Mixture(NamedTuple):
    """Samples of one mixture, each float64 `(samples,)`, with values that its sample format represents exactly.

    `snr_error_db` is the deviation of these values from the requested SNR.
    """

    noisy: np.ndarray
    clean: np.ndarray
    noise: np.ndarray
    snr_error_db: float

    @property
    def digest(self) -> str:
        """Digest of the noisy and the clean samples."""
        return digest(self.noisy.astype("<f8").tobytes(), self.clean.astype("<f8").tobytes())


def join(recordings: list[np.ndarray], sample_rate: int) -> np.ndarray:
    """Concatenate recordings with pauses of 0.2 s between them."""
    pause = np.zeros(round(_GAP_S * sample_rate), np.float32)
    return np.concatenate([part for recording in recordings for part in (pause, recording)][1:])


class Room(NamedTuple):
    """Impulse response of a room, float32 `(samples,)`, and the index of the direct sound in it."""

    response: np.ndarray
    direct: int


def simulated_room(t60_s: float, seed: int, sample_rate: int) -> Room:
    """A room of this reverberation time; the same seed gives the same one."""
    rng = np.random.default_rng(seed)
    (response,) = simulate_room(rng, (t60_s, t60_s), 1, sample_rate, dtype=np.float64)
    return Room(response.astype(np.float32), LEAD)


def measured_room(recording: np.ndarray, sample_rate: int) -> Room:
    """The room of a recorded impulse response."""
    response = from_direct_sound(recording, sample_rate)
    return Room(response, int(np.abs(response).argmax()))


def in_room(speech: np.ndarray, room: Room | None, target: str, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Speech as heard in a room, and the part of it that goes into the clean file."""
    if room is None:
        return speech, speech
    heard = convolve(speech, room.response)
    if target == "reverberant":
        return heard, heard
    return heard, convolve(speech, early_part(room.response, room.direct, target, sample_rate))


def _snr_db(speech: np.ndarray, noise: np.ndarray, snr_on: str, sample_rate: int) -> float:
    level = active_rms(speech, sample_rate) if snr_on == "active" else rms(speech)
    return 20 * math.log10(max(level, 1e-30) / max(rms(noise), 1e-30))


def blend(row: Row, heard: np.ndarray, target: np.ndarray, noise: np.ndarray) -> Mixture:
    """Mix speech and noise, each scaled and rounded to the sample format first, so noisy minus speech is the noise."""
    bits = FORMATS[row.sample_format]

    def rounded(x: np.ndarray) -> np.ndarray:
        if not bits:
            return x.astype(np.float32).astype(np.float64)
        return np.rint(x * 2.0 ** (bits - 1)) * 2.0 ** (1 - bits) + 0.0  # no -0

    speech = rounded(heard.astype(np.float64) * row.clean_scale)
    added = rounded(noise.astype(np.float64) * row.noise_scale)
    clean = rounded(target.astype(np.float64) * row.clean_scale)
    noisy = rounded(speech + added)
    error_db = _snr_db(speech, noisy - speech, row.snr_on, row.sample_rate) - row.snr_db
    return Mixture(noisy, clean, added, error_db)


def save(mixture: Mixture, row: Row, folder: Path, *, keep_noise: bool = False, overwrite: bool = False) -> None:
    """Write `noisy/`, `clean/` and optionally `noise/` below a folder, each file atomically.

    Files that already contain these samples are left untouched.

    Raises:
        AudioError: a file cannot be written, or exists with different content.
    """
    subtype = sample_format(row.sample_format)
    info = AudioInfo(row.sample_rate, 1, row.samples, "WAV", subtype, "FILE")
    kinds = {"clean": mixture.clean, "noisy": mixture.noisy} | ({"noise": mixture.noise} if keep_noise else {})
    for kind, samples in kinds.items():
        path = folder / kind / row.file_name(kind)
        if exists(path) and not overwrite:
            if not _holds(path, samples, row.sample_rate):
                raise AudioError("already exists with different content (use --overwrite to replace it)", path)
            continue
        with AudioWriter(path, info) as writer:
            writer.write(samples[:, None])


def _holds(path: Path, samples: np.ndarray, sample_rate: int) -> bool:
    try:
        found = read_sound(path)
    except AudioError:
        return False
    return found.sample_rate == sample_rate and np.array_equal(found.samples, samples[:, None])
