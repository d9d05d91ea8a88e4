"""Synthetic tones and machines: hum, motors, fans, telephones, beeps, sirens, whistles.

Networks mistake harmonic sounds for voices unless they are trained on enough that are not. All of these
are harmonics of a frequency that may vary: one period is stored in a table and read at the current phase.
"""

from __future__ import annotations

import numpy as np

from dccrn_cli.data.speech_level import TINY, rms
from dccrn_cli.mixing.noises import shaped_noise
from dccrn_cli.nn.config import SAMPLE_RATE

_TABLE = 1 << 14
_TOP_HZ = 7600.0
_STEP = 64  # samples between which slow curves are interpolated

_DIAL_HZ = ((350.0, 440.0), (425.0, 425.0), (400.0, 425.0), (440.0, 440.0))
_RING_HZ = ((440.0, 480.0), (400.0, 450.0), (425.0, 425.0), (480.0, 620.0))
_KEYS_HZ = (np.array([697.0, 770.0, 852.0, 941.0]), np.array([1209.0, 1336.0, 1477.0, 1633.0]))


def tonal_noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """A random noise of a random kind from `TONAL_KINDS` over a faint hiss, float32 `(length,)`.

    A third of them are amplitude-modulated at 0.3 to 30 Hz.
    """
    kind = list(TONAL_KINDS)[int(np.searchsorted(_CUMULATIVE, rng.random(), side="right"))]
    noise = kind(length, rng)
    if rng.random() < 1 / 3:
        depth, rate_hz = rng.uniform(0.2, 1), 0.3 * 100 ** rng.random()
        noise = noise * (1 + np.float32(depth) * _sine(rate_hz * _time(length) + rng.random()))
    hiss = np.float32(10 ** (rng.uniform(-50, -20) / 20) * np.abs(noise).mean())
    return np.asarray(noise + hiss * rng.standard_normal(length, dtype=np.float32))


def mains(length: int, rng: np.random.Generator) -> np.ndarray:
    """Drifting mains hum and buzz at 50 or 60 Hz, odd or even harmonics weakened, up to 1 to 7 kHz, `(length,)`."""
    base_hz = rng.choice([50.0, 60.0])
    speed_hz = base_hz * _drifting(length, rng, 10 ** rng.uniform(-4, -2.3), 1.0)
    weights = _harmonics(rng, base_hz, 1000 * 7 ** rng.random(), rng.uniform(0.2, 1.6))
    weights[int(rng.integers(2)) :: 2] *= rng.uniform(0.05, 1)  # rectifiers give even harmonics, transformers odd ones
    return _wave(weights, _turns(speed_hz, rng), rng)


def motor(length: int, rng: np.random.Generator) -> np.ndarray:
    """An engine, motor or saw: harmonics of a speed that wanders, rises or falls, over broadband noise, `(length,)`."""
    base_hz = 15 * 30 ** rng.random()
    curve = _drifting(length, rng, 10 ** rng.uniform(-2.5, -0.7), rng.uniform(0.3, 3))
    if rng.random() < 0.4:  # speeding up or slowing down
        curve = curve * np.exp2(np.linspace(0, rng.uniform(-1.2, 1.2), length))
    highest_hz = min(800 * 8 ** rng.random(), _TOP_HZ / float(curve.max()))
    whirr = _wave(_harmonics(rng, base_hz, highest_hz, rng.uniform(0, 1.2)), _turns(base_hz * curve, rng), rng)
    return _mixed(whirr, shaped_noise(length, rng, 80.0, rng.uniform(-1.2, 0.1)), rng.uniform(-5, 25))


def fan(length: int, rng: np.random.Generator) -> np.ndarray:
    """A fan, vacuum cleaner or drone: harmonics of one to four rotors in broadband noise, `(length,)`."""
    rush = shaped_noise(length, rng, rng.uniform(50, 800), rng.uniform(-1.3, 0.2))
    base_hz = 30 * 15 ** rng.random()
    count = int(rng.choice([1, 1, 1, 2, 4]))
    comb = np.zeros(length, np.float32)
    for _ in range(count):
        speed_hz = base_hz * rng.uniform(0.95, 1.05) * _drifting(length, rng, 10 ** rng.uniform(-3.5, -1.7), 2.0)
        turns = _turns(speed_hz, rng)
        weights = _harmonics(rng, base_hz, min(500 * 14 ** rng.random(), 0.85 * _TOP_HZ), rng.uniform(0.1, 1.3))
        comb += _wave(weights, turns, rng)
    if rng.random() < 0.4:  # each blade causes a gust
        rush = rush * (1 + np.float32(rng.uniform(0.1, 0.7)) * _sine(turns))
    return _mixed(comb, rush, rng.uniform(-15, 12))


def telephone(length: int, rng: np.random.Generator) -> np.ndarray:
    """A dial tone, ringing, a busy tone or dialled keys, `(length,)`."""
    time, kind = _time(length), rng.random()
    if kind < 0.3:
        low, high = _DIAL_HZ[int(rng.integers(len(_DIAL_HZ)))]
        gate: np.ndarray | float = 1.0
    elif kind < 0.6:
        low, high = _RING_HZ[int(rng.integers(len(_RING_HZ)))]
        period_s, share = (rng.uniform(0.4, 1.0), 0.5) if rng.random() < 0.5 else (rng.uniform(2, 6), 0.35)
        gate = _gate(time, period_s, share, rng)
    else:
        period_s = rng.uniform(0.1, 0.5)
        place = time / period_s + rng.random()
        key = place.astype(int)
        low, high = (tones[rng.integers(4, size=int(key[-1]) + 1)][key] for tones in _KEYS_HZ)
        # The gate is closed where keys change, so phases need not be continuous.
        gate = _gate(place, 1.0, rng.uniform(0.4, 0.8), None, 0.005 / period_s)
    pair = _sine(low * time + rng.random()) + np.float32(rng.uniform(0.5, 1.2)) * _sine(high * time + rng.random())
    return np.asarray(gate * pair, dtype=np.float32)


def beeps(length: int, rng: np.random.Generator) -> np.ndarray:
    """Beeps in groups, of one or two pitches, with or without harmonics, `(length,)`."""
    time = _time(length)
    period_s, count = 0.4 * 8 ** rng.random(), int(rng.integers(1, 5))
    place = (time / period_s + rng.random()) % 1
    within = place * count / rng.uniform(0.4, 1)  # integer part: index of the beep; fraction: position within it
    gate = _gate(within, 1.0, rng.uniform(0.3, 0.8), None, 0.003 * count / period_s) * (within < count)
    first_hz = 300 * 14 ** rng.random()
    second_hz = first_hz * (rng.uniform(0.6, 1.6) if rng.random() < 0.4 else 1.0)
    speed_hz = np.where(within.astype(int) % 2 == 0, first_hz, second_hz)
    weights = _harmonics(rng, max(first_hz, second_hz), _TOP_HZ if rng.random() < 0.5 else 0.0, rng.uniform(0.5, 3))
    return np.asarray(gate * _wave(weights, _turns(speed_hz, rng), rng))


def siren(length: int, rng: np.random.Generator) -> np.ndarray:
    """A frequency that rises and falls smoothly, in ramps, or by alternating between two pitches, `(length,)`."""
    place = (_time(length) * 0.1 * 70 ** rng.random() + rng.random()) % 1
    kind = rng.random()
    if kind < 0.4:
        course = 0.5 - 0.5 * np.cos(2 * np.pi * place)
    elif kind < 0.8:
        peak = rng.uniform(0.05, 0.95)
        course = np.minimum(place / peak, (1 - place) / (1 - peak))
    else:
        course = (place < 0.5).astype(float)
    low_hz = 250 * 5 ** rng.random()
    octaves = rng.uniform(0.2, 1.8)
    weights = _harmonics(rng, low_hz * 2**octaves, _TOP_HZ if rng.random() < 0.7 else 0.0, rng.uniform(0.5, 2.5))
    return _wave(weights, _turns(low_hz * np.exp2(octaves * course), rng), rng)


def whistle(length: int, rng: np.random.Generator) -> np.ndarray:
    """A whistle, kettle or squeak: one gliding tone, often with vibrato or interrupted, `(length,)`."""
    base_hz = 600 * 6 ** rng.random()
    speed_hz = base_hz * _drifting(length, rng, 10 ** rng.uniform(-3, -0.7), rng.uniform(0.5, 6))
    if rng.random() < 0.5:
        speed_hz = speed_hz * (1 + rng.uniform(0, 0.03) * _sine(rng.uniform(3, 9) * _time(length)))
    tone = _wave(np.array([1.0, rng.uniform(0, 0.2)]), _turns(np.minimum(speed_hz, _TOP_HZ / 2), rng), rng)
    if rng.random() < 0.6:
        tone = tone * _gate(_time(length), rng.uniform(0.3, 3), rng.uniform(0.2, 0.9), rng, 0.03)
    return tone


TONAL_KINDS = {mains: 0.2, motor: 0.2, fan: 0.27, telephone: 0.1, beeps: 0.09, siren: 0.07, whistle: 0.07}
"""Kinds of tonal noise and their probabilities."""

_CUMULATIVE = np.cumsum(list(TONAL_KINDS.values())[:-1])


def _time(length: int) -> np.ndarray:
    return np.arange(length) / SAMPLE_RATE


def _sine(turns: np.ndarray) -> np.ndarray:
    """Sine of a phase in turns, float32."""
    sine: np.ndarray = np.sin((2 * np.pi * (turns - np.floor(turns))).astype(np.float32))
    return sine


def _turns(speed_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Phase in turns of a varying frequency, starting at random, `(length,)`."""
    turns: np.ndarray = np.cumsum(speed_hz)
    return turns / SAMPLE_RATE + rng.random()


def _drifting(length: int, rng: np.random.Generator, depth: float, per_s: float) -> np.ndarray:
    """Factors around 1 that wander by a relative `depth`, about `per_s` times a second, `(length,)`."""
    knots = np.exp(depth * rng.standard_normal(3 + int(per_s * length / SAMPLE_RATE)))
    coarse = np.interp(np.linspace(0, len(knots) - 1, length // _STEP + 2), np.arange(len(knots)), knots)
    fine = coarse[:-1, None] + np.diff(coarse)[:, None] * (np.arange(_STEP) / _STEP)
    return fine.reshape(-1)[:length]


def _harmonics(rng: np.random.Generator, base_hz: float, highest_hz: float, slope: float) -> np.ndarray:
    """Amplitudes of the harmonics up to a frequency (at least one), falling with `slope`, with two resonances."""
    orders = np.arange(1, max(int(min(highest_hz, _TOP_HZ) / base_hz), 1) + 1)
    weights = rng.uniform(0.1, 1, len(orders)) * orders**-slope
    for _ in range(2):
        centre, width = np.log2(100 * 40 ** rng.random()), rng.uniform(0.1, 0.6)
        weights *= 1 + rng.uniform(0, 6) * np.exp(-np.square((np.log2(orders * base_hz) - centre) / width))
    return weights


def _wave(weights: np.ndarray, turns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Harmonics with the given amplitudes and random phases, read at a phase in turns, float32 `(length,)`."""
    spectrum = np.zeros(_TABLE // 2 + 1, np.complex64)
    spectrum[1 : len(weights) + 1] = weights * np.exp(2j * np.pi * rng.random(len(weights))) * (_TABLE / 2)
    table = np.fft.irfft(spectrum, _TABLE).astype(np.float32)
    wave: np.ndarray = table[(turns * _TABLE).astype(np.int64) & (_TABLE - 1)]
    return wave


def _gate(
    time: np.ndarray, period: float, share: float, rng: np.random.Generator | None, edge: float = 0.005
) -> np.ndarray:
    """1 for a share of each period, otherwise 0; `edge` is in the unit of `time`. float32 `(length,)`."""
    place = (time / period + (0.0 if rng is None else rng.random())) % 1
    gate: np.ndarray = np.clip(np.minimum(place, share - place) * (period / edge), 0, 1).astype(np.float32)
    return gate


def _mixed(tone: np.ndarray, rush: np.ndarray, ratio_db: float) -> np.ndarray:
    """Mix a tone with broadband noise at the given ratio, float32."""
    mixed = tone / (rms(tone) + TINY) + rush * (10 ** (-ratio_db / 20) / (rms(rush) + TINY))
    return np.asarray(mixed, dtype=np.float32)
