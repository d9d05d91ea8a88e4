"""Combined results of blind tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dccrn_cli import collect_results
from dccrn_cli.cli.app import app
from dccrn_cli.errors import OptionError
from dccrn_cli.scoring.statistics import mean_interval


def result(path: Path, method: str, listener: str, rows: list[dict[str, Any]]) -> Path:
    data = {"format": "dccrn listening test", "version": 1, "method": method, "listener": listener, "rows": rows}
    path.write_text(json.dumps(data))
    return path


def ratings(values: dict[str, list[float]]) -> list[dict[str, Any]]:
    return [{"system": system, "rating": value} for system, found in values.items() for value in found]


def test_ratings_of_several_listeners(tmp_path: Path) -> None:
    one = result(tmp_path / "1.json", "rating", "Ann", ratings({"ours": [70, 80], "noisy": [20, 10]}))
    two = result(tmp_path / "2.json", "rating", "Bob", ratings({"ours": [90, 60], "noisy": [30, 0]}))
    again = result(tmp_path / "3.json", "rating", "Bob", ratings({"ours": [90, 60], "noisy": [30, 0]}))
    best, worst = collect_results([one, two, again]).ratings
    assert (best.system, best.mean, best.answers, best.listeners) == ("ours", 75, 4, 2)
    assert best.interval == mean_interval([70, 80, 90, 60])
    assert (worst.system, worst.mean) == ("noisy", 15)


def test_abx_by_guessing(tmp_path: Path) -> None:
    rows = [{"a": "x", "b": "y", "correct": number % 2 == 0} for number in range(10)]
    rows += [{"a": "y", "b": "x", "correct": True}] * 6
    (found,) = collect_results([result(tmp_path / "1.json", "abx", "", rows)]).abx
    assert (found.a, found.b, found.correct, found.answers) == ("x", "y", 11, 16)
    assert found.p_value == pytest.approx(6885 / 65536)  # as many or more of 16


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not a JSON"),
        ("[1]", "not a listening test result"),
        ('{"format": "dccrn listening test", "method": "other", "rows": [1]}', "unknown kind"),
        ('{"format": "dccrn listening test", "method": "rating", "rows": [{"system": "a", "rating": 300}]}', "damaged"),
        (
            '{"format": "dccrn listening test", "method": "abx", "rows": [{"a": "a", "b": "b", "correct": 1}]}',
            "damaged",
        ),
    ],
)
def test_other_files_are_rejected(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(OptionError, match=why):
        collect_results([tmp_path / "a.json"])


def test_table_and_json(tmp_path: Path) -> None:
    rows = [{"a": "ours", "b": "theirs", "correct": True}] * 12
    path = result(tmp_path / "1.json", "abx", "Ann", rows)
    shown = CliRunner().invoke(app, ["listen", "--collect", str(path)])
    assert shown.exit_code == 0
    assert "12 of 12" in shown.output
    assert "< 0.001" in shown.output
    plain = CliRunner().invoke(app, ["listen", "--collect", str(path), "--json"])
    assert json.loads(plain.output)["abx"][0]["p_value"] == pytest.approx(1 / 4096)
