"""`dccrn score`: every cell correct, or empty with a reason."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from commands import run
from conftest import speechlike
from typer.testing import CliRunner
from voices import RATE, hiss, voice, write

import dccrn_cli.scoring.score_pairs as folder_module
from dccrn_cli import score_folders, score_pair
from dccrn_cli.cli.app import app
from dccrn_cli.errors import OptionError
from dccrn_cli.scoring.grouping import snr_in_name
from dccrn_cli.scoring.measurement import Record
from dccrn_cli.scoring.pairing import label_folders, match_names
from dccrn_cli.scoring.score_pairs import choose_metrics
from dccrn_cli.scoring.sound_cache import SoundCache
from dccrn_cli.scoring.table import differences, natural, summarize
from dccrn_cli.scoring.text import latex, markdown, mean_grid

FAST = ("si_snr", "snr", "lsd")


pytestmark = pytest.mark.usefixtures("own_cache")


def test_scores_equal_score_pair(sets: Path) -> None:
    records = score_folders(sets / "clean", sets / "out", sets / "noisy", jobs=1)
    assert len(records) == 6
    for record in records:
        clean, out, noisy = (soundfile.read(record[k], dtype="float32")[0] for k in ("reference", "estimate", "noisy"))
        names = ("si_snr", "si_snr_improvement", "pesq_wb", "stoi")
        assert record["values"] == score_pair(clean, out, RATE, names, noisy)
        assert record["noisy_values"] == score_pair(clean, noisy, RATE, ("si_snr", "pesq_wb", "stoi"))
        assert (record["status"], record["note"], record["seconds"]) == ("scored", "", 1.5)
        assert record["snr_source"] == "name"


def test_scores_are_independent_of_jobs(sets: Path) -> None:
    one, two = (score_folders(sets / "clean", sets / "out", metrics=FAST, jobs=jobs, cache=False) for jobs in (1, 2))
    # Memory alignment changes the last digit of sums.
    assert [record["values"] for record in one] == [pytest.approx(record["values"], rel=1e-12) for record in two]


def test_pairing_rules() -> None:
    assert match_names(["a/x.wav", "b/x.wav"], ["a/x.wav", "b/x.wav"]) == {"a/x.wav": "a/x.wav", "b/x.wav": "b/x.wav"}
    assert match_names(["a/x.wav", "b/x.flac"], ["a/x.flac", "b/x.wav"]) == {
        "a/x.wav": "a/x.flac", "b/x.flac": "b/x.wav"
    }  # fmt: skip
    assert match_names(["deep/x.wav"], ["other/x.flac", "other/y.flac"]) == {"deep/x.wav": "other/x.flac"}
    assert match_names(["deep/x.wav"], ["o/x.flac", "p/x.flac"]) == {}
    assert match_names(["x.wav"], ["x.mp3", "x.flac"]) == {}
    assert match_names(["x.wav"], ["x.wav", "x.flac"]) == {"x.wav": "x.wav"}
    names = ["book_door_snr5_tl-25_fileid_12.wav", "a_snr0_fileid_1.wav"]
    assert match_names(names, ["clean_fileid_1.wav", "clean_fileid_12.wav", "clean_fileid_2.wav"]) == {
        names[0]: "clean_fileid_12.wav", names[1]: "clean_fileid_1.wav"
    }  # fmt: skip


def test_all_pairs_are_scored(sets: Path) -> None:
    (sets / "out/a/mix_0_snr-05.wav").unlink()
    write(sets / "out/strange.wav", voice(9))
    (sets / "noisy/b/mix_1_snr+00.wav").unlink()
    result = run("score", "--ref", sets / "clean", "--est", sets / "out", "--noisy", sets / "noisy", "--json",
                 "--metrics", "si_snr,si_snr_improvement")  # fmt: skip
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert [(one["file"], one["note"]) for one in data["unmatched"]] == [
        ("a/mix_0_snr-05.wav", "no estimate"), ("strange.wav", "no reference")
    ]  # fmt: skip
    assert "UNMATCHED" in result.stderr
    (lonely,) = (one for one in data["files"] if one["noisy"] is None)
    assert lonely["note"] == "si_snr_improvement: no noisy file"
    assert lonely["values"]["si_snr"] is not None
    assert len(data["files"]) == 5


def test_pairs_of_a_table(sets: Path) -> None:
    table = sets / "pairs.csv"
    table.write_text(
        "ref,est,noisy\nclean/a/mix_0_snr-05.wav,out/a/mix_2_snr+10.wav,\n"
        "clean/a/mix_2_snr+10.wav,out/a/mix_2_snr+10.wav,noisy/a/mix_2_snr+10.wav\n"
    )
    result = run("score", "--pairs", table, "--metrics", "si_snr", "--json")
    wrong, right = json.loads(result.stdout)["files"]
    assert wrong["values"]["si_snr"] < 0 < right["values"]["si_snr"]
    table.write_text("ref,other\na,b\n")
    assert run("score", "--pairs", table).exit_code == 2


def test_single_files(sets: Path) -> None:
    ours = write(sets / "mine.wav", voice(0) * 0.5)
    result = run("score", "--ref", sets / "clean/a/mix_0_snr-05.wav", "--est", ours, "--metrics", "stoi", "--json")
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)["files"]
    assert record["values"]["stoi"] > 0.99


def test_one_bad_file_does_not_stop_the_rest(sets: Path) -> None:
    (sets / "out/a/mix_0_snr-05.wav").write_bytes(b"")
    (sets / "out/b/mix_1_snr+00.wav").write_text("I am text")
    write(sets / "out/a/mix_2_snr+10.wav", 0 * voice(2))
    result = run("score", "--ref", sets / "clean", "--est", sets / "out", "--csv", sets / "files.csv")
    assert result.exit_code == 1
    with open(sets / "files.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "si_snr", "pesq_wb", "stoi", "note"]
    notes = {Path(row["file"]).stem[:5]: row["note"] for row in rows}
    assert "the file is empty" in notes["mix_0"]
    assert "not readable as audio" in notes["mix_1"]
    assert notes["mix_2"] == "the estimate is silent"
    empty = [row for row in rows if row["note"]]
    assert [row["si_snr"] for row in empty] == ["", "", ""]
    assert all(float(row["pesq_wb"]) > 1 for row in rows if row not in empty)
    assert "SI-SNR: without 3 files" in result.stdout
    assert result.stderr.count("FAILED") == 3


def test_unexpected_error_fails_one_file(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dccrn_cli.scoring.measurement import measure_files as real

    def fail(sounds: SoundCache, reference: Path, *rest: Any) -> Any:
        if "mix_3" in reference.name:
            raise MemoryError("too much")
        return real(sounds, reference, *rest)

    monkeypatch.setattr(folder_module, "measure_files", fail)
    records = score_folders(sets / "clean", sets / "out", metrics=FAST, jobs=1)
    assert [record["note"] for record in records if record["status"] == "failed"] == ["MemoryError: too much"]


def test_usage_errors(sets: Path) -> None:
    clean, out = sets / "clean", sets / "out"
    write(sets / "foreign/x.wav", voice())
    (sets / "empty").mkdir()
    cases: list[tuple[object, ...]] = [
        (),
        ("--ref", clean),
        ("--ref", clean, "--est", sets / "missing"),
        ("--ref", clean, "--est", sets / "empty"),
        ("--ref", clean, "--est", sets / "foreign"),
        ("--ref", clean, "--est", out / "a/mix_0_snr-05.wav"),
        ("--ref", clean, "--est", out, "--metrics", "pesq"),
        ("--ref", clean, "--est", out, "--metrics", "si_snr_improvement"),
        ("--ref", clean, "--est", out, "--by", "weather"),
        ("--ref", clean, "--est", out, "--est", out),
        ("--ref", clean, "--est", out, "--json", "--latex"),
        ("--ref", clean, "--est", out, "--csv", sets / "no/such/file.csv"),
        ("--ref", clean, "--est", out, "--metadata", sets / "none.csv"),
        ("--ref", clean, "--est", out, "--metrics", "dnsmos_ovrl", "--dnsmos-model", sets / "none.onnx"),
    ]
    for case in cases:
        result = run("score", *case)
        assert result.exit_code == 2, (case, result.output)
        assert "Traceback" not in result.output
        assert "Error" in result.stderr


def test_names_of_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dccrn_cli.metrics.dnsmos.is_available", lambda model: False)
    assert choose_metrics(None, False) == ("si_snr", "pesq_wb", "stoi")
    assert choose_metrics(None, True) == ("si_snr", "si_snr_improvement", "pesq_wb", "stoi")
    assert len(choose_metrics(["all"], True)) == 14
    assert "si_snr_improvement" not in choose_metrics(["all"], False)
    with pytest.raises(OptionError, match="unknown metric all_of_them"):
        choose_metrics(["all_of_them"], True)


def test_labels() -> None:
    assert list(label_folders([Path("/x/A"), Path("/x/B")])) == ["A", "B"]
    assert list(label_folders([Path("/x/A/out"), Path("/x/B/out")])) == ["A/out", "B/out"]


@pytest.mark.parametrize(
    ("name", "snr_db"),
    [
        ("mix_00012_snr-05", -5),
        ("mix_00012_snr+10_seen.wav", 10), ("a_snr0.wav", 0), ("x_snr5_tl-25_fileid_3.wav", 5),
        ("10dB/p232.wav", 10), ("x_-5dB.flac", -5),
        ("babble-15dB.wav", 15), ("SNR_2.5_x.wav", 2.5), ("plain.wav", None),
        ("mix_00001_snr-02.5.wav", -2.5), ("snr5/x_snr10.wav", 10), ("rundbrief_3.wav", None),
    ],
)  # fmt: skip
def test_snr_in_names(name: str, snr_db: float | None) -> None:
    assert snr_in_name(name) == snr_db


def test_groups(sets: Path) -> None:
    records = score_folders(sets / "clean", sets / "out", sets / "noisy", metrics=FAST, by=("folder", "snr"))
    rows = summarize(records, ("folder", "snr"))
    ours = [row for row in rows if row["system"] == "out"]
    assert [tuple(row["group"].values()) for row in ours] == [
        ("a", -5.0), ("a", 0.0), ("a", 10.0), ("a",), ("b", -5.0), ("b", 0.0), ("b", 10.0), ("b",), ()
    ]  # fmt: skip
    assert [row["files"] for row in ours] == [1, 1, 1, 3, 1, 1, 1, 3, 6]
    every = [record["values"]["si_snr"] for record in records]
    assert ours[-1]["metrics"]["si_snr"]["mean"] == pytest.approx(np.mean(every))  # type: ignore[arg-type]
    assert ours[-1]["metrics"]["si_snr"]["median"] == pytest.approx(np.median(every))  # type: ignore[arg-type]
    noisy = [row for row in rows if row["system"] == "noisy"]
    assert noisy[-1]["metrics"]["snr"]["mean"] == pytest.approx(5 / 3, abs=1e-3)


def test_snr_is_measured_if_not_in_the_name(sets: Path) -> None:
    for kind in ("clean", "noisy", "out"):
        for path in list((sets / kind).rglob("*.wav")):
            path.rename(path.with_name(path.name.split("_snr")[0] + ".wav"))
    arguments = ("score", "--ref", sets / "clean", "--est", sets / "out", "--metrics", "si_snr", "--by", "snr")
    result = run(*arguments, "--noisy", sets / "noisy")
    assert result.exit_code == 0
    assert "6 measured, in classes of 5 dB" in result.stderr
    assert re.findall(r"^(\S+)(?: dB)? +out", result.stdout, re.MULTILINE) == ["-5", "0", "10", "all"]
    assert "6 unknown" in run(*arguments).stderr


def test_metadata_is_found_and_joined(sets: Path) -> None:
    rows = [f"mix_{n}_snr{snr:+03},{snr},{'unseen' if n > 2 else 'seen'}" for n, snr in enumerate((-5, 0, 10) * 2)]
    (sets / "metadata.csv").write_text("\n".join(["name,snr_db,noise_set", *rows]))
    result = run("score", "--ref", sets / "clean", "--est", sets / "out", "--metrics", "si_snr",
                 "--by", "noise_set", "--by", "snr", "--json")  # fmt: skip
    groups = [tuple(row["group"].values()) for row in json.loads(result.stdout)["groups"]]
    assert groups == [
        ("seen", -5.0), ("seen", 0.0), ("seen", 10.0), ("seen",),
        ("unseen", -5.0), ("unseen", 0.0), ("unseen", 10.0), ("unseen",), (),
    ]  # fmt: skip
    assert {one["snr_source"] for one in json.loads(result.stdout)["files"]} == {"metadata"}


def test_natural_order() -> None:
    values: list[float | str | None] = [None, "room10", 10.0, "room2", -5.0, "a"]
    assert sorted(values, key=natural) == [-5.0, 10.0, "a", "room2", "room10", None]


def test_systems_are_compared_over_common_files(sets: Path) -> None:
    for path in sorted((sets / "clean").rglob("*.wav")):
        x = soundfile.read(path, dtype="float32")[0]
        write(sets / "better" / path.relative_to(sets / "clean"), hiss(x, 1e-3))
    (sets / "better/a/mix_0_snr-05.wav").unlink()
    records = score_folders(sets / "clean", [sets / "out", sets / "better"], sets / "noisy", metrics=("si_snr",))
    (found,) = differences(records)
    assert (found["system"], found["baseline"], found["metrics"]["si_snr"]["count"]) == ("better", "out", 5)
    by_system = {row["system"]: row["metrics"]["si_snr"] for row in summarize(records)}
    assert [it["count"] for it in by_system.values()] == [5, 5, 5]
    assert list(by_system) == ["noisy", "out", "better"]
    means = [by_system[system]["mean"] or 0 for system in ("better", "out")]
    assert found["metrics"]["si_snr"]["mean"] == pytest.approx(means[0] - means[1])
    result = run("score", "--ref", sets / "clean", "--compare", sets / "out", "--compare", sets / "better",
                 "--metrics", "si_snr")  # fmt: skip
    assert result.exit_code == 1
    assert "difference to out" in result.stdout


def test_table_formats(sets: Path) -> None:
    arguments = ("score", "--ref", sets / "clean", "--est", sets / "out", "--noisy", sets / "noisy", "--by", "snr",
                 "--metrics", "si_snr", "-q")  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert re.search(r"all +out +6 +\d+\.\d\d ± \d\.\d\d", result.stdout)
    lines = run(*arguments, "--markdown").stdout.splitlines()
    assert lines[0] == "| snr | system | files | SI-SNR (dB) |"
    assert len(lines) == 2 + 8
    tex = run(*arguments, "--latex").stdout
    assert "$-$5 dB & noisy & 2 & $-$" in tex
    assert tex.count("\\\\") == 9
    assert "median" in run(*arguments, "--long").stdout
    data = json.loads(run(*arguments, "--json").stdout)
    assert set(data) == {"metrics", "by", "files", "unmatched", "groups", "differences"}
    for record in data["files"]:
        assert list(record) == list(Record.__annotations__)


def test_special_characters_in_tables(sets: Path) -> None:
    records = score_folders(sets / "clean", sets / "out", metrics=("si_snr",))
    rows = summarize([{**record, "groups": {"a_b": "50% | x&y"}} for record in records], ["a_b"])
    grid = mean_grid(rows, ("si_snr",), ("a_b",))
    assert "50% \\| x&y" in markdown(grid)
    assert "50\\% | x\\&y" in latex(grid)
    assert "a\\_b" in latex(grid)


def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    for kind in ("ref", "est", "noisy"):
        for name, rate in (("a_snr5.wav", 16_000), ("sub/b_snr10.wav", 8000)):
            path = tmp_path / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = {"ref": 0, "est": 1, "noisy": 2}[kind]
            soundfile.write(path, speechlike(rate, rate) + 0.2 * speechlike(rate, rate, seed=seed), rate)
    folders = ("--ref", tmp_path / "ref", "--est", tmp_path / "est", "--noisy", tmp_path / "noisy")
    arguments = ["score", *map(str, folders), "--metrics", "si_snr,stoi"]
    result = CliRunner().invoke(
        app, [*arguments, "--plot", str(tmp_path / "s.pdf"), "--spectrograms", str(tmp_path / "pictures")]
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "s.pdf").stat().st_size > 5000
    assert (tmp_path / "pictures" / "sub" / "b_snr10.wav.png").stat().st_size > 10_000
    for wrong in (("--plot", tmp_path / "s.doc"), ("--plot", tmp_path / "no" / "s.png"), ("--spectrograms", __file__)):
        assert CliRunner().invoke(app, [*arguments, *map(str, wrong)]).exit_code == 2
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(app, [*arguments, "--plot", str(tmp_path / "s.png")])
    assert (result.exit_code, "SI-SNR" in result.output) == (2, False)
    assert "pip install 'dccrn-cli[plots]'" in result.output
