"""Reports of runs that were stopped: the same rows as without a stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
from conftest import speechlike

from dccrn_cli import enhance_folder
from dccrn_cli.engine.files.journal import Journal, note_row
from dccrn_cli.engine.files.plan import Job
from dccrn_cli.engine.files.report import BatchReport
from dccrn_cli.engine.files.results import EXISTS, FileResult
from dccrn_cli.errors import StorageError
from dccrn_cli.utils.records import RecordWriter

FILES = 4

KILLED = """
import os, signal, sys
from dccrn_cli.engine.files import batch, journal, report
from dccrn_cli.cli.app import app

at, real, calls = sys.argv.pop(1), os.replace, []

def die(*_):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

def replace(source, target):
    if str(target).endswith(".wav"):
        die()
    real(source, target)

if at == "before the name":
    os.replace = replace
elif at == "before the row is removed from the journal":
    journal.Journal.remove = die
else:
    report.BatchReport.add = die
if at == "on a GPU":
    batch._is_gpu_wanted = lambda device: True
if __name__ == "__main__":
    app()
"""


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy")
    for index in range(FILES):
        soundfile.write(folder / f"é {index}.wav", speechlike(16_000 + 800 * index), 16_000)
    return folder


def rows(report: Path) -> list[dict[str, Any]]:
    """All but the time taken and the folder of the result, in order of sources."""
    found = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    for row in found:
        row.update(elapsed_s=row["elapsed_s"] > 0, target=Path(row["target"]).name)
    return sorted(found, key=lambda row: str(row["source"]))


def leftovers(report: Path) -> list[Path]:
    return list(report.parent.glob(".*journal"))


@pytest.fixture(scope="module")
def undisturbed(noisy: Path, tiny_model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of a run without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    enhance_folder(noisy, folder / "out", report=folder / "r.jsonl", model=str(tiny_model_file), device="cpu")
    found = rows(folder / "r.jsonl")
    assert [row["status"] for row in found] == ["done"] * FILES
    assert not leftovers(folder / "r.jsonl")
    return found


def is_alive(group: int) -> bool:
    """Whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("at", "jobs"),
    [
        ("before the row", 1),
        ("before the row", 2),
        ("before the name", 1),
        ("before the row is removed from the journal", 1),
        ("on a GPU", 2),
    ],
)
def test_no_row_is_lost_by_a_kill(
    at: str, jobs: int, noisy: Path, undisturbed: list[dict[str, Any]], tmp_path: Path, tiny_model_file: Path
) -> None:
    program, out, report = tmp_path / "killed.py", tmp_path / "out", tmp_path / "r.jsonl"
    program.write_text(KILLED)
    command: list[str | Path] = [
        sys.executable,
        program,
        at,
        "enhance",
        noisy,
        "-o",
        out,
        "-j",
        str(jobs),
        "--report",
        report,
    ]
    command += ["--model", tiny_model_file, "--device", "cpu", "-q"]
    process = subprocess.Popen(command, start_new_session=True)
    assert process.wait(300) == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while is_alive(process.pid):  # workers notice the death of their parent within a second
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(rows(report)) < FILES
    results = enhance_folder(noisy, out, report=report, model=str(tiny_model_file), device="cpu")
    assert "skipped" in {result.status for result in results}
    assert rows(report) == undisturbed
    assert not leftovers(report)


def test_next_run_completes_an_unwritable_report(
    noisy: Path,
    undisturbed: list[dict[str, Any]],
    tmp_path: Path,
    tiny_model_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report, write = tmp_path / "r.jsonl", RecordWriter.write
    options: dict[str, Any] = {"report": report, "model": str(tiny_model_file), "device": "cpu"}

    def full(table: RecordWriter, row: Any) -> None:
        if not row["source"].endswith("0.wav"):
            raise StorageError("cannot be written: the disk is full", table.path)
        write(table, row)

    with monkeypatch.context() as patch:
        patch.setattr(RecordWriter, "write", full)
        with pytest.raises(StorageError):
            enhance_folder(noisy, tmp_path / "out", **options)
    assert len(list((tmp_path / "out").iterdir())) == FILES
    assert [result.status for result in enhance_folder(noisy, tmp_path / "out", **options)] == ["skipped"] * FILES
    assert rows(report) == undisturbed
    assert not leftovers(report)


@pytest.mark.parametrize("planted", ["a file", "a link", "a full folder"])
def test_without_a_journal_all_files_are_processed(
    planted: str, noisy: Path, undisturbed: list[dict[str, Any]], tmp_path: Path, tiny_model_file: Path
) -> None:
    report, foreign = tmp_path / "r.jsonl", tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("mine")
    folder = tmp_path / ".r.jsonl.dccrn-journal"
    if planted == "a file":
        folder.write_text("mine")
    elif planted == "a link":
        folder.symlink_to(foreign)
    else:
        foreign.rename(folder)
    enhance_folder(noisy, tmp_path / "out", report=report, model=str(tiny_model_file), device="cpu")
    assert rows(report) == undisturbed
    if planted == "a file":
        assert folder.read_text() == "mine"
    else:
        assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def done(folder: Path, name: str = "a.wav", seconds: float = 1.5, source: str = "a.wav") -> FileResult:
    (folder / name).write_bytes(name.encode())
    return FileResult(folder / source, folder / name, "done", seconds=seconds, elapsed_s=0.1, notes=("one", "two"))


def job_of(result: FileResult) -> Job:
    return Job(result.source, result.target)


def statuses(report: Path) -> dict[str, str]:
    return {row["target"]: row["status"] for row in rows(report)}


def test_stopped_run_keeps_finished_work_of_its_workers(tmp_path: Path) -> None:
    first, second = done(tmp_path, "a.wav"), done(tmp_path, "b.wav", source="b.wav")
    report = tmp_path / "r.jsonl"
    with BatchReport(report, [job_of(first), job_of(second)], []) as table:
        note = table.journal.note_of(first.target)
        assert note is not None
        note_row(note, first, first.target, first.target)
    assert statuses(report) == {"a.wav": "done"}
    assert rows(report)[0]["notes"] == "one; two"
    assert not leftovers(report)


def test_journal_row_applies_only_to_its_file(tmp_path: Path) -> None:
    result, report = done(tmp_path), tmp_path / "r.jsonl"
    skipped = FileResult(result.source, result.target, "skipped", EXISTS)

    def resumed() -> dict[str, str]:
        report.unlink(missing_ok=True)
        with BatchReport(report, [], [job_of(result)]) as table:
            table.add(skipped)
        return statuses(report)

    def note() -> Path:
        found = Journal(report).note_of(result.target)
        assert found is not None
        note_row(found, result, result.target, result.target)
        return found

    note()
    assert resumed() == {"a.wav": "done"}
    assert resumed() == {"a.wav": "skipped"}

    note()
    result.target.write_bytes(b"another size")
    assert resumed() == {"a.wav": "skipped"}

    note()
    (tmp_path / "new").write_bytes(result.target.read_bytes())
    os.replace(tmp_path / "new", result.target)  # another file of the same size
    assert resumed() == {"a.wav": "skipped"}

    for damaged in (
        b"",
        b"[" * 100_000,
        b"[]",
        b'{"row": 1}',
        b"\xff",
        note().read_bytes().replace(b'"notes"', b'"n"'),
    ):
        note().write_bytes(damaged)
        assert resumed() == {"a.wav": "skipped"}
        assert not leftovers(report)


def test_files_outside_a_later_run_keep_their_row(tmp_path: Path) -> None:
    result, other, report = done(tmp_path), done(tmp_path, "b.wav", source="b.wav"), tmp_path / "r.jsonl"
    note = Journal(report).note_of(result.target)
    assert note is not None
    note_row(note, result, result.target, result.target)
    with BatchReport(report, [job_of(other)], []) as table:
        table.add(other)
    assert statuses(report) == {"a.wav": "done", "b.wav": "done"}
    assert not leftovers(report)


def test_each_track_has_its_own_row(tmp_path: Path) -> None:
    first, second = (done(tmp_path, f"a.track{n}.flac", float(n), "a.mp4") for n in (1, 2))
    report = tmp_path / "r.jsonl"
    with BatchReport(report, [job_of(first), job_of(second)], []) as table:
        table.add(first)
    with BatchReport(report, [job_of(second)], [job_of(first)]) as table:
        table.add(FileResult(first.source, first.target, "skipped", EXISTS))
        table.add(second)
    assert [(row["status"], row["seconds"]) for row in rows(report)] == [("done", 1.0), ("done", 2.0)]
