"""Recordings for test sets, and `dccrn mix` on them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from conftest import speechlike
from typer.testing import CliRunner

from dccrn_cli.cli.app import app
from dccrn_cli.data.clips import find_clips
from dccrn_cli.mixing.noises import coloured
from dccrn_cli.testsets.mixture_recipe import MixtureRecipe
from dccrn_cli.testsets.sources import Sources
from dccrn_cli.testsets.testset import MixtureSet


def recordings(root: Path) -> Path:
    """Folders speech/ (3 speakers, 0.8 to 1.6 s, pauses), noise/, unseen/ and rooms/."""
    for index in range(9):
        clip = speechlike(13_000 + 1600 * index, seed=index)[:, 0]
        clip[: len(clip) // 4] *= 1e-4
        put(root / "speech" / f"speaker{index % 3}" / f"{index}.flac", clip * 0.02 * (index + 1))
    for index in range(6):
        noise = coloured(12_000 + 9000 * (index % 3), np.random.default_rng(index))
        put(root / ("unseen" if index > 3 else "noise") / f"class{index % 2}" / f"{index}.wav", noise / 20)
    for index in range(2):
        response = np.random.default_rng(index).standard_normal(4000) * np.exp(-np.arange(4000) / 600) * 0.1
        response[20] = 0.9
        put(root / "rooms" / f"{index}.wav", response)
    return root


def put(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16_000)


def arguments(data: Path, out: Path, *more: object) -> list[str]:
    options = ("mix", "--clean", data / "speech", "--noise", data / "noise", "-o", out, *more)
    return [str(option) for option in options]


def mix(data: Path, out: Path, *more: object) -> Any:
    return CliRunner().invoke(app, arguments(data, out, *more))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(out: Path) -> list[dict[str, str]]:
    with open(out / "metadata.csv", newline="") as file:
        return list(csv.DictReader(file))


def mixtures(data: Path, **options: Any) -> MixtureSet:
    noise = {"": Sources(find_clips([data / "noise"]))}
    return MixtureSet(MixtureRecipe(**options), Sources(find_clips([data / "speech"])), noise, None)
