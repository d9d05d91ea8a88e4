"""Transfers chunks, tags, cover art and chapters from one file to another.

Between files of the same kind all metadata are copied byte for byte, known or unknown. Between different kinds,
whatever both can express is transferred through `Common`. No tag library is used: the usual one, mutagen, is under
the GPL and would have to remain an optional extra, yet nothing may be lost without it.
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
    """Metadata family of a container by libsndfile's name; "" for those with strings only."""
    found = _FAMILIES.get(format, "")
    return "RIFX" if found == "RIFF" and endian == "BIG" else found


def read_metadata(file: BinaryIO, size: int) -> Metadata:
    """Read the metadata of a file.

    Args:
        file: seekable file.
        size: size in bytes.

    Raises:
        OSError: the file cannot be read.
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
    """Whether to write libsndfile's strings, since nothing else would carry the same information."""
    target = family(format, endian)
    return not target or (target != metadata.family and target not in ("FLAC", "OGG", "MP3"))


def write_metadata(
    file: BinaryIO, metadata: Metadata, format: str, endian: str, *, other_rate: bool = False
) -> list[str]:
    """Write metadata to a finished file.

    Args:
        file: file opened "r+b".
        metadata: metadata of the source.
        format, endian: format and byte order of the file, in libsndfile's names.
        other_rate: whether its sample rate differs from the source's.

    Returns:
        Notes on what could not be carried over.

    Raises:
        OSError: the file cannot be written.
    """
    target = family(format, endian)
    notes = list(metadata.notes)
    if target and target == metadata.family:
        written = _copy(file, metadata, target)
        counted = sorted({name.decode().strip() for name, _ in metadata.blocks if name in _POSITIONS})
        if other_rate and counted:
            notes.append(f"positions in {', '.join(counted)} refer to the original sample rate")
        return notes if written else [*notes, f"{format} cannot store its {len(metadata.blocks)} pieces of metadata"]
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
        tag, lost = id3.tag_for(metadata, common)
        written = id3.write(file, tag, b"")
    elif target in ("RIFF", "RIFX", "FORM"):
        tag, lost = id3.tag_for(metadata, common)
        written = _write_tag_chunk(file, metadata, common, tag, target)
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


def _write_tag_chunk(file: BinaryIO, metadata: Metadata, common: Common, tag: bytes, target: str) -> bool:
    """Write an ID3 tag in a chunk if it is the recording's own or libsndfile's strings do not carry everything."""
    simple = Common(common.comments, common.pictures, common.chapters)
    if not tag or (tag != metadata.id3 and not left_out(simple, metadata.strings)):
        return True
    return riff.write(file, [(b"ID3 " if target == "FORM" else b"id3 ", tag)], 0)
