"""Every format end to end: what goes in comes out, or one line says why not."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import TINY, speechlike

from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.formats import FORMAT_OF_SUFFIX, SAMPLE_FORMATS, AudioInfo
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.file import BLOCK_SAMPLES, FileEnhancer
from dccrn_cli.engine.files.plan import Job
from dccrn_cli.engine.files.results import FileResult
from dccrn_cli.nn.dccrn import DCCRN

RATES = (8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000)
CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8)
ENDIANS = ("FILE", "LITTLE", "BIG")

# Formats that change samples by more than rounding.
LOSSY = (
    "VORBIS",
    "OPUS",
    "MPEG",
    "GSM",
    "ADPCM",
    "IMA",
    "MS_",
    "NMS",
    "G72",
    "ULAW",
    "ALAW",
    "DPCM",
    "DWVW",
    "S8",
    "U8",
)
TAGS = {
    "title": "Über Flüsse – 河", "artist": "Someone", "album": "B", "comment": "two\nlines", "date": "2020",
    "genre": "Speech", "tracknumber": "3",
}  # fmt: skip


@pytest.fixture(scope="module")
def identity() -> DCCRN:
    """An identity network."""
    model = DCCRN(TINY)
    with torch.no_grad():
        for name, weight in model.decoder[-1].named_parameters():
            if name in ("conv.real_weight", "conv.imag_weight"):
                weight.zero_()
    return model.eval()


@pytest.fixture(scope="module")
def enhance(identity: DCCRN) -> FileEnhancer:
    return FileEnhancer(EnhanceOptions(device="cpu", overwrite=True), identity)


def banded(frames: int, rate: int, channels: int) -> np.ndarray:
    """Noise from 300 to 3000 Hz, unaffected by resamplers or a network without DC, different in each channel."""
    rng = np.random.default_rng(frames * channels)
    spectrum = np.fft.rfft(rng.standard_normal((frames, channels)), axis=0)
    spectrum[int(3000 / rate * frames) :] = 0
    spectrum[: int(300 / rate * frames)] = 0
    x = np.fft.irfft(spectrum, frames, axis=0) * np.hanning(frames)[:, None]
    scaled: np.ndarray = (0.2 * x / x.std()).clip(-0.9, 0.9).astype(np.float32)
    return scaled


def delay(a: np.ndarray, b: np.ndarray) -> int:
    """Delay of `a` relative to `b` in samples, by the peak of their cross-correlation."""
    size = 2 * max(len(a), len(b))
    peak = int(np.argmax(np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size).conj(), size)))
    return peak if peak < size // 2 else peak - size


def read(path: Path) -> tuple[AudioInfo, np.ndarray, dict[str, str]]:
    with AudioReader(path) as reader:
        blocks = list(reader.blocks(1 << 16))
        return reader.info, np.concatenate([np.zeros((0, reader.info.channels), np.float32), *blocks]), reader.tags


def kinds() -> Iterator[tuple[str, str]]:
    for container in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(container):
            if container != "RAW":  # no header
                yield container, subtype


def combinations(seed: int) -> Iterator[tuple[int, int, str]]:
    """Sample rates, channels and byte orders, such that all pairs occur repeatedly over the formats."""
    rng = np.random.default_rng(seed)
    for channels in (1, int(rng.choice(CHANNELS[1:]))):
        yield int(rng.choice(RATES)), channels, str(rng.choice(ENDIANS[: channels + 1]))
    yield 8000, 1, "FILE"


def only(folder: Path, *names: str) -> bool:
    return {path.name for path in folder.iterdir()} == set(names)


def failed_cleanly(result: FileResult, out: Path) -> bool:
    unplain = ("Error", "Traceback", "\n", "Errno")
    is_line = bool(result.reason) and not any(word in result.reason for word in unplain)
    return result.status == "failed" and is_line and (not out.exists() or only(out))


def test_every_format_round_trips(tmp_path: Path, enhance: FileEnhancer) -> None:
    out, written = tmp_path / "out", set()
    for number, (container, subtype) in enumerate(kinds()):
        for rate, channels, endian in combinations(number):
            if rate == 8000 and (container, subtype) in written:
                continue
            source, target = tmp_path / f"in-{container}", out / "x"
            x = banded(900 + rate // 100, rate, channels)
            try:
                soundfile.write(source, x, rate, subtype, endian, container)
                before, given, _ = read(source)
            except (soundfile.SoundFileError, ValueError):
                continue  # libsndfile itself cannot
            result = enhance(Job(source, target))
            case = (container, subtype, rate, channels, endian, result.reason)
            if container == "SD2":
                assert failed_cleanly(result, out), case
                assert "--format wav" in result.reason
                continue
            if (container, subtype) == ("PAF", "PCM_24") and result.status == "failed":
                assert failed_cleanly(result, out), case  # libsndfile drops the end for some numbers of channels
                continue
            assert result.status == "done", case
            assert only(out, "x"), case
            after, got, _ = read(target)
            if subtype == "ALAC_20" and channels > 1:
                assert (after.subtype, result.notes) == ("PCM_24", ("ALAC_20 samples converted to PCM_24",)), case
            else:
                assert (after.format, after.subtype, after.endian) == (container, subtype, before.endian), case
                assert all("stores whole blocks" in note for note in result.notes), case
            assert (after.sample_rate, after.channels) == (before.sample_rate, before.channels), case
            assert len(got) == len(given), case
            if not any(name in subtype for name in LOSSY):
                for one, other in zip(got.T, given.T, strict=True):
                    assert delay(one, other) == 0, case
                assert np.square(got - given).mean() < 1e-3 * np.square(given).mean(), case
            written.add((container, subtype))
            target.unlink()
    assert len(written) > 100


@pytest.mark.parametrize("suffix", sorted(FORMAT_OF_SUFFIX))
def test_every_container_converts_to_every_other(suffix: str, tmp_path: Path, identity: DCCRN) -> None:
    """Any request gives a correct file or one clear line."""
    rng = np.random.default_rng(len(suffix) * ord(suffix[-1]))
    formats = [None, None, *SAMPLE_FORMATS.values(), "VORBIS", "OPUS", "ULAW", "IMA_ADPCM", "ALAC_20", "MPEG_LAYER_III"]
    enhancers: dict[Any, FileEnhancer] = {}
    out, done = tmp_path / "out", 0
    forms = list(itertools.product((1, 2, 6, 9), (8000, 48_000, 192_000, 384_000)))
    for channels, rate in [(1, 48_000), *(forms[i] for i in rng.permutation(16)[:3])]:
        source = tmp_path / "x.dat"
        soundfile.write(source, banded(rate // 100, rate, channels), rate, "FLOAT", format="WAV")
        for subtype in (None, str(rng.choice(list(filter(None, formats))))):
            target_hz = [None, 96_000, 11_025, 700_000][rng.integers(4)]
            if (subtype, target_hz) not in enhancers:
                options = EnhanceOptions(device="cpu", sample_format=subtype, sample_rate=target_hz)
                enhancers[subtype, target_hz] = FileEnhancer(options, identity)
            result = enhancers[subtype, target_hz](Job(source, out / f"x{suffix}"))
            case = (suffix, channels, rate, subtype, target_hz, result.reason)
            if result.status == "failed":
                assert failed_cleanly(result, out), case
                assert "does not support" in result.reason or "cannot be written" in result.reason, case
                continue
            assert only(out, f"x{suffix}"), case
            info, got, _ = read(out / f"x{suffix}")
            assert (info.format, info.channels) == (FORMAT_OF_SUFFIX[suffix], channels), case
            assert (info.sample_rate, info.subtype) == (result.sample_rate, result.sample_format), case
            assert subtype in (None, info.subtype), case
            notes = "".join(result.notes)
            assert info.sample_rate == rate or f"resampled to {info.sample_rate} Hz" in notes, case
            assert info.sample_rate == target_hz or target_hz is None or f"does not support {target_hz} Hz" in notes, (
                case
            )
            if info.subtype not in ("MPEG_LAYER_III", "IMA_ADPCM"):
                assert abs(len(got) - rate // 100 * info.sample_rate / rate) <= 1, case
            done += 1
            (out / f"x{suffix}").unlink()
    assert done >= 2


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "FLAC", "OGG", "OPUS", "MP3", "AIFF", "CAF"])
def test_tags(container: str, tmp_path: Path, enhance: FileEnhancer) -> None:
    subtype = container if container == "OPUS" else soundfile.default_subtype(container)
    container = "OGG" if container == "OPUS" else container
    info = AudioInfo(16_000, 1, 0, container, subtype, "FILE")
    taken = ("title", "artist", "comment") if container == "AIFF" else tuple(TAGS)
    with AudioWriter(tmp_path / "a", info, TAGS) as writer:
        writer.write(speechlike(4000))
    assert enhance(Job(tmp_path / "a", tmp_path / "b")).status == "done"
    assert enhance(Job(tmp_path / "b", tmp_path / "c")).status == "done"
    for name in "abc":
        got = read(tmp_path / name)[2]
        assert {key: got.get(key) for key in taken} == {key: TAGS[key] for key in taken}
    for odd in ("", "x" * 7000, "é" * 100_000, "x" * 30_000, "a\0b", "\udcff", "\x01"):
        for tags in ({"title": odd}, dict.fromkeys(TAGS, odd)):
            with AudioWriter(tmp_path / "d", info, tags) as writer:
                writer.write(speechlike(4000))
            after, x, _ = read(tmp_path / "d")
            assert (after.sample_rate, len(x)) == (16_000, 4000)


def test_mp3_tags_read_by_other_software(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with AudioWriter(tmp_path / "a.mp3", AudioInfo(16_000, 1, 0, "MP3", "MPEG_LAYER_III", "FILE"), TAGS) as writer:
        writer.write(speechlike(4000))
    with av.open(str(tmp_path / "a.mp3")) as file:
        assert {key: file.metadata[key] for key in ("title", "artist", "date")} == {
            key: TAGS[key] for key in ("title", "artist", "date")
        }


def test_mpeg_layer_2_is_written_as_layer_3(tmp_path: Path, enhance: FileEnhancer) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp2"), "w") as out:
        stream = out.add_stream("mp2", rate=44_100, layout="mono")
        for start in range(0, 11_520, 1152):
            frame = av.AudioFrame.from_ndarray((2**14 * speechlike(1152).T).astype(np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 44_100, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    result = enhance(Job(tmp_path / "a.mp2", tmp_path / "b.mp2"))
    assert result.status == "done", result.reason
    assert result.notes == ("MPEG_LAYER_II samples converted to MPEG_LAYER_III",)
    assert soundfile.info(tmp_path / "b.mp2").samplerate == 44_100


def test_unsupported_rates_of_a_container(tmp_path: Path, identity: DCCRN) -> None:
    """libsndfile silently writes them incorrectly."""
    enhance = FileEnhancer(EnhanceOptions(device="cpu", sample_rate=96_000), identity)
    for container in ("SVX", "MPC2K", "WVE"):
        soundfile.write(tmp_path / "a", speechlike(4000), 8000, format=container)
        result = enhance(Job(tmp_path / "a", tmp_path / "out" / "a"))
        assert "does not support 96000 Hz" in result.reason
        assert failed_cleanly(result, tmp_path / "out")


def test_header_declaring_a_thousand_channels(
    tmp_path: Path, enhance: FileEnhancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = io.BytesIO()
    soundfile.write(data, np.zeros((4096, 1), np.float32), 16_000, "PCM_16", format="WAV")
    content = bytearray(data.getvalue())
    struct.pack_into("<HIIH", content, 22, 1024, 768_000, 768_000 * 2048, 2048)
    (tmp_path / "a.wav").write_bytes(content)
    asked = []
    read_block = soundfile.SoundFile.read

    def noted(self: soundfile.SoundFile, frames: int, **more: Any) -> Any:
        asked.append(frames * self.channels)
        return read_block(self, frames, **more)

    monkeypatch.setattr(soundfile.SoundFile, "read", noted)
    result = enhance(Job(tmp_path / "a.wav", tmp_path / "b.wav"))
    assert (result.status, result.channels, result.sample_rate) == ("done", 1024, 768_000)
    assert max(asked) <= BLOCK_SAMPLES
