"""Atomic writes, which cannot be subverted by planted files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import speechlike

from dccrn_cli import enhance
from dccrn_cli.errors import OptionError, StorageError
from dccrn_cli.nn.checkpoint import save_model
from dccrn_cli.report.spectrogram import draw_spectrograms
from dccrn_cli.utils.atomic import AtomicFile, remove_leftovers, temporary_path
from dccrn_cli.utils.paths import below, path_kind
from dccrn_cli.utils.records import RecordWriter
from dccrn_cli.utils.storage import check_writable, write_whole

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX links")


def plant(kind: str, target: Path, victim: Path) -> None:
    """Something else where the temporary file of `target` will be."""
    victim.write_bytes(b"precious")
    trap = temporary_path(target)
    if kind == "symlink":
        trap.symlink_to(victim)
    elif kind == "hard link":
        os.link(victim, trap)
    elif kind == "dangling":
        trap.symlink_to(victim.with_name("not there"))
    else:
        os.mkfifo(trap)


def writers(tmp_path: Path, model: Any) -> dict[str, Any]:
    soundfile.write(tmp_path / "in.wav", speechlike(4000), 16_000)
    model_file = tmp_path / "model.safetensors"
    save_model(model, model_file)

    def report(path: Path) -> None:
        with RecordWriter(path, ["source"], lambda row: False) as table:
            table.write({"source": "a"})

    return {
        "x.bin": lambda path: write_whole(path, b"content"),
        "x.wav": lambda path: enhance(tmp_path / "in.wav", path, model=str(model_file)),
        "x.safetensors": lambda path: save_model(model, path),
        "x.csv": report,
        "x.png": lambda path: draw_spectrograms([("a", np.zeros(2000))], 16_000, path),
    }


@pytest.mark.parametrize("kind", ["symlink", "hard link", "dangling", "fifo"])
@pytest.mark.parametrize("name", ["x.bin", "x.wav", "x.safetensors", "x.csv", "x.png"])
def test_planted_links_are_not_written_through(kind: str, name: str, tmp_path: Path, tiny_model: Any) -> None:
    write = writers(tmp_path, tiny_model)[name]
    target, victim = tmp_path / name, tmp_path / "victim"
    plant(kind, target, victim)
    write(target)
    assert victim.read_bytes() == b"precious"
    assert not victim.with_name("not there").exists()
    assert target.is_file()
    assert not target.is_symlink()
    assert target.stat().st_size > 0
    assert not list(tmp_path.glob(".dccrn-*"))


def test_linked_leftovers_and_their_targets_are_kept(tmp_path: Path) -> None:
    plant("symlink", tmp_path / "a.wav", tmp_path / "victim")
    temporary_path(tmp_path / "b.wav").write_bytes(b"left over")
    assert remove_leftovers([tmp_path / "a.wav"]) == 1
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_file_being_written_is_busy(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "a.bin"), pytest.raises(StorageError, match="another run is writing it"):
        write_whole(tmp_path / "a.bin", b"x")
    write_whole(tmp_path / "a.bin", b"y")
    assert (tmp_path / "a.bin").read_bytes() == b"y"
    write_whole("/dev/null", b"z")
    assert not Path("/dev/null").is_file()


def test_unwritable_paths_are_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path / ("n" * 300), "too long"), (tmp_path / "file" / "x", "a part of the path is a file"),
        ("/proc/x", "cannot be written"), (tmp_path / "nul\0", "not a valid path"),
    ):  # fmt: skip
        with pytest.raises(StorageError, match=why):
            write_whole(path, b"x")
        if not str(path).startswith("/proc"):
            with pytest.raises(OptionError):
                check_writable(path)
    with pytest.raises(OptionError, match="is a folder"):
        write_whole(tmp_path, b"x")
    with pytest.raises(OptionError, match="no such folder"):
        check_writable(tmp_path / "no" / "x")


def test_kinds_of_paths(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    for path, kind, why in (
        (tmp_path, "folder", ""), (tmp_path / "file", "file", ""), (tmp_path / "no", "missing", "no such file"),
        (tmp_path / ("n" * 5000), "unusable", "the name is too long"), (tmp_path / "loop", "unusable", "link"),
        (tmp_path / "file/x", "unusable", "a part of the path is a file"), ("a\0b", "unusable", "not a valid path"),
        ("/dev/null", "other", "neither"),
    ):  # fmt: skip
        found = path_kind(path)
        assert found[0] == kind
        assert why in found[1]


def test_names_stay_below_their_folder(tmp_path: Path) -> None:
    for name in ("/etc/x.png", "../../x.png", "a/../../x.png", "//host/x.png"):
        assert below(tmp_path, name).resolve().is_relative_to(tmp_path)
    assert below(tmp_path, "a/b.png") == tmp_path / "a/b.png"
