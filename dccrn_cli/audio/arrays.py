"""Arrays of audio as callers have them: numpy or torch, any real dtype, time on any axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from dccrn_cli.errors import OptionError

PCM_SCALES = {"uint8": 128.0, "int16": 32_768.0, "int32": 2_147_483_648.0}
"""Integer dtypes that PCM audio comes in, with their full scale; uint8 has its zero at 128."""


def is_tensor(audio: object) -> bool:
    """Whether this is a torch tensor, found out without importing torch."""
    return type(audio).__module__.partition(".")[0] == "torch" and hasattr(audio, "detach")


def as_floats(audio: Any) -> np.ndarray:
    """A signal as a floating-point numpy array of the same shape, full scale 1.0.

    Args:
        audio: numpy array, torch tensor or nested sequence, of any real dtype. Floating point
            (float16, bfloat16, float32, float64 …) is taken to have full scale 1.0; int16, int32
            and uint8 are taken as PCM and divided by their full scale.

    Raises:
        OptionError: another dtype: complex, bool, text, or an integer type that PCM does not come in.
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
    raise OptionError(f"{array.dtype} samples; floating point with full scale 1.0 or PCM ({known}) is needed")


def as_frames(audio: Any, axis: int | None = None) -> np.ndarray:
    """A signal as floating point `(frames, channels)`, full scale 1.0.

    Args:
        audio: as for `as_floats`, of one or two dimensions.
        axis: of time. None takes `(frames,)` or `(frames, channels)`, and refuses an array with more
            channels than frames, which is `(channels, frames)` by all likelihood.

    Raises:
        OptionError: another dtype or shape, or an axis that the array does not have.
    """
    array = as_floats(audio)
    if array.ndim not in (1, 2):
        raise OptionError(f"a signal of the shape {array.shape}; (frames,) or (frames, channels) is needed")
    if axis is not None and not -array.ndim <= axis < array.ndim:
        raise OptionError(f"axis {axis} of an array of {array.ndim} dimension{'s' * (array.ndim > 1)}")
    if array.ndim == 1:
        return array[:, None]
    frames, channels = array.shape if axis is None or axis % 2 == 0 else array.shape[::-1]
    if channels == 0:
        raise OptionError(f"a signal of the shape {array.shape} has no channels")
    if axis is None and channels > frames > 0:
        raise OptionError(
            f"{channels} channels of {frames} frame{'s' * (frames > 1)} (shape {array.shape}); "
            "for (channels, frames) pass axis=-1, if it is meant so axis=0"
        )
    return array if axis is None or axis % 2 == 0 else array.T
