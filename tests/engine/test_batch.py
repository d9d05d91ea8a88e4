"""Batches: many processes, interruptions, reports, naming."""

from __future__ import annotations

import csv
import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from commands import command, posix, run, same_tree, tree
from conftest import speechlike
from typer.testing import CliRunner

from dccrn_cli import enhance
from dccrn_cli.cli.app import app
from dccrn_cli.engine.enhance_options import EnhanceOptions, Workers
from dccrn_cli.engine.files import batch, parallel
from dccrn_cli.engine.files.batch import enhance_batch
from dccrn_cli.engine.files.plan import Job
from dccrn_cli.errors import OptionError
from dccrn_cli.utils.atomic import AtomicFile, BusyError, temporary_path
from dccrn_cli.utils.interrupt import Interrupt


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve files of several formats and lengths, and one that is not audio."""
    folder = tmp_path_factory.mktemp("noisy")
    kinds = [("wav", "PCM_16", 16_000), ("wav", "FLOAT", 44_100), ("flac", "PCM_24", 48_000), ("ogg", "VORBIS", 16_000)]
    for index in range(12):
        suffix, subtype, rate = kinds[index % 4]
        path = folder / f"{index % 3}" / f"{index:02}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, speechlike(rate * (1 + index), rate, 1 + index % 2), rate, subtype=subtype)
    (folder / "bad.wav").write_bytes(b"RIFF and nothing")
    return folder


@pytest.fixture(scope="module")
def reference(noisy: Path, tiny_model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of an uninterrupted run in one process."""
    out = tmp_path_factory.mktemp("reference") / "out"
    assert run("enhance", noisy, "-o", out, "--model", tiny_model_file, "-j", 1).exit_code == 1
    return out


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_results_do_not_depend_on_the_number_of_jobs(
    noisy: Path, reference: Path, tmp_path: Path, tiny_model_file: Path
) -> None:
    report = tmp_path / "report.jsonl"
    options = ("--model", tiny_model_file, "-j", 2, "--report", report)
    result = run("enhance", noisy, "-o", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert "12 files enhanced" in result.output
    assert "bad.wav" in result.output
    assert same_tree(reference, tmp_path / "out")
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert len(rows) == 13
    (row,) = [row for row in rows if row["source"].endswith("11.ogg")]
    assert (row["status"], row["sample_rate"], row["channels"], row["sample_format"]) == ("done", 16_000, 2, "VORBIS")
    assert row["seconds"] == 12.0
    assert row["elapsed_s"] > 0
    assert -40 < row["input_level_dbfs"] < -10
    (row,) = [row for row in rows if row["status"] == "failed"]
    assert "not readable as audio" in row["reason"]


def kill_when(process: subprocess.Popen[bytes], out: Path, files: int, number: int) -> None:
    """Send a signal once a number of results exist."""
    deadline = time.monotonic() + 300
    while sum(1 for path in out.rglob("*.*") if path.suffix != ".part" and path.is_file()) < files:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # to all processes of the command, like a terminal
    else:
        process.send_signal(number)


@posix
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_runs_resume(
    number: signal.Signals, jobs: int, noisy: Path, reference: Path, tmp_path: Path, tiny_model_file: Path
) -> None:
    out, report = tmp_path / "out", tmp_path / "report.csv"
    arguments = ("enhance", noisy, "-o", out, "--model", tiny_model_file, "-j", jobs, "--report", report)
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    kill_when(process, out, 3, number)
    output = process.communicate()[0].decode()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "Traceback" not in output
        assert "interrupted" in output
        assert not list(out.rglob(".*.part"))
    assert tree(out) != tree(reference)
    for name in tree(out):
        assert name.endswith(".part") or filecmp.cmp(out / name, reference / name, shallow=False)
    assert run(*arguments).exit_code == 1
    assert same_tree(reference, out)
    rows = list(csv.DictReader(report.read_text().splitlines()))
    assert sorted(Path(row["source"]).name for row in rows) == sorted(p.name for p in noisy.rglob("*") if p.is_file())
    assert sum(row["status"] == "done" for row in rows) == 12


def test_file_that_crashes_its_process_fails_alone(
    tmp_path: Path, tiny_model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []
    for index in range(8):
        soundfile.write(tmp_path / f"{index}.wav", speechlike(8000), 16_000)
        jobs.append(Job(tmp_path / f"{index}.wav", tmp_path / "out" / f"{index}.wav"))

    def deadly(*arguments: Any) -> Any:
        from dccrn_cli.engine.files.parallel import _enhance  # the real one, in the worker

        if arguments[-1][1].source.name == "5.wav":
            os._exit(1)
        return _enhance(*arguments)

    monkeypatch.setattr(parallel, "_enhance", deadly)
    options = EnhanceOptions(model=str(tiny_model_file), device="cpu")
    with Interrupt() as interrupt:
        results = list(parallel.on_this_machine(jobs, [0.5] * 8, 2, options, interrupt, None))
    assert {result.source.name: result.status for result in results} == {
        f"{index}.wav": "failed" if index == 5 else "done" for index in range(8)
    }
    assert len(tree(tmp_path / "out")) == 7


def test_concurrent_runs_do_not_write_the_same_file(tmp_path: Path, tiny_model_file: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(8000), 16_000)
    arguments = ("enhance", tmp_path / "a.wav", "-o", tmp_path / "out" / "a.wav", "--model", tiny_model_file)
    with AtomicFile(tmp_path / "out" / "a.wav"):
        if sys.platform != "win32":
            with pytest.raises(BusyError):
                AtomicFile(tmp_path / "out" / "a.wav")
            result = subprocess.run(command(*arguments), capture_output=True, text=True)
            assert result.returncode == 0
            assert "another run" in result.stdout
            assert "already done" not in result.stdout
            assert tree(tmp_path / "out") == [temporary_path(Path("a.wav")).name]
    assert run(*arguments).exit_code == 0
    assert tree(tmp_path / "out") == ["a.wav"]


def test_leftovers_of_killed_runs_are_removed(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".dccrn-0123456789abcdef.part").write_bytes(b"half")
    source = noisy / "0" / "00.wav"
    assert run("enhance", source, "-o", tmp_path / "out", "--model", tiny_model_file).exit_code == 0
    assert tree(tmp_path / "out") == ["00.wav"]


def test_report_continues_over_runs(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    options = ("--model", tiny_model_file)
    for name in ("r.csv", "r.jsonl"):
        report, out = tmp_path / name, tmp_path / f"out {name}"
        for source in ("00.wav", "03.ogg"):
            run("enhance", noisy / "0" / source, "-o", out, *options, "--report", report, "--overwrite")
        with report.open("a") as file:
            file.write('{"source": "cut')
        run("enhance", noisy / "0", "-o", out, *options, "--report", report)
        text = report.read_text()
        assert text.count("done") == 4
        assert "skipped" not in text
        assert "cut" not in text
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    (tmp_path / "mine.jsonl").write_text("[1, 2]\n")
    for name in ("mine.csv", "mine.jsonl", "r.txt"):
        result = run("enhance", noisy, "-o", tmp_path / "out", *options, "--report", tmp_path / name)
        assert result.exit_code == 2, result.output
        assert not (tmp_path / "r.txt").exists()
    assert (tmp_path / "mine.csv").read_text() == "a,b\n1,2\n"


def test_json_events(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    result = CliRunner().invoke(
        app, ["enhance", str(noisy), "-o", str(tmp_path / "out"), "--model", str(tiny_model_file), "--json"]
    )
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events] == ["start", *["file"] * 13, "end"]
    assert (events[0]["files"], events[-1]["done"], events[-1]["failed"]) == (13, 12, 1)


def test_dry_run_writes_nothing(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    soundfile.write(out / "00.wav", speechlike(10), 16_000)
    arguments = ("enhance", noisy / "0", "-o", out, "--model", tiny_model_file, "--dry-run")
    result = run(*arguments)
    assert result.exit_code == 0
    assert "3 files would be enhanced: 21.0 s of audio, about" in result.output
    assert "1 file would be skipped" in result.output
    rows = [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]
    assert [row.get("action") for row in rows] == ["enhance", "enhance", "enhance", "skip", None]
    assert tree(out) == ["00.wav"]


def test_name_patterns_and_selection(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    options = ("--model", tiny_model_file)

    def results(*arguments: object) -> list[str]:
        out = tmp_path / str(time.monotonic_ns())
        result = run("enhance", *arguments, "-o", out, *options)
        assert result.exit_code in (0, 1), result.output
        return tree(out)

    assert results(noisy, "--include", "*.flac", "--suffix", "_c") == ["0/06_c.flac", "1/10_c.flac", "2/02_c.flac"]
    assert results(noisy, "--exclude", "bad*", "--exclude", "[12]", "--include", "*/0*.wav") == ["0/00.wav", "0/09.wav"]
    assert results(noisy / "0", "--name", "{folder}-{stem}/x{ext}", "--include", "00*") == ["0-00/x.wav"]
    assert results(noisy / "0", "--format", "flac") == ["00.flac", "03.flac", "06.flac", "09.flac"]
    listed = tmp_path / "list.txt"
    listed.write_text(f"{noisy}/0/00.wav\n\n{noisy}/1/01.wav\r\n")
    assert results("--input-list", listed) == ["0/00.wav", "1/01.wav"]
    listed.write_text(f"{noisy}/0/00.wav\0{noisy}/gone.wav\0")
    assert results("--input-list", listed) == ["0/00.wav"]


def test_invalid_name_patterns(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    out = tmp_path / "out"
    for arguments in (
        (noisy, "-o", out, "--name", "x{ext}"),  # all in one folder named x
        (noisy, "-o", out, "--name", "{nothing}"),
        (noisy, "-o", out, "--name", "../{stem}{ext}"),
        (noisy, "-o", out, "--name", "{stem}{ext}", "--suffix", "a"),
        (noisy, "-o", out, "--noise-out", out),
        (noisy, "-o", out, "--format", "doc"),
        (noisy, "-o", out, "--sample-format", "s7"),
        (noisy, "-o", out, "--format", "wav", "--sample-format", "vorbis"),
        (noisy, "--format", "wav"),
        (noisy,),
        ("-o", out),
        (noisy, "-o", out, "--input-list", tmp_path / "gone"),
        (noisy, "-o", out, "--backend", "dask"),
    ):
        result = run("enhance", *arguments, "--model", tiny_model_file)
        assert result.exit_code == 2, (arguments, result.output)
        assert result.output.count("\n") <= 2 or "Usage" in result.output
    assert not out.exists()


def test_options_of_the_python_function(tmp_path: Path, tiny_model_file: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(4000), 16_000)
    result = enhance(tmp_path / "a.wav", tmp_path / "b.wav", model=tiny_model_file, attenuation_limit_db=6)
    assert (result.status, result.sample_format) == ("done", "PCM_16")
    wrongs: list[dict[str, Any]] = [{"mix": 2}, {"attenuation_limit_db": -1}, {"nothing": 1}]
    for wrong in wrongs:
        with pytest.raises((OptionError, Exception), match=r"mix|attenuation|nothing"):
            enhance(tmp_path / "a.wav", tmp_path / "c.wav", model=tiny_model_file, **wrong)


def test_many_threads_share_a_network(noisy: Path, reference: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    """What `--device cuda` does, on the CPU."""
    jobs = [Job(path, tmp_path / path.relative_to(noisy)) for path in sorted(noisy.rglob("*.*"))]
    options = EnhanceOptions(model=str(tiny_model_file), device="cpu")
    with Interrupt() as interrupt:
        results = list(batch._on_gpu(jobs, [1.0] * len(jobs), options, 6, interrupt, None))
    assert sorted(result.status for result in results) == ["done"] * 12 + ["failed"]
    for result in results:
        if result.status == "done" and result.target.suffix != ".ogg":
            name = result.target.relative_to(tmp_path)
            got, want = (soundfile.read(folder / name)[0] for folder in (tmp_path, reference))
            np.testing.assert_allclose(got, want, atol=1e-4)


def test_interrupt_ends_a_wait() -> None:
    with Interrupt() as interrupt:
        assert not interrupt.requested
        if sys.platform != "win32":
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupt.requested
            with pytest.raises(KeyboardInterrupt), interrupt.waiting():
                raise AssertionError


@posix
def test_closed_terminal_is_a_request_unless_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.requested
        signal.signal(signal.SIGHUP, lambda *_: None)
        with Interrupt() as interrupt:
            for _ in range(2):  # from the shell and from the system
                os.kill(os.getpid(), signal.SIGHUP)
            assert interrupt.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_jobs() -> None:
    with Interrupt() as interrupt:
        assert list(enhance_batch([], [], EnhanceOptions(), Workers(), interrupt)) == []


@posix
def test_cluster_losing_a_worker(noisy: Path, reference: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    pytest.importorskip("distributed")
    scheduler_file = tmp_path / "scheduler.json"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}

    def start(part: str, *options: str) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", f"distributed.cli.dask_{part}", "--no-dashboard", "--scheduler-file"]
        return subprocess.Popen([*program, str(scheduler_file), *options], **quiet)

    started = [start("scheduler", "--host", "127.0.0.1", "--port", "0")]
    started += [start("worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
    try:
        deadline = time.monotonic() + 300
        while not scheduler_file.exists() or not scheduler_file.read_text().endswith("}"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        address = json.loads(scheduler_file.read_text())["address"]
        out, report = tmp_path / "out", tmp_path / "report.jsonl"
        cluster = ("--backend", "dask", "--scheduler", address, "--report", report)
        time.sleep(3)
        process = subprocess.Popen(command("enhance", noisy, "-o", out, "--model", tiny_model_file, *cluster), **quiet)
        kill_when(process, out, 2, 0)
        started[1].kill()
        assert process.wait(60) == 1  # the file that is not audio
        assert same_tree(reference, out)
        assert len(report.read_text().splitlines()) == 13
    finally:
        for child in started:
            child.kill()
            child.wait()
