"""Dynamic mixing: training examples are mixed on the fly, each fully determined by (seed, number)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from dccrn_cli.data.clips import ClipPool, draw_start
from dccrn_cli.data.speech_level import TINY, active_rms, rms
from dccrn_cli.mixing.codecs import draw_codec
from dccrn_cli.mixing.effects import Equaliser, change_speed, clip_peaks, filtered, low_pass
from dccrn_cli.mixing.impulse_responses import early_part, from_direct_sound
from dccrn_cli.mixing.mixing_options import MixingOptions
from dccrn_cli.mixing.noises import synthetic_noise
from dccrn_cli.mixing.rooms import LEAD, RoomBank
from dccrn_cli.mixing.source import ExampleSource
from dccrn_cli.mixing.speech_pauses import Pauses, draw_pauses, spread
from dccrn_cli.mixing.tonal import tonal_noise
from dccrn_cli.nn.config import SAMPLE_RATE

__all__ = ["Mixer", "MixingOptions"]

NOBODY = -1
"""Used instead of a group index when nobody speaks."""

_TALKERS_ALONE = 0.4
"""Share of the examples with other talkers that have no other noise."""


class _Room(NamedTuple):
    """Impulse responses of one room: of the talker, the part of it in the target, and of a noise elsewhere."""

    speech: np.ndarray
    target: np.ndarray
    noise: np.ndarray


class Mixer(ExampleSource):
    """Makes pairs of noisy and clean speech.

    Args:
        speech, noise: clips to mix.
        rooms: measured impulse responses, one folder per room, used in addition to simulated ones;
            None for simulated ones only.
        options: probabilities and ranges.
        seed: together with the number of an example, determines everything in it.
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
        """Clips of speech and noise that could not be read so far, with the reasons."""
        return {**self.speech.unreadable, **self.noise.unreadable}

    def example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Example `number`: noisy and clean, float32 `(samples,)`."""
        options = self.options
        rng = np.random.default_rng((self.seed, number))
        speaker = NOBODY if rng.random() < options.noise_only else self.speech.draw_group(rng)
        pauses = draw_pauses(options, rng)
        room = self._room(rng) if rng.random() < options.reverb else None
        heard, clean = self._target(rng, speaker, pauses, room)
        if speaker == NOBODY or rng.random() >= options.clean:
            noisy = heard + self._interference(rng, speaker, pauses, room)
        else:
            noisy = heard
        if rng.random() < options.band_limit:
            cutoff_hz = rng.uniform(3000, 7000)
            noisy, clean = low_pass(noisy, cutoff_hz), low_pass(clean, cutoff_hz)
        gain = 10 ** (rng.uniform(*options.level_db) / 20)
        gain = min(gain, 0.99 / (float(np.abs(noisy).max()) + TINY))
        noisy, clean = ((signal * gain).astype(np.float32) for signal in (noisy, clean))
        noisy[: pauses.silent] = clean[: pauses.silent] = 0
        return self._recorded(noisy, clean, rng)

    def _target(
        self, rng: np.random.Generator, speaker: int, pauses: Pauses, room: _Room | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Speech as heard and the target, at an active RMS of 1, both over the same faint noise."""
        floor_db = rng.uniform(*self.options.floor_db)
        floor = np.float32(10 ** (floor_db / 20)) * rng.standard_normal(self.options.samples, dtype=np.float32)
        if speaker == NOBODY:
            return floor, floor
        speech = self._speech(rng, speaker, pauses)
        heard, clean = filtered(speech, [room.speech, room.target] if room else [None, None], self._equaliser(rng))
        level = active_rms(heard) + TINY
        return heard / level + floor, clean / level + floor

    def _interference(self, rng: np.random.Generator, speaker: int, pauses: Pauses, room: _Room | None) -> np.ndarray:
        """Everything to be removed, relative to speech with an active RMS of 1, `(samples,)`."""
        options = self.options
        talkers: np.ndarray | float = 0.0
        if speaker != NOBODY and rng.random() < options.talkers and len(self.speech.groups) > 1:
            talkers = self._talkers(rng, speaker, pauses, room)
            if rng.random() < _TALKERS_ALONE:
                return np.asarray(talkers)
        snr_db = rng.uniform(*(options.low_snr_db if rng.random() < options.low_snr else options.snr_db))
        noise, least_db = self._noises(rng, speaker, room, snr_db)
        return talkers + noise * (10 ** (-max(snr_db, least_db) / 20) / (rms(noise) + TINY))

    def _recorded(
        self, noisy: np.ndarray, clean: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The mixture after a recorder's clipping and coding, and the clean speech in the band that it preserves."""
        if rng.random() < self.options.clipping:
            noisy = clip_peaks(noisy, rng.uniform(*self.options.clipping_db))
        if rng.random() < self.options.codec:
            codec = draw_codec(rng)
            noisy, clean = codec.apply(noisy, rng), codec.band(clean)
        return noisy, clean

    def _speech(self, rng: np.random.Generator, speaker: int, pauses: Pauses) -> np.ndarray:
        """Speech of a group with pauses, `(samples,)`, at an active RMS of about 1."""
        length = self.options.samples - pauses.total + pauses.search
        for _ in range(8):
            pieces: list[np.ndarray] = []
            total = 0
            while total < length:
                piece = self._piece(rng, speaker, length if total == 0 else None)
                gap = int(rng.uniform(0, 0.6) * SAMPLE_RATE)
                pieces += [piece * np.float32(10 ** (rng.uniform(-2, 2) / 20)), np.zeros(gap, np.float32)]
                total += len(piece) + gap
            joined = np.concatenate(pieces)
            start = int(rng.integers(len(joined) - length + 1))
            segment = spread(joined[start : start + length], pauses, rng)
            if rms(segment) > 0.05:  # not mainly a pause
                break
        return segment

    def _piece(self, rng: np.random.Generator, group: int, most: int | None) -> np.ndarray:
        """A clip of a group at an active RMS of 1, or `most` samples of it from a random point on."""
        index = self.speech.pick(rng, group)
        factor = self._speed(rng)
        start, length = 0, self.speech.length(index)
        if most is not None and length > (needed := math.ceil(most * factor)):
            start, length = int(rng.integers(length - needed + 1)), needed
        piece = self.speech.cut(index, start, length) / np.float32(self.speech.active_rms(index) + TINY)
        return piece if factor == 1 else change_speed(piece, factor)[:most]

    def _speed(self, rng: np.random.Generator) -> float:
        if rng.random() >= self.options.speed:
            return 1.0
        return 1 + rng.uniform(-self.options.speed_range, self.options.speed_range)

    def _equaliser(self, rng: np.random.Generator) -> Equaliser | None:
        return Equaliser.draw(rng) if rng.random() < self.options.equaliser else None

    def _noises(
        self, rng: np.random.Generator, speaker: int, room: _Room | None, snr_db: float
    ) -> tuple[np.ndarray, float]:
        """One or two noises, and the lowest SNR in dB at which the target is still the loudest voice."""
        noise, least_db = self._one_noise(rng, speaker, snr_db)
        if rng.random() < self.options.second_noise:
            other, _ = self._one_noise(rng, speaker, snr_db)
            noise = noise / (rms(noise) + TINY)
            noise = noise + other / (rms(other) + TINY) * 10 ** (rng.uniform(-12, 0) / 20)
        (noise,) = filtered(noise, [room.noise if room and rng.random() < 0.5 else None], self._equaliser(rng))
        return noise, least_db

    def _one_noise(self, rng: np.random.Generator, speaker: int, snr_db: float) -> tuple[np.ndarray, float]:
        options, kind = self.options, rng.random()
        babble = 0.0 if speaker == NOBODY else babble_share(options, snr_db)
        if kind < babble:
            return self._babble(rng, speaker)
        kind = (kind - babble) / (1 - babble) * (1 - options.babble)  # the other kinds keep their proportions
        if kind < options.synthetic:
            return synthetic_noise(options.samples, rng), -math.inf
        if kind < options.synthetic + options.tonal:
            return tonal_noise(options.samples, rng), -math.inf
        for _ in range(8):
            index = self.noise.pick(rng)
            noise = self._at_speed(rng, partial(self._stretch, self.noise, rng, index))
            if rms(noise) > 1e-4:
                break
        return noise, -math.inf

    def _babble(self, rng: np.random.Generator, speaker: int) -> tuple[np.ndarray, float]:
        """Three to ten voices, and the SNR in dB at which the loudest is as loud as the target."""
        levels = 10 ** (rng.uniform(-6, 0, int(rng.integers(3, 11))) / 20)
        babble = self._voices(rng, speaker, levels)
        return babble, 20 * math.log10(float(levels.max()) / (rms(babble) + TINY))

    def _talkers(self, rng: np.random.Generator, speaker: int, pauses: Pauses, room: _Room | None) -> np.ndarray:
        """One to four voices elsewhere in the room, fainter than the target and silent during its lead-in."""
        levels = 10 ** (-rng.uniform(*self.options.talkers_db, int(rng.integers(1, 5))) / 20)
        voices = self._voices(rng, speaker, levels)
        voices[: pauses.lead] = 0
        (heard,) = filtered(voices, [room.noise if room else None], self._equaliser(rng))
        return heard if heard is voices else heard * np.float32(rms(voices) / (rms(heard) + TINY))

    def _voices(self, rng: np.random.Generator, speaker: int, levels: np.ndarray) -> np.ndarray:
        """The sum of voices from groups other than the speaker's, each at the given active RMS."""

        def voices(length: int) -> np.ndarray:
            total = np.zeros(length, np.float32)
            for level in levels:
                group = self.speech.draw_group(rng)
                if group == speaker:
                    group = (group + 1) % len(self.speech.groups)
                index = self.speech.pick(rng, group)
                total += self._stretch(self.speech, rng, index, length) * np.float32(
                    level / (self.speech.active_rms(index) + TINY)
                )
            return total

        return self._at_speed(rng, voices)

    def _at_speed(self, rng: np.random.Generator, make: Callable[[int], np.ndarray]) -> np.ndarray:
        """One example's length of a sound, sometimes at a changed speed."""
        factor = self._speed(rng)
        sound = make(math.ceil(self.options.samples * factor))
        return sound if factor == 1 else _to_length(change_speed(sound, factor), self.options.samples)

    @staticmethod
    def _stretch(pool: ClipPool, rng: np.random.Generator, index: int, length: int) -> np.ndarray:
        """An excerpt of a clip; a short clip is repeated from a random point on."""
        return pool.cut(index, draw_start(pool.length(index), length, rng), length)

    def _room(self, rng: np.random.Generator) -> _Room:
        """A simulated room or, if there are measured ones, one of those half of the time."""
        if self.rooms is None or rng.random() < 0.5:
            speech, noise = self.simulated[int(rng.integers(len(self.simulated)))]
            direct = LEAD
        else:
            place = self.rooms.draw_group(rng)
            speech, noise = (from_direct_sound(self.rooms.draw(rng, place)) for _ in range(2))
            direct = int(np.abs(speech).argmax())
        return _Room(speech, early_part(speech, direct, self.options.target), noise)


def babble_share(options: MixingOptions, snr_db: float) -> float:
    """Probability of babble at this SNR: about twice `babble` at the low end of `snr_db`, half at the high end."""
    low, high = options.snr_db
    place = 0.5 if high == low else min(max((snr_db - low) / (high - low), 0.0), 1.0)
    return float(1 - (1 - options.babble) ** (2.0 ** (1 - 2 * place)))


def _to_length(x: np.ndarray, length: int) -> np.ndarray:
    """Trim or pad `x` to this length, from which the rounding of a resampler may have moved it."""
    return x[:length] if len(x) >= length else np.pad(x, (0, length - len(x)))
