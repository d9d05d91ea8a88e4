"""Metadata are carried over: chunks, channel layout, tags, cover art, chapters."""

from __future__ import annotations

import base64
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import speechlike

from dccrn_cli.audio.metadata import flac, id3, ogg
from dccrn_cli.audio.metadata.model import Chapter, Common, Picture
from dccrn_cli.audio.reader import open_sound
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.file import FileEnhancer
from dccrn_cli.engine.files.plan import Job
from dccrn_cli.engine.files.results import FileResult

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
ID3_1 = b"TAG" + b"On Rivers".ljust(124, b"\0") + b"\xff"
EXTENSIBLE_GUID = bytes.fromhex("000000001000800000aa00389b71")


@pytest.fixture(scope="module")
def enhance(tiny_model_file: Path) -> FileEnhancer:
    return FileEnhancer(EnhanceOptions(model=str(tiny_model_file), overwrite=True))


def done(enhance: FileEnhancer, source: Path, target: Path) -> FileResult:
    result = enhance(Job(source, target))
    assert result.status == "done", result.reason
    return result


def c(name: bytes, body: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "4sI", name, len(body)) + body + b"\0" * (len(body) % 2)


def info_list(order: str = "<", **texts: str) -> bytes:
    return b"INFO" + b"".join(c(name.encode(), text.encode() + b"\0", order) for name, text in texts.items())


BEFORE = [
    (b"bext", b"an interview".ljust(602, b"\0") + b"history\r\n"),
    (b"iXML", b"<BWFXML><SCENE>7</SCENE></BWFXML>"),
    (b"XyZ1", b"odd"),
]
AFTER = [
    (b"cue ", struct.pack("<III4sIII", 1, 1, 400, b"data", 0, 0, 400)),
    (b"LIST", b"adtl" + c(b"labl", struct.pack("<I", 1) + b"here\0")),
    (b"LIST", info_list(INAM="On Rivers", IART="Someone")),
    (b"id3 ", id3.build(Common([("TITLE", "On Rivers")], [Picture(3, "image/png", "", PNG)]))),
]


def wav(
    kind: bytes = b"RIFF",
    fmt: bytes | None = None,
    before: Sequence[tuple[bytes, bytes]] = BEFORE,
    after: Sequence[tuple[bytes, bytes]] = AFTER,
    pcm: bytes | None = None,
) -> bytes:
    order = ">" if kind == b"RIFX" else "<"
    samples = np.rint(30_000 * speechlike(8000)[:, 0]).astype(order + "i2").tobytes() if pcm is None else pcm
    fmt = struct.pack(order + "HHIIHH", 1, 1, 16_000, 32_000, 2, 16) if fmt is None else fmt
    head, tail = (b"".join(c(name, body, order) for name, body in part) for part in (before, after))
    body = b"WAVE" + c(b"JUNK", bytes(10), order) + c(b"fmt ", fmt, order) + head + c(b"data", samples, order) + tail
    if kind == b"RF64":
        sizes = struct.pack("<QQQI", len(body) + 36, len(samples), 8000, 0)
        body = b"WAVE" + c(b"ds64", sizes) + body[4:]
        at = body.index(b"data")
        return kind + b"\xff" * 4 + body[: at + 4] + b"\xff" * 4 + body[at + 8 :]
    return kind + struct.pack(order + "I", len(body)) + body


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    order, at, found = ">" if data[:4] in (b"RIFX", b"FORM") else "<", 12, []
    while at + 8 <= len(data):
        name, size = struct.unpack_from(order + "4sI", data, at)
        if name == b"data" and size == 0xFFFFFFFF:
            (size,) = struct.unpack_from("<Q", data, 28)
        found.append((name, data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    assert at == len(data)
    return found


@pytest.mark.parametrize("kind", [b"RIFF", b"RIFX", b"RF64"])
def test_chunks_are_copied_byte_for_byte(kind: bytes, tmp_path: Path, enhance: FileEnhancer) -> None:
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    source.write_bytes(wav(kind))
    result = done(enhance, source, target)
    assert result.notes == ()
    got = chunks(target.read_bytes())
    names = [name for name, _ in got]
    own = [(name, body) for name, body in got if name not in (b"fmt ", b"data", b"ds64", b"fact", b"PEAK")]
    assert sorted(own) == sorted(BEFORE + AFTER)
    if kind != b"RF64":  # libsndfile finds no samples after chunks of odd size there
        assert own == BEFORE + AFTER
        assert names.index(b"bext") < names.index(b"data") < names.index(b"cue ")
    size = struct.unpack_from("<Q", target.read_bytes(), 20)[0] if kind == b"RF64" else None
    order = ">" if kind == b"RIFX" else "<"
    assert (size or struct.unpack_from(order + "I", target.read_bytes(), 4)[0]) == target.stat().st_size - 8
    assert soundfile.info(target).frames == 8000
    before = target.read_bytes()
    done(enhance, source, target)
    assert target.read_bytes() == before


def test_chunks_of_float_wav_and_with_a_wrong_size(tmp_path: Path, enhance: FileEnhancer) -> None:
    pcm = speechlike(8000).astype("<f4").tobytes()
    fmt = struct.pack("<HHIIHH", 3, 1, 16_000, 64_000, 4, 32)
    old = (b"PEAK", struct.pack("<IIfI", 1, 0, 0.5, 3))
    (tmp_path / "a.wav").write_bytes(wav(fmt=fmt, before=[*BEFORE, old], pcm=pcm))
    done(enhance, tmp_path / "a.wav", tmp_path / "b.wav")
    got = chunks((tmp_path / "b.wav").read_bytes())
    assert [each for each in got if each[0] not in (b"fmt ", b"data", b"fact", b"PEAK")] == BEFORE + AFTER
    assert old not in got
    data = bytearray(wav(after=[]))
    at = data.index(b"data")
    data[at + 4 : at + 8] = bytes(4)
    (tmp_path / "c.wav").write_bytes(data)
    done(enhance, tmp_path / "c.wav", tmp_path / "d.wav")
    got = chunks((tmp_path / "d.wav").read_bytes())
    assert [each for each in got if each[0] not in (b"fmt ", b"data")] == BEFORE
    assert soundfile.info(tmp_path / "d.wav").frames == 8000


def extensible(channels: int, width: int, valid: int, mask: int) -> bytes:
    frame = channels * width
    fmt = struct.pack("<HHIIHH", 0xFFFE, channels, 16_000, 16_000 * frame, frame, 8 * width)
    return fmt + struct.pack("<HHI", 22, valid, mask) + b"\1\0" + EXTENSIBLE_GUID


@pytest.mark.parametrize(("channels", "mask"), [(6, 0x60F), (6, 0x3F), (2, 0x600), (3, 0x7), (1, 0x8), (6, 0)])
def test_channel_layout_is_preserved(channels: int, mask: int, tmp_path: Path, enhance: FileEnhancer) -> None:
    pcm = np.rint(30_000 * speechlike(4000, channels=channels)).astype("<i2").tobytes()
    source = tmp_path / "a.wav"
    source.write_bytes(wav(fmt=extensible(channels, 2, 16, mask), pcm=pcm, before=[], after=[]))
    done(enhance, source, tmp_path / "b.wav")
    fmt = dict(chunks((tmp_path / "b.wav").read_bytes()))[b"fmt "]
    assert struct.unpack_from("<HH", fmt) == (0xFFFE, channels)
    assert struct.unpack_from("<HI", fmt, 18) == (16, mask)
    done(enhance, source, tmp_path / "b.rf64")
    assert struct.unpack_from("<I", dict(chunks((tmp_path / "b.rf64").read_bytes()))[b"fmt "], 20) == (mask,)
    note = "; ".join(done(enhance, source, tmp_path / "b.aiff").notes)
    assert (f"AIFF cannot store the channel mask {mask:#x}" in note) == (mask != 0x3F)


@pytest.mark.parametrize(("width", "valid"), [(4, 24), (3, 20), (4, 20), (2, 12)])
@pytest.mark.parametrize("plain", [False, True])
def test_valid_bits(width: int, valid: int, plain: bool, tmp_path: Path, enhance: FileEnhancer) -> None:
    if plain and (width, valid) != (3, 20):
        pytest.skip("WAV without the extensible format holds whole bytes")
    whole = np.rint(speechlike(4000)[:, 0] * (1 << (valid - 1))).astype("<i8") << (8 * width - valid)
    pcm = b"".join(int(value).to_bytes(width, "little", signed=True) for value in whole)
    fmt = extensible(1, width, valid, 0x4)
    fmt = struct.pack("<HHIIHH", 1, 1, 16_000, 16_000 * width, width, valid) if plain else fmt
    (tmp_path / "a.wav").write_bytes(wav(fmt=fmt, pcm=pcm, before=[], after=[]))
    done(enhance, tmp_path / "a.wav", tmp_path / "b.wav")
    parts = dict(chunks((tmp_path / "b.wav").read_bytes()))
    assert struct.unpack_from("<H", parts[b"fmt "], 14 if plain else 18)[0] == valid
    data = np.frombuffer(parts[b"data"], np.uint8).reshape(-1, width)
    packed: np.ndarray = np.sum([data[:, n].astype(np.int64) << 8 * n for n in range(width)], axis=0)
    low = packed & ((1 << (8 * width - valid)) - 1)
    assert not low.any()
    assert data.any()


def test_chunks_and_channel_layout_through_a_pipe(tmp_path: Path, tiny_model_file: Path) -> None:
    pcm = np.rint(30_000 * speechlike(4000, channels=6)).astype("<i2").tobytes()
    data = wav(fmt=extensible(6, 2, 16, 0x60F), pcm=pcm)
    command = [sys.executable, "-m", "dccrn_cli", "enhance", "-", "--model", str(tiny_model_file)]
    got = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    parts = chunks(got)
    assert [each for each in parts if each[0] not in (b"fmt ", b"fact", b"data")] == BEFORE
    assert struct.unpack_from("<I", dict(parts)[b"fmt "], 20) == (0x60F,)
    subprocess.run([*command, "-o", str(tmp_path / "b.wav")], input=data, capture_output=True, check=True)
    parts = chunks((tmp_path / "b.wav").read_bytes())
    assert [each for each in parts if each[0] not in (b"fmt ", b"fact", b"data")] == BEFORE


def test_aiff_chunks(tmp_path: Path, enhance: FileEnhancer) -> None:
    source = tmp_path / "a.aiff"
    soundfile.write(source, speechlike(8000), 16_000, "PCM_16")
    marks = (b"MARK", struct.pack(">HHIB", 1, 1, 400, 4) + b"here\0")
    more = [marks, (b"ANNO", b"note"), (b"ID3 ", AFTER[3][1])]
    data = source.read_bytes() + b"".join(c(name, body, ">") for name, body in more)
    source.write_bytes(data[:4] + struct.pack(">I", len(data) - 8) + data[8:])
    assert done(enhance, source, tmp_path / "b.aiff").notes == ()
    got = chunks((tmp_path / "b.aiff").read_bytes())
    assert [each for each in got if each[0] not in (b"COMM", b"SSND", b"FVER")] == more


COMMENTS = [("TITLE", "On Rivers"), ("ARTIST", "Anna"), ("ARTIST", "Béla"), ("MOOD", "calm"), ("DATE", "2020-05-01")]
COMMON = Common(
    COMMENTS,
    [Picture(3, "image/png", "front", PNG), Picture(4, "image/png", "back", PNG[:60] * 3000)],
    [Chapter(0.0, 0.2, "One"), Chapter(0.2, 0.2, "Two")],
)


def tagged(path: Path, container: str, subtype: str | None = None) -> Path:
    soundfile.write(path, speechlike(8000), 16_000, subtype, format=container)
    with open(path, "r+b") as file:
        write: Any = {"FLAC": flac.write_common, "OGG": ogg.write_common}.get(container, write_id3)
        write(file, COMMON)
    return path


def write_id3(file: Any, common: Common) -> bool:
    return id3.write(file, id3.build(common), ID3_1)


def common_of(path: Path) -> Common:
    with open_sound(path) as reader:
        return reader.metadata().common()


def agree(got: Common, names: Sequence[tuple[str, str]] = COMMENTS) -> None:
    assert sorted(each for each in got.comments if each[0] != "SOFTWARE") == sorted(names)
    assert [(p.kind, p.mime, p.data) for p in got.pictures] == [(p.kind, p.mime, p.data) for p in COMMON.pictures]
    assert [(round(ch.start_s, 3), ch.title) for ch in got.chapters] == [(0.0, "One"), (0.2, "Two")]


KINDS = {
    "a.flac": ("FLAC", None), "a.ogg": ("OGG", "VORBIS"), "a.opus": ("OGG", "OPUS"), "a.mp3": ("MP3", None),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_tags_pictures_and_chapters(name: str, tmp_path: Path, enhance: FileEnhancer) -> None:
    source = tagged(tmp_path / name, *KINDS[name])
    agree(common_of(source))
    target = tmp_path / f"b{source.suffix}"
    assert done(enhance, source, target).notes == ()
    agree(common_of(target))
    assert len(soundfile.read(target)[0]) == 8000
    first = target.read_bytes()
    done(enhance, source, target)
    assert target.read_bytes() == first
    if name == "a.mp3":
        head = id3.build(COMMON)
        assert first.startswith(head)
        assert first.endswith(ID3_1)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".opus", ".mp3", ".wav", ".aiff", ".rf64"])
def test_tags_convert_between_formats(name: str, suffix: str, tmp_path: Path, enhance: FileEnhancer) -> None:
    source = tagged(tmp_path / name, *KINDS[name])
    target = tmp_path / f"b{suffix}"
    result = done(enhance, source, target)
    assert not any("cannot store" in note for note in result.notes)
    agree(common_of(target))
    assert len(soundfile.read(target)[0]) == 8000


def test_unsupported_metadata_give_one_note(tmp_path: Path, enhance: FileEnhancer) -> None:
    result = done(enhance, tagged(tmp_path / "a.flac", "FLAC"), tmp_path / "b.w64")
    notes = [note for note in result.notes if "cannot store" in note]
    assert notes == ["W64 cannot store tags TITLE, ARTIST, MOOD, DATE; cover art; 2 chapters"]
    (tmp_path / "a.wav").write_bytes(wav())
    result = done(enhance, tmp_path / "a.wav", tmp_path / "c.flac")
    notes = [note for note in result.notes if "cannot store" in note]
    assert notes == ["FLAC cannot store chunk bext, chunk iXML, chunk XyZ1, chunk cue, chunk LIST"]
    assert [picture.data for picture in common_of(tmp_path / "c.flac").pictures] == [PNG]


def test_audiobook_to_flac_keeps_metadata(tmp_path: Path, enhance: FileEnhancer) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        out.metadata.update({"title": "On Rivers", "artist": "Anna", "composer": "Béla"})
        times = [(0, 200, "One"), (200, 500, "Two")]
        out.set_chapters(
            [
                {"id": n, "start": a, "end": b, "time_base": __import__("fractions").Fraction(1, 1000),
                 "metadata": {"title": title}}
                for n, (a, b, title) in enumerate(times)
            ]
        )  # fmt: skip
        sound = out.add_stream("aac", rate=16_000, layout="mono")
        cover = out.add_stream("mjpeg", rate=1, width=16, height=16)
        cover.pix_fmt, cover.disposition = "yuvj420p", 0x400
        image = av.VideoFrame.from_ndarray(np.full((24, 16), 90, np.uint8), "yuv420p").reformat(format="yuvj420p")
        picture = [bytes(p) for p in cover.encode(image)]
        for packet in cover.encode(None):
            picture.append(bytes(packet))
        frame = av.AudioFrame.from_ndarray(speechlike(8000).reshape(1, -1), "flt", "mono")
        frame.sample_rate = 16_000
        for packet in [*sound.encode(frame), *sound.encode(None)]:
            out.mux(packet)
        packet = av.Packet(picture[0])
        packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, sound.time_base
        out.mux(packet)
    done(enhance, path, tmp_path / "b.flac")
    got = common_of(tmp_path / "b.flac")
    assert sorted(got.comments) == [("ARTIST", "Anna"), ("COMPOSER", "Béla"), ("TITLE", "On Rivers")]
    assert [(p.mime, p.data) for p in got.pictures] == [("image/jpeg", picture[0])]
    assert [(ch.start_s, ch.title) for ch in got.chapters] == [(0.0, "One"), (0.2, "Two")]


@pytest.mark.parametrize("seed", range(40))
def test_damaged_metadata_are_harmless(seed: int, tmp_path: Path, enhance: FileEnhancer) -> None:
    rng = np.random.default_rng(seed)
    name = ["a.flac", "a.ogg", "a.opus", "a.mp3", "a.wav"][seed % 5]
    source = tmp_path / name
    if name == "a.wav":
        source.write_bytes(wav())
    else:
        tagged(source, *KINDS[name])
    data = bytearray(source.read_bytes())
    for at in rng.integers(0, min(len(data), 1200), 12):
        data[at] = rng.integers(0, 256)
    source.write_bytes(data)
    result = enhance(Job(source, tmp_path / f"b{source.suffix}"))
    assert not re.match("[A-Za-z]+Error", result.reason), result.reason
    assert result.status in ("done", "failed")


def frame(name: str, body: bytes) -> bytes:
    return name.encode() + struct.pack(">I", len(body)) + bytes(2) + body


def test_id3_tags_stay_as_they_are(tmp_path: Path, enhance: FileEnhancer) -> None:
    """Languages of comments and unknown frames included, from MP3 to WAV and AIFF and back."""
    comments = (
        frame("COMM", b"\0eng\0A talk") + frame("COMM", b"\0deu\0Ein Vortrag") + frame("USLT", b"\0fra\0Il pleut")
    )
    frames = frame("TIT2", b"\0On Rivers") + comments + frame("PRIV", b"someone\0\1\2\3")
    tag = b"ID3\x03\0\0" + bytes([0, 0, len(frames) >> 7, len(frames) & 127]) + frames
    soundfile.write(tmp_path / "a.mp3", speechlike(8000), 16_000)
    (tmp_path / "a.mp3").write_bytes(tag + (tmp_path / "a.mp3").read_bytes())
    for name, chunk_name in [("b.wav", b"id3 "), ("b.aiff", b"ID3 "), ("b.rf64", b"id3 ")]:
        assert done(enhance, tmp_path / "a.mp3", tmp_path / name).notes[1:] == ()
        assert dict(chunks((tmp_path / name).read_bytes()))[chunk_name] == tag
        back = tmp_path / f"{name[2:]}.mp3"
        assert not any("cannot store" in note for note in done(enhance, tmp_path / name, back).notes)
        assert back.read_bytes().startswith(tag)


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".caf"])
def test_tags_with_several_values_are_not_reduced_to_one(suffix: str, tmp_path: Path, enhance: FileEnhancer) -> None:
    path, target = tmp_path / "a.flac", tmp_path / f"b{suffix}"
    soundfile.write(path, speechlike(8000), 16_000)
    comments = [("COMMENT", "A talk"), ("COMMENT", "Ein Vortrag")]
    with open(path, "r+b") as file:
        assert flac.write_common(file, Common(comments))
    result = done(enhance, path, target)
    if suffix == ".caf":
        assert "CAF cannot store tags COMMENT" in result.notes
    else:
        assert sorted(common_of(target).comments) == comments
