"""Dynamic mixing: contents of examples, their dependence on seed and number, and their cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import speechlike
from runs import mixer

from dccrn_cli.data.clips import ClipPool, find_clips
from dccrn_cli.data.speech_level import active_rms, rms
from dccrn_cli.errors import OptionError
from dccrn_cli.mixing.codecs import CODECS, Codec, draw_codec
from dccrn_cli.mixing.effects import Equaliser, change_speed, clip_peaks, convolve, fft_size, filtered, low_pass
from dccrn_cli.mixing.mixer import MixingOptions, babble_share
from dccrn_cli.mixing.mixing_options import AS_THEY_ARE
from dccrn_cli.mixing.noises import KINDS, coloured, hum, synthetic_noise
from dccrn_cli.mixing.speech_pauses import Pauses, draw_pauses, spread
from dccrn_cli.mixing.tonal import TONAL_KINDS, mains, tonal_noise
from dccrn_cli.training.training_data import find_data

PLAIN: dict[str, Any] = {**AS_THEY_ARE, "speed": 0.4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders speech/ (4 speakers) and noise/."""
    root = tmp_path_factory.mktemp("data")
    for index in range(16):
        path = root / "speech" / f"speaker{index % 4}" / f"{index}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        clip = speechlike(10_000 + 3000 * index, seed=index)[:, 0]
        soundfile.write(path, clip * (np.sin(np.arange(len(clip)) / 2500) > -0.3), 16_000)
        path = root / "noise" / f"class{index % 5}" / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = coloured(8000 + 2000 * index, np.random.default_rng(index))
        soundfile.write(path, 0.2 * noise / np.abs(noise).max(), 16_000)
    return root


def decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def test_example_is_determined_by_seed_and_number(data: Path) -> None:
    one, two = mixer(data, seed=3), mixer(data, seed=3)
    for number in (5, 0, 11):
        for a, b in zip(one.example(number), two.example(number), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.example(0)[0], mixer(data, seed=4).example(0)[0])
    np.testing.assert_array_equal(one.batch(2, 3)[0][1], one.example(7)[0])


def test_mixtures_have_the_requested_snr_and_level(data: Path) -> None:
    mixed = mixer(data, **PLAIN | {"snr_db": (5.0, 5.0), "level_db": (-30.0, -30.0)})
    for number in range(12):
        noisy, clean = mixed.example(number)
        assert noisy.shape == clean.shape == (16_000,)
        assert noisy.dtype == clean.dtype == np.float32
        level = active_rms(clean)
        assert decibels(level) == pytest.approx(-30, abs=0.5)
        assert decibels(level / rms(noisy - clean)) == pytest.approx(5, abs=0.5)


KIND_NAMES = sorted(AS_THEY_ARE.keys() - {"digital_start", "noise_only"})


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_every_kind_of_example(kind: str, data: Path) -> None:
    made, again = (mixer(data, **PLAIN | {kind: 1.0}) for _ in range(2))
    for number in range(6):
        noisy, clean = made.example(number)
        assert np.isfinite(noisy).all()
        assert np.abs(noisy).max() <= 1.2  # a codec may overshoot
        assert np.abs(clean).max() > 1e-4
        assert np.array_equal(noisy, clean) == (kind == "clean")
        np.testing.assert_array_equal(again.example(number)[0], noisy)


def test_lead_in_is_noise_only(data: Path) -> None:
    """At most half of an example; noise throughout, speech only after the lead-in."""
    options = PLAIN | {"lead_in": 1.0, "seconds": 2.0, "floor_db": (-150.0, -150.0), "snr_db": (0.0, 0.0)}
    leads = []
    for number in range(24):
        noisy, clean = mixer(data, **options).example(number)
        lead = int(np.flatnonzero(np.abs(clean) > 1e-3 * np.abs(clean).max())[0])
        leads.append(lead / 16_000)
        parts = [rms(part) for part in np.split(noisy - clean, 20)]
        assert min(parts) > 0.2 * max(parts)
        assert rms(clean[lead:]) > 0.1 * rms(noisy)
    assert 0.2 <= min(leads) < 0.4
    assert 0.8 < max(leads) < 1.6  # the test speech has pauses of its own
    short = mixer(data, **options | {"seconds": 0.3})
    assert all(active_rms(short.example(number)[1]) > 1e-4 for number in range(12))


def test_recordings_may_start_with_digital_silence(data: Path) -> None:
    options = PLAIN | {"lead_in": 1.0, "lead_in_s": (0.5, 0.5), "digital_start": 1.0, "seconds": 2.0}
    for number in range(8):
        noisy, clean = mixer(data, **options).example(number)
        start = int(np.flatnonzero(noisy)[0])
        assert 800 <= start <= 7200
        assert not clean[:start].any()
        assert rms(noisy[start:8000]) > 10 * rms(clean[start:8000])


def test_speech_has_long_pauses(rng: np.random.Generator) -> None:
    speech = (1 + rng.random(40_000)).astype(np.float32)
    speech[17_000:17_400] *= 0.01  # an onset within reach of some cuts
    at_onset = 0
    for _ in range(30):
        parted = spread(speech, Pauses(inner=8000), rng)
        silent = np.flatnonzero(parted == 0)
        assert (len(parted), len(silent)) == (48_000, 8000)
        assert silent[-1] - silent[0] == 7999
        np.testing.assert_array_equal(np.delete(parted, silent)[:5000], speech[:5000])
        np.testing.assert_array_equal(parted[-5000:], speech[-5000:])
        at_onset += 17_000 <= silent[0] < 17_400
    assert at_onset > 2
    options = MixingOptions(seconds=2.0, lead_in=1.0, pauses=1.0)
    drawn = [draw_pauses(options, rng) for _ in range(200)]
    assert all(pauses.total <= 16_000 and pauses.silent <= pauses.lead for pauses in drawn)
    assert max(pauses.inner for pauses in drawn) > 9000


def test_noise_only_examples(data: Path) -> None:
    made = mixer(data, noise_only=1.0, clean=1.0, babble=1.0, talkers=1.0, reverb=0.5)
    for number in range(12):
        noisy, clean = made.example(number)
        assert rms(noisy) > 1e-3
        assert rms(clean) < 0.02 * rms(noisy)


def test_validation_pairs_contain_speech(data: Path) -> None:
    options = MixingOptions(seconds=0.5, noise_only=1.0, snr_db=(0.0, 0.0))
    made = find_data([data / "speech"], [data / "noise"], None, None, options, 0)
    assert len(made.pairs) == 64
    assert np.median([active_rms(pair.clean) / rms(pair.noisy) for pair in made.pairs]) > 0.3
    noisy, clean = made.mixer.example(0)
    assert rms(clean) < 0.02 * rms(noisy)


def test_other_talkers_are_fainter_than_the_target(data: Path) -> None:
    options = PLAIN | {"talkers": 1.0, "lead_in": 0.5, "seconds": 2.0, "snr_db": (60.0, 60.0)}
    ratios = []
    for number in range(40):
        noisy, clean = mixer(data, **options | {"equaliser": 0.5, "reverb": 0.5}).example(number)
        ratios.append(decibels(active_rms(clean) / active_rms(noisy - clean)))
    assert min(ratios) > -1  # four of 6 dB each would be as loud
    assert max(ratios) > 18
    alone = mixer(data, **options)
    alone.speech.groups = [list(range(16))]
    noisy, clean = alone.example(0)
    assert decibels(rms(clean) / rms(noisy - clean)) > 40  # no other speaker is left


def test_target_is_the_loudest_voice_in_babble(data: Path) -> None:
    low = PLAIN | {"babble": 1.0, "snr_db": (-20.0, -20.0)}
    for number in range(12):
        noisy, clean = mixer(data, **low).example(number)
        assert -9 < decibels(active_rms(clean) / rms(noisy - clean)) < 3
    options = MixingOptions(babble=0.2, snr_db=(-10.0, 20.0))
    shares = [babble_share(options, snr_db) for snr_db in (-10.0, 5.0, 20.0)]
    assert shares == pytest.approx([0.36, 0.2, 1 - 0.8**0.5])
    assert babble_share(MixingOptions(babble=0.2, snr_db=(0.0, 0.0)), 0.0) == pytest.approx(0.2)


def test_low_snr_share(data: Path) -> None:
    options = PLAIN | {"snr_db": (20.0, 21.0), "low_snr": 0.5, "low_snr_db": (-2.0, 2.0)}
    made = [mixer(data, **options).example(number) for number in range(40)]
    low = sum(decibels(active_rms(clean) / rms(noisy - clean)) < 4 for noisy, clean in made)
    assert 8 < low < 32


def test_clipping_affects_only_the_mixture(data: Path) -> None:
    options = PLAIN | {"snr_db": (0.0, 0.0), "clipping_db": (6.0, 6.0)}
    for number in range(4):
        noisy, clean = mixer(data, **options).example(number)
        clipped, target = mixer(data, **options | {"clipping": 1.0}).example(number)
        np.testing.assert_array_equal(target, clean)
        assert np.abs(clipped).max() == pytest.approx(np.abs(noisy).max() / 10 ** (6 / 20), rel=1e-5)
        below = np.abs(noisy) < np.abs(clipped).max()
        np.testing.assert_array_equal(clipped[below], noisy[below])


@pytest.mark.parametrize("measured", [False, True])
def test_targets_keep_the_stated_part_of_the_reverberation(data: Path, tmp_path: Path, measured: bool) -> None:
    """The mixture is the same for all targets; dry and early speech match it in time and level."""
    options = PLAIN | {"reverb": 1.0, "clean": 1.0, "floor_db": (-150.0, -150.0), "seconds": 2.0}
    rooms = None
    if measured:
        response = np.zeros(4000)
        response[[30, 30 + 480, 30 + 1600]] = 0.5, 0.2, 0.3  # echoes after 30 and 100 ms
        soundfile.write(tmp_path / "room.wav", response, 16_000, subtype="FLOAT")
        rooms = ClipPool(find_clips([tmp_path]))
    made: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for target in ("reverberant", "early", "dry"):
        mixed = mixer(data, **options | {"target": target})
        mixed.rooms = rooms
        made[target] = [mixed.example(number) for number in range(8)]
    nearest = 0
    for whole, early, dry in zip(made["reverberant"], made["early"], made["dry"], strict=True):
        np.testing.assert_array_equal(whole[0], early[0])
        np.testing.assert_array_equal(whole[0], dry[0])
        np.testing.assert_array_equal(whole[0], whole[1])
        heard, direct = whole[0], dry[1]
        correlation = np.fft.irfft(np.fft.rfft(heard, 65_536) * np.conj(np.fft.rfft(direct, 65_536)))
        assert correlation.argmax() == 0
        assert rms(heard - direct) > rms(heard - early[1]) > 1e-6
        echo = np.concatenate([np.zeros(480, np.float32), direct[:-480]])
        late = np.concatenate([np.zeros(1600, np.float32), direct[:-1600]])
        if np.allclose(heard, direct + 0.4 * echo + 0.6 * late, atol=1e-5):
            np.testing.assert_allclose(early[1], direct + 0.4 * echo, atol=1e-5)
            nearest += 1
    assert (1 <= nearest <= 7) == measured  # simulated rooms are used as well


def test_speech_and_noise_have_the_same_bandwidth(data: Path) -> None:
    """Any band limit applies to both."""
    for options in ({"band_limit": 1.0, "codec": 0.0}, {"band_limit": 0.0, "codec": 1.0}):
        made = mixer(data, **PLAIN | options | {"snr_db": (0.0, 0.0)})
        for number in range(12):
            noisy, clean = (np.abs(np.fft.rfft(x)) ** 2 for x in made.example(number))
            top = slice(7600, 8000)
            if noisy[top].sum() < 1e-5 * noisy.sum():
                assert clean[top].sum() < 1e-4 * clean.sum()


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: f"{codec.subtype}-{codec.sample_rate}")
def test_codecs_preserve_timing(codec: Codec) -> None:
    x = speechlike(20_011, seed=1)[:, 0]
    for seed in range(3):
        coded = codec.apply(x, np.random.default_rng(seed))
        assert coded.shape == x.shape
        assert coded.dtype == np.float32
        np.testing.assert_array_equal(coded, codec.apply(x, np.random.default_rng(seed)))
        kept = codec.band(x)
        assert kept.shape == x.shape
        correlation = np.fft.irfft(np.fft.rfft(coded, 65_536) * np.conj(np.fft.rfft(kept, 65_536)))
        assert correlation.argmax() == 0
        error = coded - kept
        assert 4 < decibels(rms(kept) / rms(error)) < 60
        assert decibels(rms(coded) / rms(kept)) == pytest.approx(0, abs=1.5)


def test_codecs_are_drawn_by_weight_and_long_signals_coded() -> None:
    rng = np.random.default_rng(0)
    drawn = {draw_codec(rng).subtype for _ in range(200)}
    assert {"ULAW", "IMA_ADPCM", "GSM610"} <= drawn
    x = speechlike(800_000)[:, 0]
    vorbis = next(codec for codec in CODECS if codec.subtype == "VORBIS")
    assert vorbis.apply(x, rng).shape == x.shape


@pytest.mark.parametrize("kind", [*KINDS, *TONAL_KINDS], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("length", [1, 333, 16_000])
def test_generated_noises(kind: Callable[[int, np.random.Generator], np.ndarray], length: int) -> None:
    for seed in range(5):
        noise = kind(length, np.random.default_rng(seed))
        assert noise.shape == (length,)
        assert np.isfinite(noise).all()
        np.testing.assert_array_equal(noise, kind(length, np.random.default_rng(seed)))
        if length == 16_000:
            assert rms(noise) > 1e-4


def test_generated_noises_are_of_all_kinds() -> None:
    assert sum(KINDS.values()) == pytest.approx(1)
    rng = np.random.default_rng(0)
    crests = [decibels(np.abs(x).max() / rms(x)) for x in (synthetic_noise(8000, rng) for _ in range(150))]
    assert min(crests) < 9  # tones
    assert max(crests) > 22  # clicks
    spectrum = np.abs(np.fft.rfft(hum(16_000, np.random.default_rng(0))))
    assert any(abs(spectrum.argmax() / base - round(spectrum.argmax() / base)) < 0.03 for base in (50, 60))


def test_tonal_noises_have_lines_in_their_spectrum() -> None:
    assert sum(TONAL_KINDS.values()) == pytest.approx(1)
    for kind in TONAL_KINDS:
        shares = []
        for seed in range(12):
            noise = kind(32_000, np.random.default_rng(seed))
            power = np.abs(np.fft.rfft(noise.reshape(16, 2000) * np.hanning(2000))) ** 2 + 1e-6
            ordered = np.sort(power, axis=1)[:, ::-1]
            shares.append((ordered[:, :100].sum(axis=1) / ordered.sum(axis=1)).max())
            assert power[:, 960:].sum() < 0.3 * power.sum()  # harmonics end below the top of the band
        assert np.median(shares) > 0.5, kind.__name__  # of 1000 bins
    rng = np.random.default_rng(0)
    assert {synthetic.dtype for synthetic in (tonal_noise(4000, rng) for _ in range(40))} == {np.dtype(np.float32)}
    hum_like = np.abs(np.fft.rfft(mains(160_000, np.random.default_rng(1)) * np.hanning(160_000)))
    peak_hz = hum_like.argmax() / 10
    assert min(abs(peak_hz / base - round(peak_hz / base)) for base in (50, 60)) < 0.05


@pytest.mark.parametrize("length", [1, 2, 7, 47_999, 48_001, 79_999])
def test_transform_sizes(length: int) -> None:
    def smooth(size: int) -> bool:
        for factor in (2, 3, 5):
            while size % factor == 0:
                size //= factor
        return size == 1

    assert fft_size(length) == next(size for size in range(length, 2 * length + 1) if smooth(size))


def test_filters(rng: np.random.Generator) -> None:
    x = rng.standard_normal(9000).astype(np.float32)
    response = (rng.standard_normal(700) * np.exp(-np.arange(700) / 100)).astype(np.float32)
    unchanged, heard = filtered(x, [None, response])
    np.testing.assert_allclose(heard, np.convolve(x, response)[:9000], atol=2e-4)
    np.testing.assert_allclose(heard, convolve(x, response), atol=2e-4)
    np.testing.assert_allclose(unchanged, x, atol=1e-5)
    assert filtered(x, [None])[0] is x
    tilt = Equaliser(tilt_db=3.0, peak_db=0.0, centre_octaves=0.0, width_octaves=1.0)
    (tilted,) = filtered(x, [None], tilt)
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(tilted)[450::450]) / np.abs(np.fft.rfft(x)[450::450]))
    assert gain_db[0] == pytest.approx(3 * np.log2(0.8), abs=1.0)  # 800 Hz
    assert gain_db[8] == pytest.approx(3 * np.log2(7.2), abs=1.0)  # 7.2 kHz
    limited = np.abs(np.fft.rfft(low_pass(x, 4000.0))) / np.abs(np.fft.rfft(x))
    assert limited[:2200].min() > 0.98
    assert limited[2400:].max() < 0.02
    assert np.abs(clip_peaks(x, 20.0)).max() == pytest.approx(np.abs(x).max() / 10)


def test_speed(rng: np.random.Generator) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    faster = change_speed(tone, 1.1)
    assert len(faster) == pytest.approx(16_000 / 1.1, abs=2)
    assert np.abs(np.fft.rfft(faster, 160_000)).argmax() == pytest.approx(11_000, abs=10)


def test_options_from_a_table() -> None:
    table = {"seconds": 3, "snr-db": [-5, 20], "second_noise": 0, "codec": 0.5}
    options = MixingOptions.from_table(table)
    assert options == MixingOptions(seconds=3.0, snr_db=(-5.0, 20.0), second_noise=0.0, codec=0.5)
    assert isinstance(options.seconds, float)
    assert MixingOptions.from_table({}) == MixingOptions()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"snr": [0, 5]}, "'snr'"),
        ({"snr_db": [5, 0]}, "snr_db"),
        ({"snr_db": 5}, "snr_db"),
        ({"snr_db": [0, 5, 10]}, "snr_db"),
        ({"snr_db": [0, "5"]}, "snr_db"),
        ({"snr-db": [0, 5], "snr_db": [0, 5]}, "twice"),
        ({"codec": 1.5}, "codec"),
        ({"codec": True}, "codec"),
        ({"clean": -0.1}, "clean"),
        ({"noise_only": 1.1}, "noise_only"),
        ({"lead_in_s": [2, 1]}, "lead_in_s"),
        ({"talkers_db": [-3, 6]}, "talkers_db"),
        ({"clean": float("nan")}, "clean"),
        ({"seconds": 0}, "seconds"),
        ({"level_db": [-30, 3]}, "level_db"),
        ({"speed_range": 1}, "speed_range"),
        ({"target": "wet"}, "target"),
        ({"target": 1}, "target"),
        ({"simulated-rooms": 1.5}, "simulated_rooms"),
    ],
)
def test_invalid_options_are_named(table: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        MixingOptions.from_table(table)
