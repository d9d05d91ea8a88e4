"""Runs of `dccrn score`: the cache, crashes, interruptions."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import run
from voices import hiss, voice, write

import dccrn_cli.scoring.score_pairs as folder_module
from dccrn_cli import score_folders
from dccrn_cli.scoring.cache import KEPT_DAYS, Store
from dccrn_cli.scoring.grouping import annotate
from dccrn_cli.scoring.measurement import Record, Repairs
from dccrn_cli.scoring.pairing import pair_paths
from dccrn_cli.scoring.sound_cache import SoundCache

FAST = ("si_snr", "snr", "lsd")


pytestmark = pytest.mark.usefixtures("own_cache")


def test_cached_scores_are_not_measured_again(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[str, tuple[str, ...]]] = []
    from dccrn_cli.scoring.measurement import measure_files as real

    def note(sounds: SoundCache, reference: Path, estimate: Path, noisy: Path | None, names: Any, *rest: Any) -> Any:
        measured.append((estimate.parent.parent.name, tuple(names)))
        return real(sounds, reference, estimate, noisy, names, *rest)

    monkeypatch.setattr(folder_module, "measure_files", note)

    def score(*metrics: str, noisy: bool = False, **options: Any) -> list[Record]:
        measured.clear()
        return score_folders(
            sets / "clean", sets / "out", sets / "noisy" if noisy else None, metrics, jobs=1, **options
        )

    first = score("si_snr")
    assert measured == [("out", ("si_snr",))] * 6
    assert score("si_snr") == first
    assert measured == []
    both = score("si_snr", "lsd")
    assert measured == [("out", ("lsd",))] * 6
    assert both == score("si_snr", "lsd", cache=False)
    assert len(measured) == 6
    score("si_snr", "si_snr_improvement", noisy=True)
    assert measured.count(("out", ("si_snr_improvement",))) == 6
    score("si_snr", align=True)
    assert len(measured) == 6
    write(sets / "out/a/mix_0_snr-05.wav", voice(0)[:-3])
    score("si_snr")
    assert len(measured) == 1


def test_damaged_cache_is_rebuilt(sets: Path, own_cache: Path) -> None:
    first = score_folders(sets / "clean", sets / "out", metrics=FAST)
    files = sorted(own_cache.rglob("*.json"))
    assert len(files) == 6
    for path, content in zip(
        files, (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"cells": {"snr": ["x", 1]}}'), strict=True
    ):
        path.write_bytes(content)
    assert score_folders(sets / "clean", sets / "out", metrics=FAST) == first
    assert not list(own_cache.rglob("*.tmp"))


def test_old_measurements_expire(sets: Path, own_cache: Path) -> None:
    score_folders(sets / "clean", sets / "out", metrics=FAST)
    files = sorted(own_cache.rglob("*.json"))
    left_over = files[0].with_name("x.json.1.tmp")
    left_over.touch()
    for path in (*files, left_over):
        os.utime(path, (0, time.time() - (KEPT_DAYS - 1) * 86_400))
    files[0].unlink()
    score_folders(sets / "clean", sets / "out", metrics=FAST)
    assert sorted(own_cache.rglob("*.json")) == files
    for path in (*files[1:3], left_over):
        os.utime(path, (0, time.time() - (KEPT_DAYS + 1) * 86_400))
    score_folders(sets / "clean", sets / "out", metrics=FAST)
    assert len([*own_cache.rglob("*.*")]) == 7, "nothing was measured"
    files[0].unlink()
    score_folders(sets / "clean", sets / "out", metrics=FAST)
    assert sorted(own_cache.rglob("*.*")) == [files[0], *files[3:]]


def test_no_cache_stores_nothing(sets: Path, own_cache: Path) -> None:
    arguments = ("score", "--ref", sets / "clean", "--est", sets / "out", "--metrics", "snr")
    assert run(*arguments, "--no-cache").exit_code == 0
    assert not own_cache.exists()
    own_cache.write_text("a file where a folder should be")
    assert run(*arguments).exit_code == 0


def test_crashed_process_costs_one_file(sets: Path) -> None:
    pairing = pair_paths(sets / "clean", {"out": sets / "out"})
    store = Killer(None, Repairs())
    from dccrn_cli.utils.interrupt import Interrupt

    records = list(folder_module.score_pairs(pairing, ("snr",), store, 2, Interrupt()))
    assert len(records) == 6
    (died,) = (record for record in annotate(records, (), None) if record["status"] == "failed")
    assert "mix_3" in died["file"]
    assert "died" in died["note"]


class Killer(Store):
    """Kills its process."""

    def save(self, reference: Path | None, *rest: Any) -> None:
        assert reference is not None
        if "mix_3" in reference.name:
            time.sleep(0.3)
            os._exit(1)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c(sets: Path, own_cache: Path, jobs: int) -> None:
    for kind in ("clean", "out"):
        first = write(sets / kind / "long0.wav", hiss(voice(0, 20.0)))
        for number in range(1, 12):
            shutil.copy(first, first.with_name(f"long{number}.wav"))
    folders = ["--ref", str(sets / "clean"), "--est", str(sets / "out")]
    measures = ["--metrics", "pesq_wb,stoi", "-j", str(jobs)]
    command = [sys.executable, "-m", "dccrn_cli", "score", *folders, *measures]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list(own_cache.rglob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=20)
    assert process.returncode == 130, (out, error)
    assert "Interrupted; rerun the same command to resume." in error
    assert "Traceback" not in error
    assert out == ""


def test_scoring_needs_no_torch(sets: Path) -> None:
    code = (
        "import sys; from dccrn_cli.cli.app import app; "
        f"app(['score', '--ref', {str(sets / 'clean')!r}, '--est', {str(sets / 'out')!r}], standalone_mode=False); "
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("False\n")
