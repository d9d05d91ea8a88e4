"""Metadata of test sets: one row per mixture."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dccrn_cli.errors import DataError
from dccrn_cli.testsets.mixture_recipe import FORMATS
from dccrn_cli.utils.csv_text import read_csv

VERSION = 3
"""To be incremented whenever the same recipe or row would give different samples."""

SIMULATED = "simulated"
"""Stands for the file of a simulated room."""

MAX_RATE_HZ, MAX_SECONDS, MAX_T60_S, MAX_SCALE = 768_000, 86_400, 10.0, 1e9
MIN_T60_S = 0.05
"""Limits for values in a metadata file."""

_STEM = 32
_TYPES = {"str": str, "int": int, "float": float}


@dataclass(frozen=True)
class Row:
    """Complete description of one mixture; its fields are the columns of the metadata.

    Attributes:
        name: name of the noisy file, without its suffix.
        snr_db, snr_on, noise_set, target, sample_rate, sample_format, seed: as in `MixtureRecipe`, with the SNR of this
            mixture; `noise_set` is seen, unseen or, if unknown, empty.
        speaker, noise_class: folders of the recordings.
        reverb: 1 in a room, otherwise 0.
        level_db: level of active speech in dBFS, before `gain_db`.
        gain_db: gain applied to the whole mixture to avoid clipping; at most 0.
        clean, clean_hash: paths of the speech recordings relative to their root, and digests of their files, each
            separated by `|`; |, %, line breaks and bytes that are not UTF-8 are percent-encoded.
        clean_offset, samples: excerpt of these recordings, joined with pauses of 0.2 s.
        noise, noise_hash, noise_offset: the noise recording, which wraps around at its end.
        room, room_hash: impulse response: a file, `simulated`, or empty.
        t60_s, room_seed: reverberation time and seed of a simulated room, otherwise 0.
        clean_scale, noise_scale: gain factors on speech (in its room) and noise.
        number: index of the mixture, from 0.
        recipe: digest of the recipe and the names of all recordings.
        digest: digest of the samples of the noisy and the clean file.
        version: `VERSION` of the program that made it; 0 in metadata without this column.
    """

    name: str
    snr_db: float
    snr_on: str
    noise_set: str
    speaker: str
    noise_class: str
    reverb: int
    target: str
    level_db: float
    gain_db: float
    clean: str
    clean_hash: str
    clean_offset: int
    samples: int
    noise: str
    noise_hash: str
    noise_offset: int
    room: str
    room_hash: str
    t60_s: float
    room_seed: int
    clean_scale: float
    noise_scale: float
    sample_rate: int
    sample_format: str
    seed: int
    number: int
    recipe: str
    digest: str
    version: int = 0

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate

    def file_name(self, kind: str) -> str:
        """Name of the `noisy`, `clean` or `noise` file: the same for all, except `KIND_fileid_N.wav` in DNS naming."""
        dns = re.search(r"_fileid_\d+$", self.name)
        return f"{self.name if dns is None or kind == 'noisy' else kind + dns[0]}.wav"

    @property
    def clean_names(self) -> list[str]:
        """Names of the speech recordings."""
        return [_unescape(name) for name in self.clean.split("|")]

    @property
    def noise_name(self) -> str:
        """Name of the noise recording."""
        return _unescape(self.noise)

    @property
    def room_name(self) -> str:
        """Name of the impulse response."""
        return _unescape(self.room)


COLUMNS = tuple(field.name for field in dataclasses.fields(Row))
"""Columns of the metadata."""


def joined_names(names: Iterable[str]) -> str:
    """Names of recordings joined and escaped for a row."""
    odd = re.compile(r"[%|\r\n\udc80-\udcff]")
    return "|".join(odd.sub(lambda match: f"%{ord(match[0]) & 255:02X}", name) for name in names)


def _unescape(text: str) -> str:
    return re.sub(r"%([0-9A-F]{2})", lambda match: _character(int(match[1], 16)), text)


def _character(code: int) -> str:
    # Codes beyond ASCII are bytes of a name that is not valid UTF-8.
    return chr(code if code < 128 else 0xDC00 + code)


def mixture_name(row: Row, naming: str) -> str:
    """A name such as `mix_00012_snr-05`, with the noise set if known, or one as in the DNS challenge."""
    if naming == "dns":
        stems = "_".join(PurePosixPath(name).stem[:_STEM] for name in (row.clean_names[0], row.noise_name))
        return f"{stems}_snr{row.snr_db:g}_tl{row.level_db:g}_fileid_{row.number}"
    whole, dot, rest = f"{abs(row.snr_db):g}".partition(".")
    sign = "-" if row.snr_db < 0 else "+"
    noise_set = f"_{row.noise_set}" if row.noise_set else ""
    return f"mix_{row.number:05}_snr{sign}{whole:>02}{dot}{rest}{noise_set}"


def read_rows(path: Path, cut_off: bool = False) -> list[Row]:
    """Read the rows of a metadata file; unknown columns are ignored.

    Args:
        path: a CSV file.
        cut_off: tolerate a last line cut off by a kill, and drop it.

    Raises:
        DataError: the file is not the metadata of a test set.
    """
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from None
    if cut_off:
        text = text[: text.rfind("\n") + 1]
    try:
        _, table = read_csv(text)
    except csv.Error as error:
        raise DataError(f"is not a table ({error})", path) from None
    rows, names = [], set()
    for number, values in enumerate(table, 1):
        row = _parse(values, path, number)
        if row.name in names:
            raise DataError(f"names {row.name} twice", path)
        names.add(row.name)
        rows.append(row)
    if not rows and not cut_off:
        raise DataError("contains no mixtures", path)
    return rows


def _parse(values: Mapping[str, str | None], path: Path, number: int) -> Row:
    found = {}
    for field in dataclasses.fields(Row):
        text = values.get(field.name)
        if text is None and field.name == "version":
            continue
        try:
            if text is None:
                raise ValueError
            found[field.name] = _TYPES[str(field.type)](text)
        except ValueError:
            raise DataError(
                f"is not the metadata of a test set: row {number} has no valid {field.name}", path
            ) from None
    row = Row(**found)
    sound = (
        row.sample_format in FORMATS
        and row.name == Path(row.name).name != ""
        and 0 < row.sample_rate <= MAX_RATE_HZ
        and 0 < row.samples <= MAX_SECONDS * row.sample_rate
        and max(row.clean_offset, row.noise_offset) <= MAX_SECONDS * row.sample_rate
        and row.t60_s <= MAX_T60_S
        and max(abs(row.clean_scale), abs(row.noise_scale)) <= MAX_SCALE
        and min(row.clean_offset, row.noise_offset, row.room_seed) >= 0
        and (row.room != SIMULATED or row.t60_s >= MIN_T60_S)
        and all(math.isfinite(value) for value in found.values() if isinstance(value, float))
    )
    if not sound:
        raise DataError(f"is not the metadata of a test set: row {number} is invalid", path)
    return row
