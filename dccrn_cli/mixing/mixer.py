"""Dynamic mixing: every training example is made anew, and is fully set by (seed, number)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dccrn_cli.data.clips import ClipPool, draw_start
from dccrn_cli.data.levels import TINY, active_rms, rms
from dccrn_cli.mixing.codecs import draw_codec
from dccrn_cli.mixing.decays import early_part, from_direct_sound
from dccrn_cli.mixing.effects import Equaliser, change_speed, clip_peaks, filtered, low_pass
from dccrn_cli.mixing.noises import synthetic_noise
from dccrn_cli.mixing.options import MixingOptions
from dccrn_cli.mixing.rooms import LEAD, RoomBank
from dccrn_cli.mixing.source import ExampleSource
from dccrn_cli.nn.config import SAMPLE_RATE

__all__ = ["Mixer", "MixingOptions"]


class _Room(NamedTuple):
    """Impulse responses of one room: of the talker, what of it makes up the target, and of a noise elsewhere."""

    speech: np.ndarray
    target: np.ndarray
    noise: np.ndarray


class Mixer(ExampleSource):
    """Makes pairs of noisy and clean speech.

    Args:
        speech, noise: clips to mix.
        rooms: measured impulse responses, those of one room in one folder; simulated ones are used
            besides, or alone.
        options: see `MixingOptions`.
        seed: with the number of an example it sets everything in it.
    """

    def __init__(
        self, speech: ClipPool, noise: ClipPool, rooms: ClipPool | None, options: MixingOptions, seed: int = 0
    ) -> None:
        super().__init__(options, seed)
        self.speech = speech
        self.noise = noise
        self.rooms = rooms
        self.simulated = RoomBank(options.simulated_rooms, seed, options.t60_s)

    @property
    def unreadable(self) -> dict[str, str]:
        """Clips of speech and noise."""
        return {**self.speech.unreadable, **self.noise.unreadable}

    def example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Example `number`: noisy and clean, float32 `(samples,)`."""
        options = self.options
        rng = np.random.default_rng((self.seed, number))
        speech, speaker = self._speech(rng)
        room = self._room(rng) if rng.random() < options.reverb else None
        responses = [room.speech, room.target] if room else [None, None]
        heard, clean = filtered(speech, responses, self._equaliser(rng))
        level = active_rms(heard) + TINY
        floor_db = rng.uniform(*options.floor_db)
        floor = 10 ** (floor_db / 20) * rng.standard_normal(len(speech), dtype=np.float32)
        heard, clean = heard / level + floor, clean / level + floor
        if rng.random() < options.clean:
            noisy = heard
        else:
            noise = self._noises(rng, speaker, room)
            snr_db = rng.uniform(*options.snr_db)
            noisy = heard + noise * (10 ** (-snr_db / 20) / (rms(noise) + TINY))
        if rng.random() < options.band_limit:
            cutoff_hz = rng.uniform(3000, 7000)
            noisy, clean = low_pass(noisy, cutoff_hz), low_pass(clean, cutoff_hz)
        gain = 10 ** (rng.uniform(*options.level_db) / 20)
        gain = min(gain, 0.99 / (float(np.abs(noisy).max()) + TINY))
        return self._recorded((noisy * gain).astype(np.float32), (clean * gain).astype(np.float32), rng)

    def _recorded(
        self, noisy: np.ndarray, clean: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """What a recorder makes of the mixture, and what of the clean speech it could have kept."""
        if rng.random() < self.options.clipping:
            noisy = clip_peaks(noisy, rng.uniform(*self.options.clipping_db))
        if rng.random() < self.options.codec:
            codec = draw_codec(rng)
            noisy, clean = codec.apply(noisy, rng), codec.band(clean)
        return noisy, clean

    def _speech(self, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Speech of one group with gaps, `(samples,)`, and the group."""
        length = self.options.samples
        for _ in range(8):
            speaker = self.speech.draw_group(rng)
            pieces: list[np.ndarray] = []
            total = 0
            while total < length:
                piece = self._piece(self.speech, rng, speaker, first=total == 0)
                gap = int(rng.uniform(0, 0.6) * SAMPLE_RATE)
                pieces += [piece * np.float32(10 ** (rng.uniform(-2, 2) / 20)), np.zeros(gap, np.float32)]
                total += len(piece) + gap
            joined = np.concatenate(pieces)
            start = int(rng.integers(len(joined) - length + 1))
            segment = joined[start : start + length]
            if rms(segment) > 0.05:  # active speech has an RMS of 1: not mainly a pause
                break
        return segment, speaker

    def _piece(self, pool: ClipPool, rng: np.random.Generator, group: int, *, first: bool) -> np.ndarray:
        """A clip of a group whose active parts have an RMS of 1; if first, no more of it than is needed."""
        index = pool.pick(rng, group)
        factor = self._speed(rng)
        start, length = 0, pool.length(index)
        needed = math.ceil(self.options.samples * factor)
        if first and length > needed:
            start, length = int(rng.integers(length - needed + 1)), needed
        piece = pool.cut(index, start, length) / np.float32(pool.active_rms(index) + TINY)
        return piece if factor == 1 else change_speed(piece, factor)[: self.options.samples if first else None]

    def _speed(self, rng: np.random.Generator) -> float:
        if rng.random() >= self.options.speed:
            return 1.0
        return 1 + rng.uniform(-self.options.speed_range, self.options.speed_range)

    def _equaliser(self, rng: np.random.Generator) -> Equaliser | None:
        return Equaliser.draw(rng) if rng.random() < self.options.equaliser else None

    def _noises(self, rng: np.random.Generator, speaker: int, room: _Room | None) -> np.ndarray:
        noise = self._one_noise(rng, speaker)
        if rng.random() < self.options.second_noise:
            other = self._one_noise(rng, speaker)
            noise = noise / (rms(noise) + TINY)
            noise = noise + other / (rms(other) + TINY) * 10 ** (rng.uniform(-12, 0) / 20)
        (noise,) = filtered(noise, [room.noise if room and rng.random() < 0.5 else None], self._equaliser(rng))
        return noise

    def _one_noise(self, rng: np.random.Generator, speaker: int) -> np.ndarray:
        kind = rng.random()
        if kind < self.options.babble:
            return self._babble(rng, speaker)
        if kind < self.options.babble + self.options.synthetic:
            return synthetic_noise(self.options.samples, rng)
        for _ in range(8):
            noise = self._fill(self.noise, rng, self.noise.pick(rng))
            if rms(noise) > 1e-4:
                break
        return noise

    def _babble(self, rng: np.random.Generator, speaker: int) -> np.ndarray:
        total = np.zeros(self.options.samples, np.float32)
        for _ in range(int(rng.integers(3, 9))):
            group = self.speech.draw_group(rng)
            if group == speaker and len(self.speech.groups) > 1:
                group = (group + 1) % len(self.speech.groups)
            index = self.speech.pick(rng, group)
            gain = 10 ** (rng.uniform(-6, 0) / 20) / (self.speech.active_rms(index) + TINY)
            total += self._fill(self.speech, rng, index) * np.float32(gain)
        return total

    def _fill(self, pool: ClipPool, rng: np.random.Generator, index: int) -> np.ndarray:
        """A stretch of a clip as long as the example; a short clip is repeated from a random point."""
        factor = self._speed(rng)
        length = math.ceil(self.options.samples * factor)
        piece = pool.cut(index, draw_start(pool.length(index), length, rng), length)
        return piece if factor == 1 else _to_length(change_speed(piece, factor), self.options.samples)

    def _room(self, rng: np.random.Generator) -> _Room:
        """A simulated room, or if there are measured ones half of the time one of these."""
        if self.rooms is None or rng.random() < 0.5:
            speech, noise = self.simulated[int(rng.integers(len(self.simulated)))]
            direct = LEAD
        else:
            place = self.rooms.draw_group(rng)
            speech, noise = (from_direct_sound(self.rooms.draw(rng, place)) for _ in range(2))
            direct = int(np.abs(speech).argmax())
        return _Room(speech, early_part(speech, direct, self.options.target), noise)


def _to_length(x: np.ndarray, length: int) -> np.ndarray:
    """`x`, of this length but for the rounding of a resampler."""
    return x[:length] if len(x) >= length else np.pad(x, (0, length - len(x)))
