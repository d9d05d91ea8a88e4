"""Pairing of estimates with references, including results of `dccrn enhance` beside their originals."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner
from voices import hiss, voice, write

import dccrn_cli.metrics.dnsmos as dnsmos_module
from dccrn_cli import score_folders
from dccrn_cli.cli.app import app
from dccrn_cli.cli.score_report import as_rich
from dccrn_cli.errors import OptionError
from dccrn_cli.scoring.affixes import match_affixed
from dccrn_cli.scoring.pairing import match_names, pair_paths
from dccrn_cli.scoring.score_pairs import choose_metrics
from dccrn_cli.scoring.table import differences
from dccrn_cli.scoring.text import Grid, narrowed, unique_columns


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize(
    "template", ["{}_clean", "{}-dn", "{} better", "enhanced_{}", "studio_{}", "x_{}_y", "{}_enhanced", "{}.v2final"]
)
def test_affixes(template: str) -> None:
    references = ["a/talk.wav", "a/walk.wav", "b/talk.wav", "b/balk.wav"]
    results = [f"{name[:2]}{template.format(name[2:-4])}.flac" for name in references]
    assert match_names(results, references) == dict(zip(results, references, strict=True))
    partners, originals = match_affixed([*results, *references], references)
    assert partners == dict(zip(results, references, strict=True))
    assert originals == set(references)


def test_affix_equal_to_the_folder_name() -> None:
    references = ["p1/talk.wav", "p1/walk.wav", "p2/talk.wav", "p2/walk.wav"]
    results = ["p1/p1_talk.wav", "p1/p1_walk.wav", "p2/p2_talk.wav", "p2/p2_walk.wav"]
    assert match_names(results, references) == dict(zip(results, references, strict=True))


def test_rejected_affixes() -> None:
    assert match_affixed(["a.wav", "a2.wav"], ["a.wav", "a2.wav"]) == ({}, set())
    assert match_affixed(["a.wav", "a_2.wav", "b.wav", "b_2.wav"], ["a.wav", "b.wav"]) == ({}, set())  # second takes
    assert match_affixed(["a.wav", "a_old.wav", "b.wav", "c.wav"], ["a.wav", "b.wav", "c.wav"]) == ({}, set())
    two = ["a_x.wav", "a_y.wav", "b_x.wav", "b_y.wav"]
    assert match_affixed(two, ["a.wav", "b.wav"]) == ({}, set())  # which of them?
    assert match_affixed(["talk_enhanced.wav"], ["talk.wav"]) == ({"talk_enhanced.wav": "talk.wav"}, set())


def test_originals_beside_results_are_not_scored(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"clean/talk{number}.wav", voice(number))
        write(tmp_path / f"mixed/talk{number}.wav", hiss(voice(number), 0.3))
        if number < 2:
            write(tmp_path / f"mixed/talk{number}_clean.wav", hiss(voice(number), 1e-4))
    arguments = ("score", "--ref", tmp_path / "clean", "--est", tmp_path / "mixed", "--metrics", "snr")
    result = run(*arguments, "--noisy", tmp_path / "mixed", "--json")
    data = json.loads(result.stdout)
    assert [one["file"] for one in data["files"]] == ["talk0_clean.wav", "talk1_clean.wav"]
    assert all(one["values"]["snr"] > 30 > one["noisy_values"]["snr"] for one in data["files"])
    assert [(one["file"], one["note"]) for one in data["unmatched"]] == [("talk2.wav", "no estimate")]
    assert "3 originals beside the results skipped" in result.stderr
    assert result.exit_code == 1


def test_unreadable_folder_does_not_stop_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dccrn_cli.scoring.pairing as pairing_module

    write(tmp_path / "clean/a.wav", voice())
    write(tmp_path / "out/a.wav", hiss(voice()))
    from dccrn_cli.audio.discovery import walk as real

    def walk(root: Path, on_error: Any, *rest: Any) -> Any:
        if root.name == "out":
            on_error(root / "locked", "the folder cannot be read (Permission denied)")
        return real(root, on_error, *rest)

    monkeypatch.setattr(pairing_module, "walk", walk)
    pairing = pair_paths(tmp_path / "clean", {"out": tmp_path / "out"})
    assert [pair.file for pair in pairing.pairs] == ["a.wav"]
    assert [(alone.file, alone.reason) for alone in pairing.unmatched] == [
        ("locked", "the folder cannot be read (Permission denied)")
    ]


class Network:
    """Stands in for DNSMOS."""


def test_dnsmos_needs_no_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "b.wav"):
        write(tmp_path / "out" / name, voice())
    monkeypatch.setattr(dnsmos_module, "load_network", lambda path: Network())
    monkeypatch.setattr(dnsmos_module, "_run", lambda session, window: np.array([3.0, 3.0, 3.0]))
    (tmp_path / "model.onnx").touch()
    model = ("--dnsmos-model", tmp_path / "model.onnx")
    for metrics in ((), ("--metrics", "dnsmos"), ("--metrics", "dnsmos_ovrl,dnsmos-sig,dnsmos_bak"),
                    ("--metrics", "all")):  # fmt: skip
        result = run("score", "--est", tmp_path / "out", *metrics, *model, "--json")
        assert result.exit_code == 0, result.output
        files = json.loads(result.stdout)["files"]
        assert [len(one["values"]) for one in files] == [3, 3]
        assert files[0]["reference"] is None
        assert 1 < files[0]["values"]["dnsmos_ovrl"] < 5
    # The package `speechmos` instead of the option.
    monkeypatch.setattr(dnsmos_module, "find_dnsmos_model", lambda path=None: tmp_path / "model.onnx")
    assert len(score_folders(None, tmp_path / "out", metrics=["dnsmos"])) == 2
    assert "dnsmos_sig" in choose_metrics(["all"], True)
    for metrics in (("--metrics", "si_snr"), ("--metrics", "dnsmos,stoi")):
        result = run("score", "--est", tmp_path / "out", *metrics, *model)
        assert (result.exit_code, "needs reference files" in result.stderr) == (2, True)


def test_no_metrics_without_dnsmos_and_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(path: object = None) -> Path:
        raise OptionError("no file")

    monkeypatch.setattr(dnsmos_module, "find_dnsmos_model", absent)
    with pytest.raises(OptionError, match="only DNSMOS"):
        choose_metrics(["all"], False, None, False)


@pytest.fixture
def systems(tmp_path: Path) -> Path:
    """Eight files at two SNRs, and two systems of which `good` is better at each."""
    for number in range(8):
        name = f"talk{number}_snr{5 * (number % 2)}.wav"
        x = voice(number)
        write(tmp_path / "clean" / name, x)
        for system, level in (("bad", 0.03), ("good", 0.01)):
            write(tmp_path / system / name, hiss(x, level, number))
    return tmp_path


def test_si_sdr_is_accepted_and_reported(systems: Path) -> None:
    arguments = ("score", "--ref", systems / "clean", "--est", systems / "good")
    for name in ("si_sdr", "SI-SDR", "sisdr"):
        result = run(*arguments, "--metrics", name, "--json")
        assert list(json.loads(result.stdout)["files"][0]["values"]) == ["si_snr"]
        assert "is si_snr" in result.stderr


def test_differences_by_snr_with_a_test(systems: Path) -> None:
    folders = [systems / "bad", systems / "good"]
    records = score_folders(systems / "clean", folders, metrics=["si_snr"], by=["snr"])
    rows = differences(records, ["snr"])
    assert [row["group"] for row in rows] == [{"snr": 0.0}, {"snr": 5.0}, {}]
    assert [row["metrics"]["si_snr"]["count"] for row in rows] == [4, 4, 8]
    assert rows[-1]["metrics"]["si_snr"]["p_value"] == pytest.approx(2 / 2**8)
    result = run("score", "--ref", systems / "clean", "--est", folders[0], "--est", folders[1], "--by", "snr",
                 "--metrics", "si_snr")  # fmt: skip
    assert "(p = 0.008)" in result.stdout
    assert "Wilcoxon" in result.stdout
    assert result.stdout.count("good") >= 6


def test_columns_never_collide(systems: Path) -> None:
    metadata = systems / "about.csv"
    names = [f"talk{number}_snr{5 * (number % 2)}" for number in range(8)]
    lines = [f"{name},q{number},{number % 2}" for number, name in enumerate(names)]
    metadata.write_text("\n".join(["name,note,si_snr", *lines]))
    result = run("score", "--ref", systems / "clean", "--est", systems / "good", "--metrics", "snr,si_snr",
                 "--by", "snr", "--by", "note", "--by", "si_snr", "--metadata", metadata,
                 "--csv", systems / "out.csv")  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO((systems / "out.csv").read_text())))
    assert list(rows[0]) == ["file", "si_snr", "snr", "by_snr", "by_note", "by_si_snr", "note"]
    assert float(rows[0]["snr"]) > 10 > float(rows[0]["by_snr"]) >= 0
    assert rows[3]["by_note"] == "q3"
    assert unique_columns(["snr", "by_snr", "snr2"], ["snr", "by_snr"]) == ["by_by_snr", "by_by_by_snr", "snr2"]
    assert unique_columns(["system", "files"], ["system", "files"]) == ["by_system", "by_files"]


def test_cells_of_a_table_as_wide_as_the_terminal_do_not_wrap(capsys: pytest.CaptureFixture[str]) -> None:
    grid = Grid(["difference to noisy", "files", "SI-SNR (dB)", "SNR (dB)"],
                [["o1", "4", "+10.99 ± 0.96 (p = 0.125)", "+10.96 ± 0.80 (p = 0.125)"]], 1, frozenset())  # fmt: skip
    for part in narrowed(grid, 80):
        Console(width=80).print(as_rich(part))
    assert capsys.readouterr().out.count("(p = 0.125)") == 2


def test_all_metrics_fit_a_terminal() -> None:
    grid = Grid(["snr", "files", *(f"Metric number {n} (dB)" for n in range(16))],
                [["0 dB", "12", *(f"{n}.00 ± 0.11" for n in range(16))]], 1, frozenset())  # fmt: skip
    parts = narrowed(grid, 80)
    assert len(parts) > 2
    for part in parts:
        assert part.head[:2] == ["snr", "files"]
        assert (
            sum(
                max(len(head.split(" (")[0]), len(cell)) + 2 for head, cell in zip(part.head, part.body[0], strict=True)
            )
            <= 82
        )
    assert [head for part in parts for head in part.head[2:]] == grid.head[2:]
    assert narrowed(grid, 1000) == [grid]


def test_csv_is_checked_first_and_written_last(systems: Path) -> None:
    arguments = ("score", "--ref", systems / "clean", "--est", systems / "good", "--metrics", "snr")
    assert run(*arguments, "--csv", systems).exit_code == 2
    result = run(*arguments, "--csv", "/dev/full")
    assert result.exit_code == 1
    assert "SNR" in result.stdout
    assert "the disk is full" in result.stderr
