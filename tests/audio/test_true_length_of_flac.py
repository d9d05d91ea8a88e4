"""A FLAC file is read up to where it was cut off; damage before that is never taken for the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import speechlike
from encoded import FRAMES, encoded, read

from dccrn_cli.audio.files import AudioReader
from dccrn_cli.errors import UnreadableAudio

DATA = encoded("FLAC")
JOINED = "2 recordings concatenated in one file; all are read"
CUT_FRAME = "the recording is cut off: its last frame is incomplete"


def declaring(samples: int, data: bytes = DATA) -> bytes:
    """A FLAC file whose header gives this length; 0 means that it is unknown."""
    return data[:21] + bytes([data[21] & 0xF0]) + samples.to_bytes(4, "big") + data[26:]


def all_of(path: Path) -> tuple[str, np.ndarray]:
    with AudioReader(path) as reader:
        got = np.concatenate(list(reader.blocks(7001)))
    return reader.note, got


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_truncated(share: float, is_declared: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    data = DATA if is_declared else declaring(0)
    path.write_bytes(data[: int(share * len(data))])
    reader, got = read(path)
    assert 0 < FRAMES * share - len(got) < 2 * 4096 + 500
    np.testing.assert_allclose(got, speechlike(FRAMES)[: len(got)], atol=1e-4)
    if is_declared:
        assert reader.note == f"the recording is cut off: {len(got) / FRAMES:.0%} of the data is present"
    else:
        assert reader.note == CUT_FRAME


def test_truncated_in_the_last_frame(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(DATA[:-100])
    note, got = all_of(tmp_path / "a.flac")
    assert note == CUT_FRAME
    assert len(got) == FRAMES // 4096 * 4096
    np.testing.assert_allclose(got, speechlike(FRAMES)[: len(got)], atol=1e-4)


@pytest.mark.parametrize("data", [DATA, declaring(0), DATA[: len(DATA) * 3 // 4]])
@pytest.mark.parametrize("count", [1, 20, 9000])
def test_damaged(count: int, data: bytes, tmp_path: Path) -> None:
    at = len(DATA) // 3
    flipped = bytes(byte ^ 0x55 for byte in data[at : at + count])
    for spoiled in (data[:at] + flipped + data[at + count :], data[:at] + data[at + count :]):
        (tmp_path / "a.flac").write_bytes(spoiled)
        with AudioReader(tmp_path / "a.flac") as reader, pytest.raises(UnreadableAudio, match=r"damaged at 0\.\d\d s"):
            list(reader.blocks(7001))


def test_damaged_in_the_last_frame(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(DATA[:-500] + bytes([DATA[-500] ^ 1]) + DATA[-499:])
    with AudioReader(tmp_path / "a.flac") as reader, pytest.raises(UnreadableAudio, match="damaged at"):
        list(reader.blocks(7001))


@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125)])
@pytest.mark.parametrize("samples", [FRAMES, FRAMES // 2, 0])
def test_wrong_length_in_the_header(samples: int, behind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(declaring(samples) + behind)
    reader, got = read(path)
    np.testing.assert_allclose(got, speechlike(FRAMES), atol=1e-4)
    assert bool(reader.note) == (samples == FRAMES // 2)


@pytest.mark.parametrize(
    "first", [DATA, declaring(0), encoded("FLAC", frames=50_000)[:-30_000], encoded("FLAC", frames=9000)]
)
def test_concatenated_and_truncated(first: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(first)
    note, one = all_of(path)
    path.write_bytes(first + DATA)
    joined, got = all_of(path)
    assert joined == "; ".join(filter(None, [note, JOINED]))
    assert len(got) == len(one) + FRAMES
    path.write_bytes(first + DATA[:-20_000])
    joined, got = all_of(path)
    assert joined.startswith("; ".join(filter(None, [note, JOINED])))
    assert joined.endswith("of the data is present")
    assert 0 < len(one) + FRAMES - len(got) < 20_000
    np.testing.assert_allclose(got[len(one) :], speechlike(FRAMES)[: len(got) - len(one)], atol=1e-4)
