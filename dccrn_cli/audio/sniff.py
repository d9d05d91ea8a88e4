"""Identifies files by their first bytes, for names that are misleading."""

from __future__ import annotations

import os
from pathlib import Path

from dccrn_cli.audio.mpeg import tag_size

PLAIN = "plain"
"""A container that both libsndfile and FFmpeg read."""

UNCOMMON_WAV = "WAV of an uncommon kind"
"""A WAV that libsndfile does not read."""

_HEAD_BYTES = 512

_STARTS = {
    b"wvpk": "WavPack", b"MAC ": "Monkey's Audio", b"TTA1": "True Audio", b"MPCK": "Musepack", b"MP+": "Musepack",
    b"#!AMR": "AMR", b"\x1a\x45\xdf\xa3": "Matroska or WebM", b"FLV": "FLV", b"DSD ": "DSD", b"FRM8": "DSD",
    b"0&\xb2u\x8ef\xcf\x11": "ASF (WMA, WMV)", b".RMF": "RealMedia", b"\x0bw": "AC-3", b"tBaK": "TAK",
    b"\x00\x00\x01\xba": "MPEG video", b"\x00\x00\x01\xb3": "MPEG video",
}  # fmt: skip
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide")
_IN_OGG = {b"\x7fFLAC": "FLAC in Ogg", b"Speex": "Speex", b"\x80theora": "a video in Ogg"}
_PLAIN_STARTS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"fLaC", b"riff")
_PACKET_BYTES = 188  # of an MPEG transport stream


def media_kind(path: Path) -> str:
    """Identify a file that FFmpeg may read but libsndfile may not.

    Returns:
        A display name; `PLAIN` for containers of libsndfile; "" if unknown.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
            if head[:3] == b"ID3" and len(head) >= 10:
                file.seek(tag_size(head))
                head = file.read(_HEAD_BYTES)
    except OSError:
        return ""
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    if head[:4] == b"OggS":
        return next((kind for mark, kind in _IN_OGG.items() if mark in head[27:80]), "") or PLAIN
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    if head[4:8] in _BOXES:
        return "MP4 (M4A, MOV)"
    if head[:4] == b"caff":
        return f"CAF with {head[28:32].decode('ascii', 'replace').strip()} samples"
    if head[:1] == b"G" and head[_PACKET_BYTES : _PACKET_BYTES + 1] == b"G":
        return "an MPEG transport stream"
    if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0:
        return "AAC"
    if head.startswith(_PLAIN_STARTS):
        return PLAIN if head[:4] != b"RIFF" or head[8:12] != b"WAVE" else UNCOMMON_WAV
    return ""


def holds_sound(path: Path) -> bool:
    """Whether a file starts like WAV, AIFF, FLAC, Ogg, CAF, AU, W64 or WavPack, whatever its name."""
    if path.name.startswith("."):
        return False
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            head = file.read(16)
    except OSError:
        return False
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"):
        return head[8:12] in (b"WAVE", b"AIFF", b"AIFC")
    return head.startswith((b"fLaC", b"OggS", b"caff", b".snd", b"riff\x2e\x91\xcf\x11", b"wvpk"))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # do not wait for the writer of a FIFO
