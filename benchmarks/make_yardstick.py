"""Generates the speech on which `dccrn finetune` checks every model, independent of the user's data.

    python benchmarks/make_yardstick.py

Needs flite and espeak-ng on the PATH, and writes 16 clips of 4 s to dccrn_cli/yardstick/. They are free
to use: the sentences below, spoken by synthesisers.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.training.retention_set import CLIP_S, speech_folder

LEVEL = 0.05  # RMS
FADE_S = 0.02

FLITE = {
    "slt": (
        "The harbour was quiet when the first boats came home with the morning tide.",
        "Please send the second chapter to the printer before the end of the week.",
        "She measured the garden twice and planted seven apple trees along the wall.",
        "Nobody had asked the old clock maker how the tower bell was tuned.",
    ),
    "rms": (
        "A thin layer of frost covered the fields beyond the railway bridge.",
        "We choose the shortest road, although the bus will take us only half of the way.",
        "My uncle used to fix radios in a small shop behind the theatre.",
        "If the weather holds, the survey of the northern valley begins on Thursday.",
    ),
    "awb": (
        "The judge listened with patience to each of the eleven witnesses.",
        "Fresh bread and strong coffee were all that the travellers wished for.",
        "Every spring the river carries sand and pebbles down to the lake.",
        "Turn the handle slowly, then wait until the needle points to zero.",
    ),
}
ESPEAK = {
    "de+m3": "Der Zug nach Hamburg fährt heute wegen der Bauarbeiten zwanzig Minuten später ab.",
    "fr+f2": "Les enfants ont trouvé une vieille carte dans le grenier de la maison.",
    "es+m2": "La biblioteca abre a las nueve y cierra cuando se pone el sol.",
    "en-us+f3": "Seventy four people voted yes, and only twelve of them changed their minds.",
}


def speak(command: list[str], option: str) -> np.ndarray:
    """Synthesise speech at 16 kHz, `(samples,)`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run([*command, option, str(path)], check=True)
        speech, rate = soundfile.read(path)
    return np.asarray(soxr.resample(speech, rate, SAMPLE_RATE))


def main() -> None:
    """Write all clips."""
    spoken = [speak(["flite", "-voice", voice, "-t", text], "-o") for voice, texts in FLITE.items() for text in texts]
    spoken += [speak(["espeak-ng", "-v", voice, text], "-w") for voice, text in ESPEAK.items()]
    folder = speech_folder()
    folder.mkdir(exist_ok=True)
    size, fade = round(CLIP_S * SAMPLE_RATE), round(FADE_S * SAMPLE_RATE)
    for number, speech in enumerate(spoken):
        clip = np.zeros(size)
        start = max((size - len(speech)) // 2, 0)
        clip[start : start + len(speech)] = speech[:size]
        clip[-fade:] *= np.linspace(1, 0, fade)
        clip *= LEVEL / np.sqrt(np.mean(clip**2))
        soundfile.write(folder / f"{number:02}.ogg", clip, SAMPLE_RATE, "OPUS")


if __name__ == "__main__":
    main()
