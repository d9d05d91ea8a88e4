"""Media files with several audio tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import speechlike
from films import av, film, packets_of, read
from typer.testing import CliRunner

from dccrn_cli.audio.media import MediaReader
from dccrn_cli.cli.app import app
from dccrn_cli.errors import UnreadableAudio

TRACK_LEVELS = {1: 0.0, 2: 1.0, 3: 0.5}


def many_tracks(path: Path, codec: str = "flac", default: int = 2, picture: bool = True) -> Path:
    """One second of three audio tracks: silent, full and half level; one of them marked as default."""
    with av.open(str(path), "w") as out:
        if picture:
            video = out.add_stream("mpeg4", rate=25, width=64, height=48)
        tracks = {}
        for number in TRACK_LEVELS:
            tracks[number] = out.add_stream(codec, rate=16_000, layout="mono")
            tracks[number].metadata["language"] = ("deu", "fra", "eng")[number - 1]
            tracks[number].disposition = 1 if number == default else 0
        if picture:
            out.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")) + video.encode(None))
        for number, track in tracks.items():
            samples = TRACK_LEVELS[number] * speechlike(16_000)
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", "mono")
            frame.sample_rate, frame.pts = 16_000, 0
            out.mux(track.encode(frame) + track.encode(None))
    return path


def rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(signal))))


def test_default_and_chosen_tracks(tmp_path: Path) -> None:
    video = many_tracks(tmp_path / "a.mkv")
    full = rms(speechlike(16_000))
    for track, level, said in ((None, 1.0, "2 of 3 (fra)"), (1, 0.0, "1 of 3 (deu)"), (3, 0.5, "3 of 3 (eng)")):
        with MediaReader(video, track) as reader:
            got = np.concatenate(list(reader.blocks(5000)))
        assert reader.note == f"audio track {said}"
        assert rms(got) == pytest.approx(level * full, abs=1e-3)
    with pytest.raises(UnreadableAudio, match="no audio track 4; the file has 3"):
        MediaReader(video, 4)
    one = film(tmp_path / "one.mkv", speechlike(16_000), 16_000, "flac")
    assert read(one)[0].note == ""


def audio_packets(path: Path, track: int) -> tuple[Any, ...]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[track - 1]
        return tuple(bytes(packet) for packet in container.demux(stream))


@pytest.mark.parametrize(("track", "cleaned"), [(None, (2,)), ("3", (3,)), ("all", (1, 2, 3))])
def test_other_tracks_are_copied(
    track: str | None, cleaned: tuple[int, ...], tmp_path: Path, tiny_model_file: Path
) -> None:
    video = many_tracks(tmp_path / "a.mkv")
    choice = () if track is None else ("--track", track)
    args = ["enhance", str(video), "-o", str(tmp_path / "out"), "--model", str(tiny_model_file), "--keep-video"]
    result = CliRunner().invoke(app, [*args, *choice])
    assert result.exit_code == 0, result.output
    assert "audio track " + (track if track == "3" else "2") + " of 3" in result.output
    out = tmp_path / "out" / "a.mkv"
    assert [p.name for p in out.parent.iterdir()] == ["a.mkv"]
    assert packets_of(out) == packets_of(video)
    for number in TRACK_LEVELS:
        kept = audio_packets(out, number) == audio_packets(video, number)
        assert kept == (number not in cleaned or number == 1)  # silence stays silence


def test_one_result_per_track(tmp_path: Path, tiny_model_file: Path) -> None:
    many_tracks(tmp_path / "in.mkv", picture=False)
    args = ["enhance", str(tmp_path / "in.mkv"), "--model", str(tiny_model_file), "--track", "all"]
    result = CliRunner().invoke(app, [*args, "-o", str(tmp_path / "out"), "--report", str(tmp_path / "r.jsonl")])
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"in.track{n}.flac" for n in (1, 2, 3)]
    levels = [rms(soundfile.read(tmp_path / "out" / f"in.track{n}.flac")[0]) for n in (1, 2, 3)]
    assert levels[0] == 0
    assert levels[2] < levels[1]
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3
    for wrong in (["-o", str(tmp_path / "one.flac")], ["-o", "-"]):
        assert CliRunner().invoke(app, [*args, *wrong]).exit_code == 2
    for number in ("0", "-1", "two"):
        assert CliRunner().invoke(app, [*args[:-1], number, "-o", str(tmp_path / "w")]).exit_code == 2
    soundfile.write(tmp_path / "plain.wav", speechlike(8000), 16_000)
    result = CliRunner().invoke(
        app, ["enhance", str(tmp_path / "plain.wav"), "-o", str(tmp_path / "p"), "--track", "2"]
    )
    assert result.exit_code == 1
    assert "no audio track 2" in result.output
