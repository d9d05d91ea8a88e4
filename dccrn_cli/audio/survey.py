"""Finds the audio that a file actually contains, whatever its header declares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO

from dccrn_cli.audio import mpeg
from dccrn_cli.audio.extent import cut_off, damaged, find_extent, unread
from dccrn_cli.audio.flac_frames import find_flac
from dccrn_cli.audio.frame_chain import INCOMPLETE_FRAME, find_chain_end
from dccrn_cli.audio.ogg_pages import read_pages
from dccrn_cli.audio.sample_dump import is_sample_dump, read_packets
from dccrn_cli.audio.splice import Piece


@dataclass(frozen=True)
class Part:
    """A part of a file that is decoded as one.

    Attributes:
        pieces: input for the decoder; None for the unmodified file.
        frames: length in samples, for block formats with padding; None for all decoded samples.
        lead: samples of silence before the decoded ones.
        last_frame: samples of a last frame that may be incomplete and so is decoded by itself; 0 if there is none.
    """

    pieces: tuple[Piece, ...] | None = None
    frames: int | None = None
    lead: int = 0
    last_frame: int = 0

    @property
    def start(self) -> int:
        """Position of its first byte in the file."""
        return next((piece[0] for piece in self.pieces or () if not isinstance(piece, bytes)), 0)


@dataclass(frozen=True)
class Survey:
    """The audio of a file.

    Attributes:
        parts: consecutive parts; several if files were concatenated.
        notes: notes on differences between file and header.
        format: format of the file in libsndfile's names; empty for that reported by the decoder.
        is_mpeg: whether it may be MP3.
        channel_mask, valid_bits: as in `Extent`.
    """

    parts: tuple[Part, ...] = (Part(),)
    notes: tuple[str, ...] = ()
    format: str = ""
    is_mpeg: bool = False
    channel_mask: int | None = None
    valid_bits: int = 0


def survey(file: BinaryIO, size: int) -> Survey:
    """Scan a file as far as its format requires.

    WAV, RF64, AIFF, AU, W64 and CAF: the declared size of the samples is compared with the file. MP3: frames are
    counted, unless the header's byte count matches. Ogg: consecutive streams and a missing end are found. FLAC:
    the last complete frame is found; concatenated files are found while reading.

    Args:
        file: seekable file, open for reading.
        size: size in bytes.

    Raises:
        OSError: the file cannot be read.
    """
    file.seek(0)
    head = file.read(10)
    start = 0
    while head[:3] == b"ID3" and (tag := mpeg.tag_size(head)):
        start += tag
        file.seek(start)
        head = file.read(10)
    if head[:4] == b"fLaC":
        return of_flac(file, start, size)
    if mpeg.parse_frame(head[:4]):
        return _of_mpeg(file, size)
    if start:
        return Survey(is_mpeg=True)
    if head[:4] == b"OggS":
        return _of_ogg(file, size)
    if is_sample_dump(head):
        packets = read_packets(file, size)
        return Survey((Part(tuple(packets.pieces)),), (damaged(packets.damaged),)) if packets.damaged else Survey()
    extent = find_extent(file, size)
    if extent is None:
        return Survey(is_mpeg=True)
    notes = tuple(filter(None, [extent.note]))
    found = Survey(notes=notes, channel_mask=extent.channel_mask, valid_bits=extent.valid_bits)
    if extent.patch is None or not extent.held or (extent.is_true and not extent.beyond and not extent.is_odd):
        return replace(found, parts=(Part(frames=extent.frames),))
    # The declared length is wrong, or exceeds the data present.
    return replace(found, parts=(Part(tuple(extent.patch(extent.held))),), format=extent.format)


def of_flac(file: BinaryIO, start: int, size: int) -> Survey:
    """Survey a FLAC stream that starts at a position.

    Raises:
        OSError: the file cannot be read.
    """
    found = find_flac(file, start, size)
    return Survey((Part(found.pieces, last_frame=found.last),), tuple(filter(None, [found.note])))


def _of_ogg(file: BinaryIO, size: int) -> Survey:
    pages = read_pages(file, size)
    notes = pages.notes
    if len(pages.links) < 2:
        return Survey(notes=notes)
    return Survey(tuple(Part((link,)) for link in pages.links), (joined(len(pages.links)), *notes))


def _of_mpeg(file: BinaryIO, size: int) -> Survey:
    if mpeg.declared_whole(file, size):
        return Survey(is_mpeg=True)
    links = mpeg.links(file, size)
    notes = [INCOMPLETE_FRAME] if find_chain_end(file, size).is_cut and not (links and links[-1].declared) else []
    if not links:
        return Survey(notes=tuple(notes), is_mpeg=True)
    if len(links) > 1:
        notes.append(joined(len(links)))
    for link in links:
        if link.count < link.declared:
            notes.append(cut_off(link.count, link.declared))
        elif link.declared and link.count > link.declared:
            notes.append(f"the header declares {link.declared:,} frames; all {link.count:,} present are read")
    if behind := mpeg.bytes_behind(file, size, links):
        notes.append(unread(behind))
    return Survey(tuple(Part(tuple(link.pieces()), lead=link.lead) for link in links), tuple(notes), is_mpeg=True)


def joined(count: int) -> str:
    """Note for concatenated files."""
    return f"{count} recordings concatenated in one file; all are read"
