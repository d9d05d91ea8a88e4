"""Equal samples give equal bytes, even when written more than a second apart."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speechlike

from dccrn_cli.audio.canonical_bytes import settle

Kind = tuple[str, str, str, int]

# Other formats are left untouched, hence the long list.
AFFECTED = {("OGG", "VORBIS"), ("OGG", "OPUS")} | {
    *((container, subtype) for container in ("WAV", "WAVEX", "AIFF") for subtype in ("FLOAT", "DOUBLE")),
    *(("MAT5", subtype) for subtype in soundfile.available_subtypes("MAT5")),
    ("VOC", "ULAW"), ("VOC", "ALAW"),  # a sample too many
}  # fmt: skip


def rate_of(container: str, subtype: str) -> int:
    return 8000 if container == "WVE" or subtype.startswith(("GSM", "NMS", "VOX", "G72")) else 16_000


def write_all(folder: Path) -> dict[Kind, Path]:
    folder.mkdir()
    paths = {}
    for container in set(soundfile.available_formats()) - {"SD2"}:
        for subtype in soundfile.available_subtypes(container):
            for channels in (1, 2):
                rate = rate_of(container, subtype)
                for endian in ("FILE", "BIG", "LITTLE") if subtype in ("FLOAT", "PCM_16") else ("FILE",):
                    path = folder / f"{container}-{subtype}-{endian}-{channels}"
                    try:
                        soundfile.write(path, speechlike(2000, rate, channels), rate, subtype, endian, container)
                    except (soundfile.SoundFileError, ValueError):
                        path.unlink(missing_ok=True)
                        continue
                    paths[container, subtype, endian, channels] = path
    return paths


def settle_file(path: Path, container: str) -> None:
    with open(path, "r+b") as file:
        settle(file, container)


def test_formats_are_reproducible(tmp_path: Path) -> None:
    first = write_all(tmp_path / "first")
    time.sleep(1.1)
    second = write_all(tmp_path / "second")
    assert len(first) > 100
    varying = set()
    for kind, path in first.items():
        container, subtype = kind[:2]
        before = path.read_bytes()
        if before != second[kind].read_bytes():
            varying.add((container, subtype))
        for each in (path, second[kind]):
            settle_file(each, container)
        after = path.read_bytes()
        assert after == second[kind].read_bytes(), kind
        if (container, subtype) not in AFFECTED:
            assert after == before
        settle_file(path, container)
        assert path.read_bytes() == after
    assert varying <= AFFECTED
    assert {container for container, _ in varying} == {"OGG", "WAV", "WAVEX", "AIFF", "MAT5"}


@pytest.mark.parametrize(("container", "subtype"), sorted(AFFECTED))
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_are_unchanged(container: str, subtype: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / "x"
    x = speechlike(70 * 16_000 if container == "OGG" else 5000, 16_000, channels)
    if (container, subtype) == ("WAV", "FLOAT"):
        x.reshape(-1).view("S4")[3000:3002] = b"PEAK"  # must not be mistaken for the chunk
    soundfile.write(path, x, 16_000, subtype, format=container)
    before, size = soundfile.read(path, always_2d=True), path.stat().st_size
    settle_file(path, container)
    after = soundfile.read(path, always_2d=True)
    assert path.stat().st_size == size
    assert len(after[0]) == len(x)
    np.testing.assert_array_equal(after[0], before[0][: len(x)])


def page_crc(page: bytes) -> int:
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


def test_page_checksums(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.ogg", speechlike(30_000), 16_000)
    settle_file(tmp_path / "a.ogg", "OGG")
    pages = (tmp_path / "a.ogg").read_bytes().split(b"OggS")[1:]
    assert len(pages) > 2
    for page in (b"OggS" + rest for rest in pages):
        assert struct.unpack_from("<I", page, 14)[0] == 0
        assert struct.unpack_from("<I", page, 22)[0] == page_crc(page)


def test_damaged_files_are_left_unchanged(tmp_path: Path) -> None:
    for container, data in [
        ("OGG", b"OggS" + bytes(40)),
        ("OGG", b"no"),
        ("WAV", b"RIFF1234WAVEfmt \xff"),
        ("WAV", b""),
    ]:
        path = tmp_path / "x"
        path.write_bytes(data)
        settle_file(path, container)
        assert path.read_bytes() == data
