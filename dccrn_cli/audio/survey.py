"""Which sound a file holds, whatever its header says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO

from dccrn_cli.audio import mpeg
from dccrn_cli.audio.extent import cut_off, find_extent
from dccrn_cli.audio.ogg import read_pages
from dccrn_cli.audio.splice import Piece


@dataclass(frozen=True)
class Part:
    """A stretch of sound that is decoded as one.

    Attributes:
        pieces: what the decoder gets; None for the file as it is.
        frames: length in samples, for formats of blocks that are filled up; None for all that the decoder gives.
        lead: samples of silence before what the decoder gives.
    """

    pieces: tuple[Piece, ...] | None = None
    frames: int | None = None
    lead: int = 0

    @property
    def start(self) -> int:
        """Where its first stretch of the file starts, bytes."""
        return next((piece[0] for piece in self.pieces or () if not isinstance(piece, bytes)), 0)


@dataclass(frozen=True)
class Survey:
    """The sound of a file.

    Attributes:
        parts: one after another; several where files were joined.
        notes: what a user should know about the difference between file and header.
        format: of the file in libsndfile's names; empty for what the decoder calls it.
        is_mpeg: it may be MP3.
        channel_mask, valid_bits: as `AudioInfo` has them.
    """

    parts: tuple[Part, ...] = (Part(),)
    notes: tuple[str, ...] = ()
    format: str = ""
    is_mpeg: bool = False
    channel_mask: int = 0
    valid_bits: int = 0


def survey(file: BinaryIO, size: int) -> Survey:
    """Look a file through as far as its kind makes it necessary.

    WAV, RF64, AIFF, AU, W64 and CAF: the size of the samples by the header is held against the file. MP3: frames are
    counted, unless the header knows the bytes. Ogg: streams that follow each other are found, and a missing end.
    FLAC: joined files come up while it is read.

    Args:
        file: opened for reading, seekable.
        size: in bytes.

    Raises:
        OSError: it cannot be read.
    """
    file.seek(0)
    head = file.read(10)
    start = 0
    while head[:3] == b"ID3" and (tag := mpeg.tag_size(head)):
        start += tag
        file.seek(start)
        head = file.read(10)
    if head[:4] == b"fLaC":
        return Survey((Part(((start, size),)),))
    if mpeg.parse_frame(head[:4]):
        return _of_mpeg(file, size)
    if start:
        return Survey(is_mpeg=True)
    if head[:4] == b"OggS":
        return _of_ogg(file, size)
    extent = find_extent(file, size)
    if extent is None:
        return Survey(is_mpeg=True)
    notes = tuple(filter(None, [extent.note]))
    found = Survey(notes=notes, channel_mask=extent.channel_mask, valid_bits=extent.valid_bits)
    if extent.patch is None or not extent.held or (extent.is_true and not extent.beyond and not extent.is_odd):
        return replace(found, parts=(Part(frames=extent.frames),))
    # What the header says of the length is wrong, or is that of more than there is.
    return replace(found, parts=(Part(tuple(extent.patch(extent.held))),), format=extent.format)


def _of_ogg(file: BinaryIO, size: int) -> Survey:
    pages = read_pages(file, size)
    notes = () if pages.has_end else ("the recording is cut off: the end of the Ogg stream is missing",)
    if len(pages.links) < 2:
        return Survey(notes=notes)
    return Survey(tuple(Part((link,)) for link in pages.links), (joined(len(pages.links)), *notes))


def _of_mpeg(file: BinaryIO, size: int) -> Survey:
    if mpeg.declared_whole(file, size):
        return Survey(is_mpeg=True)
    links = mpeg.links(file, size)
    if not links or links[0].kind.layer != 3:
        return Survey(is_mpeg=True)
    notes = []
    if len(links) > 1:
        notes.append(joined(len(links)))
    for link in links:
        if link.count < link.declared:
            notes.append(cut_off(link.count, link.declared))
        elif link.declared and link.count > link.declared:
            notes.append(f"the header declares {link.declared:,} frames; all {link.count:,} that are there are read")
    return Survey(tuple(Part(tuple(link.pieces()), lead=link.lead) for link in links), tuple(notes), is_mpeg=True)


def joined(count: int) -> str:
    """The note for files that were joined."""
    return f"{count} recordings joined in one file; all are read"
