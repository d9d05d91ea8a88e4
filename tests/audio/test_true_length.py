"""All audio is read, whatever length a header declares, or the difference is reported."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speechlike

from dccrn_cli.audio import mpeg
from dccrn_cli.audio.container_size import size_note
from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.media import MediaReader
from dccrn_cli.audio.native_stderr import decoder_messages
from dccrn_cli.audio.reader import probe
from dccrn_cli.audio.stdio import StreamReader
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.errors import AudioError, UnreadableAudio, UnsupportedFormat

RATE, FRAMES = 16_000, 40_000
FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
LIST = b"LIST" + struct.pack("<I", 18) + b"INFOINAM" + struct.pack("<I", 6) + b"hello\0"


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body


def riff(*chunks: bytes, size: int = 0, kind: bytes = b"RIFF") -> bytes:
    return kind + struct.pack("<I", size) + b"WAVE" + b"".join(chunks)


def pcm(frames: int = FRAMES) -> bytes:
    return (speechlike(frames)[:, 0] * 32_767).astype("<i2").tobytes()


def encoded(container: str, subtype: str | None = None, frames: int = FRAMES, rate: int = RATE, **more: str) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, speechlike(frames, rate), rate, subtype, format=container, **more)
    return data.getvalue()


def read(path: Path) -> tuple[AudioReader, np.ndarray]:
    """The audio, with a length known in advance."""
    with AudioReader(path) as reader:
        frames = reader.info.frames
        blocks = [np.zeros((0, reader.info.channels), np.float32), *reader.blocks(7001)]
    got = np.concatenate(blocks)
    assert reader.frames_read == len(got)
    assert frames == len(got)
    assert probe([path])[0].seconds == pytest.approx(len(got) / reader.info.sample_rate)
    return reader, got


def with_ds64(data_bytes: int) -> bytes:
    return chunk(b"ds64", struct.pack("<QQQI", 0, data_bytes, 0, 0))


NO_SIZE = {
    "plain": riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), 0)),
    "one byte": riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), 1)),
    "filler": riff(chunk(b"fmt ", FORMAT), chunk(b"FLLR", bytes(4000)), chunk(b"JUNK", b""), chunk(b"data", pcm(), 0)),
    "list": riff(chunk(b"fmt ", FORMAT), LIST, chunk(b"data", pcm(), 0)),
    "right outside": riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), 0), size=36 + 2 * FRAMES),
    "big-endian": b"RIFX\0\0\0\0WAVEfmt \0\0\0\x10" + struct.pack(">HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    + b"data\0\0\0\0" + np.frombuffer(pcm(), "<i2").astype(">i2").tobytes(),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_SIZE)
def test_wav_with_an_open_size(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(NO_SIZE[kind])
    reader, got = read(path)
    np.testing.assert_allclose(got, speechlike(FRAMES), atol=1e-4)
    assert reader.note.startswith("the header declares ")
    assert reader.info.format == "WAV"
    assert reader.tags.get("title", "hello") == "hello"
    piped = StreamReader(io.BytesIO(NO_SIZE[kind]))
    np.testing.assert_array_equal(np.concatenate(list(piped.blocks(7001))), got)
    assert piped.note.startswith("the header declares ")


@pytest.mark.parametrize("data_bytes", [0, 2 * FRAMES])
def test_rf64_from_a_pipe(data_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(
        riff(with_ds64(data_bytes), chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), 0xFFFFFFFF), kind=b"RF64")
    )
    reader, got = read(path)
    assert (len(got), reader.info.format) == (FRAMES, "RF64")
    assert reader.note == ""


@pytest.mark.parametrize("kind", [b"RIFF", b"RF64"])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 3 * FRAMES])
@pytest.mark.parametrize("after", [LIST, chunk(b"bext", bytes(602)) + chunk(b"iXML", b"<x/>.") + b"\0" + LIST])
def test_chunks_after_samples_of_unknown_length(kind: bytes, size: int, after: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    start = [with_ds64(0)] if kind == b"RF64" else []
    path.write_bytes(riff(*start, chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), size), after, kind=kind))
    _, got = read(path)
    np.testing.assert_allclose(got, speechlike(FRAMES), atol=1e-4)
    with AudioReader(path) as reader:
        assert reader.metadata().blocks[-1] == (b"LIST", LIST[8:])
    if size != 3 * FRAMES:
        with open(path, "rb", buffering=0) as file:
            piped = StreamReader(file)
            np.testing.assert_array_equal(np.concatenate(list(piped.blocks(7001))), got)
            assert "chunk " in piped.note


@pytest.mark.parametrize("after", [LIST[:-2], LIST + b"\1", b"ABCD" + LIST[4:]])
def test_samples_that_resemble_chunks(after: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), 0), after))
    assert len(read(path)[1]) == FRAMES + len(after) // 2


@pytest.mark.parametrize("after", [b"", LIST, chunk(b"bext", bytes(602))])
def test_empty_wav(after: bytes, tmp_path: Path) -> None:
    data = riff(chunk(b"fmt ", FORMAT), chunk(b"data", b""), after)
    (tmp_path / "a.wav").write_bytes(data)
    reader, got = read(tmp_path / "a.wav")
    assert (len(got), reader.note) == (0, "")
    piped = StreamReader(io.BytesIO(data))
    assert (list(piped.blocks(999)), piped.note) == ([], "")


def zeroed(container: str) -> bytes:
    """A file whose writer never filled in the sizes."""
    data = bytearray(encoded(container, "PCM_16"))
    if container == "AIFF":
        data[data.index(b"COMM") + 10 :][:4] = bytes(4)
        at = data.index(b"COMM") + 10
        data[at : at + 4] = bytes(4)
        at = data.index(b"SSND") + 4
        data[at : at + 4] = struct.pack(">I", 8)
    elif container == "AU":
        data[8:12] = bytes(4)
    elif container == "W64":
        at = data.index(b"data\xf3") + 16
        data[at : at + 8] = bytes(8)
    elif container == "CAF":
        at = data.index(b"data\0") + 4
        data[at : at + 8] = b"\xff" * 8
    elif container == "RF64":
        data[12 + 16 : 12 + 24] = bytes(8)
    return bytes(data)


@pytest.mark.parametrize("container", ["AIFF", "AU", "W64", "CAF", "RF64"])
def test_other_containers_with_an_open_size(container: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(zeroed(container))
    reader, got = read(tmp_path / "a")
    np.testing.assert_allclose(got, speechlike(FRAMES), atol=1e-4)
    assert reader.info.format == container
    assert ("declares 0 bytes" in reader.note) == (container in ("AIFF", "AU", "W64"))


@pytest.mark.parametrize("size", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_au_with_an_unknown_size(size: int, tmp_path: Path) -> None:
    data = encoded("AU", "PCM_16")
    (tmp_path / "a.au").write_bytes(data[:8] + struct.pack(">I", size) + data[12:])
    reader, got = read(tmp_path / "a.au")
    assert len(got) == FRAMES
    assert bool(reader.note) == (size != 0xFFFFFFFF)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "W64", "RF64", "CAF", "MP3", "OGG", "OPUS", "FLAC"])
def test_truncated_files(container: str, tmp_path: Path) -> None:
    data = encoded(
        "OGG" if container == "OPUS" else container, "OPUS" if container == "OPUS" else None, frames=10 * FRAMES
    )
    (tmp_path / "a").write_bytes(data[: len(data) // 2])
    reader, got = read(tmp_path / "a")
    assert 3 * FRAMES < len(got) < 7 * FRAMES
    assert reader.note.startswith("the recording is cut off")


def test_file_shrinking_while_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded("WAV", frames=10 * FRAMES))
    with AudioReader(path) as reader:
        blocks = reader.blocks(FRAMES)
        next(blocks)
        os.truncate(path, 44 + 6 * FRAMES)
        got = FRAMES + sum(map(len, blocks))
    assert got == 3 * FRAMES
    assert reader.note == "the recording is cut off: 30% of the data is present"


@pytest.mark.parametrize("more", [0, 1 << 32])
def test_wav_above_4_gib(more: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with open(path, "wb") as file:
        file.write(riff(chunk(b"fmt ", FORMAT), chunk(b"data", b"", 2 * FRAMES)))
        file.truncate(44 + 2 * FRAMES + more)
    with AudioReader(path) as reader:
        assert (reader.info.frames, reader.info.format) == (FRAMES + more // 2, "WAV")
        assert len(next(reader.blocks(99))) == 99
        assert bool(reader.note) == bool(more)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "W64", "RF64", "CAF"])
def test_audio_after_the_declared_end(container: str, tmp_path: Path) -> None:
    """Half of it declared; and two files joined."""
    data = encoded(container, "PCM_16")
    (tmp_path / "a").write_bytes(data + data)
    reader, got = read(tmp_path / "a")
    assert len(got) == FRAMES
    assert reader.note.endswith("bytes after the declared end of the audio are not read")
    half = riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm(), FRAMES))
    (tmp_path / "b").write_bytes(half)
    reader, got = read(tmp_path / "b")
    assert (len(got), reader.note.split()[0]) == (FRAMES // 2, f"{FRAMES:,}")
    piped = StreamReader(io.BytesIO(half))
    assert sum(map(len, piped.blocks(999))) == FRAMES // 2
    assert "is not read" in piped.note


def vbr(frames: int, rate: int, channels: int = 1) -> bytes:
    data = io.BytesIO()
    x = speechlike(frames, rate, channels) * np.linspace(0, 1, frames, dtype=np.float32)[:, None] ** 4
    with soundfile.SoundFile(data, "w", rate, channels, format="MP3", bitrate_mode="VARIABLE") as file:
        file.write(x)
    return data.getvalue()


def without_header(data: bytes) -> bytes:
    start = next(mpeg._frames(io.BytesIO(data), len(data)))[0]
    frame = mpeg.parse_frame(data[start : start + 4])
    assert frame is not None
    return data[start + frame.size :]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 32_000, 44_100, 48_000])
def test_vbr_mp3_without_a_length(rate: int, channels: int, tmp_path: Path) -> None:
    data = vbr(10 * rate, rate, channels)
    (tmp_path / "a.mp3").write_bytes(data)
    whole, expected = read(tmp_path / "a.mp3")
    assert (len(expected), whole.note) == (10 * rate, "")
    (tmp_path / "b.mp3").write_bytes(without_header(data))
    reader, got = read(tmp_path / "b.mp3")
    assert reader.note == ""
    size = 1152 if rate >= 32_000 else 576
    assert len(got) % size == 0
    assert 0 < len(got) - len(expected) < 4 * size
    delay = 1105  # encoder and decoder delay, given in the header
    np.testing.assert_allclose(got[delay : delay + len(expected)][size:], expected[size:], atol=1e-3)


@pytest.mark.parametrize("container", ["OGG", "OPUS", "MP3", "FLAC"])
def test_concatenated_files(container: str, tmp_path: Path) -> None:
    one = encoded(*(("OGG", "OPUS") if container == "OPUS" else (container, None)))
    (tmp_path / "a").write_bytes(one)
    _, single = read(tmp_path / "a")
    (tmp_path / "b").write_bytes(3 * one)
    with AudioReader(tmp_path / "b") as reader:
        got = np.concatenate(list(reader.blocks(7001)))
    np.testing.assert_allclose(got, np.concatenate([single] * 3), atol=1e-3)
    assert reader.note == "3 recordings concatenated in one file; all are read"
    if container != "FLAC":
        assert reader.info.frames == len(got)


@pytest.mark.parametrize(("container", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("FLAC", None)])
def test_concatenated_files_at_different_rates(container: str, subtype: str | None, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encoded(container, subtype) + encoded(container, subtype, 3 * FRAMES, 48_000))
    with AudioReader(tmp_path / "a") as reader:
        frames = sum(map(len, reader.blocks(7001)))
        assert reader.info.sample_rate == RATE
    assert frames == pytest.approx(2 * FRAMES, abs=2)
    assert "resampled" in reader.note


def test_junk_and_tags_between_mp3_frames(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = vbr(10 * RATE, RATE)
    (tmp_path / "a.mp3").write_bytes(data)
    _, expected = read(tmp_path / "a.mp3")
    (tmp_path / "b.mp3").write_bytes(b"ID3\4\0\0\0\0\0\x64" + bytes(100) + bytes(700) + data + b"TAG" + bytes(125))
    _, got = read(tmp_path / "b.mp3")
    np.testing.assert_array_equal(got, expected)
    assert capfd.readouterr() == ("", "")


def test_decoders_do_not_write_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(vbr(10 * RATE, RATE))
    for start, frame, _ in list(mpeg._frames(io.BytesIO(data), len(data)))[20::9]:
        data[start + 4 : start + frame.size] = np.random.default_rng(start).bytes(frame.size - 4)
    (tmp_path / "a.mp3").write_bytes(data)
    (tmp_path / "b.mp3").write_bytes(data[: len(data) // 2])
    reader, _ = read(tmp_path / "a.mp3")
    assert "damaged in" in reader.note
    read(tmp_path / "b.mp3")
    assert capfd.readouterr() == ("", "")
    counted: list[int] = []
    with decoder_messages(counted):
        os.write(2, b"Note: a.wav: 3 frames\n[src/libmpg123/layer3.c:f():1] error: x\nWarning: Xing\nother")
    assert counted == [1]
    assert capfd.readouterr().err == "Note: a.wav: 3 frames\nother"


def test_truncated_video_without_an_index(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.avi"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for start in range(0, 10 * RATE, 1000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = RATE, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    data = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(data[: len(data) // 2])
    with MediaReader(tmp_path / "a.avi") as reader:
        list(reader.blocks(7001))
    assert reader.note.startswith("the recording is cut off")


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


@pytest.mark.parametrize("size", [1 << 63, (1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 40])
@pytest.mark.parametrize("container", ["W64", "CAF", "RF64", "AIFF"])
def test_impossible_sizes(container: str, size: int, tmp_path: Path) -> None:
    data = bytearray(encoded(container))
    places = {"W64": [56, 80], "CAF": [12, 56], "RF64": [20, 28], "AIFF": [4, 16]}[container]
    for place in places:
        field = size.to_bytes(8, "big" if container in ("CAF", "AIFF") else "little")
        changed = bytearray(data)
        changed[place : place + 8] = field
        (tmp_path / "a").write_bytes(changed)
        with contextlib.suppress(UnreadableAudio), AudioReader(tmp_path / "a") as reader:
            assert sum(map(len, reader.blocks(5000))) <= FRAMES
            reader.metadata()


def test_ffmpeg_is_silent_about_unseekable_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    data = bytearray(encoded("CAF", "ALAC_16"))
    data[12 + 44 : 12 + 52] = ((1 << 64) - 5000).to_bytes(8, "big")
    for name in ("a.mkv", "a.mov", "a.wv"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnreadableAudio):
            MediaReader(tmp_path / name).close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("between", "more"),
    [(b"", chunk(b"data", pcm())), (LIST, riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm()))), (LIST, bytes(5000))],
)
def test_samples_behind_other_chunks(between: bytes, more: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm()), between, more))
    reader, _ = read(path)
    assert reader.note == f"{len(more):,} bytes after the declared end of the audio are not read"


def test_chunks_without_padding_are_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm()), chunk(b"iXML", b"<x/>."), LIST * 20))
    reader, _ = read(path)
    assert reader.note == ""
    with AudioReader(path) as again:
        assert [name for name, _ in again.metadata().blocks] == [b"iXML"] + [b"LIST"] * 20


def test_rf64_of_unknown_length(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sizes = chunk(b"ds64", struct.pack("<QQQI", 2**64 - 1, 2**64 - 1, 2**64 - 1, 0))
    data = chunk(b"data", pcm(), 0xFFFFFFFF)
    path.write_bytes(riff(sizes, chunk(b"fmt ", FORMAT), data, size=0xFFFFFFFF, kind=b"RF64"))
    reader, got = read(path)
    assert (len(got), reader.note) == (FRAMES, "")


@pytest.mark.parametrize(
    "behind", [riff(chunk(b"fmt ", FORMAT), chunk(b"data", pcm())), bytes(9000), b"TAG" + bytes(125)]
)
def test_what_follows_the_frames_of_an_mp3(behind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(encoded("MP3") + behind)
    with AudioReader(path) as reader:
        for _ in reader.blocks(10_000):
            pass
    assert ("are not read" in reader.note) == behind.startswith(b"RIFF")


def test_half_of_an_ogg_that_ffmpeg_reads(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.ogg"
    data = encoded("OGG", "OPUS")
    for count, is_cut in [(len(data), False), (len(data) // 2, True)]:
        path.write_bytes(data[:count])
        with MediaReader(path) as reader:
            assert sum(len(block) for block in reader.blocks(10_000))
        assert ("the end of the Ogg stream is missing" in reader.note) == is_cut


def test_joined_and_shortened_mp4(tmp_path: Path) -> None:
    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + name + body

    whole = box(b"ftyp", bytes(8)) + box(b"moov", bytes(40)) + box(b"mdat", bytes(500))
    for data, note in [
        (whole, ""),
        (whole + whole, f"{len(whole):,} bytes after the declared end of the audio are not read"),
        (whole[:-100], "the recording is cut off: its end is missing"),
    ]:
        assert size_note(io.BytesIO(data), len(data)) == note


def test_mp3_in_wav_is_not_called_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    frames = encoded("MP3")
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 144, 1, 0)
    path.write_bytes(
        riff(chunk(b"fmt ", form), chunk(b"fact", struct.pack("<I", FRAMES + 500)), chunk(b"data", frames))
    )
    with AudioReader(path) as reader:
        read_frames = sum(len(block) for block in reader.blocks(10_000))
    assert read_frames >= FRAMES - 2304
    assert reader.note == ""


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_damaged_sample_dump_prints_nothing(subtype: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.sds"
    data = bytearray(encoded("SDS", subtype))
    data[21 + 127 * 3] = 0x12
    data[21 + 127 * 5 + 1] = 0x34
    data[21 + 127 * 7 + 60] ^= 0x10
    path.write_bytes(data)
    code = "import sys; from dccrn_cli.audio.files import AudioReader; list(AudioReader(sys.argv[1]).blocks(999))"
    subprocess.run([sys.executable, "-c", code, path], check=True)  # its output is complete only at the end
    assert capfd.readouterr() == ("", "")
    with AudioReader(path) as reader:
        assert sum(len(block) for block in reader.blocks(999)) >= FRAMES
    assert reader.note == "damaged in 3 places, with audible errors"
