"""Files are read by content, whatever their names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
from conftest import speechlike

from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.reader import open_sound
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.file import FileEnhancer
from dccrn_cli.engine.files.plan import Job
from dccrn_cli.errors import UnreadableAudio
from dccrn_cli.nn.dccrn import DCCRN

av: Any = pytest.importorskip("av")

RATE = 16_000
KINDS = {
    "aac": ("adts", "aac", "AAC"), "alac": ("caf", "alac", "CAF with alac"), "flac": ("ogg", "flac", "FLAC in Ogg"),
    "wavpack": ("wv", "wavpack", "WavPack"), "m4a": ("ipod", "aac", "MP4"), "mka": ("matroska", "flac", "Matroska"),
    "ac3": ("ac3", "ac3", "AC-3"), "wma": ("asf", "wmav2", "ASF"), "avi": ("avi", "pcm_s16le", "AVI"),
}  # fmt: skip


def make(path: Path, kind: str, seconds: int = 3) -> Path:
    muxer, codec, _ = KINDS[kind]
    rate = 48_000 if kind in ("ac3", "wma") else RATE
    with av.open(str(path), "w", format=muxer) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono", bit_rate=64_000)
        signal = speechlike(seconds * rate, rate)
        for start in range(0, len(signal), 1000):
            frame = av.AudioFrame.from_ndarray(signal[start : start + 1000].reshape(1, -1), "flt", "mono")
            frame.sample_rate, frame.pts = rate, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.flac", "a"])
@pytest.mark.parametrize("kind", KINDS)
def test_misleading_suffixes(kind: str, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / name, kind)
    with open_sound(tmp_path / name) as reader:
        got = sum(map(len, reader.blocks(4000)))
    assert got / reader.info.sample_rate == pytest.approx(3, abs=0.2)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", KINDS)
def test_missing_package_error_names_the_true_format(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a.wav", kind)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnreadableAudio, match=rf"is {KINDS[kind][2]}.*pip install 'dccrn-cli\[av\]'"):
        open_sound(tmp_path / "a.wav")


@pytest.mark.parametrize("container", ["FLAC", "WAV", "OGG", "AIFF"])
def test_plain_audio_with_a_video_suffix(container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    soundfile.write(tmp_path / "a.m4a", speechlike(RATE), RATE, format=container)
    with open_sound(tmp_path / "a.m4a") as reader:
        assert isinstance(reader, AudioReader)
        assert sum(map(len, reader.blocks(999))) == RATE


@pytest.mark.parametrize(("suffix", "written"), [(".wav", "WAV"), (".mp3", "MP3"), (".flac", "FLAC"), (".ogg", "OGG")])
def test_result_format_follows_its_suffix(suffix: str, written: str, tmp_path: Path, tiny_model: DCCRN) -> None:
    make(tmp_path / f"a{suffix}", "aac")
    enhance = FileEnhancer(EnhanceOptions(device="cpu"), tiny_model)
    result = enhance(Job(tmp_path / f"a{suffix}", tmp_path / "out" / f"a{suffix}"))
    assert result.status == "done", result.reason
    assert soundfile.info(tmp_path / "out" / f"a{suffix}").format == written
    assert any(note.startswith("AAC samples converted") for note in result.notes)


def test_text_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"dear diary" * 99)
    with pytest.raises(UnreadableAudio, match="not readable as audio"):
        open_sound(tmp_path / "a.wav")
