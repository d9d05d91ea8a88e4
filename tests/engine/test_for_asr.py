"""`--for asr`: a stated share of the original's noise stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speechlike
from typer.testing import CliRunner

from dccrn_cli import EnhanceOptions, Enhancer, OptionError, enhance
from dccrn_cli.cli.app import app
from dccrn_cli.engine.files.pauses import PauseMeter

RATE = 16_000
SHARE = 10 ** (-12 / 20)


def test_stated_share_of_noise_stays_in_pauses(tmp_path: Path) -> None:
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    noise = 0.03 * np.random.default_rng(0).standard_normal(4 * RATE)
    soundfile.write(source, noise, RATE, subtype="FLOAT")
    result = enhance(source, target, purpose="asr", model="dccrn-small", precision="fp32")
    before, after = (soundfile.read(path, dtype="float32")[0] for path in (source, target))
    # To the bit a quarter of the original, and of the network's output what is left.
    whole = Enhancer("dccrn-small", precision="fp32")(before)
    np.testing.assert_allclose(after, SHARE * before + (1 - SHARE) * whole, atol=1e-6)
    late = slice(RATE, None)  # the network has found out that there is no speech
    kept_db = 10 * np.log10(np.square(after[late]).sum() / np.square(before[late]).sum())
    assert kept_db == pytest.approx(-12.0, abs=0.5)
    assert result.noise_kept_db == pytest.approx(-12.0, abs=0.5)


def test_share_is_measured_only_in_pauses() -> None:
    rng = np.random.default_rng(1)
    original = 0.1 * rng.standard_normal((RATE, 2)).astype(np.float32)
    speech = np.zeros((RATE, 1), np.float32)
    speech[4800:9600] = 1.0
    network = original * np.where(speech, 0.9, 0.001)
    result = (0.25 * original + 0.75 * network).astype(np.float32)
    meter = PauseMeter(RATE, 2, 0.25)
    at = 0
    for cut in [*rng.integers(0, RATE, 9), RATE]:
        block = slice(at, max(int(cut), at))
        meter.hear(original[block])
        meter.add(result[block])
        at = block.stop
    assert meter.noise_kept_db == pytest.approx(20 * np.log10(0.25 + 0.75 * 0.001), abs=1e-3)
    assert PauseMeter(RATE, 1, 0.25).noise_kept_db is None


def test_explicit_limit_and_share_in_the_report(tmp_path: Path, tiny_model_file: Path) -> None:
    source, limited, plain = (tmp_path / name for name in ("a.wav", "b.wav", "c.wav"))
    soundfile.write(source, 0.1 * speechlike(RATE), RATE)
    model = ["--model", str(tiny_model_file), "--attenuation-limit", "6"]
    shown = CliRunner().invoke(app, ["enhance", str(source), "-o", str(limited), "--for", "asr", *model, "--json"])
    assert shown.exit_code == 0, shown.output
    assert '"noise_kept_db"' in shown.output
    assert any("noise_kept_db" in json.loads(line) for line in shown.stdout.splitlines())
    assert CliRunner().invoke(app, ["enhance", str(source), "-o", str(plain), *model]).exit_code == 0
    assert limited.read_bytes() == plain.read_bytes()


def test_options() -> None:
    assert EnhanceOptions(purpose="asr").attenuation_limit_db == 12.0
    assert EnhanceOptions(purpose="asr", attenuation_limit_db=20.0).attenuation_limit_db == 20.0
    assert EnhanceOptions().attenuation_limit_db is None
    with pytest.raises(OptionError, match="listening or asr"):
        EnhanceOptions(purpose="music")  # type: ignore[arg-type]
