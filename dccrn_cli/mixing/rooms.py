"""Impulse responses of box-shaped rooms by the image method, with random geometry and absorption.

Images follow Allen and Berkley, "Image method for efficiently simulating small-room acoustics",
JASA 65, 1979, each placed at its exact delay by a windowed sinc (Peterson, JASA 80, 1986). A long
response has too many of them: after the time by which `IMAGES` images have arrived, the tail is
Gaussian noise with the power that the images would have on average (Lehmann and Johansson,
"Prediction of energy decay in room impulse responses simulated with an image-source model",
JASA 124, 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dccrn_cli.mixing.effects import fft_size
from dccrn_cli.mixing.impulse_responses import ROOM_S
from dccrn_cli.nn.config import SAMPLE_RATE

SPEED_OF_SOUND = 343.0
"""m/s."""

IMAGES = 6000
"""Approximate number of images that are computed individually."""

MIN_WALL_M = 0.4
"""Minimum distance from any wall to a source or the microphone."""

MIN_SOURCE_M = 0.25
"""Minimum distance from a source to the microphone."""

LEAD = 20
"""Samples of a response before its direct sound: half a windowed sinc."""

_HIGH_PASS_HZ = 40.0
_DECAY_STEP = 64  # samples between points of the decay curve; values between are interpolated


def _directions(count: int) -> np.ndarray:
    """Evenly spread directions in the positive octant, `(count, 3)`: absolute values of a spiral on a sphere."""
    height = (np.arange(count) + 0.5) / count
    turn = math.pi * (3 - math.sqrt(5)) * np.arange(count)
    across = np.sqrt(1 - height**2)
    return np.asarray(np.abs(np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=1)))


_DIRECTIONS = _directions(64)


@dataclass(frozen=True)
class Shoebox:
    """A box-shaped room.

    Attributes:
        size_m: length, width and height.
        absorption: share of energy, below 1, that each wall absorbs: the walls at 0 and at `size_m`, by axis.
    """

    size_m: tuple[float, float, float]
    absorption: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

    @property
    def volume_m3(self) -> float:
        """Volume of the room."""
        return float(np.prod(self.size_m))

    @property
    def reflections(self) -> np.ndarray:
        """Reflection factors on sound pressure, `(axis, wall)`."""
        return np.array([[math.sqrt(1 - share) for share in pair] for pair in self.absorption])

    @property
    def decay_rates(self) -> np.ndarray:
        """Decay rate of sound power in nepers per second, by direction, `(directions,)`.

        Sound travelling in direction u hits the walls of an axis c |u| / L times per second.
        """
        per_pass = -np.log(self.reflections.prod(axis=1))
        return np.asarray(SPEED_OF_SOUND * _DIRECTIONS @ (per_pass / np.array(self.size_m)))

    @property
    def t60_s(self) -> float:
        """Reverberation time: three times what the remaining energy takes to fall from -5 to -25 dB."""
        return _t60_s(self.decay_rates)


@dataclass(frozen=True)
class Scene:
    """Sources and a microphone in a room; positions in metres.

    Attributes:
        room: the room.
        sources_m: positions of the sources, `(sources, 3)`.
        microphone_m: position of the microphone, `(3,)`.
    """

    room: Shoebox
    sources_m: np.ndarray
    microphone_m: np.ndarray


def image_sources(
    room: Shoebox,
    source_m: np.ndarray,
    microphone_m: np.ndarray,
    reach_m: float,
    device: str | None = None,
    dtype: type[np.floating[Any]] = np.float32,
) -> tuple[Any, Any]:
    """Find all images of a source within `reach_m` of the microphone.

    Returns:
        Distances from the microphone in metres and products of reflection factors, both `(images,)`:
        arrays, or tensors if a device is given.
    """
    squares, factors = [], []
    for axis, size in enumerate(room.size_m):
        orders = math.ceil(reach_m / (2 * size)) + 1
        order = np.arange(-orders, orders + 1)
        low, high = room.reflections[axis]
        place = np.stack([2 * order * size + source_m[axis], 2 * order * size - source_m[axis]]) - microphone_m[axis]
        factor = high ** np.abs(order) * np.stack([low ** np.abs(order), low ** np.abs(order - 1)])
        near = np.abs(place) <= reach_m
        shape = tuple(-1 if other == axis else 1 for other in range(3))
        squares.append(_on_device(np.square(place[near]).reshape(shape), device, dtype))
        factors.append(_on_device(factor[near].reshape(shape), device, dtype))
    squared = squares[0] + squares[1] + squares[2]
    near = squared <= reach_m**2
    return squared[near] ** 0.5, (factors[0] * factors[1] * factors[2])[near]


def impulse_responses(
    scene: Scene,
    samples: int,
    rng: np.random.Generator,
    sample_rate: int = SAMPLE_RATE,
    images: int = IMAGES,
    device: str | None = None,
    dtype: type[np.floating[Any]] = np.float32,
) -> np.ndarray:
    """Compute the responses from each source to the microphone, `(sources, samples)`.

    The direct sound of a source r metres away arrives after r / `SPEED_OF_SOUND` with an amplitude
    of 1 / r. The same generator gives the same samples, except for rounding on other devices.

    Args:
        scene: positions in the room.
        samples: their length.
        rng: generator for the noise tail.
        sample_rate: in Hz.
        images: approximate number of images computed individually, before the noise tail begins.
        device: torch device, such as cuda; None for NumPy in one thread.
        dtype: of computation and result. Rounded from float64 to float32, responses are the same on all
            processors, whose float32 sines differ in the last bit.
    """
    reach_m = (3 * images * scene.room.volume_m3 / (4 * math.pi)) ** (1 / 3)
    reach_m = min(reach_m, SPEED_OF_SOUND * samples / sample_rate)
    followed = int(reach_m / SPEED_OF_SOUND * sample_rate)
    responses = np.zeros((len(scene.sources_m), samples), dtype)
    for response, source_m in zip(responses, scene.sources_m, strict=True):
        distance_m, factor = image_sources(scene.room, source_m, scene.microphone_m, reach_m, device, dtype)
        response += _pulses(distance_m * (sample_rate / SPEED_OF_SOUND), factor / distance_m, samples, device)
    tail = rng.standard_normal((len(responses), samples - followed), dtype=np.float32)
    responses[:, followed:] += tail * _tail_rms(scene.room, samples, sample_rate)[followed:].astype(dtype)
    return responses


def _on_device(x: np.ndarray, device: str | None, dtype: type[np.floating[Any]]) -> Any:
    if device is None:
        return x.astype(dtype)
    import torch

    return torch.tensor(x.astype(dtype), device=device)


def _pulses(delay: Any, amplitude: Any, samples: int, device: str | None) -> np.ndarray:
    """Sum band-limited pulses at fractional delays, `(samples,)`; those beyond the end are dropped."""
    if device is None:
        library: Any = np
    else:
        import torch as library
    whole = library.floor(delay)
    fraction = library.clip(delay - whole, 1e-6, 1.0)  # avoid 0 / 0
    scaled_sine = amplitude * library.sin(math.pi * fraction) / math.pi
    cosine, sine = library.cos(math.pi / LEAD * fraction), library.sin(math.pi / LEAD * fraction)
    size = samples + 3 * LEAD
    place = library.clip(whole, 0, samples + LEAD) + LEAD
    place = place.astype(np.intp) if device is None else place.long()
    total: Any = 0.0
    for tap in range(1 - LEAD, LEAD + 1):  # tap by tap, so that the values stay in the cache
        angle = math.pi * tap / LEAD
        window = 0.5 + 0.5 * (math.cos(angle) * cosine + math.sin(angle) * sine)
        pulse = scaled_sine * window / ((tap - fraction) * (1 if tap % 2 else -1))
        total += library.bincount(place + tap, pulse, size)
    return np.asarray(total if device is None else total.cpu())[LEAD : LEAD + samples]


def _tail_rms(room: Shoebox, samples: int, sample_rate: int) -> np.ndarray:
    """RMS of the sum of randomly spread images, by sample, `(samples,)`.

    On average 4 pi c**3 t**2 / V of them arrive per second, each with amplitude 1 / (c t) times its factors.
    """
    time = np.arange(samples // _DECAY_STEP + 2) * (_DECAY_STEP / sample_rate)
    rates = room.decay_rates[:, None]
    slowest = rates.min() * time
    log_power = np.log(np.exp(slowest - rates * time).mean(axis=0)) - slowest
    log_power += math.log(4 * math.pi * SPEED_OF_SOUND / (room.volume_m3 * sample_rate))
    log_rms = np.interp(np.arange(samples) / _DECAY_STEP, np.arange(len(time)), 0.5 * log_power)
    return np.asarray(np.exp(log_rms))


def _t60_s(rates: np.ndarray) -> float:
    time = np.linspace(0, 20 / rates.mean(), 400)
    left_db = 10 * np.log10((np.exp(-rates[:, None] * time) / rates[:, None]).sum(axis=0) / (1 / rates).sum())
    start_s, end_s = np.interp([5, 25], -left_db, time)
    return float(3 * (end_s - start_s))


def draw_t60_s(rng: np.random.Generator, span_s: tuple[float, float]) -> float:
    """Draw a reverberation time from a range, log-uniformly."""
    return float(span_s[0] * (span_s[1] / span_s[0]) ** rng.random())


def draw_scene(rng: np.random.Generator, t60_s: tuple[float, float], sources: int = 2) -> Scene:
    """Draw a random room of 3 x 2.5 x 2.3 to 10 x 8 x 4 m, and positions in it.

    Reverberation times are log-uniform over their range, and walls differ in absorption. The distance of
    the first source, the talker, is log-uniform from `MIN_SOURCE_M` to 4 m; other sources are anywhere.
    """
    size = rng.uniform((3.0, 2.5, 2.3), (10.0, 8.0, 4.0))
    wanted_s = draw_t60_s(rng, t60_s)
    nepers = rng.uniform(0.5, 1.5, (3, 2))  # of power lost at each wall; all decay times scale with 1 / nepers
    nepers *= _room(size, nepers).t60_s / wanted_s
    room = _room(size, nepers)
    microphone = rng.uniform(MIN_WALL_M, size - MIN_WALL_M)
    places = [_near(rng, size, microphone)]
    while len(places) < sources:
        place = rng.uniform(MIN_WALL_M, size - MIN_WALL_M)
        if np.linalg.norm(place - microphone) >= MIN_SOURCE_M:
            places.append(place)
    return Scene(room, np.stack(places), microphone)


def _room(size: np.ndarray, nepers: np.ndarray) -> Shoebox:
    (x, y, z), absorption = map(float, size), [(float(low), float(high)) for low, high in -np.expm1(-nepers)]
    return Shoebox((x, y, z), (absorption[0], absorption[1], absorption[2]))


def _near(rng: np.random.Generator, size: np.ndarray, microphone: np.ndarray) -> np.ndarray:
    """A position in the room at a random distance and direction from the microphone."""
    while True:
        direction = rng.standard_normal(3)
        distance = MIN_SOURCE_M * (4 / MIN_SOURCE_M) ** rng.random()
        place = microphone + distance * direction / np.linalg.norm(direction)
        if (place >= MIN_WALL_M).all() and (place <= size - MIN_WALL_M).all():
            return np.asarray(place)


def simulate_room(
    rng: np.random.Generator,
    t60_s: tuple[float, float],
    sources: int = 2,
    sample_rate: int = SAMPLE_RATE,
    device: str | None = None,
    dtype: type[np.floating[Any]] = np.float32,
) -> list[np.ndarray]:
    """Draw a room and compute its responses: of the talker, then of sources elsewhere, each `(samples,)`.

    Each starts `LEAD` samples before its direct sound, which has an amplitude of about 1, and has the length of
    the reverberation time, at most `ROOM_S`. It is high-passed at 40 Hz, below which the image method is wrong.

    Args:
        rng: generator of the room, the positions and the noise tails.
        t60_s: range of the reverberation time.
        sources: number of responses.
        sample_rate, device, dtype: as in `impulse_responses`.
    """
    scene = draw_scene(rng, t60_s, sources)
    distance_m = np.linalg.norm(scene.sources_m - scene.microphone_m, axis=1)
    arrival = np.round(distance_m / SPEED_OF_SOUND * sample_rate).astype(int)
    samples = int(min(scene.room.t60_s, ROOM_S) * sample_rate)
    raw = impulse_responses(scene, samples + int(arrival.max()), rng, sample_rate, device=device, dtype=dtype)
    raw = _high_pass(np.pad(raw, ((0, 0), (LEAD, 0))), sample_rate) * distance_m[:, None]
    return [x[start : start + samples + LEAD] for x, start in zip(raw, arrival, strict=True)]


def _high_pass(x: np.ndarray, sample_rate: int) -> np.ndarray:
    """A second-order Butterworth filter along the last axis."""
    size = fft_size(x.shape[-1] + sample_rate // 10)
    s = 1j * np.fft.rfftfreq(size, 1 / sample_rate) / _HIGH_PASS_HZ
    return np.fft.irfft(np.fft.rfft(x, size) * (s**2 / (s**2 + math.sqrt(2) * s + 1)), size)[..., : x.shape[-1]]


class RoomBank:
    """Simulated rooms at 16 kHz, each determined by (seed, index), computed on first use and kept.

    Args:
        count: number of rooms.
        seed: seed of all rooms.
        t60_s: range of their reverberation times.
        device: torch device that computes them, such as cuda; None for NumPy in one thread.
    """

    def __init__(self, count: int, seed: int, t60_s: tuple[float, float], device: str | None = None) -> None:
        self.count = count
        self.seed = seed
        self.t60_s = t60_s
        self.device = device
        self._kept: dict[int, list[np.ndarray]] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> list[np.ndarray]:
        """Responses of the talker and of a noise elsewhere in the same room, float32 `(samples,)`, by `simulate_room`.

        Raises:
            IndexError: there is no such room.
        """
        if index not in self._kept:
            if not 0 <= index < self.count:
                raise IndexError(index)
            rng = np.random.default_rng((self.seed, index))
            responses = simulate_room(rng, self.t60_s, device=self.device)
            self._kept[index] = [x.astype(np.float16) for x in responses]
        return [x.astype(np.float32) for x in self._kept[index]]
