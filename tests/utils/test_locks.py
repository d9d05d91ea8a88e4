"""Concurrent runs do not interfere, and a lock ends with its process."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dccrn_cli
import dccrn_cli.cli.batch_output as batch_module
from dccrn_cli.cli.app import app
from dccrn_cli.cli.batch_output import BatchLog
from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.files.folder import FileBatch
from dccrn_cli.engine.files.parallel import _ADDRESS
from dccrn_cli.engine.files.plan import Plan
from dccrn_cli.engine.files.results import FileResult
from dccrn_cli.engine.files.shared_progress import ProgressBoard
from dccrn_cli.errors import CheckpointError, OptionError, StorageError
from dccrn_cli.nn.checkpoint import load_checkpoint
from dccrn_cli.testsets.rows import joined_names, read_rows
from dccrn_cli.training.recipe import parse_setting, read_recipe
from dccrn_cli.training.run_folder import LAST, RunFolder
from dccrn_cli.utils.csv_text import csv_line, plain_data, read_csv
from dccrn_cli.utils.locks import RunLock
from dccrn_cli.utils.records import RecordWriter

ODD = [
    "a,b.wav",
    'q".wav',
    "cr\rname.wav",
    "lf\nname.wav",
    "=cmd.wav",
    "+1.wav",
    "-a.wav",
    "@x.wav",
    "'=x.wav",
    "plain",
]


def test_second_run_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with RunLock(tmp_path / "report.csv"), pytest.raises(OptionError, match=f"process {os.getpid()} on "):
        RunLock(tmp_path / "report.csv")
    with RunLock(tmp_path / "run", inside=True), pytest.raises(OptionError, match="in use by another run"):
        RunLock(tmp_path / "run", inside=True)
    assert os.listdir(tmp_path) == ["run"]
    assert os.listdir(tmp_path / "run") == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX locks")
def test_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os, sys; from dccrn_cli.utils.locks import RunLock; "
        f"lock = RunLock({str(tmp_path / 'x')!r}); print('held'); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "held\n"
    with RunLock(tmp_path / "x"):
        pass


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_report_has_a_single_writer(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report{suffix}"
    with RecordWriter(path, ["source"], lambda row: False) as table:
        with pytest.raises(OptionError, match="in use by another run"):
            RecordWriter(path, ["source"], lambda row: False)
        table.write({"source": "a"})
    with RecordWriter(path, ["source"], lambda row: False) as table:
        assert table.kept == {"a"}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_unusual_names_in_a_report(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report{suffix}"
    names = [*ODD, os.fsdecode(b"caf\xe9.wav")]
    with RecordWriter(path, ["source"], lambda row: False) as table:
        for name in names:
            table.write({"source": name})
    text = path.read_bytes().decode("utf-8")  # valid whatever the names
    assert "caf\\xe9.wav" in text.replace("\\\\", "\\")
    with RecordWriter(path, ["source"], lambda row: False) as table:
        assert table.kept == {*ODD, "caf\\xe9.wav"}
    if suffix == ".csv":
        cells = [row[0] for row in csv.reader(io.StringIO(text, newline=""))][1:]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
        assert len(cells) == len(names)


def test_csv_cells() -> None:
    assert csv_line(["a", None, -1.5, 3, "-x", "a\rb"]) == 'a,,-1.5,3,\'-x,"a\rb"\n'
    for name in ODD:
        assert read_csv(csv_line(["name"]) + csv_line([name]))[1] == [{"name": name}]
    assert json.dumps(plain_data({"x": ["caf\udce9"]})) == '{"x": ["caf\\\\xe9"]}'


def test_full_disk_affects_the_report_but_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(batch_module, "error_line", told.append)
    with BatchLog(FileBatch(Plan(()), EnhanceOptions()), tmp_path / "report.csv", False, True) as log:
        log.add(FileResult(Path("a.wav"), Path("b.wav"), "done"))
        whole = (tmp_path / "report.csv").read_bytes()
        with open("/dev/full", "wb", buffering=0) as full:
            assert log.report is not None
            table = log.report._table
            own, table._file = table._file, full
            log.add(FileResult(Path("c.wav"), Path("d.wav"), "done"))
            log.add(FileResult(Path("e.wav"), Path("f.wav"), "done"))
            table._file = own
    assert log.done["done"] == 3
    assert log.incomplete
    assert [line for line in told if "the report is incomplete" in line and "the disk is full" in line] == told
    assert (tmp_path / "report.csv").read_bytes() == whole


def test_run_folder_keeps_foreign_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "x.run")
    folder.save({"a": 1})
    folder.log({"step": 1})
    (folder.path / "thesis.tex").touch()
    folder.remove()
    assert os.listdir(folder.path) == ["thesis.tex"]
    empty = RunFolder(tmp_path / "y.run")
    empty.save({"a": 1})
    empty.remove()
    assert not empty.path.exists()


def test_messages_suggest_nothing_dangerous(tmp_path: Path) -> None:
    import torch

    folder = RunFolder(tmp_path)
    torch.save({"x": Path("a")}, folder.path / LAST)
    with pytest.raises(CheckpointError) as caught:
        folder.load()
    assert "weights_only" not in str(caught.value)
    torch.save({"w": torch.zeros(3)}, tmp_path / "raw.pth")
    with pytest.raises(CheckpointError, match="dccrn convert"):
        load_checkpoint(tmp_path / "raw.pth")


def test_deeply_nested_settings_are_rejected(tmp_path: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    with pytest.raises(OptionError, match="nested too deeply"):
        parse_setting(f"mixing.snr_db={deep}")
    (tmp_path / "r.toml").write_text(f"x = {deep}")
    with pytest.raises(OptionError, match="nested too deeply"):
        read_recipe(tmp_path / "r.toml")


def test_scheduler_addresses() -> None:
    for good in ("tcp://host:8786", "host:8786", "tls://[::1]:8786", "10.0.0.1:80"):
        assert _ADDRESS.fullmatch(good)
    for bad in ("host", "tcp://host", "foo://host:1", "http://host:8786", "", "tcp://:8786", "host:"):
        assert not _ADDRESS.fullmatch(bad)


def test_scheduler_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    from types import SimpleNamespace

    import dccrn_cli.engine.files.parallel as processes_module

    monkeypatch.setattr(processes_module, "ANSWER_S", 0.2)
    never = threading.Event()
    with pytest.raises(OptionError, match="did not respond within"):
        processes_module._connect(SimpleNamespace(Client=lambda *_, **__: never.wait(5)), "host:1")

    def fail(*_: object, **__: object) -> None:
        raise KeyError("unknown kind")

    with pytest.raises(OptionError, match="no dask scheduler"):
        processes_module._connect(SimpleNamespace(Client=fail), "host:1")
    never.set()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_progress_file_is_allocated_before_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = ProgressBoard(tmp_path / "a", 5000, create=True)
    board.note(4999, 2.5)
    assert board.total_s == 2.5
    assert (tmp_path / "a").stat().st_blocks * 512 >= 40_000

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        ProgressBoard(tmp_path / "b", 5000, create=True)


def test_recording_names_that_are_not_utf8() -> None:
    from dccrn_cli.testsets.rows import _unescape

    for name in ("a|b", "50%.wav", os.fsdecode(b"caf\xe9.wav"), "ÿ.wav"):
        joined = joined_names([name])
        assert "|" not in joined
        assert _unescape(joined) == name
        joined.encode()


def test_metadata_cannot_request_terabytes(tmp_path: Path) -> None:
    import dataclasses

    from dccrn_cli.errors import DataError
    from dccrn_cli.testsets.rows import COLUMNS, Row

    row = Row(
        name="m", snr_db=0.0, snr_on="active", noise_set="", speaker="", noise_class="", reverb=0, target="reverberant",
        level_db=-25.0, gain_db=0.0, clean="a.wav", clean_hash="0", clean_offset=0, samples=16_000, noise="n.wav",
        noise_hash="0", noise_offset=0, room="", room_hash="", t60_s=0.0, room_seed=0, clean_scale=1.0, noise_scale=1.0,
        sample_rate=16_000, sample_format="s16", seed=0, number=0, recipe="", digest="",
    )  # fmt: skip
    path = tmp_path / "metadata.csv"
    for change in ({}, {"noise_offset": 10**12}, {"clean_offset": 10**12}, {"samples": 10**12},
                   {"sample_rate": 10**9}, {"t60_s": 1e6}, {"noise_scale": 1e30}):  # fmt: skip
        cells = dataclasses.asdict(dataclasses.replace(row, **change))
        path.write_text(csv_line(COLUMNS) + csv_line(cells[name] for name in COLUMNS))
        if change:
            with pytest.raises(DataError):
                read_rows(path)
        else:
            assert read_rows(path) == [row]


def test_unusual_paths_fail_individually(tmp_path: Path, tiny_model_file: Path) -> None:
    import soundfile
    from conftest import speechlike

    from dccrn_cli.cli.app import app

    for name in ("a.wav", "n" * 249 + ".wav"):
        soundfile.write(tmp_path / name, speechlike(1600), 16_000)
    model = ("--model", str(tiny_model_file), "-q", "-j", "1")
    result = CliRunner().invoke(app, ["enhance", str(tmp_path), "--suffix", "_clean", *model])
    assert result.exit_code == 1
    assert "the name is too long" in result.stderr
    assert (tmp_path / "a_clean.wav").is_file()
    listed = tmp_path / "list.txt"
    listed.write_text(f"{'x' * 5000}\n{tmp_path / 'a.wav'}\n{tmp_path / 'a.wav'}/below.wav\n")
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["enhance", "--input-list", str(listed), "-o", str(out), *model])
    assert result.exit_code == 1
    assert result.stderr.count("FAILED") == 2
    assert len(list(out.rglob("*.wav"))) == 1
    with pytest.raises(StorageError):
        RunLock(tmp_path / "a.wav" / "x")


@pytest.mark.skipif(sys.platform == "win32", reason="needs hard links")
def test_lock_does_not_overwrite_a_file_with_another_name(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    os.link(tmp_path / "victim", tmp_path / ".report.csv.lock")
    with pytest.raises(StorageError, match="other names or another owner"):
        RunLock(tmp_path / "report.csv")
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        "enhance {in} -o out --model {long}", "mix --clean {in} --noise {in} -o {long}",
        "finetune --clean {in} --noise {in} -o {long}", "train --recipe {long} --clean {in} --noise {in} -o out",
        "export {long} -o a.onnx", "export dccrn -o {long}.onnx", "convert a.pth -o {long}.safetensors",
    ],
)  # fmt: skip
def test_names_that_no_file_system_accepts(arguments: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    filled = [part.replace("{in}", str(tmp_path / "in")).replace("{long}", "x" * 5000) for part in arguments.split()]
    result = CliRunner().invoke(app, filled)
    assert result.exit_code == 2
    assert "OSError" not in result.output


def test_existence_is_asked_of_one_place() -> None:
    asked = re.compile(r"(?<!entry)\.(exists|is_file|is_dir)\(\)")
    modules = Path(dccrn_cli.__file__).parent.rglob("*.py")
    assert [str(path) for path in modules if asked.search(path.read_text(encoding="utf-8"))] == []
