"""Generates the example clips: synthetic speech in synthetic noise, and the clean references.

Needs flite and espeak-ng on the PATH, and writes noisy/ and clean/ beside this file. The clips are free
to use: these synthesisers speak the sentences below, and the noise comes from the functions below.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

HERE = Path(__file__).parent
LEVEL_DB = -26.0


@dataclass(frozen=True)
class Example:
    """One clip: its speech, noise and file format."""

    name: str
    command: tuple[str, ...]
    noise: Callable[[int, int, np.random.Generator], np.ndarray]
    snr_db: float
    sample_rate: int
    channels: int = 1
    subtype: str = "PCM_16"


def fan(frames: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Broadband noise that falls with frequency, with motor hum."""
    time = np.arange(frames) / rate
    hum = sum(np.sin(2 * np.pi * 100 * k * time + k) / k for k in range(1, 6))
    return coloured(frames, rate, rng, -1.0) + 0.5 * hum


def hiss(frames: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Tape hiss."""
    return coloured(frames, rate, rng, 0.2)


def rain(frames: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Many short drops over steady broadband noise."""
    drops = np.where(rng.random(frames) < 60 / rate, rng.exponential(6, frames), 0)
    decay = np.exp(-np.arange(rate // 100) / (rate / 1000)) * rng.standard_normal(rate // 100)
    return np.convolve(drops, decay)[:frames] + 0.7 * coloured(frames, rate, rng, -0.3)


def street(frames: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Low rumble that rises and falls as cars pass."""
    time = np.arange(frames) / rate
    passing = 0.3 + np.exp(-(((time - time[-1] * 0.6) / 0.8) ** 2))
    passed: np.ndarray = coloured(frames, rate, rng, -1.2) * passing
    return passed


def coloured(frames: int, rate: int, rng: np.random.Generator, slope: float) -> np.ndarray:
    """Noise at an RMS of 1 whose amplitude is proportional to frequency to the power of `slope`."""
    spectrum = np.fft.rfft(rng.standard_normal(frames))
    spectrum *= np.maximum(np.fft.rfftfreq(frames, 1 / rate), 50.0) ** slope
    noise = np.fft.irfft(spectrum, frames)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


SLT = ("flite", "-voice", "slt", "-t")
RMS = ("flite", "-voice", "rms", "-t")
AWB = ("flite", "-voice", "awb", "-t")
ESPEAK = ("espeak-ng", "-v", "en-gb", "-s", "150")

EXAMPLES = (
    Example(
        "lecture.wav",
        (*SLT, "The rainbow is a division of white light into many beautiful colours."),
        fan,
        snr_db=3,
        sample_rate=16_000,
    ),
    Example(
        "interview/tape.flac",
        (*RMS, "We kept the bees behind the orchard, and in winter we fed them sugar."),
        hiss,
        snr_db=5,
        sample_rate=44_100,
        channels=2,
    ),
    Example(
        "interview/porch.wav",
        (*AWB, "It had rained for three days when the ferry came back across the river."),
        rain,
        snr_db=5,
        sample_rate=48_000,
        subtype="PCM_24",
    ),
    Example(
        "field/phone call.wav",
        (*ESPEAK, "Hello, can you hear me? I am standing at the corner of the market."),
        street,
        snr_db=2,
        sample_rate=8000,
        subtype="ULAW",
    ),
)


def speak(command: tuple[str, ...]) -> tuple[np.ndarray, int]:
    """Synthetic speech `(frames,)` and its sample rate."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        option = ("-w", str(path)) if command[0] == "espeak-ng" else ("-o", str(path))
        subprocess.run([*command, *option], check=True)
        speech, rate = soundfile.read(path)
    return np.asarray(speech), rate


def main() -> None:
    """Write all clips."""
    for number, example in enumerate(EXAMPLES):
        rng = np.random.default_rng(number)
        speech, rate = speak(example.command)
        pause = np.zeros(rate // 2)
        speech = soxr.resample(np.concatenate([pause, speech, pause]), rate, example.sample_rate)
        speech *= 10 ** (LEVEL_DB / 20) / np.sqrt(np.mean(speech**2))
        noises = [example.noise(len(speech), example.sample_rate, rng) for _ in range(example.channels)]
        gain = 10 ** ((LEVEL_DB - example.snr_db) / 20)
        noise = np.stack([gain * n / np.sqrt(np.mean(n**2)) for n in noises], axis=1)
        clean = np.repeat(speech[:, None], example.channels, axis=1)
        for folder, audio in (("noisy", clean + noise), ("clean", clean)):
            path = HERE / folder / example.name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.clip(audio, -1, 1), example.sample_rate, example.subtype)


if __name__ == "__main__":
    main()
