"""Chunks, tags, cover art and chapters, from one file into another.

Between files of one kind all of it is copied byte for byte, also what nothing here knows by name. From one kind to
another goes what both can express, by way of `Common`. This is code of its own and no library of tags: the usual one,
mutagen, is under the GPL and would have to stay an optional extra, while nothing may get lost without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

from dccrn_cli.audio.chunks import ORDERS
from dccrn_cli.audio.extent import find_extent
from dccrn_cli.audio.metadata import flac, id3, ogg, riff
from dccrn_cli.audio.metadata.model import KEYS, Common, Metadata, left_out
from dccrn_cli.audio.mpeg import tag_size

__all__ = ["Common", "Metadata", "family", "left_out", "read_metadata", "takes_strings", "write_metadata"]

_FAMILIES = {"WAV": "RIFF", "WAVEX": "RIFF", "RF64": "RIFF", "AIFF": "FORM", "FLAC": "FLAC", "OGG": "OGG", "MP3": "MP3"}
_WITH_STRINGS = frozenset({"CAF"})
_POSITIONS = frozenset({b"cue ", b"bext", b"smpl", b"MARK", b"plst"})


def family(format: str, endian: str) -> str:
    """Of a container by libsndfile's name; "" for those with strings alone."""
    found = _FAMILIES.get(format, "")
    return "RIFX" if found == "RIFF" and endian == "BIG" else found


def read_metadata(file: BinaryIO, size: int) -> Metadata:
    """What stands beside the sound of a file.

    Args:
        file: seekable.
        size: in bytes.

    Raises:
        OSError: it cannot be read.
    """
    file.seek(0)
    head = file.read(12)
    start = tag_size(head[:10]) if head[:3] == b"ID3" else 0
    if start:
        file.seek(start)
        inner = file.read(4)
        if inner == b"fLaC":
            return flac.read(file, start)
        return id3.read(file, size)
    if head[:4] == b"fLaC":
        return flac.read(file, 0)
    if head[:4] == b"OggS":
        return ogg.read(file)
    if head[:4] in ORDERS and (extent := find_extent(file, size)):
        return riff.read(file, size, extent.start + extent.held)
    if head[:1] == b"\xff":
        return id3.read(file, size)
    return Metadata()


def takes_strings(metadata: Metadata, format: str, endian: str) -> bool:
    """libsndfile's strings are written, since nothing else says the same."""
    target = family(format, endian)
    return not target or (target != metadata.family and target not in ("FLAC", "OGG", "MP3"))


def write_metadata(
    file: BinaryIO, metadata: Metadata, format: str, endian: str, *, other_rate: bool = False
) -> list[str]:
    """Put what is known into a finished file.

    Args:
        file: opened "r+b".
        metadata: of the original.
        format, endian: of the file, in libsndfile's names.
        other_rate: its sample rate is not that of the original.

    Returns:
        What could not be carried over, in plain words.

    Raises:
        OSError: it cannot be written.
    """
    target = family(format, endian)
    notes = list(metadata.notes)
    if target and target == metadata.family:
        written = _copy(file, metadata, target)
        counted = sorted({name.decode().strip() for name, _ in metadata.blocks if name in _POSITIONS})
        if other_rate and counted:
            notes.append(f"positions in {', '.join(counted)} count samples at the original's rate")
        return notes if written else [*notes, f"{format} does not hold its {len(metadata.blocks)} pieces of metadata"]
    common = metadata.common()
    if not common.comments:
        strings = metadata.strings.items()
        common = replace(common, comments=[(KEYS[name], text) for name, text in strings if name != "software"])
    if not common:
        return notes
    lost = Common(unknown=common.unknown)
    if target == "FLAC":
        written = flac.write_common(file, common)
    elif target == "OGG":
        written = ogg.write_common(file, common)
    elif target == "MP3":
        written = id3.write(file, id3.build(common), b"")
    elif target in ("RIFF", "RIFX", "FORM"):
        written = _write_tag_chunk(file, metadata, common, target)
    else:
        written, lost = True, common
    note = left_out(lost if written else common, metadata.strings if format in _WITH_STRINGS else None, format)
    return [*notes, note] if note else notes


def _copy(file: BinaryIO, metadata: Metadata, target: str) -> bool:
    if not metadata.blocks:
        return True
    if target == "FLAC":
        return flac.write(file, metadata.blocks)
    if target == "OGG":
        return ogg.write(file, [entry for _, entry in metadata.blocks])
    if target == "MP3":
        (_, head), (_, tail) = metadata.blocks
        return id3.write(file, head, tail)
    return riff.write(file, metadata.blocks, metadata.split)


def _write_tag_chunk(file: BinaryIO, metadata: Metadata, common: Common, target: str) -> bool:
    """An ID3 tag in a chunk, where libsndfile's strings do not say all."""
    if not left_out(Common(common.comments, common.pictures, common.chapters), metadata.strings):
        return True
    return riff.write(file, [(b"ID3 " if target == "FORM" else b"id3 ", id3.build(common))], 0)
