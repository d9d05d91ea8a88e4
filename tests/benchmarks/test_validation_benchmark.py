"""Validation figures: derived sets, metrics and tables."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import voice

from dccrn_cli.data.speech_level import active_rms, rms
from dccrn_cli.errors import OptionError

_PATH = Path(__file__).parents[2] / "benchmarks" / "validation.py"
NOISES = ("babble", "vacuum", "vacuum", "quasar")


@pytest.fixture
def validation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark with few pairs and without DNSMOS."""
    spec = importlib.util.spec_from_file_location("validation_benchmark", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)

    def no_network() -> Path:
        raise OptionError("there is none")

    monkeypatch.setattr(module, "find_dnsmos_model", no_network)
    monkeypatch.setattr(module, "MADE_PAIRS", 2)
    return module


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs in main/ from eight speakers at 0 and 10 dB, and two each in reverb/ and clean/."""
    root = tmp_path_factory.mktemp("validation")
    rows = []
    for part, count in (("main", 8), ("reverb", 2), ("clean", 2)):
        for index in range(count):
            clean, snr_db = voice(2.0, index), 10 * (index % 2)
            noise = np.random.default_rng(index).standard_normal(len(clean))
            noise *= active_rms(clean) * 10 ** (-snr_db / 20) / rms(noise) * (part != "clean")
            for kind, samples in (("noisy", clean + noise), ("clean", clean)):
                path = root / part / kind / f"{part}_{index}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, np.clip(samples, -1, 0.999), 16_000)
            row = {"part": part, "name": f"{part}_{index}", "snr_db": snr_db, "speaker": f"voice {index}"}
            rows.append({**row, "noise_class": NOISES[index % 4] if part != "clean" else ""})
    with open(root / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


def main_pairs(validation: ModuleType, data: Path) -> list[Any]:
    return [pair for pair in validation.find_pairs(data) if pair.part == "main"]


def test_cold_starts_begin_with_noise_only(validation: ModuleType, data: Path, tmp_path: Path) -> None:
    made = validation.make_cold_starts(main_pairs(validation, data), tmp_path / "one")
    again = validation.make_cold_starts(main_pairs(validation, data), tmp_path / "two")
    assert len(made) == len(again) == 2
    for pair, same in zip(made, again, strict=True):
        noisy, clean = (soundfile.read(path)[0] for path in (pair.noisy, pair.clean))
        assert len(noisy) == len(clean) == 16_000 + 32_000
        assert not clean[:16_000].any()
        noise = noisy - clean
        assert rms(noise[:4800]) == pytest.approx(rms(noise[16_000:]), rel=0.1)
        np.testing.assert_array_equal(noisy, soundfile.read(same.noisy)[0])


def test_babble_uses_other_speakers_at_the_given_snr(
    validation: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = main_pairs(validation, data)
    speakers = [f"voice {index}" for index in range(8)]
    for pair in validation.make_babble(pairs, speakers, tmp_path / "one"):
        noisy, clean = (soundfile.read(path)[0] for path in (pair.noisy, pair.clean))
        assert 20 * np.log10(active_rms(clean) / rms(noisy - clean)) == pytest.approx(5, abs=0.05)
        voices = np.stack([soundfile.read(one.clean)[0] for one in pairs])
        shares, *_ = np.linalg.lstsq(voices.T, noisy, rcond=None)
        assert (shares > 0.01).sum() == 5
        assert shares.max() == pytest.approx(shares[int(pair.clean.stem.split("_")[-1])])
    monkeypatch.setattr(validation, "MADE_PAIRS", 8)
    assert len(validation.make_babble(pairs, speakers, tmp_path / "two")) == 8


def test_the_command(
    validation: ModuleType,
    data: Path,
    tiny_model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["validation.py", str(data), "--model", str(tiny_model_file), "--json", str(tmp_path / "figures.json")]
    monkeypatch.setattr(sys, "argv", [*command, "--classes", "--cache", str(tmp_path / "cache")])
    validation.main()
    told = capsys.readouterr()
    assert "without DNSMOS: there is none" in told.err
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert list(figures) == ["main", "reverb", "clean", "cold_start", "babble"]
    main = figures["main"]
    assert [name for name in main if ":" not in name] == [
        "noisy", "noisy 0 dB", "noisy 10 dB", "enhanced", "enhanced 0 dB", "enhanced 10 dB"
    ]  # fmt: skip
    assert main["noisy"]["pairs"] == 8
    assert main["noisy 10 dB"]["si_snr"] > main["noisy 0 dB"]["si_snr"] + 8
    assert set(main["enhanced"]) == {"si_snr", "pesq_wb", "stoi", "estoi", "level_db", "pauses_db", "pairs"}
    assert set(figures["cold_start"]["enhanced"]) == {"start_db", "si_snr", "pesq_wb", "stoi", "level_db", "pairs"}
    assert main["enhanced: vacuum"]["pairs"] == main["enhanced: motors and machines"]["pairs"] == 4
    assert main["enhanced: other noises"] == main["enhanced: quasar"]
    lines = told.out.splitlines()
    assert lines[0] == "| set | | SI-SNR dB | PESQ-WB | STOI | ESTOI | level dB | pauses dB | start dB |"
    assert any(line.startswith("| main | enhanced 10 dB | ") for line in lines)
    assert any(line.startswith("| motors and machines | 4 | ") for line in lines)
    assert any(line.startswith("| vacuum | 4 | ") for line in lines)

    monkeypatch.setattr(sys, "argv", [*command, "--quick"])
    validation.main()
    quick = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert list(quick) == ["main"]
    assert quick["main"]["enhanced"]["pairs"] == 4
    assert set(quick["main"]["enhanced"]) == {"si_snr", "pesq_wb", "stoi", "level_db", "pauses_db", "pairs"}
