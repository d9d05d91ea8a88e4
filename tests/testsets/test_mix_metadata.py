"""Metadata of test sets: the same set elsewhere, or the difference named."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import pytest
from conftest import speechlike
from testset_data import content, mix, put, recordings, table
from typer.testing import CliRunner

from dccrn_cli.cli.app import app
from dccrn_cli.data.clips import find_clips
from dccrn_cli.errors import DataError
from dccrn_cli.testsets.rows import VERSION, joined_names, read_rows
from dccrn_cli.testsets.sources import Sources
from dccrn_cli.testsets.testset import remake


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("more", [("--reverb", 0.5), ("--rooms", "ROOMS", "--seconds", 2, "--sample-rate", 22_050)])
def test_metadata_reproduce_the_same_bytes_elsewhere(data: Path, tmp_path: Path, more: tuple[object, ...]) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    rooms = [data / "rooms" if option == "ROOMS" else option for option in more]
    unseen = ("--unseen-noise", data / "unseen")
    assert mix(data, here, *rooms, *unseen, "--sample-format", "f32").exit_code == 0
    shutil.copytree(data, tmp_path / "moved")
    moved = tmp_path / "moved"
    result = mix(moved, there, "--from", here / "metadata.csv", "--rooms", moved / "rooms", "--unseen-noise",
                 moved / "unseen")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert content(here) == content(there)
    assert mix(moved, tmp_path / "anew", *[moved / "rooms" if o == "ROOMS" else o for o in more],
               "--unseen-noise", moved / "unseen", "--sample-format", "f32").exit_code == 0  # fmt: skip
    assert content(here) == content(tmp_path / "anew")


def test_changed_and_missing_recordings_are_named(data: Path, tmp_path: Path) -> None:
    assert mix(data, tmp_path / "here", "--snr", "5").exit_code == 0
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    put(moved / "speech" / "speaker0" / "0.flac", speechlike(13_000, seed=77)[:, 0])
    (moved / "speech" / "speaker1" / "1.flac").unlink()
    result = mix(moved, tmp_path / "there", "--from", tmp_path / "here" / "metadata.csv")
    assert result.exit_code == 1
    assert "speaker0/0.flac: is not the recording" in result.output
    assert "speaker1/1.flac: no such recording" in result.output
    assert len(table(tmp_path / "there")) == 7
    assert "7 mixtures made" in result.output
    rows = read_rows(tmp_path / "here" / "metadata.csv")
    pools = (Sources(find_clips([data / "speech"])), Sources(find_clips([data / "noise"])))
    with pytest.raises(DataError, match="cannot be reproduced"):
        remake(dataclasses.replace(rows[0], noise_offset=rows[0].noise_offset + 1), *pools, None)


def test_metadata_of_another_version_are_reported(data: Path, tmp_path: Path) -> None:
    assert mix(data, tmp_path / "new", "--reverb", 1, "--count", 1).exit_code == 0
    rows = table(tmp_path / "new")
    assert rows[0]["version"] == str(VERSION)
    del rows[0]["version"]  # as before there was one
    rows[0]["digest"] = "0" * len(rows[0]["digest"])
    old = tmp_path / "old.csv"
    with open(old, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    result = mix(data, tmp_path / "again", "--from", old)
    assert result.exit_code == 1
    assert f"makes version {VERSION} of this mixture, the metadata are of version 0" in result.output
    assert not list(tmp_path.glob("again/**/*.wav"))


@pytest.mark.parametrize(
    ("column", "value"),
    [("name", "../x"), ("name", ""), ("samples", "0"), ("samples", "9999999"), ("noise_offset", "-1"),
     ("clean_offset", "99999999"), ("t60_s", "0"), ("noise_scale", "inf"), ("clean_scale", "loud"),
     ("sample_format", "u8"), ("clean_hash", "a|b"), ("noise", ""), ("snr_db", "7"), ("digest", "")],
)  # fmt: skip
def test_altered_metadata_are_rejected(data: Path, tmp_path: Path, column: str, value: str) -> None:
    assert mix(data, tmp_path, "--count", 1, "--reverb", 1).exit_code == 0
    row = table(tmp_path)[0] | {column: value}
    with open(tmp_path / "changed.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    result = mix(data, tmp_path / "out", "--from", tmp_path / "changed.csv")
    assert result.exit_code in (1, 2)
    assert "dccrn --debug" not in result.output
    assert not list(tmp_path.glob("out/**/*.wav"))


def test_names_survive_the_metadata(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "speech"
    for name in ("a|b", "50%7C", "naïve, 音", 'quo"ted'):
        put(folder / f"{name}.wav", speechlike(9000, seed=len(name))[:, 0])
    result = CliRunner().invoke(
        app,
        ["mix", "--clean", str(folder), "--noise", str(data / "noise"), "-o", str(tmp_path / "a"), "--seconds", "2"],
    )
    assert result.exit_code == 0, result.output
    again = ["--noise", str(data / "noise"), "--from", str(tmp_path / "a" / "metadata.csv")]
    result = CliRunner().invoke(app, ["mix", "--clean", str(folder), "-o", str(tmp_path / "b"), *again])
    assert result.exit_code == 0, result.output
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert joined_names(["a|b", "50%"]) == "a%7Cb|50%25"
