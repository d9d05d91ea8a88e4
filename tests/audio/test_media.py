"""Audio of media files through FFmpeg, and back into the video."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import speechlike
from films import VIDEOS, av, film, lag, packets_of, read

from dccrn_cli.audio.media import MEDIA_SUFFIXES, MediaReader
from dccrn_cli.audio.remux import CleanTrack, can_remux, remux
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.file import FileEnhancer
from dccrn_cli.engine.files.journal import Journal
from dccrn_cli.engine.files.plan import Job
from dccrn_cli.errors import AudioError, MissingDependency, UnreadableAudio, UnsupportedFormat
from dccrn_cli.utils.atomic import remove_leftovers


def sound_ahead_s(path: Path) -> float:
    """How much earlier the audio starts than the picture."""
    with av.open(str(path)) as container:
        sound = next(frame.time for frame in container.decode(audio=0))
    with av.open(str(path)) as container:
        return float(next(frame.time for frame in container.decode(video=0)) - sound)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels", "kind"),
    [
        ("a.m4a", "aac", 44_100, 2, ("MOV", "AAC")),
        ("a.m4a", "alac", 44_100, 1, ("MOV", "ALAC")),
        ("a.mov", "pcm_s24le", 48_000, 2, ("MOV", "PCM_24")),
        ("a.mp4", "aac", 16_000, 1, ("MOV", "AAC")),
        ("a.mka", "flac", 22_050, 2, ("MATROSKA", "FLAC")),
        ("a.webm", "libopus", 48_000, 1, ("MATROSKA", "OPUS")),
        ("a.avi", "pcm_s16le", 44_100, 2, ("AVI", "PCM_16")),
        ("a.wma", "wmav2", 44_100, 2, ("ASF", "WMAV2")),
        ("a.aac", "aac", 44_100, 1, ("AAC", "AAC")),
        ("a.ts", "aac", 48_000, 2, ("MPEGTS", "AAC")),
    ],
)
def test_reading_preserves_rate_channels_length_and_timing(
    tmp_path: Path, name: str, codec: str, rate: int, channels: int, kind: tuple[str, str]
) -> None:
    signal = speechlike(2 * rate + 123, rate, channels)
    reader, got = read(film(tmp_path / name, signal, rate, codec))
    assert (reader.info.format, reader.info.subtype) == kind
    assert (reader.info.sample_rate, reader.info.channels, reader.note) == (rate, channels, "")
    assert abs(reader.info.seconds - len(signal) / rate) < 0.1
    # These containers do not record the encoder delay.
    padded = 2048 if name.endswith((".aac", ".ts", ".wma")) else 0
    late = lag(got, signal)
    assert 0 <= late + round(reader.start_s * rate) <= padded  # the decoder of WMA drops its first frame
    assert 0 <= len(got) - len(signal) - late <= 2 * 2048
    if codec in ("flac", "alac", "pcm_s16le", "pcm_s24le"):
        np.testing.assert_allclose(got, signal, atol=1e-4)


def test_tags_use_libsndfile_names(tmp_path: Path) -> None:
    for name, codec in (("a.m4a", "aac"), ("a.mka", "flac")):
        reader, _ = read(film(tmp_path / name, speechlike(8000), 16_000, codec))
        assert reader.tags == {"title": "On Rivers", "artist": "Someone", "tracknumber": "3"}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_gaps_become_silence_and_late_starts_are_reported(tmp_path: Path, name: str) -> None:
    signal = speechlike(96_000, 48_000)
    reader, got = read(film(tmp_path / name, signal, 48_000, *VIDEOS[name], start_s=0.5, gap_s=0.25))
    # Encoders that look back spread a gap by one of their frames.
    assert len(got) / 48_000 == pytest.approx(2.25, abs=0.05)
    assert reader.start_s == pytest.approx(0.5, abs=0.03)
    late = round((0.5 - reader.start_s) * 48_000)
    assert lag(got[:48_000], signal[:46_000]) == pytest.approx(late, abs=48)
    assert lag(got[60_500:], signal[48_500:]) == pytest.approx(late, abs=1200)
    assert np.count_nonzero(np.abs(got) < 1e-9) >= 0.2 * 48_000


def test_rate_change_within_a_file_is_resampled(tmp_path: Path) -> None:
    parts = [
        film(tmp_path / f"{n}.aac", speechlike(2 * r, r, c), r, "aac") for n, r, c in ((0, 16_000, 1), (1, 48_000, 2))
    ]
    both = tmp_path / "both.aac"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    reader, got = read(both)
    assert (reader.info.sample_rate, reader.info.channels) == (16_000, 1)
    assert len(got) / 16_000 == pytest.approx(4, abs=0.3)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".wma", ".ts"])
def test_non_media_files(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a{suffix}"
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    texts = ("", "dear diary\n" * 99, "#EXTM3U\n#EXTINF:1,\nsecret.wav\n", "ffconcat version 1.0\nfile secret.wav\n")
    for text in texts:
        path.write_text(text)
        with pytest.raises(UnreadableAudio, match="not readable as audio" if text else "empty"):
            MediaReader(path)
    with pytest.raises(UnreadableAudio, match="no such file"):
        MediaReader(tmp_path / "b.mp4")
    with pytest.raises(UnreadableAudio, match="is not a file"):
        MediaReader(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_damage_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = film(tmp_path / "a.m4a", speechlike(96_000, 48_000), 48_000, "aac")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableAudio, match="not readable as audio"):
        MediaReader(path)
    path.write_bytes(data[:16_000] + np.random.default_rng(0).bytes(2000) + data[18_000:])
    with pytest.raises(UnreadableAudio, match=r"damaged at [01]\.\d\d s \(.+\)"):
        read(path)
    path = film(tmp_path / "a.aac", speechlike(96_000, 48_000), 48_000, "aac")
    path.write_bytes(path.read_bytes()[:-10])  # as by a recorder that lost power
    assert len(read(path)[1]) > 94_000
    assert capfd.readouterr() == ("", "")


def test_video_without_audio(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25, width=64, height=48)
        out.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")) + stream.encode(None))
    with pytest.raises(UnreadableAudio, match="contains no audio"):
        MediaReader(path)


def test_without_av(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(MissingDependency, match=r"pip install 'dccrn-cli\[av\]'"):
        MediaReader(tmp_path / "a.mp4")
    with pytest.raises(MissingDependency, match=r"pip install 'dccrn-cli\[av\]'"):
        remux(tmp_path / "a.mp4", {1: CleanTrack(tmp_path / "a.wav")}, tmp_path / "b.mp4")


@pytest.mark.parametrize("start_s", [0.0, 0.5])
@pytest.mark.parametrize("name", VIDEOS)
def test_replaced_audio_keeps_the_video_in_sync(tmp_path: Path, name: str, start_s: float) -> None:
    rate = 48_000 if name.endswith(".webm") else 44_100
    start_s = 0.0 if name.endswith(".avi") else start_s  # AVI supports no other
    video = film(tmp_path / name, speechlike(2 * rate, rate, 2), rate, *VIDEOS[name], start_s=start_s)
    reader, sound = read(video)
    soundfile.write(tmp_path / "clean.flac", 0.5 * sound, rate)
    target = tmp_path / ".dccrn.part"
    assert remux(video, {1: CleanTrack(tmp_path / "clean.flac")}, target) == ""
    before, after = packets_of(video), packets_of(target)
    assert [packet[2:] for packet in after] == [packet[2:] for packet in before]
    if not name.endswith((".wmv", ".asf")):  # their clock starts with the encoder delay
        assert after == before
    again, got = read(target)
    assert (again.info.sample_rate, again.info.channels, again.tags) == (rate, 2, reader.tags)
    assert again.info.subtype == reader.info.subtype
    late = round((sound_ahead_s(target) - sound_ahead_s(video)) * rate)
    assert lag(got, sound) == pytest.approx(late, abs=45)  # the clock of some containers counts in ms
    assert np.sqrt(np.mean(got**2)) == pytest.approx(0.5 * np.sqrt(np.mean(sound**2)), rel=0.2)


def test_other_streams_and_chapters_are_preserved(tmp_path: Path) -> None:
    video = tmp_path / "a.mkv"
    chapter = {"id": 1, "start": 0, "end": 1000, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}
    with av.open(str(video), "w") as out:
        picture = out.add_stream("mpeg4", rate=25, width=64, height=48)
        tracks = [out.add_stream("aac", rate=16_000, layout="mono") for _ in range(2)]
        tracks[0].metadata["language"], tracks[1].metadata["language"] = "deu", "fra"
        out.add_attachment("notes.txt", "text/plain", b"hello")
        out.set_chapters([chapter])
        out.mux(picture.encode(av.VideoFrame(64, 48, "yuv420p")) + picture.encode(None))
        for track in tracks:
            frame = av.AudioFrame.from_ndarray(speechlike(16_000).reshape(1, -1), "flt", "mono")
            frame.sample_rate, frame.pts = 16_000, 0
            out.mux(track.encode(frame) + track.encode(None))
    soundfile.write(tmp_path / "clean.wav", speechlike(8000, 8000), 8000)
    assert remux(video, {1: CleanTrack(tmp_path / "clean.wav")}, tmp_path / "b.mkv") == "AAC audio re-encoded as FLAC"
    with av.open(str(tmp_path / "b.mkv")) as got:
        assert [stream.type for stream in got.streams] == ["video", "audio", "audio", "attachment"]
        assert [stream.metadata["language"] for stream in got.streams.audio] == ["deu", "fra"]
        assert [stream.codec_context.name for stream in got.streams.audio] == ["flac", "aac"]
        assert [each["metadata"] for each in got.chapters()] == [{"title": "One"}]


def test_unwritable_output(tmp_path: Path) -> None:
    video = film(tmp_path / "a.mp4", speechlike(16_000), 16_000, "aac", "libx264")
    soundfile.write(tmp_path / "clean.wav", speechlike(16_000), 16_000)
    disguised = tmp_path / "a.webm"
    disguised.write_bytes(video.read_bytes())
    with pytest.raises(UnsupportedFormat, match=r"a\.webm: cannot be written with new audio"):
        remux(disguised, {1: CleanTrack(tmp_path / "clean.wav")}, tmp_path / "b")
    with pytest.raises(UnsupportedFormat, match=r"a\.m4a: audio cannot be replaced in \.m4a"):
        remux(tmp_path / "a.m4a", {1: CleanTrack(tmp_path / "clean.wav")}, tmp_path / "b")
    with pytest.raises(AudioError, match="would overwrite the video"):
        remux(video, {1: CleanTrack(tmp_path / "clean.wav")}, video)
    with pytest.raises(AudioError, match=r"cannot be written \(No such file"):
        remux(video, {1: CleanTrack(tmp_path / "clean.wav")}, tmp_path / "no" / "b.mp4")
    with pytest.raises(UnreadableAudio, match=r"none\.wav: no such file"):
        remux(video, {1: CleanTrack(tmp_path / "none.wav")}, tmp_path / "b.mp4")
    assert can_remux(Path("A.MP4"))
    assert not can_remux(Path("a.m4a"))
    assert all(suffix in MEDIA_SUFFIXES for suffix in map(str.lower, (Path(n).suffix for n in VIDEOS)))


def test_audio_only_video_container(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.webm", "a.mov", "a.avi", "a.ts"):
        rate = 48_000
        video = film(tmp_path / name, speechlike(rate, rate, 2), rate, VIDEOS[name][0])
        _, sound = read(video)
        soundfile.write(tmp_path / "clean.flac", 0.5 * sound, rate)
        assert remux(video, {1: CleanTrack(tmp_path / "clean.flac")}, tmp_path / "out") == ""
        _, got = read(tmp_path / "out")
        assert np.sqrt(np.mean(got**2)) == pytest.approx(0.5 * np.sqrt(np.mean(sound**2)), rel=0.1)


@pytest.mark.parametrize(("name", "hours"), [("a.mp4", 10), ("a.mov", 10), ("a.mkv", 1000), ("a.ts", 10)])
def test_timestamp_jumps_are_reported_and_not_filled(name: str, hours: int, tmp_path: Path) -> None:
    jump_s = hours * 3600
    video = film(tmp_path / name, speechlike(32_000), 16_000, VIDEOS[name][0], gap_s=jump_s)
    reader, got = read(video)
    assert len(got) / 16_000 == pytest.approx(2, abs=0.2)
    assert f"timestamps jump by {jump_s:,} s at " in reader.note
    soundfile.write(tmp_path / "clean.flac", 0.5 * got, 16_000)
    out = tmp_path / "out"
    remux(video, {1: CleanTrack(tmp_path / "clean.flac", reader.gaps, 16_000)}, out)
    assert out.stat().st_size < 200_000
    again, clean = read(out)
    assert again.gaps[0][1] == pytest.approx(jump_s, abs=0.1)
    assert len(clean) / 16_000 == pytest.approx(2, abs=0.2)


def test_concurrent_run_leaves_pending_audio_alone(
    tmp_path: Path, tiny_model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = film(tmp_path / "a.mp4", speechlike(16_000), 16_000, "aac", "mpeg4")
    job = Job(video, tmp_path / "out" / "a.mp4")
    enhance = FileEnhancer(EnhanceOptions(model=str(tiny_model_file)))
    seen: list[object] = []

    def remux_while_another_run_starts(*args: Any) -> str:
        seen.append(remove_leftovers([job.target]))
        seen.append(enhance(job).reason)
        return remux(*args)

    monkeypatch.setattr("dccrn_cli.engine.files.file.remux", remux_while_another_run_starts)
    assert enhance(job).status == "done"
    assert seen == [0, "another run is writing it"]
    assert [path.name for path in job.target.parent.iterdir()] == ["a.mp4"]


def test_journal_lists_videos_and_their_noise_files(tmp_path: Path, tiny_model_file: Path) -> None:
    video, target = film(tmp_path / "a.mp4", speechlike(16_000), 16_000, "aac", "mpeg4"), tmp_path / "out.mp4"
    journal, noise = Journal(tmp_path / "r.csv"), tmp_path / "noise.flac"
    enhance = FileEnhancer(EnhanceOptions(model=str(tiny_model_file), keep_mtime=True))
    for written in (target, noise):
        written.unlink(missing_ok=True)  # in turn: both are written, then only the noise
        result = enhance(Job(video, target, noise, note=journal.note_of(target)))
        row = journal.row_of(target)
        assert row is not None
        assert 0 < row["elapsed_s"] <= result.elapsed_s + 1e-4  # rounded
        assert row == result.to_record() | {"elapsed_s": row["elapsed_s"]}
