"""How right `dccrn inspect` is: SNR and bandwidth against the truth, and how fast.

DATA has main/, clean/ (each with noisy/ and clean/) and metadata.csv, as for benchmarks/validation.py. The truth is
the SNR against active speech of metadata.csv. With --calibrate, mixtures are made of training speech and noise, and
the figures to calibrate with are printed instead.

    python benchmarks/inspect_accuracy.py DATA
    python benchmarks/inspect_accuracy.py --calibrate speech/ noise/
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

from dccrn_cli.data.clips import ClipPool, find_clips
from dccrn_cli.data.speech_level import active_rms, rms
from dccrn_cli.engine.enhancer import Enhancer
from dccrn_cli.engine.files.worker import prepare_torch
from dccrn_cli.metrics.blind_snr import BlindSnrMeter, calibrated
from dccrn_cli.mixing.mixer import Mixer
from dccrn_cli.mixing.mixing_options import MixingOptions
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.report.inspection.inspection import MODEL, inspect_file

BAND_RATES = (6000, 8000, 11_025, 16_000, 22_050, 32_000)
"""Rates through which recordings are brought to limit their band."""

BAND_HZ = 48_000
"""Rate at which they are then inspected."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="+", type=Path, help="DATA, or with --calibrate speech and noise")
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--mixtures", type=int, default=400)
    arguments = parser.parse_args()
    prepare_torch(1)
    if arguments.calibrate:
        speech, noise = arguments.data
        calibrate(speech, noise, arguments.mixtures)
        return
    (data,) = arguments.data
    snr_errors(data)
    bandwidth_errors(data)
    speed(data)


def speed(data: Path) -> None:
    """CPU time of one long recording, made of the files of main."""
    files = sorted((data / "main" / "noisy").glob("*.flac"))
    sound = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in files])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        soundfile.write(path, sound, SAMPLE_RATE)
        started, cpu = time.perf_counter(), time.process_time()
        seconds = inspect_file(path).seconds
    cpu, clock = time.process_time() - cpu, time.perf_counter() - started
    print(f"speed: {seconds / cpu:.0f} × real time by CPU time, {seconds / clock:.0f} × by the clock, one core")


def snr_errors(data: Path) -> None:
    """Errors on main, values on clean."""
    with open(data / "metadata.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] in ("main", "clean")]
    errors: dict[str, list[float]] = {}
    clean = []
    for row in rows:
        found = inspect_file(data / row["part"] / "noisy" / f"{row['name']}.flac")
        if found.snr_db is None:
            print(f"{row['name']}: {found.reason}")
        elif row["part"] == "clean":
            clean.append(found.snr_db)
        else:
            errors.setdefault(row["snr_db"], []).append(found.snr_db - float(row["snr_db"]))
    for snr_db, some in sorted(errors.items(), key=lambda item: float(item[0])):
        print(f"SNR {snr_db:>4} dB: {_summary(some)}")
    print(f"main: {_summary([error for some in errors.values() for error in some])}")
    spread = f"median {np.median(clean):.1f}, lowest {min(clean):.1f}"
    print(f"clean: mean {np.mean(clean):.1f} dB, {spread}, {len(clean)} files")


def _summary(errors: list[float]) -> str:
    x = np.array(errors)
    return (
        f"mean error {x.mean():+.2f} dB, RMS {np.sqrt(np.square(x).mean()):.2f}, "
        f"median of absolute errors {np.median(np.abs(x)):.2f}, largest {np.abs(x).max():.1f}, {len(x)} files"
    )


def bandwidth_errors(data: Path) -> None:
    """Errors of the bandwidth of recordings that were resampled to a lower rate and on to 48 kHz, in 16 bit."""
    files = sorted((data / "main" / "noisy").glob("*.flac"))[:: len(BAND_RATES)]
    worst: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, source in enumerate(files):
            low_hz = BAND_RATES[number % len(BAND_RATES)]
            signal, rate = soundfile.read(source, dtype="float32")
            # Noise up to the edge, as in a room: 16 kHz material ends at 8 kHz itself.
            wide = soxr.resample(signal, rate, BAND_HZ)
            wide = wide + 1e-3 * np.random.default_rng(number).standard_normal(len(wide)).astype(np.float32)
            limited = soxr.resample(soxr.resample(wide, BAND_HZ, low_hz), low_hz, BAND_HZ)
            path = Path(folder) / "a.wav"
            soundfile.write(path, limited, BAND_HZ, subtype="PCM_16")
            found = inspect_file(path).bandwidth_hz
            assert found is not None
            worst.append(found / (low_hz / 2) - 1)
    x = 100 * np.array(worst)
    print(f"bandwidth: mean error {x.mean():+.1f} %, largest {np.abs(x).max():.1f} %, {len(x)} files")


def calibrate(speech: Path, noise: Path, count: int) -> None:
    """Figures of the estimate against the truth on mixtures of training data."""
    options = MixingOptions(
        snr_db=(-6.0, 40.0), clean=0, noise_only=0, talkers=0, codec=0, clipping=0, band_limit=0, reverb=0.2,
        lead_in=0.1,
    )  # fmt: skip
    mixer = Mixer(ClipPool(find_clips([speech])), ClipPool(find_clips([noise])), None, options, seed=18)
    enhancer = Enhancer(MODEL, SAMPLE_RATE, device="cpu")
    rows = []
    for number in range(count):
        noisy, clean = mixer.example(number)
        meter = BlindSnrMeter()
        meter.process(noisy, enhancer(noisy))
        found = meter.estimate()
        if found.snr_db is not None:
            rows.append((found.raw_db, 20 * np.log10(active_rms(clean) / rms(noisy - clean))))
    raw, truth = np.array(rows).T
    for low in range(-10, 45, 5):
        some = (raw >= low) & (raw < low + 5)
        if some.any():
            error = truth[some] - raw[some]
            print(f"raw {low:>3} to {low + 5:>2} dB: truth above it by median {np.median(error):+.2f} dB, "
                  f"mean {error.mean():+.2f}, {some.sum()} mixtures")  # fmt: skip
    after = np.array([calibrated(value) for value in raw])
    print(f"calibrated: {_summary(list((after - truth)[truth < 21]))} below 21 dB; "
          f"{_summary(list((after - truth)[truth >= 21]))} above")  # fmt: skip


if __name__ == "__main__":
    main()
