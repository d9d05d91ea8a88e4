"""Metadata of test sets: one row for each mixture."""

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

SIMULATED = "simulated"
"""In place of a room's file."""

MAX_RATE_HZ, MAX_SECONDS, MAX_T60_S, MAX_SCALE = 768_000, 86_400, 10.0, 1e9
"""What a row from a file may ask for at most."""

_STEM = 32
_TYPES = {"str": str, "int": int, "float": float}


@dataclass(frozen=True)
class Row:
    """All there is to know of one mixture; the columns of the metadata.

    Attributes:
        name: of the noisy file, without its suffix.
        snr_db, snr_on, noise_set, target, sample_rate, sample_format, seed: see `MixtureRecipe`; the noise
            set is empty where it is not known.
        speaker, noise_class: folders of the recordings.
        reverb: 1 in a room, else 0.
        level_db: of active speech in dBFS, before `gain_db`.
        gain_db: what all of the mixture was lowered by to keep it from clipping; at most 0.
        clean, clean_hash: recordings of speech below their root, and digests of their files, each
            separated by `|`; |, %, line breaks and bytes that are no UTF-8 are written as in URLs.
        clean_offset, samples: stretch used of these recordings, joined with pauses of 0.2 s.
        noise, noise_hash, noise_offset: the recording of noise, which begins anew after its end.
        room, room_hash: impulse response; `simulated`, or empty.
        t60_s, room_seed: of a simulated room, else 0.
        clean_scale, noise_scale: factors on speech (in its room) and noise.
        number: counted from 0.
        recipe: digest of the recipe and the names of all recordings.
        digest: of the samples of the noisy and the clean file.
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

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate

    def file_name(self, kind: str) -> str:
        """Name of the `noisy`, `clean` or `noise` file: one name for all, but after `clean_fileid_N` for DNS."""
        dns = re.search(r"_fileid_\d+$", self.name)
        return f"{self.name if dns is None or kind == 'noisy' else kind + dns[0]}.wav"

    @property
    def clean_names(self) -> list[str]:
        """The recordings of speech."""
        return [_unescape(name) for name in self.clean.split("|")]

    @property
    def noise_name(self) -> str:
        """The recording of noise."""
        return _unescape(self.noise)

    @property
    def room_name(self) -> str:
        """The impulse response."""
        return _unescape(self.room)


COLUMNS = tuple(field.name for field in dataclasses.fields(Row))
"""Of the metadata."""


def joined_names(names: Iterable[str]) -> str:
    """Names of recordings as one text, for a row."""
    odd = re.compile(r"[%|\r\n\udc80-\udcff]")
    return "|".join(odd.sub(lambda match: f"%{ord(match[0]) & 255:02X}", name) for name in names)


def _unescape(text: str) -> str:
    return re.sub(r"%([0-9A-F]{2})", lambda match: _character(int(match[1], 16)), text)


def _character(code: int) -> str:
    # Beyond ASCII it is a byte of a name that is no UTF-8.
    return chr(code if code < 128 else 0xDC00 + code)


def mixture_name(row: Row, naming: str) -> str:
    """`mix_00012_snr-05`, with the set of noise if it is known, or a name as in the DNS challenge."""
    if naming == "dns":
        stems = "_".join(PurePosixPath(name).stem[:_STEM] for name in (row.clean_names[0], row.noise_name))
        return f"{stems}_snr{row.snr_db:g}_tl{row.level_db:g}_fileid_{row.number}"
    whole, dot, rest = f"{abs(row.snr_db):g}".partition(".")
    sign = "-" if row.snr_db < 0 else "+"
    noise_set = f"_{row.noise_set}" if row.noise_set else ""
    return f"mix_{row.number:05}_snr{sign}{whole:>02}{dot}{rest}{noise_set}"


def read_rows(path: Path, cut_off: bool = False) -> list[Row]:
    """Rows of a metadata file; columns that are not known are left aside.

    Args:
        path: a CSV file.
        cut_off: its last line may be cut off by a kill, and is then left out.

    Raises:
        DataError: it is not the metadata of a test set.
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
        raise DataError("holds no mixtures", path)
    return rows


def _parse(values: Mapping[str, str | None], path: Path, number: int) -> Row:
    found = {}
    for field in dataclasses.fields(Row):
        text = values.get(field.name)
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
        and (row.room != SIMULATED or row.t60_s > 0)
        and all(math.isfinite(value) for value in found.values() if isinstance(value, float))
    )
    if not sound:
        raise DataError(f"is not the metadata of a test set: row {number} cannot be meant", path)
    return row
