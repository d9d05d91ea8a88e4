"""Converts callers' audio arrays: numpy or torch, any real dtype, time on any axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from dccrn_cli.errors import OptionError

PCM_SCALES = {"uint8": 128.0, "int16": 32_768.0, "int32": 2_147_483_648.0}
"""Integer dtypes of PCM audio and their full scale; uint8 has its zero at 128."""


def is_tensor(audio: object) -> bool:
    """Whether this is a torch tensor, without importing torch."""
    return type(audio).__module__.partition(".")[0] == "torch" and hasattr(audio, "detach")


def as_floats(audio: Any) -> np.ndarray:
    """Convert a signal to a floating-point numpy array of the same shape, full scale 1.0.

    Args:
        audio: numpy array, torch tensor or nested sequence, of any real dtype. Floating point
            (float16, bfloat16, float32, float64 …) is assumed to have full scale 1.0; int16, int32
            and uint8 are treated as PCM and divided by their full scale.

    Raises:
        OptionError: unsupported dtype: complex, bool, text, or an integer type not used for PCM.
    """
    if is_tensor(audio):
        audio = audio.detach().cpu()
        if audio.is_floating_point() and str(audio.dtype) not in ("torch.float16", "torch.float32", "torch.float64"):
            audio = audio.float()  # numpy has no bfloat16
        array: np.ndarray = audio.resolve_neg().resolve_conj().numpy()
    else:
        array = np.asarray(audio)
    if array.dtype.kind == "f":
        return array
    if (scale := PCM_SCALES.get(array.dtype.name)) is not None:
        floats: np.ndarray = array.astype(np.float64 if array.dtype.itemsize > 2 else np.float32)
        floats -= scale if array.dtype.kind == "u" else 0
        floats /= scale
        return floats
    known = ", ".join(PCM_SCALES)
    raise OptionError(f"{array.dtype} samples; must be floating point with full scale 1.0 or PCM ({known})")


def as_frames(audio: Any, axis: int | None = None) -> np.ndarray:
    """Convert a signal to floating point `(frames, channels)`, full scale 1.0.

    Args:
        audio: numpy array, torch tensor or nested sequence with one or two dimensions: floating point with
            full scale 1.0, or PCM as int16, int32 or uint8.
        axis: time axis. None accepts `(frames,)` or `(frames, channels)`, and rejects an array with more
            channels than frames, which is most likely `(channels, frames)`.

    Raises:
        OptionError: unsupported dtype or shape, or an axis that the array does not have.
    """
    array = as_floats(audio)
    if array.ndim not in (1, 2):
        raise OptionError(f"a signal must have the shape (frames,) or (frames, channels), not {array.shape}")
    if axis is not None and not -array.ndim <= axis < array.ndim:
        raise OptionError(f"axis {axis} of an array with {array.ndim} dimension{'s' * (array.ndim > 1)}")
    if array.ndim == 1:
        return array[:, None]
    frames, channels = array.shape if axis is None or axis % 2 == 0 else array.shape[::-1]
    if channels == 0:
        raise OptionError(f"a signal of shape {array.shape} has no channels")
    if axis is None and channels > frames > 0:
        raise OptionError(
            f"{channels} channels of {frames} frame{'s' * (frames > 1)} (shape {array.shape}); "
            "pass axis=-1 for (channels, frames), or axis=0 if this is intended"
        )
    return array if axis is None or axis % 2 == 0 else array.T
