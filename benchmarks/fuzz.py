"""Enhances damaged files, looking for crashes, hangs, excessive memory, partial results and unclear reasons.

    python benchmarks/fuzz.py [--count 1000] [--seed 0] [--model MODEL] [--keep FOLDER]

Short recordings of many kinds are damaged at random: flipped bytes, absurd header fields, truncation, zeroed,
duplicated and removed ranges, trailing junk. A child process enhances them one by one; a crash, a timeout or
anything left behind is a finding. Files with findings are kept in `--keep`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import re
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

KINDS = (
    ("wav", "WAV", "PCM_16", 16_000, 1), ("wav", "WAV", "FLOAT", 44_100, 2), ("wav", "WAVEX", "PCM_24", 48_000, 3),
    ("wav", "WAV", "IMA_ADPCM", 16_000, 1), ("wav", "WAV", "MS_ADPCM", 22_050, 2), ("wav", "WAV", "GSM610", 8000, 1),
    ("wav", "WAV", "PCM_U8", 8000, 1), ("flac", "FLAC", "PCM_16", 16_000, 1), ("flac", "FLAC", "PCM_24", 96_000, 2),
    ("ogg", "OGG", "VORBIS", 44_100, 2), ("ogg", "OGG", "VORBIS", 16_000, 1), ("opus", "OGG", "OPUS", 48_000, 1),
    ("mp3", "MP3", "MPEG_LAYER_III", 44_100, 2), ("mp3", "MP3", "MPEG_LAYER_III", 16_000, 1),
    ("aiff", "AIFF", "PCM_16", 44_100, 2), ("aifc", "AIFF", "FLOAT", 16_000, 1), ("caf", "CAF", "PCM_16", 16_000, 2),
    ("caf", "CAF", "ALAC_16", 44_100, 1), ("w64", "W64", "PCM_16", 16_000, 1), ("rf64", "RF64", "PCM_24", 48_000, 2),
    ("au", "AU", "ULAW", 8000, 1), ("voc", "VOC", "PCM_16", 16_000, 1), ("sph", "NIST", "PCM_16", 16_000, 1),
    ("mat", "MAT5", "PCM_16", 16_000, 1), ("paf", "PAF", "PCM_24", 16_000, 1), ("xi", "XI", "DPCM_16", 44_100, 1),
    ("sds", "SDS", "PCM_16", 16_000, 1), ("svx", "SVX", "PCM_16", 16_000, 1), ("avr", "AVR", "PCM_16", 16_000, 1),
)  # fmt: skip
"""Suffix, container, sample format, rate and channels of the recordings."""

MEDIA = (("m4a", "aac"), ("mkv", "flac"), ("webm", "libopus"), ("mp4", "aac"), ("mov", "pcm_s16le"))

LIMIT_S = 10.0
"""Time limit per file."""

LIMIT_BYTES = 1 << 30
"""Memory limit per file, on top of what the process uses initially."""

_ABSURD = (0, 1, 2, 255, 1024, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 767_999, 4_000_000_000)
_UNPLAIN = re.compile(r"\n|\b[A-Z]\w*(Error|Exception)\b|Traceback|Errno|0x[0-9a-f]{6}|<class|assert", re.ASCII)


def recordings() -> list[tuple[str, bytes]]:
    """Suffix and content of the files to damage."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, container, subtype, rate, channels in KINDS:
            path = Path(folder, f"x.{suffix}")
            soundfile.write(path, _signal(rate // 3, channels), rate, subtype, format=container)
            found.append((suffix, path.read_bytes()))
        with contextlib.suppress(ImportError):
            for suffix, codec in MEDIA:
                found.append((suffix, _media(Path(folder, f"x.{suffix}"), codec)))
    return found


def _signal(frames: int, channels: int) -> np.ndarray:
    noise = np.random.default_rng(frames).standard_normal((frames, channels))
    return (0.3 * np.sin(np.arange(frames) / 20)[:, None] + 0.05 * noise).astype(np.float32)


def _media(path: Path, codec: str) -> bytes:
    import av

    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=48_000, layout="mono")
        for start in range(0, 19_200, 960):
            pcm = (_signal(960, 1).T * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(pcm, "s16", "mono")
            frame.sample_rate, frame.pts = 48_000, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path.read_bytes()


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Apply one to three kinds of damage."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice((_flip, _flip, _field, _field, _field, _cut, _zero, _double, _remove, _junk, _swap))(out, rng)
    return bytes(out)


def _place(out: bytearray, rng: random.Random) -> int:
    """Draw a position, in the header half of the time."""
    return rng.randrange(max(min(len(out), 128), 1) if rng.random() < 0.5 else max(len(out), 1))


def _range(out: bytearray, rng: random.Random) -> slice:
    start = _place(out, rng)
    return slice(start, start + rng.choice((1, 4, 8, 64, 1000, len(out) // 2)))


def _flip(out: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 30)) if out else 0):
        out[_place(out, rng) % len(out)] ^= 1 << rng.randrange(8)


def _field(out: bytearray, rng: random.Random) -> None:
    """Overwrite a 1- to 8-byte number at an even offset in the header with an absurd value."""
    at, width = 2 * rng.randrange(max(min(len(out), 128) // 2, 1)), rng.choice((1, 2, 4, 8))
    value = rng.choice(_ABSURD) % 256**width
    out[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))


def _cut(out: bytearray, rng: random.Random) -> None:
    del out[_place(out, rng) :]


def _zero(out: bytearray, rng: random.Random) -> None:
    where = _range(out, rng)
    out[where] = bytes(len(out[where]))


def _double(out: bytearray, rng: random.Random) -> None:
    where = _range(out, rng)
    out[where.start : where.start] = out[where] * rng.choice((1, 1, 20))


def _remove(out: bytearray, rng: random.Random) -> None:
    del out[_range(out, rng)]


def _junk(out: bytearray, rng: random.Random) -> None:
    out += rng.randbytes(rng.choice((1, 100, 50_000)))


def _swap(out: bytearray, rng: random.Random) -> None:
    where, junk = _range(out, rng), rng.randbytes(1000)
    out[where] = junk[: len(out[where])]


class Outcome(NamedTuple):
    """Result for one damaged file: `kind` is `ok` or the problem."""

    kind: str
    status: str
    reason: str


class Child:
    """A process that enhances files on request, and is restarted when it dies or hangs.

    Args:
        model: name or path; None for the default one.
    """

    def __init__(self, model: str | None = None) -> None:
        self._model = model
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, source: Path, target: Path) -> Outcome:
        """Enhance a file and judge the result."""
        if self._process is None:
            command = [sys.executable, __file__, "--child", *([self._model] if self._model else [])]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._answer(120.0)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps([str(source), str(target)])}\n")
        self._process.stdin.flush()
        answer = self._answer(LIMIT_S)
        if answer is None:
            code = self._process.poll()
            self.close()
            if code is None:
                return Outcome("hang", "", f"more than {LIMIT_S:g} s")
            return Outcome("crash", "", f"exit code {code}")
        status, reason, more_bytes = json.loads(answer)
        return Outcome(_judge(target, status, reason, more_bytes), status, reason)

    def _answer(self, seconds: float) -> str | None:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else ""
        if ready and not line:
            self._process.wait()
        return line or None

    def close(self) -> None:
        """Stop the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _judge(target: Path, status: str, reason: str, more_bytes: int) -> str:
    left = [path for path in target.parent.iterdir() if path != target]
    if left:
        return "leftovers"
    if more_bytes > LIMIT_BYTES:
        return "memory"
    if target.exists() != (status == "done"):
        return "partial result" if target.exists() else "no result"
    if status != "done" and (not reason or _UNPLAIN.search(reason)):
        return "unclear reason"
    if status == "done" and target.stat().st_size:
        with contextlib.suppress(soundfile.SoundFileError):
            soundfile.info(target)
            return "ok"
        return "unreadable result"
    return "ok"


def _serve(model: str | None) -> None:
    """Child process: reads a pair of paths per line from stdin, writes an outcome per line to stdout."""
    import torch

    from dccrn_cli.engine.enhance_options import EnhanceOptions
    from dccrn_cli.engine.files.file import FileEnhancer
    from dccrn_cli.engine.files.plan import Job

    torch.set_num_threads(1)
    enhance = FileEnhancer(EnhanceOptions(model=model, device="cpu", overwrite=True))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # decoders print to it, too
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        before = _peak_bytes()
        source, target = map(Path, json.loads(line))
        result = enhance(Job(source, target))
        print(json.dumps([result.status, result.reason, _peak_bytes() - before]), file=out, flush=True)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def campaign(count: int, seed: int, model: str | None, work: Path) -> Iterator[tuple[Path, Outcome]]:
    """Damage and enhance `count` files; each exists until the next one is requested."""
    originals = recordings()
    child = Child(model)
    try:
        for number, (suffix, data) in zip(range(count), itertools.cycle(originals), strict=False):
            rng = random.Random(f"{seed} {number}")
            folder = work / f"{number}"
            (folder / "out").mkdir(parents=True)
            source = folder / f"{number}.{suffix}"
            source.write_bytes(damaged(data, rng))
            name = f"{number}.{suffix}" if suffix not in dict(MEDIA) else f"{number}.flac"
            yield source, child(source, folder / "out" / name)
            shutil.rmtree(folder)
    finally:
        child.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    parser.add_argument("--keep", type=Path, help="folder for files with findings")
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        _serve(*(arguments.child or [None]))
        return
    kinds: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    started, slowest = time.monotonic(), 0.0
    with tempfile.TemporaryDirectory(prefix="dccrn-fuzz-") as work:
        begun = time.monotonic()
        for source, outcome in campaign(arguments.count, arguments.seed, arguments.model, Path(work)):
            slowest = max(slowest, time.monotonic() - begun) if kinds else slowest  # the first one includes start-up
            kinds[outcome.kind] += 1
            reasons[re.sub(r"[0-9][0-9.,]*", "N", f"{outcome.status}: {outcome.reason}".strip(": "))] += 1
            if outcome.kind != "ok":
                print(f"{outcome.kind}: {source.name}: {outcome.reason}", flush=True)
                if arguments.keep:
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, arguments.keep / f"{arguments.seed}-{source.name}")
            begun = time.monotonic()
    print(f"\n{sum(kinds.values())} files in {time.monotonic() - started:.0f} s, the slowest {slowest:.1f} s")
    for table in (kinds, reasons):
        print()
        for text, number in table.most_common():
            print(f"{number:6}  {text}")
    raise SystemExit(0 if set(kinds) <= {"ok"} else 1)


if __name__ == "__main__":
    main()
