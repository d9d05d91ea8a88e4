"""`dccrn inspect`: what it finds in files with known faults."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner
from voices import hiss, voice, write

from dccrn_cli import inspect_files
from dccrn_cli.cli.app import app
from dccrn_cli.errors import CheckpointError, OptionError
from dccrn_cli.metrics import METRICS, Dnsmos, dnsmos_scores
from dccrn_cli.metrics import dnsmos as dnsmos_module
from dccrn_cli.report.inspection import inspect_files as inspect_files_module
from dccrn_cli.report.inspection.inspection import Inspection, inspect_file

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    x = voice(1, 3.0)
    write(root / "noisy.wav", hiss(x, 0.08))
    write(root / "faint noise.wav", hiss(x, 0.004))
    dropped = x.copy()
    dropped[20_000:21_000] = 0
    write(root / "dropouts.wav", dropped)
    write(root / "inverted.wav", np.stack([x, -x], axis=1))
    write(root / "silence.wav", np.zeros(16_000, np.float32))
    (root / "broken.wav").write_bytes(b"RIFF nothing")
    return root


def by_name(found: list[Inspection]) -> dict[str, Inspection]:
    return {Path(it.file).name: it for it in found}


def test_faults_are_detected(files: Path) -> None:
    found = by_name(inspect_files(files, jobs=1, cache=False))
    assert len(found) == 6
    assert found["noisy.wav"].verdict == "enhance"
    noisy, faint = found["noisy.wav"].snr_db, found["faint noise.wav"].snr_db
    assert noisy is not None
    assert faint is not None
    assert faint > noisy + 10
    assert found["dropouts.wav"].dropouts == 1
    assert "1 dropout" in found["dropouts.wav"].reason
    assert found["inverted.wav"].channel_fault == "inverted"
    assert found["silence.wav"].verdict == "look at it"
    assert found["silence.wav"].reason == "digital silence"
    assert found["broken.wav"].verdict == "unreadable"
    assert (found["noisy.wav"].seconds, found["noisy.wav"].sample_rate) == (3.0, 16_000)


def test_inverted_channels_do_not_cancel_out(tmp_path: Path) -> None:
    x = hiss(voice(2, 3.0), 0.02)
    one = inspect_file(write(tmp_path / "one.wav", x))
    two = inspect_file(write(tmp_path / "two.wav", np.stack([x, -x], axis=1)))
    assert one.snr_db is not None
    assert two.snr_db == pytest.approx(one.snr_db, abs=0.1)


def test_wrong_header_is_detected(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", voice(3, 2.0))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = inspect_file(path)
    assert found.seconds == pytest.approx(1, abs=0.01)
    assert "cut off" in found.note
    assert "cut off" in found.reason


def test_absurdly_large_samples(tmp_path: Path) -> None:
    samples = voice(0, 2.0)
    samples[100:110] = 3e38
    soundfile.write(tmp_path / "a.wav", samples, 16_000, "FLOAT")
    (found,) = inspect_files(tmp_path)
    assert found.verdict == "enhance"
    assert "10 samples are NaN, infinite or absurdly large" in f"{found.reason} {found.note}"


def test_order_list_and_tables(files: Path, tmp_path: Path) -> None:
    table, needs = tmp_path / "all.csv", tmp_path / "needs.txt"
    run = CliRunner().invoke(app, ["inspect", str(files), "-j", "1", "--csv", str(table), "--list-out", str(needs)])
    assert run.exit_code == 1  # one file is broken
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["reason"] in run.output for row in rows)  # not wrapped
    needed = [float(row["need"]) for row in rows]
    assert needed == sorted(needed, reverse=True)
    listed = needs.read_text().splitlines()
    assert listed == [str(Path(row["file"]).absolute()) for row in rows if row["verdict"] == "enhance"]
    assert str(files / "noisy.wav") in listed
    plan = CliRunner().invoke(app, ["enhance", "--input-list", str(needs), "-o", str(tmp_path / "out"), "--dry-run"])
    assert f"{len(listed)} file" in plan.output
    again = CliRunner().invoke(app, ["inspect", str(files), "--json", "-q"])
    values = json.loads(again.stdout)
    assert [Path(row["file"]).name for row in values] == [Path(row["file"]).name for row in rows]


def test_cached_files_are_not_measured_again(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = by_name(inspect_files(files / "*.wav", jobs=1))
    measured: list[str] = []

    def watched(path: Path, dnsmos_model: Path | None) -> Any:
        measured.append(path.name)
        return inspect_file(path, dnsmos_model)

    monkeypatch.setattr(inspect_files_module, "inspect_file", watched)
    assert by_name(inspect_files(files, jobs=1)) == first
    assert measured == ["broken.wav"]
    write(files / "noisy.wav", voice(9, 2.0))
    assert by_name(inspect_files(files, jobs=1))["noisy.wav"] != first["noisy.wav"]


def test_parallel_inspection_gives_the_same_result(files: Path) -> None:
    assert inspect_files(files, jobs=2, cache=False) == inspect_files(files, jobs=1, cache=False)


def test_nothing_to_inspect(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no audio files"):
        inspect_files(tmp_path)


def test_picture(files: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "a.png"
    run = CliRunner().invoke(app, ["inspect", str(files / "noisy.wav"), "--plot", str(picture), "-j", "1"])
    assert run.exit_code == 0
    assert picture.stat().st_size > 5000


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for DNSMOS, and a network whose outputs depend on the window."""
    monkeypatch.setattr(dnsmos_module, "load_network", lambda path: None)
    monkeypatch.setattr(dnsmos_module, "_run", lambda session, window: 2 + np.abs(window[1000:1003]))
    (tmp_path / "model.onnx").touch()
    return tmp_path / "model.onnx"


SCORES = tuple(f"dnsmos_{name}" for name in Dnsmos._fields)


def test_scores_cover_all_metrics_without_reference() -> None:
    assert tuple(metric.name for metric in METRICS.values() if not metric.needs_reference) == SCORES


def test_scores_equal_those_of_the_whole_signal(tmp_path: Path, model: Path) -> None:
    x = hiss(voice(4, 12.5), 0.02)
    write(tmp_path / "in" / "mono.wav", x)
    write(tmp_path / "in" / "stereo.wav", np.stack([x, -x], axis=1))
    expected = dnsmos_scores(x, model=model)
    for found in inspect_files(tmp_path / "in", metrics=["dnsmos"], dnsmos_model=model, jobs=1, cache=False):
        assert tuple(found.scores) == SCORES
        assert tuple(found.scores.values()) == pytest.approx(expected, rel=1e-5)
    (plain, _) = inspect_files(tmp_path / "in", jobs=1, cache=False)
    assert plain.scores == {}


def test_scores_in_table_csv_and_json(files: Path, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "all.csv"
    asked = ["inspect", str(files), "-j", "1", "--metrics", "dnsmos-ovrl,dnsmos_sig", "--dnsmos-model", str(model)]
    shown = CliRunner().invoke(app, [*asked, "--csv", str(table)], env={"COLUMNS": "120"})
    assert shown.exit_code == 1  # one file is broken
    with open(table, newline="") as file:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    assert list(rows["noisy.wav"])[-3:] == ["note", "dnsmos_sig", "dnsmos_ovrl"]
    assert 1 < float(rows["noisy.wav"]["dnsmos_sig"]) < 5
    assert rows["silence.wav"]["dnsmos_sig"] == rows["broken.wav"]["dnsmos_sig"] == ""
    (line,) = (line for line in shown.stdout.splitlines() if "noisy.wav" in line and line.startswith("enhance"))
    for name in ("dnsmos_sig", "dnsmos_ovrl"):
        assert f"{float(rows['noisy.wav'][name]):.2f}" in line
    values = json.loads(CliRunner().invoke(app, [*asked, "--json", "-q"]).stdout)
    for row in values:
        known = rows[Path(row["file"]).name]
        assert [row["dnsmos_sig"], row["dnsmos_ovrl"]] == [
            float(known[n]) if known[n] else None for n in list(row)[-2:]
        ]


def test_scores_are_cached(files: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "broken.wav").unlink()
    measured: list[str] = []

    def watched(path: Path, dnsmos_model: Path | None) -> Any:
        measured.append(path.name)
        return inspect_file(path, dnsmos_model)

    monkeypatch.setattr(inspect_files_module, "inspect_file", watched)
    plain = inspect_files(files, jobs=1)
    measured.clear()
    scored = inspect_files(files, metrics=["dnsmos"], dnsmos_model=model, jobs=1)
    assert len(measured) == 5  # without scores before
    measured.clear()
    assert inspect_files(files, metrics=["dnsmos"], dnsmos_model=model, jobs=1) == scored
    assert inspect_files(files, jobs=1) == plain
    (one, *_) = inspect_files(files / "noisy.wav", metrics=["dnsmos_bak"], dnsmos_model=model, jobs=1)
    assert list(one.scores) == ["dnsmos_bak"]
    assert measured == []
    model.write_text("another")
    inspect_files(files / "noisy.wav", metrics=["dnsmos"], dnsmos_model=model, jobs=1)
    assert measured == ["noisy.wav"]


def test_unavailable_scores_are_rejected_before_any_work(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Any:
        raise AssertionError("inspected")

    monkeypatch.setattr(inspect_files_module, "inspect_file", never)
    with pytest.raises(CheckpointError):
        inspect_files(files, metrics=["dnsmos"], dnsmos_model=files / "none.onnx")
    with pytest.raises(OptionError, match="no effect"):
        inspect_files(files, dnsmos_model=files / "none.onnx")
    for name, message in (("si_snr", "needs reference files"), ("mos", "unknown metric")):
        refused = CliRunner().invoke(app, ["inspect", str(files), "--metrics", name])
        assert (refused.exit_code, message in refused.stderr) == (2, True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused = CliRunner().invoke(app, ["inspect", str(files), "--metrics", "dnsmos"])
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "pip install speechmos" in refused.stderr
