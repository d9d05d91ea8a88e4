"""Draws before-after.png for the README: `python examples/make_picture.py [NOISY] [PICTURE]`."""

from __future__ import annotations

import sys
from pathlib import Path

import soundfile
from PIL import Image

from dccrn_cli import Enhancer
from dccrn_cli.report.spectrogram import draw_spectrograms

HERE = Path(__file__).parent


def main() -> None:
    """Draw one example before and after enhancement."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "noisy" / "lecture.wav"
    picture = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "before-after.png"
    noisy, rate = soundfile.read(source, dtype="float32", always_2d=True)
    enhanced = Enhancer(sample_rate=rate)(noisy)
    draw_spectrograms([("noisy", noisy[:, 0]), ("enhanced", enhanced[:, 0])], rate, picture)
    with Image.open(picture) as drawn:  # a third of the size
        drawn.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    main()
