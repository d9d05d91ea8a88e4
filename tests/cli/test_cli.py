"""The command as a user sees it: exit code, output and files."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import TINY, lively, speechlike
from typer.testing import CliRunner

from dccrn_cli import __version__, enhance
from dccrn_cli.cli.app import app
from dccrn_cli.errors import AudioError, CheckpointError, OptionError
from dccrn_cli.nn.checkpoint import load_checkpoint, save_model


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    folder = tmp_path / "noisy"
    (folder / "sub").mkdir(parents=True)
    soundfile.write(folder / "a.wav", speechlike(20_000), 16_000)
    soundfile.write(folder / "sub" / "b.flac", speechlike(44_100, 44_100, 2), 44_100, subtype="PCM_24")
    return folder


def test_folder(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    out = tmp_path / "out"
    result = run("enhance", noisy, "-o", out, "--model", tiny_model_file)
    assert result.exit_code == 0, result.output
    assert "2 files enhanced" in result.output
    for name in ("a.wav", "sub/b.flac"):
        before, after = soundfile.info(noisy / name), soundfile.info(out / name)
        for attribute in ("samplerate", "channels", "frames", "format", "subtype", "endian"):
            assert getattr(before, attribute) == getattr(after, attribute)
    assert {p.name for p in out.rglob("*")} == {"a.wav", "sub", "b.flac"}


def test_existing_results_are_skipped_or_replaced(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.wav").write_bytes(b"mine")
    result = run("enhance", noisy, "-o", out, "--model", tiny_model_file)
    assert result.exit_code == 0
    assert "1 skipped" in result.output
    assert (out / "a.wav").read_bytes() == b"mine"
    result = run("enhance", noisy, "-o", out, "--model", tiny_model_file, "--overwrite")
    assert result.exit_code == 0
    assert soundfile.info(out / "a.wav").frames == 20_000


def test_folder_with_damaged_files_and_odd_names(tmp_path: Path, tiny_model_file: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    good = {
        'it\'s "quoted" and naïve 音.wav': (speechlike(9000), 16_000, "WAV", "PCM_16"),
        "no samples.wav": (np.zeros((0, 1), np.float32), 16_000, "WAV", "PCM_16"),
        "eight.wav": (speechlike(30_000, 96_000, 8), 96_000, "WAV", "FLOAT"),
        "phone.wav": (speechlike(8000, 8000), 8000, "WAV", "ULAW"),
        "one sample.wav": (speechlike(1), 44_100, "WAV", "PCM_24"),
        "song.mp3": (speechlike(44_100, 44_100, 2), 44_100, "MP3", "MPEG_LAYER_III"),
    }
    for name, (x, rate, container, subtype) in good.items():
        soundfile.write(folder / name, x, rate, subtype=subtype, format=container)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("I am text")
    soundfile.write(folder / "damaged.flac", speechlike(90_000), 16_000)
    data = bytearray((folder / "damaged.flac").read_bytes())
    data[len(data) // 3 : len(data) // 3 + 40] = bytes(40)
    (folder / "damaged.flac").write_bytes(data)
    broken = speechlike(40_000)
    broken[32_000] = np.nan
    soundfile.write(folder / "nan.wav", broken, 16_000, subtype="FLOAT")
    (folder / "loop").symlink_to(folder)
    (folder / "readme.txt").write_text("not audio")

    result = run("enhance", folder, "-o", out, "--model", tiny_model_file)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    for name in ("empty.wav", "text.wav", "damaged.flac", "nan.wav"):
        assert name in result.output
    assert "nan.wav: NaN sample at 2.000 s" in result.output
    assert {p.name for p in out.rglob("*")} == set(good)
    for name, (x, rate, container, subtype) in good.items():
        info = soundfile.info(out / name)
        assert (info.frames, info.samplerate, info.channels) == (len(x), rate, x.shape[1])
        assert (info.format, info.subtype) == (container, subtype)


def test_alignment_and_silence_through_the_file_pipe(tmp_path: Path) -> None:
    """With an identity network, files come back unchanged to the sample."""
    import torch

    from dccrn_cli.nn.dccrn import DCCRN

    model = DCCRN(TINY)
    with torch.no_grad():
        for name, weight in model.decoder[-1].named_parameters():
            if name in ("conv.real_weight", "conv.imag_weight"):
                weight.zero_()
    save_model(model, tmp_path / "identity.safetensors")
    for rate in (8000, 16_000, 22_050, 44_100, 48_000):
        x = speechlike(rate * 7 // 2 + 11, rate, 2)
        x[rate : 2 * rate] = 0
        soundfile.write(tmp_path / "x.wav", x, rate, subtype="PCM_24")
        arguments = ("-o", tmp_path / "y.wav", "--model", tmp_path / "identity.safetensors", "--overwrite")
        assert run("enhance", tmp_path / "x.wav", *arguments).exit_code == 0
        y, _ = soundfile.read(tmp_path / "y.wav", dtype="float32")
        assert y.shape == x.shape
        middle = slice(rate // 10, -rate // 10)
        limit = 0.02 if rate > 8000 else 0.1  # the resampler cuts noise near 4 kHz in an 8 kHz file
        assert np.abs(y - x)[middle].max() < limit
        assert not y[rate + rate // 2 : rate + rate // 2 + 100].any()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_file_name_that_is_not_utf8(tmp_path: Path, tiny_model_file: Path) -> None:
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    soundfile.write(tmp_path / "in" / "x.wav", speechlike(4000), 16_000)
    os.rename(tmp_path / "in" / "x.wav", folder + b"/caf\xe9.wav")
    with open(folder + b"/bad\xff\n.wav", "wb") as file:
        file.write(b"text")
    result = run("enhance", tmp_path / "in", "-o", tmp_path / "out", "--model", tiny_model_file)
    assert result.exit_code == 1
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"caf\xe9.wav"]
    assert "bad\\udcff\\n.wav" in result.output


@pytest.mark.skipif(sys.platform == "darwin", reason="there is such a device")
def test_usage_errors(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    cases = [
        ("enhance", noisy, "-o", noisy),
        ("enhance", tmp_path / "missing", "-o", tmp_path / "out"),
        ("enhance", noisy, "-o", tmp_path / "out", "--model", "nothing"),
        ("enhance", noisy, "-o", tmp_path / "out", "--model", noisy / "a.wav"),
        ("enhance", noisy, "-o", tmp_path / "out", "--model", tiny_model_file, "--device", "mps"),
        ("enhance", noisy),
    ]
    for case in cases:
        result = run(*case)
        assert result.exit_code == 2, (case, result.output)
        assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_one_missing_file_fails_alone(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    result = run("enhance", noisy, tmp_path / "gone.wav", "-o", tmp_path / "out", "--model", tiny_model_file)
    assert result.exit_code == 1
    assert "gone.wav" in result.output
    assert (tmp_path / "out" / "a.wav").exists()


def test_quiet_prints_errors_only(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    assert run("enhance", noisy, "-o", tmp_path / "out", "--model", tiny_model_file, "-q").output == ""
    (noisy / "bad.wav").write_bytes(b"")
    result = run("enhance", noisy, "-o", tmp_path / "out", "--model", tiny_model_file, "-q")
    assert result.output.count("\n") == 1
    assert "bad.wav" in result.output


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_on_a_terminal(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    import pty

    master, slave = pty.openpty()
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "dccrn_cli",
        "enhance",
        noisy,
        "-o",
        tmp_path / "out",
        "--model",
        tiny_model_file,
    ]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "140"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=slave, env=environment)
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:  # raised by Linux when the other end has closed
        pass
    os.close(master)
    assert process.wait() == 0
    text = shown.decode()
    for part in ("2.2 s of 2.2 s", "2/2 files", "× real time", "b.flac"):
        assert part in text


def test_results_do_not_depend_on_other_files(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    """A file in a batch, after a failure, gives the same bytes as on its own."""
    soundfile.write(noisy / "0.wav", np.full((4000, 1), np.nan), 16_000, subtype="FLOAT")
    run("enhance", noisy, "-o", tmp_path / "all", "--model", tiny_model_file)
    run("enhance", noisy / "a.wav", "-o", tmp_path / "alone", "--model", tiny_model_file)
    assert (tmp_path / "all" / "a.wav").read_bytes() == (tmp_path / "alone" / "a.wav").read_bytes()


def test_python_function(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    result = enhance(noisy / "a.wav", tmp_path / "deep" / "a.flac", model=tiny_model_file)
    assert result.seconds == 1.25
    assert soundfile.info(tmp_path / "deep" / "a.flac").format == "FLAC"
    for target in ("a.wav", "sub/../a.wav"):
        with pytest.raises(AudioError, match="overwrite its source"):
            enhance(noisy / "a.wav", noisy / target, model=tiny_model_file, overwrite=True)
    with pytest.raises(OptionError, match="exists"):
        enhance(noisy / "a.wav", tmp_path / "deep" / "a.flac", model=tiny_model_file)
    with pytest.raises(AudioError, match="no such file"):
        enhance(noisy / "none.wav", tmp_path / "x.wav", model=tiny_model_file)


def test_misleading_file_name_is_kept(tmp_path: Path, tiny_model_file: Path) -> None:
    soundfile.write(tmp_path / "really.wav", speechlike(9000, 44_100), 44_100, format="MP3", subtype="MPEG_LAYER_III")
    assert run("enhance", tmp_path / "really.wav", "-o", tmp_path / "out", "--model", tiny_model_file).exit_code == 0
    assert soundfile.info(tmp_path / "out" / "really.wav").format == "MP3"


def test_format_changes_are_reported(tmp_path: Path, tiny_model_file: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(9000), 16_000, subtype="FLOAT")
    result = run("enhance", tmp_path / "a.wav", "-o", tmp_path / "b.flac", "--model", tiny_model_file)
    assert result.exit_code == 0
    assert "FLOAT samples converted to PCM_24" in result.output


def test_folder_in_place_of_a_result(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    (tmp_path / "out" / "a.wav").mkdir(parents=True)
    result = run("enhance", noisy, "-o", tmp_path / "out", "--model", tiny_model_file)
    assert result.exit_code == 1
    assert "there is a folder named" in result.output
    assert (tmp_path / "out" / "sub" / "b.flac").exists()


def test_unexpected_error_fails_one_file(
    noisy: Path, tmp_path: Path, tiny_model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dccrn_cli.engine.enhancer import Enhancer

    real = Enhancer.process

    def process(self: Enhancer, block: np.ndarray, axis: int | None = None) -> np.ndarray:
        if block.shape[1] == 2:
            raise MemoryError("too much")
        result: np.ndarray = real(self, block, axis)
        return result

    monkeypatch.setattr(Enhancer, "process", process)
    result = run("enhance", noisy, "-o", tmp_path / "out", "--model", tiny_model_file)
    assert result.exit_code == 1
    assert "b.flac: MemoryError: too much" in result.output
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["a.wav"]


def test_damaged_models_are_reported(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    model = lively(TINY)
    good = dict(model.state_dict())
    config = json.dumps(TINY.to_dict())
    cases: list[tuple[dict[str, torch.Tensor], dict[str, str]]] = [
        ({**good, "encoder.0.conv.real_bias": good["encoder.0.conv.real_bias"] * float("nan")}, {"config": config}),
        ({**good, "more": torch.zeros(1)}, {"config": config}),
        ({k: v for k, v in good.items() if "bottleneck" not in k}, {"config": config}),
        (good, {"config": "{"}),
        (good, {}),
        (good, {"config": config.replace("256", "256.0")}),
        (good, {"config": config, "provenance": "{"}),
        (good, {"config": config, "provenance": "[]"}),
    ]
    for tensors, metadata in cases:
        save_file(tensors, tmp_path / "bad.safetensors", {"format": "dccrn-1", **metadata})
        with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
            load_checkpoint(tmp_path / "bad.safetensors")
    save_file(good, tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError, match="not a dccrn model"):
        load_checkpoint(tmp_path / "bad.safetensors")


def test_version_and_help() -> None:
    assert run("--version").output == f"dccrn {__version__}\n"
    for command in ([], ["enhance"], ["models"], ["train"], ["convert"], ["score"]):
        result = run(*command, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.output


def test_terminal_without_unicode(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    options = [str(noisy), "-o", str(tmp_path / "out"), "--model", str(tiny_model_file)]
    for arguments in (["--help"], [*options, "--dry-run"], options):
        command = [sys.executable, "-m", "dccrn_cli", "enhance", *arguments]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; from dccrn_cli.cli.app import app; app(['--help'], standalone_mode=False); "
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("False\n")


def test_enhancing_does_not_import_scipy(noisy: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    arguments = ["enhance", str(noisy), "-o", str(tmp_path / "out"), "--model", str(tiny_model_file)]
    code = (
        f"import sys; from dccrn_cli.cli.app import app; app({arguments!r}, standalone_mode=False); "
        "print('scipy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("False\n")


def test_models_lists_the_bundled_models() -> None:
    from dccrn_cli.nn.models import DEFAULT_MODEL, bundled_models, find_model

    result = run("models")
    assert result.exit_code == 0
    assert f"{DEFAULT_MODEL} (default)" in result.output
    for word in ("parameters", "GMAC", "latency", "trained on", "licence", "PESQ"):
        assert word in result.output
    assert find_model() == bundled_models()[0].path
    assert json.loads(run("models", "--json").output)[0]["name"] == DEFAULT_MODEL


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, complex_norm=True, complex_rnn=True, mask="E")
    model = lively(config)
    x = speechlike(5000).T
    import torch

    for half, tolerance in ((True, 1e-2), (False, 0.0)):
        save_model(model, tmp_path / "m.safetensors", {"data": "ünïcode"}, half=half)
        again, provenance = load_checkpoint(tmp_path / "m.safetensors")
        assert provenance == {"data": "ünïcode"}
        assert again.config == config
        with torch.inference_mode():
            torch.testing.assert_close(again(torch.from_numpy(x)), model(torch.from_numpy(x)), atol=tolerance, rtol=0)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_killed_run_leaves_no_partial_output_and_resumes(tmp_path: Path, tiny_model_file: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for index in range(30):
        soundfile.write(folder / f"{index:02}.wav", speechlike(16_000 * 20, seed=index), 16_000)
    arguments = [folder, "-o", out, "--model", tiny_model_file]
    command = [sys.executable, "-m", "dccrn_cli", "enhance", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list(out.glob("*.wav"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = sorted(out.glob("*.wav"))
    assert 3 <= len(finished) < 30
    for path in finished:
        assert soundfile.info(path).frames == 16_000 * 20
    result = run("enhance", folder, "-o", out, "--model", tiny_model_file)
    assert result.exit_code == 0
    skipped = re.search(r"(\d+) skipped", result.output)
    assert skipped, result.output
    assert int(skipped[1]) >= len(finished)  # a worker may have finished one more before it noticed
    assert sorted(os.listdir(out)) == [f"{index:02}.wav" for index in range(30)]
