"""Synthetic noises, for kinds that recordings contain too little of."""

from __future__ import annotations

import numpy as np

from dccrn_cli.mixing.effects import fft_size
from dccrn_cli.nn.config import SAMPLE_RATE

_FRAME = 256


def synthetic_noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """A random noise of a random kind from `KINDS`, float32 `(length,)`."""
    index = int(np.searchsorted(_CUMULATIVE, rng.random(), side="right"))
    return list(KINDS)[index](length, rng).astype(np.float32)


def coloured(length: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with a spectral slope, stationary or slowly modulated, `(length,)`."""
    noise = shaped_noise(length, rng, 40.0, rng.uniform(-1.2, 0.3))
    if rng.random() < 0.4:
        depth, rate_hz = rng.uniform(0.3, 1), rng.uniform(0.2, 6)
        noise = noise * (1 + depth * np.sin(2 * np.pi * (rate_hz * _time(length) + rng.random())))
    return noise


def hum(length: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum at 50 or 60 Hz with up to 29 harmonics, `(length,)`."""
    base_hz = rng.choice([50.0, 60.0]) * rng.uniform(0.99, 1.01)
    orders = np.arange(1, int(rng.integers(4, 31)))
    weights = rng.uniform(0, 1, len(orders)) / orders ** rng.uniform(0.3, 1.5)
    weights = weights * np.exp(2j * np.pi * rng.random(len(orders)))
    turn = np.exp(2j * np.pi * base_hz * _time(length))
    total = np.full(length, weights[-1])
    for weight in weights[-2::-1]:  # Horner's method: one complex exponential for all harmonics
        total = total * turn + weight
    return np.real(total * turn)


def tones(length: int, rng: np.random.Generator) -> np.ndarray:
    """Machines and signals: one to six whines, sweeps or beeps over a faint hiss, `(length,)`."""
    time = _time(length)
    total = 0.01 * rng.standard_normal(length)
    for _ in range(int(rng.integers(1, 7))):
        freq_hz = 80 * 75 ** rng.random()
        wobble_hz, wobble = rng.uniform(0.1, 8), rng.uniform(0, 0.03) * freq_hz
        turns = freq_hz * time + wobble / wobble_hz * np.sin(2 * np.pi * (wobble_hz * time + rng.random()))
        period_s = 0.1 * 40 ** rng.random()
        place = (time / period_s + rng.random()) % 1
        kind = rng.random()
        gate: np.ndarray | float = 1.0
        if kind < 0.3:  # a repeating sweep
            turns = turns + (place - 0.5) ** 2 * period_s * rng.uniform(-0.4, 0.4) * freq_hz
        elif kind < 0.6:  # beeps with 5 ms edges
            duty = rng.uniform(0.1, 0.9)
            gate = np.clip(np.minimum(place, duty - place) * period_s / 0.005, 0, 1)
        total = total + rng.uniform(0.1, 1) * gate * np.sin(2 * np.pi * turns)
    return total


def clicks(length: int, rng: np.random.Generator) -> np.ndarray:
    """Keystrokes, knocks, crackle: short decaying bursts of two different sounds, `(length,)`."""
    size = fft_size(length)
    total = np.zeros(size // 2 + 1, complex)
    per_s = 3 * 15 ** rng.random()
    for _ in range(2):
        count = 1 + int(rng.poisson(per_s / 2 * length / SAMPLE_RATE))
        train = np.zeros(length)
        np.add.at(train, rng.integers(length, size=count), 10 ** rng.uniform(-1, 0, count))
        decay_s = 0.0005 * 40 ** rng.random()
        time = _time(min(int(8 * decay_s * SAMPLE_RATE), length))
        ring = np.cos(2 * np.pi * rng.uniform(100, 5000) * time)
        burst = np.exp(-time / decay_s) * (rng.uniform(0, 1) * ring + 0.3 * rng.standard_normal(len(time)))
        total += np.fft.rfft(train, size) * np.fft.rfft(burst, size)
    return np.fft.irfft(total, size)[:length] + 1e-5 * rng.standard_normal(length)


def wind(length: int, rng: np.random.Generator) -> np.ndarray:
    """Low rumble in gusts, like wind on a microphone, `(length,)`."""
    noise = shaped_noise(length, rng, rng.uniform(40, 250), rng.uniform(-2.0, -1.2))
    knots = rng.standard_normal(2 + int(rng.uniform(1, 5) * length / SAMPLE_RATE))
    gust_db = rng.uniform(4, 10) * np.interp(np.linspace(0, len(knots) - 1, length), np.arange(len(knots)), knots)
    return noise * 10 ** (gust_db / 20)


def musical(length: int, rng: np.random.Generator) -> np.ndarray:
    """Short tones scattered over time and frequency, as left by poor coding or denoising, `(length,)`."""
    hop = _FRAME // 2
    shape = (length // hop + 2, hop + 1)
    held = np.repeat(rng.random((shape[0] // 2 + 1, shape[1])), 2, axis=0)[: shape[0]]
    tilt = (1 + np.arange(hop + 1)) ** rng.uniform(-1.0, 0.2)
    cells = (held < rng.uniform(0.02, 0.15)) * tilt * np.exp(2j * np.pi * rng.random(shape))
    frames = np.fft.irfft(cells, _FRAME) * np.hanning(_FRAME)
    halves = np.concatenate([frames[:, :hop], np.zeros((1, hop))])
    halves[1:] += frames[:, hop:]
    return halves.reshape(-1)[:length]


KINDS = {coloured: 0.4, hum: 0.15, tones: 0.15, clicks: 0.12, wind: 0.1, musical: 0.08}
"""Kinds of noise and their probabilities."""

_CUMULATIVE = np.cumsum(list(KINDS.values())[:-1])


def _time(length: int) -> np.ndarray:
    return np.arange(length) / SAMPLE_RATE


def shaped_noise(length: int, rng: np.random.Generator, corner_hz: float, slope: float) -> np.ndarray:
    """Noise with a flat amplitude spectrum up to a corner frequency and a power law above it."""
    size = fft_size(length)
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    freq = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), corner_hz)
    shaped: np.ndarray = np.fft.irfft(spectrum * ((freq / 1000) ** slope).astype(np.float32), size)
    return shaped[:length]
