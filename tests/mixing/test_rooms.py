"""Rooms: positions of images, decays as in theory, and the parts kept by targets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dccrn_cli.mixing.impulse_responses import EARLY_S, early_part
from dccrn_cli.mixing.rooms import (
    LEAD,
    MIN_SOURCE_M,
    MIN_WALL_M,
    SPEED_OF_SOUND,
    RoomBank,
    Scene,
    Shoebox,
    draw_scene,
    image_sources,
    impulse_responses,
    simulate_room,
)
from dccrn_cli.nn.config import SAMPLE_RATE

ROOM = Shoebox((5.0, 4.0, 3.0), ((0.19, 0.36), (0.51, 0.64), (0.75, 0.84)))
SOURCE, MICROPHONE = np.array([1.0, 1.5, 1.2]), np.array([3.0, 2.5, 1.7])


def even(size_m: tuple[float, float, float], absorption: float) -> Shoebox:
    pair = (absorption, absorption)
    return Shoebox(size_m, (pair, pair, pair))


def eyring_s(room: Shoebox) -> float:
    length, width, height = room.size_m
    surface = 2 * (length * width + width * height + height * length)
    return -0.161 * length * width * height / (surface * math.log(1 - room.absorption[0][0]))


def t60_s(response: np.ndarray) -> float:
    """By Schroeder's integral, from -5 to -25 dB."""
    left = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    left_db = 10 * np.log10(left / left[0] + 1e-30)
    return 3 * float(np.argmax(left_db < -25) - np.argmax(left_db < -5)) / SAMPLE_RATE


def test_direct_sound_has_the_right_delay_and_level(rng: np.random.Generator) -> None:
    for distance_m in (0.5, 1.0, 2.2222, 3.7):
        room = even((40.0, 40.0, 40.0), 0.5)  # distant walls
        scene = Scene(room, np.array([[20 + distance_m, 20.0, 20.0]]), np.array([20.0, 20.0, 20.0]))
        (response,) = impulse_responses(scene, 1024, rng)
        spectrum = np.fft.rfft(response.astype(np.float64))
        freq = np.arange(513) / 1024
        band = slice(20, 440)  # up to 6.9 kHz
        np.testing.assert_allclose(np.abs(spectrum)[band] * distance_m, 1, atol=0.01)
        delay = -np.polyfit(freq[band], np.unwrap(np.angle(spectrum))[band], 1)[0] / (2 * math.pi)
        assert delay == pytest.approx(distance_m / SPEED_OF_SOUND * SAMPLE_RATE, abs=0.01)


def test_first_images_lie_behind_the_walls() -> None:
    """A single reflection, mirrored at a wall and scaled by the root of the energy not absorbed."""
    distance_m, factor = image_sources(ROOM, SOURCE, MICROPHONE, 30.0)
    mirrored = {
        (-1.0, 1.5, 1.2): 0.9, (9.0, 1.5, 1.2): 0.8, (1.0, -1.5, 1.2): 0.7, (1.0, 6.5, 1.2): 0.6,
        (1.0, 1.5, -1.2): 0.5, (1.0, 1.5, 4.8): 0.4, (1.0, 1.5, 1.2): 1.0, (-1.0, -1.5, 1.2): 0.9 * 0.7,
        (11.0, 1.5, 1.2): 0.8 * 0.9, (-9.0, 1.5, 1.2): 0.9 * 0.8, (1.0, 1.5, 7.2): 0.5 * 0.4,
    }  # fmt: skip
    for place, product in mirrored.items():
        distance = np.linalg.norm(np.array(place) - MICROPHONE)
        found = np.isclose(distance_m, distance, atol=1e-5) & np.isclose(factor, product, atol=1e-6)
        assert found.sum() == 1, place
    assert distance_m.max() <= 30
    expected = 4 / 3 * math.pi * 30**3 / ROOM.volume_m3
    assert len(distance_m) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("size_m", "absorption"), [((5.0, 4.5, 4.0), 0.2), ((4.0, 3.5, 3.0), 0.5), ((6.0, 5.0, 4.5), 0.1)]
)
def test_reverberation_time(size_m: tuple[float, float, float], absorption: float, rng: np.random.Generator) -> None:
    """Close to Eyring's formula, which assumes a diffuse field, and to the model's own, which does not."""
    room = even(size_m, absorption)
    scene = Scene(room, np.array([[1.2, 1.1, 1.3]]), np.array([2.9, 2.3, 1.6]))
    (response,) = impulse_responses(scene, round(1.2 * room.t60_s * SAMPLE_RATE), rng)
    measured_s = t60_s(np.diff(response))  # without the images' sum near 0 Hz
    assert measured_s == pytest.approx(eyring_s(room), rel=0.25)
    assert measured_s == pytest.approx(room.t60_s, rel=0.15)


def test_noise_tail_continues_the_images(rng: np.random.Generator) -> None:
    scene = Scene(even((3.2, 2.7, 2.5), 0.15), np.array([[1.0, 1.1, 1.3]]), np.array([2.0, 1.7, 1.6]))
    samples = 3200
    (followed,) = impulse_responses(scene, samples, rng, images=200_000)
    (short,) = impulse_responses(scene, samples, rng, images=1000)
    same = 600  # about 1000 images
    np.testing.assert_array_equal(short[:same], followed[:same])
    for start in range(960, samples - 400, 400):
        powers = [np.square(np.diff(x[start : start + 400])).mean() for x in (short, followed)]
        # Noise spreads its power over the whole band; so do images, except near 0 Hz.
        assert 10 * math.log10(powers[0] / powers[1]) == pytest.approx(0, abs=1.5)


def test_energy_decays_after_the_arrival(rng: np.random.Generator) -> None:
    for _ in range(4):
        scene = draw_scene(rng, (0.2, 0.6))
        for response, source_m in zip(impulse_responses(scene, 9600, rng), scene.sources_m, strict=True):
            arrival = np.linalg.norm(source_m - scene.microphone_m) / SPEED_OF_SOUND * SAMPLE_RATE
            assert not response[: max(int(arrival) - LEAD, 0)].any()
            power = np.square(response[int(arrival) :]).astype(np.float64)
            blocks = power[: len(power) // 1600 * 1600].reshape(-1, 1600).sum(axis=1)
            assert (np.diff(blocks) < 0).all()


def test_torch_agrees_with_numpy(rng: np.random.Generator) -> None:
    scene = draw_scene(rng, (0.3, 0.3))
    there = impulse_responses(scene, 6000, np.random.default_rng(1), device="cpu")
    np.testing.assert_allclose(there, impulse_responses(scene, 6000, np.random.default_rng(1)), atol=3e-4)


def test_drawn_scenes_are_valid(rng: np.random.Generator) -> None:
    scenes = [draw_scene(rng, (0.15, 1.5), sources=3) for _ in range(200)]
    times = np.array([scene.room.t60_s for scene in scenes])
    assert times.min() > 0.149
    assert times.max() < 1.501
    assert np.median(times) == pytest.approx(math.sqrt(0.15 * 1.5), rel=0.2)
    for scene in scenes:
        places = np.vstack([scene.sources_m, scene.microphone_m])
        assert places.shape == (4, 3)
        assert (places >= MIN_WALL_M).all()
        assert (places <= np.array(scene.room.size_m) - MIN_WALL_M).all()
        assert np.linalg.norm(scene.sources_m - scene.microphone_m, axis=1).min() >= MIN_SOURCE_M - 1e-9
        assert 0 < np.min(scene.room.absorption) <= np.max(scene.room.absorption) < 1


def test_bank_is_determined_by_seed_and_index() -> None:
    one, two = RoomBank(20, 5, (0.2, 0.8)), RoomBank(20, 5, (0.2, 0.8))
    for index in (7, 0, 19):
        for a, b in zip(one[index], two[index], strict=True):
            np.testing.assert_array_equal(a, b)
        talker, noise = one[index]
        assert abs(int(np.abs(talker[: LEAD + 8]).argmax()) - LEAD) <= 1
        assert np.abs(talker[LEAD - 1 : LEAD + 2]).max() == pytest.approx(1, abs=0.4)
        assert not np.array_equal(talker[:500], noise[:500])
    assert not np.array_equal(one[0][0], one[1][0])
    assert not np.array_equal(one[0][0], RoomBank(20, 6, (0.2, 0.8))[0][0])
    assert len(one) == 20
    with pytest.raises(IndexError):
        one[20]


def test_rooms_of_a_seed_have_fixed_values() -> None:
    """Runs that are resumed, and seeds named in published recipes, depend on it."""
    talker, noise = RoomBank(50, 3, (0.15, 2.5))[7]
    assert len(talker) == len(noise) == 5607
    places = [18, 20, 22, 300, 2000]
    np.testing.assert_allclose(talker[places], [0.1232, 0.6719, -0.2262, -0.0039, -0.0003], atol=2e-4)
    np.testing.assert_allclose(noise[places], [-0.1103, 0.9111, 0.0975, -0.0905, 0.0069], atol=2e-4)


@pytest.mark.parametrize("sample_rate", [8000, 44_100, 48_000])
def test_room_is_the_same_at_any_rate(sample_rate: int) -> None:
    """The same arrivals, levels and decay below the lower Nyquist frequency."""
    scene = draw_scene(np.random.default_rng(4), (0.4, 0.4))
    seconds = 0.04  # images only
    one, other = (
        impulse_responses(scene, int(seconds * rate), np.random.default_rng(0), rate)[0]
        for rate in (SAMPLE_RATE, sample_rate)
    )
    freq = np.arange(200, 3000, 25)
    spectra = [
        x @ np.exp(-2j * math.pi * np.outer(np.arange(len(x)) / rate, freq))
        for x, rate in ((one, SAMPLE_RATE), (other, sample_rate))
    ]
    difference = np.abs(spectra[0] - spectra[1])
    assert np.sqrt(np.mean(difference**2) / np.mean(np.abs(spectra[0]) ** 2)) < 0.1


def test_noise_tail_at_another_rate(rng: np.random.Generator) -> None:
    """The same power as images would have, also where the samples lie closer."""
    scene = Scene(even((3.2, 2.7, 2.5), 0.15), np.array([[1.0, 1.1, 1.3]]), np.array([2.0, 1.7, 1.6]))
    (images,) = impulse_responses(scene, 9600, rng, 48_000, images=200_000)
    (noise,) = impulse_responses(scene, 9600, rng, 48_000, images=1000)
    for start in range(3600, 8400, 1200):
        powers = [np.square(np.diff(x[start : start + 1200])).mean() for x in (noise, images)]
        assert 10 * math.log10(powers[0] / powers[1]) == pytest.approx(0, abs=1.5)


def test_single_source_response() -> None:
    (response,) = simulate_room(np.random.default_rng(2), (0.5, 0.5), 1, 48_000, dtype=np.float64)
    assert response.dtype == np.float64
    assert len(response) == pytest.approx(0.5 * 48_000, rel=0.01)
    assert abs(int(np.abs(response[: LEAD + 8]).argmax()) - LEAD) <= 1


def test_parts_of_a_response_in_targets() -> None:
    response = np.ones(4000, np.float32)
    assert early_part(response, 16, "reverberant") is response
    assert len(early_part(response, 16, "early")) == 17 + round(EARLY_S * SAMPLE_RATE)
    assert 17 < len(early_part(response, 16, "dry")) < 17 + 80
    assert len(early_part(response, 16, "early", 48_000)) == 17 + round(EARLY_S * 48_000)
