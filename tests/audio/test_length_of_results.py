"""Results keep their length, in containers with blocks or a limit of 4 GiB."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from conftest import speechlike
from encoded import RATE, read

from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.errors import AudioError, UnsupportedFormat


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
@pytest.mark.parametrize("frames", [4000, 4001, 5555])
def test_padded_adpcm_blocks(frames: int, subtype: str, tmp_path: Path) -> None:
    info = AudioInfo(RATE, 1, 0, "WAV", subtype, "FILE")
    for name in "ab":  # the second is written from the first
        with AudioWriter(tmp_path / f"{name}.wav", info) as writer:
            writer.write(speechlike(frames))
        reader, got = read(tmp_path / f"{name}.wav")
        assert len(got) == frames
        decoded = soundfile.info(tmp_path / f"{name}.wav").frames
        assert reader.padding == decoded - frames
        assert (f": {reader.padding} samples of silence" in writer.note) == (decoded > frames)


def test_results_above_4_gib(tmp_path: Path) -> None:
    frames = 1 << 31
    info = AudioInfo(RATE, 1, frames, "WAV", "PCM_16", "FILE")
    larger = info.with_room_for(frames)
    assert larger.format == "RF64"
    assert "--format w64" in info.changes_to(larger)[0]
    assert info.with_room_for(frames // 2) == info
    for container, fits in (("AIFF", False), ("AU", False), ("CAF", True), ("W64", True), ("FLAC", True)):
        other = AudioInfo(RATE, 1, frames, container, "PCM_16", "FILE")
        if fits:
            assert other.with_room_for(frames) == other
        else:
            with pytest.raises(UnsupportedFormat, match="--format w64"):
                other.with_room_for(frames)


def test_result_growing_beyond_4_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dccrn_cli.audio.formats.MAX_BYTES", 1000)
    info = AudioInfo(RATE, 1, 0, "WAV", "PCM_16", "FILE")
    with pytest.raises(AudioError, match="--format w64"), AudioWriter(tmp_path / "a.wav", info) as writer:
        for _ in range(3):
            writer.write(speechlike(200))
    assert writer.frames_written == 400
    assert list(tmp_path.iterdir()) == []
