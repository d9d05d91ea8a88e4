"""Dynamic mixing: every training example is made anew, and is fully set by (seed, number)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr

from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.training.clips import ClipPool

ACTIVE_RANGE_DB = 40.0
"""Frames within this range of the loudest count as active speech."""

ROOM_S = 2.0
"""Longest impulse response used."""

_FRAMES_PER_S = 50
_TINY = 1e-9


@dataclass(frozen=True)
class MixingOptions:
    """How examples are made. Probabilities are per example.

    Speech and noise go through the same processing, each by its own chance: what only one of
    them had, such as the edge of a resampler at the top of the band, would give it away.

    Attributes:
        seconds: length of an example.
        snr_db: range of the ratio of active speech to noise.
        level_db: range of the level of active speech, dBFS.
        clean: no noise at all.
        second_noise: a second noise on top.
        babble: several other speakers as the noise.
        synthetic: coloured noise or hum as the noise.
        reverb: speech (and half of the time the noise) in a room; the target keeps the room.
        equaliser: a random tilt and resonance on speech and noise.
        band_limit: speech and noise lose their high frequencies.
        speed: share of clips, of speech and of noise, whose speed is changed.
        speed_range: largest relative change, either way.
        floor_db: range of the faint noise that speech and target both carry, below active speech.
    """

    seconds: float = 4.0
    snr_db: tuple[float, float] = (-8.0, 22.0)
    level_db: tuple[float, float] = (-45.0, -15.0)
    clean: float = 0.04
    second_noise: float = 0.25
    babble: float = 0.1
    synthetic: float = 0.1
    reverb: float = 0.4
    equaliser: float = 0.3
    band_limit: float = 0.05
    speed: float = 0.4
    speed_range: float = 0.1
    floor_db: tuple[float, float] = (-80.0, -60.0)

    @property
    def samples(self) -> int:
        """Length of an example in samples."""
        return round(self.seconds * SAMPLE_RATE)


class Mixer:
    """Makes pairs of noisy and clean speech.

    Args:
        speech, noise: clips to mix.
        rooms: measured impulse responses; simulated decays are used besides, or alone.
        options: see `MixingOptions`.
        seed: with the number of an example it sets everything in it.
    """

    def __init__(
        self, speech: ClipPool, noise: ClipPool, rooms: ClipPool | None, options: MixingOptions, seed: int = 0
    ) -> None:
        self.speech = speech
        self.noise = noise
        self.rooms = rooms
        self.options = options
        self.seed = seed

    def batch(self, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `number`: noisy and clean, float32 `(size, samples)`."""
        pairs = [self.example(number * size + index) for index in range(size)]
        noisy, clean = zip(*pairs, strict=True)
        return np.stack(noisy), np.stack(clean)

    def example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Example `number`: noisy and clean, float32 `(samples,)`."""
        options = self.options
        rng = np.random.default_rng((self.seed, number))
        speech, speaker = self._speech(rng)
        room = self._room(rng) if rng.random() < options.reverb else None
        if room is not None:
            speech = convolve(speech, room)
        if rng.random() < options.equaliser:
            speech = _equalise(speech, rng)
        speech = speech / (active_rms(speech) + _TINY)
        floor_db = rng.uniform(*options.floor_db)
        speech = speech + 10 ** (floor_db / 20) * rng.standard_normal(len(speech), dtype=np.float32)
        if rng.random() < options.clean:
            noise = np.zeros_like(speech)
        else:
            noise = self._noises(rng, speaker, room)
            snr_db = rng.uniform(*options.snr_db)
            noise = noise * (10 ** (-snr_db / 20) / (rms(noise) + _TINY))
        if rng.random() < options.band_limit:
            cutoff_hz = rng.uniform(3000, 7000)
            speech, noise = low_pass(speech, cutoff_hz), low_pass(noise, cutoff_hz)
        noisy = speech + noise
        gain = 10 ** (rng.uniform(*options.level_db) / 20)
        gain = min(gain, 0.99 / (float(np.abs(noisy).max()) + _TINY))
        return (noisy * gain).astype(np.float32), (speech * gain).astype(np.float32)

    def _speech(self, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Speech of one group with gaps, `(samples,)`, and the group."""
        length = self.options.samples
        for _ in range(8):
            speaker = self.speech.draw_group(rng)
            pieces: list[np.ndarray] = []
            total = 0
            while total < length:
                clip = self.speech.draw(rng, speaker)
                clip = self._vary_speed(clip, rng)
                clip = clip / (active_rms(clip) + _TINY) * 10 ** (rng.uniform(-2, 2) / 20)
                if total == 0 and len(clip) > length:
                    start = int(rng.integers(len(clip) - length + 1))
                    clip = clip[start : start + length]
                gap = int(rng.uniform(0, 0.6) * SAMPLE_RATE)
                pieces += [clip, np.zeros(gap, np.float32)]
                total += len(clip) + gap
            joined = np.concatenate(pieces)
            start = int(rng.integers(len(joined) - length + 1))
            segment = joined[start : start + length]
            if rms(segment) > 0.05:  # active speech has an RMS of 1: not mainly a pause
                break
        return segment, speaker

    def _vary_speed(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if rng.random() >= self.options.speed:
            return clip
        reach = self.options.speed_range
        return _change_speed(clip, 1 + rng.uniform(-reach, reach))

    def _noises(self, rng: np.random.Generator, speaker: int, room: np.ndarray | None) -> np.ndarray:
        noise = self._one_noise(rng, speaker)
        if rng.random() < self.options.second_noise:
            other = self._one_noise(rng, speaker)
            noise = noise / (rms(noise) + _TINY)
            noise = noise + other / (rms(other) + _TINY) * 10 ** (rng.uniform(-12, 0) / 20)
        if room is not None and rng.random() < 0.5:
            noise = convolve(noise, room)
        if rng.random() < self.options.equaliser:
            noise = _equalise(noise, rng)
        return noise

    def _one_noise(self, rng: np.random.Generator, speaker: int) -> np.ndarray:
        kind = rng.random()
        if kind < self.options.babble:
            return self._babble(rng, speaker)
        if kind < self.options.babble + self.options.synthetic:
            return synthetic_noise(self.options.samples, rng)
        for _ in range(8):
            clip = self._vary_speed(self.noise.draw(rng), rng)
            noise = _fill(clip, self.options.samples, rng)
            if rms(noise) > 1e-4:
                break
        return noise

    def _babble(self, rng: np.random.Generator, speaker: int) -> np.ndarray:
        length = self.options.samples
        total = np.zeros(length, np.float32)
        for _ in range(int(rng.integers(3, 9))):
            group = self.speech.draw_group(rng)
            if group == speaker and len(self.speech.groups) > 1:
                group = (group + 1) % len(self.speech.groups)
            clip = _fill(self._vary_speed(self.speech.draw(rng, group), rng), length, rng)
            total += clip / (active_rms(clip) + _TINY) * 10 ** (rng.uniform(-6, 0) / 20)
        return total

    def _room(self, rng: np.random.Generator) -> np.ndarray:
        if self.rooms is not None and rng.random() < 0.5:
            return from_direct_sound(self.rooms.draw(rng))
        return from_direct_sound(simulated_decay(draw_t60_s(rng), rng))


def rms(x: np.ndarray) -> float:
    """RMS of all samples; 0 of none."""
    return math.sqrt(float(np.square(x, dtype=np.float64).mean())) if len(x) else 0.0


def active_rms(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """RMS over the 20 ms frames within `ACTIVE_RANGE_DB` of the loudest."""
    frame = sample_rate // _FRAMES_PER_S
    count = len(x) // frame
    if count == 0:
        return rms(x)
    power = np.square(x[: count * frame].reshape(count, frame)).mean(axis=1)
    active = power[power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10)]
    return math.sqrt(float(active.mean()))


def convolve(x: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`x` through an impulse response, cut to the length of `x`."""
    size = 1 << (len(x) + len(response) - 1).bit_length()
    y = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(response, size), size)
    return y[: len(x)].astype(np.float32)


def low_pass(x: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """Remove what lies above the cutoff, with a transition of 200 Hz."""
    spectrum = np.fft.rfft(x)
    freq = np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE)
    spectrum *= np.clip((cutoff_hz + 200 - freq) / 200, 0, 1)
    return np.fft.irfft(spectrum, len(x)).astype(np.float32)


def _equalise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random tilt of up to 4 dB per octave and one resonance of up to 8 dB."""
    spectrum = np.fft.rfft(x)
    octave = np.log2(np.maximum(np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE), 60) / 1000)
    centre, width = rng.uniform(-3.5, 3), rng.uniform(0.3, 1.5)
    gain_db = rng.uniform(-4, 4) * octave + rng.uniform(-8, 8) * np.exp(-(((octave - centre) / width) ** 2))
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(x)).astype(np.float32)


def _change_speed(x: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(soxr.resample(x, SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ"), dtype=np.float32)


def _fill(clip: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """A stretch of `length` samples from a clip, which is repeated from a random point if short."""
    return stretch(clip, draw_start(len(clip), length, rng), length)


def draw_start(available: int, length: int, rng: np.random.Generator) -> int:
    """Where a `stretch` of `length` samples begins in a clip of `available`."""
    return int(rng.integers(available - length + 1 if available >= length else available))


def stretch(clip: np.ndarray, start: int, length: int) -> np.ndarray:
    """`length` samples of a clip from `start` on; after its end it begins anew."""
    if start + length <= len(clip):
        return clip[start : start + length]
    return np.tile(clip, -(-(start + length) // len(clip)))[start : start + length]


def from_direct_sound(response: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """An impulse response from its highest peak on, which it keeps in place, with an energy of 1."""
    lead = 16  # samples: what a resampler leaves before the peak
    start = max(int(np.abs(response).argmax()) - lead, 0)
    response = response[start : start + int(ROOM_S * sample_rate)]
    return response / (math.sqrt(float(np.square(response).sum())) + _TINY)


def draw_t60_s(rng: np.random.Generator) -> float:
    """A reverberation time, 0.15 to 3 s."""
    return float(0.15 * 20 ** rng.random())


def simulated_decay(t60_s: float, rng: np.random.Generator, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Direct sound and an exponentially decaying tail, float32 `(samples,)`."""
    time = np.arange(int(min(t60_s, ROOM_S) * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / t60_s)
    tail[: int(rng.uniform(0.001, 0.01) * sample_rate)] = 0
    tail = convolve(tail.astype(np.float32), np.array([1, rng.uniform(0, 0.9)], np.float32))
    direct_to_tail_db = rng.uniform(-6, 12)
    tail *= 10 ** (-direct_to_tail_db / 20) / (math.sqrt(float(np.square(tail).sum())) + _TINY)
    tail[0] += 1
    return tail.astype(np.float32)


def synthetic_noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """Coloured noise, steady or modulated, or mains hum with harmonics, `(length,)`."""
    time = np.arange(length) / SAMPLE_RATE
    if rng.random() < 0.25:
        base_hz = rng.choice([50.0, 60.0]) * rng.uniform(0.99, 1.01)
        orders = np.arange(1, int(rng.integers(3, 30)))
        amplitudes = rng.uniform(0, 1, len(orders)) / orders ** rng.uniform(0.3, 1.5)
        phases = rng.uniform(0, 2 * np.pi, len(orders))
        hum = sum(
            a * np.sin(2 * np.pi * base_hz * k * time + p) for a, k, p in zip(amplitudes, orders, phases, strict=True)
        )
        return np.asarray(hum, dtype=np.float32)
    spectrum = np.fft.rfft(rng.standard_normal(length))
    freq = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 40)
    spectrum *= (freq / 1000) ** rng.uniform(-1.2, 0.3)
    noise = np.fft.irfft(spectrum, length)
    if rng.random() < 0.4:
        depth, rate_hz = rng.uniform(0.3, 1), rng.uniform(0.2, 6)
        noise *= 1 + depth * np.sin(2 * np.pi * (rate_hz * time + rng.random()))
    return noise.astype(np.float32)
