"""Reading and writing files: what goes in comes out."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speechlike

from dccrn_cli.audio.discovery import walk
from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.engine.files.plan import PlanOptions, make_plan
from dccrn_cli.errors import AudioError, OptionError, UnreadableAudio, UnsupportedFormat

INFO = AudioInfo(16_000, 1, 0, "WAV", "PCM_16", "FILE")


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def targets(root: Path, inputs: list[str], output: Path) -> dict[str, str]:
    plan = make_plan(inputs, output)
    return {job.source.relative_to(root).as_posix(): job.target.relative_to(root).as_posix() for job in plan.jobs}


def test_folder_structure_is_preserved(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.wav", "sub/b.FLAC", "sub/deep/c.mp3", "notes.txt", "._a.wav")
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
    assert targets(tmp_path, [str(tmp_path / "in")], tmp_path / "out") == {
        "in/a.wav": "out/a.wav",
        "in/sub/b.FLAC": "out/sub/b.FLAC",
        "in/sub/deep/c.mp3": "out/sub/deep/c.mp3",
    }
    assert plan.ignored == 2


def test_single_file_to_a_folder_or_a_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    source = str(tmp_path / "a.wav")
    assert targets(tmp_path, [source], tmp_path / "out") == {"a.wav": "out/a.wav"}
    assert targets(tmp_path, [source], tmp_path / "b.flac") == {"a.wav": "b.flac"}
    (tmp_path / "dir.wav").mkdir()
    assert targets(tmp_path, [source], tmp_path / "dir.wav") == {"a.wav": "dir.wav/a.wav"}


def test_noise_output_is_named_like_the_result(tmp_path: Path) -> None:
    touch(tmp_path, "a.flac")
    options = PlanOptions(noise_output=tmp_path / "noise")
    (job,) = make_plan([str(tmp_path / "a.flac")], tmp_path / "b.mp3", options).jobs
    assert job.noise_target == tmp_path / "noise" / "b.mp3"


def test_explicit_inputs_inside_the_output_folder_are_accepted(tmp_path: Path) -> None:
    touch(tmp_path, "in/a/1.wav", "in/b/2.wav", "other/3.wav")
    folders = [str(tmp_path / "in" / name) for name in "ab"]
    expected = {"in/a/1.wav": "in/1.wav", "in/b/2.wav": "in/2.wav"}
    assert targets(tmp_path, folders, tmp_path / "in") == expected
    with pytest.raises(OptionError):
        make_plan([str(tmp_path / "in/*/*.wav")], tmp_path / "in")
    plan = make_plan([*folders, str(tmp_path / "other")], tmp_path / "in")
    assert [job.source.name for job in plan.jobs] == ["3.wav"]
    assert plan.ignored == 2  # and reported


def test_results_beside_originals_are_not_inputs_of_the_next_run(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.wav", "a_clean.wav", "sub/b.wav", "sub/b_clean.wav")
    plan = make_plan([str(tmp_path / "in")], tmp_path / "in", PlanOptions(name="{stem}_clean{ext}"))
    assert [job.source.name for job in plan.jobs] == ["a.wav", "b.wav"]
    touch(tmp_path / "in", "a.flac")
    with pytest.raises(OptionError):  # another recording
        make_plan([str(tmp_path / "in")], tmp_path / "in", PlanOptions(suffix=".wav"))


def test_recordings_with_equal_names_do_not_replace_each_other(tmp_path: Path) -> None:
    touch(tmp_path, "a.aiff", "a.wav")
    for output in (None, tmp_path):
        with pytest.raises(OptionError, match="would overwrite an input"):
            make_plan([str(tmp_path)], output, PlanOptions(suffix=".aiff"))


def test_folder_in_an_input_list_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.wav")
    plan = make_plan([], tmp_path / "out", listed=[str(tmp_path / "in"), str(tmp_path / "in/a.wav")])
    assert plan.unusable == ((tmp_path / "in", "is a folder; a list must contain files"),)


def test_explicit_file_needs_no_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "recording")
    assert targets(tmp_path, [str(tmp_path / "recording")], tmp_path / "out") == {"recording": "out/recording"}


def test_globs_preserve_the_tree_below_their_fixed_part(tmp_path: Path) -> None:
    touch(tmp_path / "in", "s1/a.wav", "s2/a.wav", "s2/b.txt", "x[1].wav")
    assert targets(tmp_path, [str(tmp_path / "in/*/a.wav")], tmp_path / "out") == {
        "in/s1/a.wav": "out/s1/a.wav",
        "in/s2/a.wav": "out/s2/a.wav",
    }
    assert targets(tmp_path, [str(tmp_path / "in/s*")], tmp_path / "out") == {
        "in/s1/a.wav": "out/s1/a.wav",
        "in/s2/a.wav": "out/s2/a.wav",
    }
    assert len(make_plan([str(tmp_path / "in/**")], tmp_path / "out").jobs) == 3
    assert targets(tmp_path, [str(tmp_path / "in/x[1].wav")], tmp_path / "out") == {"in/x[1].wav": "out/x[1].wav"}


def test_symlink_loops_terminate(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.wav", "sub/b.wav")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/sub/up").symlink_to("..")
    (tmp_path / "in/self").symlink_to("self")
    (tmp_path / "other").mkdir()
    touch(tmp_path / "other", "c.wav")
    (tmp_path / "in/linked").symlink_to(tmp_path / "other")
    got = targets(tmp_path, [str(tmp_path / "in")], tmp_path / "out")
    assert set(got.values()) == {"out/a.wav", "out/sub/b.wav", "out/linked/c.wav"}


def test_each_folder_is_walked_once(tmp_path: Path) -> None:
    """22 folders with two links each to the next, giving 4 million paths to the last one."""
    chain = [tmp_path / "in" / f"{number:02}" for number in range(22)]
    for folder in chain:
        touch(folder, "a.wav")
    for folder, following in itertools.pairwise(chain):
        (folder / "one").symlink_to(following)
        (folder / "two").symlink_to(following)
    touch(tmp_path / "elsewhere", "b.wav", "sub/c.wav")
    (tmp_path / "in/00/z").symlink_to(tmp_path / "elsewhere")
    got = targets(tmp_path, [str(tmp_path / "in")], tmp_path / "out")
    own = {f"out/{number:02}/a.wav" for number in range(22)}
    assert set(got.values()) == own | {"out/00/z/b.wav", "out/00/z/sub/c.wav"}
    assert len(list(walk(chain[0], lambda *_: None))) == 24  # through links only


def test_results_inside_the_input_are_not_inputs(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "clean/a.wav")
    assert targets(tmp_path, [str(tmp_path)], tmp_path / "clean") == {"a.wav": "clean/a.wav"}


def test_collisions_and_overwritten_inputs_are_rejected(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.wav", "two/a.wav", "f")
    with pytest.raises(OptionError, match="both"):
        make_plan([str(tmp_path / "one"), str(tmp_path / "two")], tmp_path / "out")
    with pytest.raises(OptionError, match="overwrite an input"):
        make_plan([str(tmp_path / "one")], tmp_path / "one")
    with pytest.raises(OptionError, match="overwrite an input"):
        make_plan([str(tmp_path / "one/a.wav")], tmp_path / "one/a.wav")
    with pytest.raises(OptionError, match="is a file"):
        make_plan([str(tmp_path / "one")], tmp_path / "f")
    twice = make_plan([str(tmp_path / "one"), str(tmp_path / "one/a.wav")], tmp_path / "out")
    assert len(twice.jobs) == 1


def test_missing_inputs_are_reported(tmp_path: Path) -> None:
    plan = make_plan([str(tmp_path / "no"), str(tmp_path / "*.wav")], tmp_path / "out")
    assert [path.name for path, _ in plan.unusable] == ["no", "*.wav"]
    assert len(make_plan([""], tmp_path / "out").unusable) == 1


def test_glob_matching_earlier_results(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "sub/b.wav", "out/a.wav", "out/sub/b.wav")
    expected = {"a.wav": "out/a.wav", "sub/b.wav": "out/sub/b.wav"}
    assert targets(tmp_path, [str(tmp_path / "**/*.wav")], tmp_path / "out") == expected
    by_shell = [str(tmp_path / name) for name in ("a.wav", "out")]
    assert targets(tmp_path, by_shell, tmp_path / "out") == {"a.wav": "out/a.wav"}


def test_output_path_of_a_single_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    source = str(tmp_path / "a.wav")
    assert targets(tmp_path, [source], Path(f"{tmp_path}/x.wav")) == {"a.wav": "x.wav"}
    (job,) = make_plan([source], f"{tmp_path}/x.wav/").jobs
    assert job.target == tmp_path / "x.wav" / "a.wav"
    with pytest.raises(OptionError, match=r"\.m4a cannot be written"):
        make_plan([source], tmp_path / "x.m4a")
    assert len(make_plan([source, os.path.relpath(source)], tmp_path / "out").jobs) == 1


# RAW has no header, SD2 needs two files, HTK rounds the rate, VOC comes back a sample longer and
# DWVW cannot be read back by soundfile; all this applies to libsndfile itself.
QUIRKS = ("RAW", "SD2", "HTK", "VOC")
FORMATS = [
    (container, subtype)
    for container in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(container)
    if container not in QUIRKS and not subtype.startswith("DWVW")
]


@pytest.mark.parametrize(("container", "subtype"), FORMATS, ids=lambda v: v)
def test_every_writable_format_round_trips(container: str, subtype: str, tmp_path: Path) -> None:
    rate = 16_000 if subtype in ("OPUS", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32") else 44_100
    rate = 8000 if container == "WVE" or subtype.startswith(("GSM", "NMS", "VOX", "G72")) else rate
    x = speechlike(rate, rate)
    path = tmp_path / "x"
    info = AudioInfo(rate, 1, len(x), container, subtype, "FILE")
    try:
        soundfile.SoundFile(tmp_path / "probe", "w", rate, 1, subtype, "FILE", container).close()
    except soundfile.SoundFileError:
        pytest.skip("libsndfile itself cannot write this")
    with AudioWriter(path, info) as writer:
        for start in range(0, len(x), 5000):
            writer.write(x[start : start + 5000])
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    if container == "SDS" or subtype == "VOX_ADPCM":
        return  # headerless, or read back differently by libsndfile itself
    with AudioReader(path) as reader:
        got = np.concatenate(list(reader.blocks(3000)))
        assert (reader.info.sample_rate, reader.info.channels) == (rate, 1)
    assert abs(len(got) - len(x)) <= (0 if subtype.startswith(("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")) else 2400)


def test_writer_leaves_nothing_behind_on_errors(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    with pytest.raises(RuntimeError), AudioWriter(target, INFO) as writer:
        writer.write(np.zeros((10, 1), np.float32))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnsupportedFormat), AudioWriter(target, AudioInfo(16_000, 1, 0, "FLAC", "FLOAT", "FILE")):
        pass
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AudioError), AudioWriter(tmp_path / "file" / "a.wav", INFO):
        pass


def test_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AudioError, match="cannot be written"), AudioWriter(tmp_path / "a.wav", INFO) as writer:

        def short(*_: object) -> None:
            raise AssertionError  # as soundfile does when libsndfile writes less than requested

        monkeypatch.setattr(writer._file, "write", short)
        writer.write(np.zeros((10, 1), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_non_finite_results_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="NaN or infinite"), AudioWriter(tmp_path / "a.wav", INFO) as writer:
        writer.write(np.full((3, 1), np.inf, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_flac_of_unknown_length(tmp_path: Path) -> None:
    x = speechlike(30_000)
    soundfile.write(tmp_path / "a.flac", x, 16_000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0  # the 36-bit length in the stream header
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    with AudioReader(tmp_path / "a.flac") as reader:
        assert reader.info.frames == 30_000
        got = np.concatenate(list(reader.blocks(7000)))
    np.testing.assert_allclose(got, x, atol=1e-4)


def test_wav_shorter_than_its_header(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(30_000), 16_000)
    with AudioReader(tmp_path / "a.wav") as reader:
        assert reader.note == ""
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(data[:30_044])
    with AudioReader(tmp_path / "a.wav") as reader:
        assert "cut off: 50%" in reader.note


def test_over_range_samples(tmp_path: Path) -> None:
    x = np.array([[0.5], [1.5], [-2.0]], np.float32)
    with AudioWriter(tmp_path / "int.wav", INFO) as writer:
        writer.write(x)
    assert writer.clipped == 2
    np.testing.assert_allclose(soundfile.read(tmp_path / "int.wav")[0], [0.5, 1, -1], atol=1e-4)
    with AudioWriter(tmp_path / "float.wav", AudioInfo(16_000, 1, 0, "WAV", "FLOAT", "FILE")) as writer:
        writer.write(x)
    assert writer.clipped == 0
    np.testing.assert_array_equal(soundfile.read(tmp_path / "float.wav")[0], x[:, 0])


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"hello, text\n" * 9, "not readable"), (b"RIFF\0\0\0\0WAVE", "not readable")],
)
def test_non_audio_files(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UnreadableAudio, match=reason):
        AudioReader(tmp_path / "a.wav")
    with pytest.raises(UnreadableAudio, match="no such file"):
        AudioReader(tmp_path / "b.wav")


def test_container_by_suffix() -> None:
    assert INFO.adapted(".flac").format == "FLAC"
    assert INFO.adapted(".flac").subtype == "PCM_16"
    assert INFO.adapted(".wav") == INFO
    assert INFO.adapted(".dat") == INFO
    floating = AudioInfo(16_000, 1, 0, "WAV", "FLOAT", "FILE")
    assert floating.adapted(".flac").subtype == "PCM_24"
    assert AudioInfo(48_000, 1, 0, "OGG", "VORBIS", "FILE").adapted(".opus").subtype == "OPUS"
    assert floating.adapted(".opus").subtype == "OPUS"
    assert AudioInfo(16_000, 1, 0, "WAVEX", "FLOAT", "FILE").adapted(".wav").format == "WAVEX"
