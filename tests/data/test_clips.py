"""Clips: discovery, decoding and splitting."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speechlike

from dccrn_cli.data.check import check_clips
from dccrn_cli.data.clip_cache import CACHE_BYTES, ClipCache, cache_budget
from dccrn_cli.data.clips import INT16_FULL_SCALE, Clip, ClipPool, find_clips, set_aside
from dccrn_cli.data.pairs import read_pair
from dccrn_cli.engine.files.plan import make_plan
from dccrn_cli.errors import DataError, OptionError
from dccrn_cli.scoring.pairing import find_files
from dccrn_cli.testsets.mix import mix


def put(path: Path, seed: int = 0, gain: float = 1.0) -> np.ndarray:
    """A second of speech in a file."""
    samples = gain * speechlike(16_000, seed=seed)[:, 0]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16_000, subtype="FLOAT" if path.suffix == ".wav" else None)
    return samples


@pytest.mark.parametrize("told", [0, 2**36 - 1])
def test_flac_with_unknown_or_wrong_length(tmp_path: Path, told: int) -> None:
    wanted = put(tmp_path / "a.flac")
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] = content[21] & 0xF0 | told >> 32
    content[22:26] = (told & 0xFFFFFFFF).to_bytes(4, "big")
    (tmp_path / "a.flac").write_bytes(content)
    (clip,) = find_clips([tmp_path])
    np.testing.assert_allclose(clip.read() / INT16_FULL_SCALE, wanted, atol=1e-4)
    assert "unreadable" not in {one.kind for one in check_clips([clip], []).findings}


def encoded(container: str, samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container)
    return file.getvalue()


FIRST, SECOND = (speechlike(seconds * 16_000, seed=seconds)[:, 0] for seconds in (3, 2))


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "seconds"),
    [
        ("open.wav", encoded("WAV", FIRST)[:40] + bytes(4) + encoded("WAV", FIRST)[44:], 3),
        ("joined.mp3", encoded("MP3", FIRST) + encoded("MP3", SECOND), 5),
        ("joined.ogg", encoded("OGG", FIRST) + encoded("OGG", SECOND), 5),
        ("joined.flac", encoded("FLAC", FIRST) + encoded("FLAC", SECOND, 24_000), 4 + 1 / 3),
    ],
)
def test_whole_clip_is_read_whatever_its_header_says(
    name: str, content: bytes, seconds: float, archived: bool, tmp_path: Path
) -> None:
    source = tmp_path / name
    source.write_bytes(content)
    if archived:
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            archive.add(source, arcname=name)
        source = tmp_path / "a.tar"
    (clip,) = find_clips([source])
    samples = clip.read() / INT16_FULL_SCALE
    assert len(samples) == pytest.approx(16_000 * seconds, abs=2400)
    assert np.corrcoef(samples[: len(FIRST)], FIRST)[0, 1] > 0.9  # lossy
    report = check_clips([clip], [])
    assert report.roles["speech"].seconds == pytest.approx(seconds, abs=0.15)


def test_mix_takes_clips_of_unknown_length(tmp_path: Path) -> None:
    for part in ("speech", "noise"):
        (tmp_path / part).mkdir()
    (tmp_path / "speech" / "a.wav").write_bytes(encoded("WAV", FIRST)[:40] + bytes(4) + encoded("WAV", FIRST)[44:])
    (tmp_path / "speech" / "b.mp3").write_bytes(encoded("MP3", FIRST) + encoded("MP3", SECOND))
    soundfile.write(tmp_path / "noise" / "n.wav", 0.1 * np.random.default_rng(1).standard_normal(64_000), 16_000)
    mixed = mix(tmp_path / "speech", tmp_path / "noise", tmp_path / "out", reverb=0.0)
    assert [result.status for result in mixed] == ["made", "made"]
    assert sorted(soundfile.info(path).duration for path in (tmp_path / "out" / "noisy").iterdir()) == (
        pytest.approx([3, 5], abs=0.15)
    )


def test_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a" / "1.wav")
    put(tmp_path / "b" / "2.wav")
    scandir = os.scandir

    def refusing(folder: Path) -> object:  # root ignores permissions
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"b: the folder cannot be read \(Permission denied\)"):
        find_clips([tmp_path])
    unreadable: list[str] = []
    assert len(find_files(tmp_path, lambda path, why: unreadable.append(f"{path.name}: {why}"))) == 1
    assert unreadable == ["b: the folder cannot be read (Permission denied)"]
    plan = make_plan([str(tmp_path)], tmp_path.with_name("out"))
    assert [job.source.name for job in plan.jobs] == ["1.wav"]
    assert [path.name for path, _ in plan.unusable] == ["b"]


def test_error_for_non_audio_hides_library_wording(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"text")
    with pytest.raises(DataError, match=r"a\.wav: not readable as audio") as caught:
        find_clips([tmp_path])[0].read()
    assert "BytesIO" not in str(caught.value)


def test_samples_beyond_full_scale_are_not_clipped(tmp_path: Path) -> None:
    wanted = put(tmp_path / "noisy" / "a.wav", gain=30.0)
    put(tmp_path / "clean" / "a.wav", gain=15.0)
    noisy, clean = (find_clips([tmp_path / part])[0] for part in ("noisy", "clean"))
    np.testing.assert_allclose(noisy.read() / INT16_FULL_SCALE, wanted / np.abs(wanted).max(), atol=1e-4)
    assert "clipped" not in {one.kind for one in check_clips([noisy], []).findings}
    pair = read_pair(noisy, clean)
    np.testing.assert_allclose(pair.noisy, 2 * pair.clean, rtol=1e-5)


def test_linked_folders_are_visited_once(tmp_path: Path) -> None:
    put(tmp_path / "there" / "a.wav")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there")
    (tmp_path / "there" / "round").symlink_to(tmp_path / "here")
    assert [clip.name for clip in find_clips([tmp_path / "here"])] == ["link/a.wav"]


def test_both_parts_of_a_split_are_non_empty(tmp_path: Path) -> None:
    for index in range(40):
        put(tmp_path / f"{index:02}.wav", index)
    clips = find_clips([tmp_path])
    for count in (2, 3, 40):
        kept, held = set_aside(clips[:count], 0.1, "speech")
        assert len(held) == max(1, round(0.1 * count))
        assert sorted((*kept, *held), key=str) == sorted(clips[:count], key=str)
    fewer_kept, fewer_held = set_aside(clips[::2], 0.1, "speech")
    assert len({*fewer_held} & {*held}) + len({*fewer_kept} & {*kept}) >= 18, "most stay on their side"
    with pytest.raises(OptionError, match="single noise recording"):
        set_aside(clips[:1], 0.1, "noise")


def test_held_out_clips_are_usable_and_not_trained_on(tmp_path: Path) -> None:
    for index in range(10):
        put(tmp_path / "all" / f"{index}.wav", index)
    _, (first, second, *_) = set_aside(find_clips([tmp_path / "all"]), 0.3, "noise")
    first.source.write_bytes(b"text")
    put(second.source, gain=0.0)
    (tmp_path / "again").symlink_to(tmp_path / "all")
    clips = find_clips([tmp_path / "all", tmp_path / "again"])
    kept, held = set_aside(clips, 0.3, "noise")
    assert len(held) == 3
    assert not {first, second} & {*held}
    assert not {clip.source.resolve() for clip in kept} & {clip.source.resolve() for clip in held}
    with pytest.raises(OptionError, match="is readable"):
        set_aside([first, second], 0.3, "noise")


def test_decoded_clips_stay_within_their_budget(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path / f"{number}.flac", seed=number)
    clips = find_clips([tmp_path])
    kept = ClipCache(budget=2 * 32_000)  # two seconds of int16
    pool = ClipPool(clips, cache=kept)
    decoded: list[str] = []

    def watched(number: int) -> None:
        before = len(decoded)
        clip = pool.clips[number]

        def decode(clip: Clip = clip) -> np.ndarray:
            decoded.append(clip.name)
            return clip.read()

        kept.get(("watched", number), decode)
        assert len(decoded) - before <= 1

    for number in (0, 1, 0, 2, 0, 1):  # 1 is the least recently used when 2 arrives
        watched(number)
    assert decoded == ["0.flac", "1.flac", "2.flac", "1.flac"]
    assert [pool.length(number) for number in range(4)] == [16_000] * 4
    assert kept.bytes <= kept.budget
    one = ClipCache(budget=1)
    np.testing.assert_array_equal(ClipPool(clips, cache=one).load(2), pool.load(2))
    assert one.bytes == 32_000  # the last one is kept
    copy = pickle.loads(pickle.dumps(kept))
    assert (copy.budget, copy.bytes) == (kept.budget, 0)
    assert 2 * cache_budget(2) <= cache_budget() <= CACHE_BYTES
