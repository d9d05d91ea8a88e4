"""Microphones, loudspeakers and virtual devices, through PortAudio."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import numpy as np

from dccrn_cli.audio.native_stderr import silent_stderr
from dccrn_cli.errors import MissingDependency, SoundDeviceError

FULL_BAND_HZ = 48_000

Kind = Literal["input", "output"]

Exchange = Callable[[np.ndarray, np.ndarray, bool], None]
"""Receives the input, fills the output, both float32 `(frames, channels)`, and is told whether audio was lost."""


@dataclass(frozen=True)
class SoundDevice:
    """A device as reported by PortAudio.

    Attributes:
        index: its number, which may be used instead of its name.
        name, host: its name, and its audio system.
        inputs, outputs: largest number of channels.
        sample_rate: its default sample rate in Hz.
        is_default_input, is_default_output: whether it is used by default.
    """

    index: int
    name: str
    host: str
    inputs: int
    outputs: int
    sample_rate: int
    is_default_input: bool = False
    is_default_output: bool = False


def _portaudio() -> Any:
    """Import the package `sounddevice`.

    Raises:
        MissingDependency: the package is not installed.
        SoundDeviceError: PortAudio is not installed.
    """
    try:
        with silent_stderr():  # ALSA complains about every missing device
            return importlib.import_module("sounddevice")
    except ImportError:
        raise MissingDependency("sounddevice", "live") from None
    except OSError as error:
        raise SoundDeviceError(f"PortAudio cannot be used ({error}); on Debian: apt install libportaudio2") from None


def sound_devices() -> list[SoundDevice]:
    """List all audio devices.

    Raises:
        MissingDependency: `sounddevice` is not installed.
        SoundDeviceError: PortAudio is not installed, or fails.
    """
    portaudio = _portaudio()
    try:
        hosts = portaudio.query_hostapis()
        found = portaudio.query_devices()
        defaults = [int(index) for index in portaudio.default.device]
    except portaudio.PortAudioError as error:
        raise SoundDeviceError(f"no sound system ({_reason(error)})") from None
    for which, key in enumerate(("default_input_device", "default_output_device")):
        if defaults[which] < 0:
            defaults[which] = next((host[key] for host in hosts if host[key] >= 0), -1)
    return [
        SoundDevice(
            index,
            device["name"],
            hosts[device["hostapi"]]["name"],
            device["max_input_channels"],
            device["max_output_channels"],
            round(device["default_samplerate"]),
            index == defaults[0],
            index == defaults[1],
        )
        for index, device in enumerate(found)
    ]


def find_device(wanted: str | int | None, kind: Kind) -> SoundDevice:
    """Find a device by number, name or part of a name.

    Args:
        wanted: number, name or part of a name; None for the default device. Of several devices with this name
            that of the default device's audio system is preferred: Windows lists a device once for each system, and
            input and output must be in the same one.
        kind: direction of use.

    Raises:
        MissingDependency: `sounddevice` is not installed.
        SoundDeviceError: no device or several devices match, or PortAudio is not installed or fails.
    """
    able = [d for d in sound_devices() if (d.inputs if kind == "input" else d.outputs)]
    if wanted is None:
        fit = [d for d in able if (d.is_default_input if kind == "input" else d.is_default_output)]
    elif isinstance(wanted, int) or wanted.isdecimal():
        fit = [d for d in able if d.index == int(wanted)]
    else:
        names = {d.index: d.name.casefold() for d in able}
        fit = [d for d in able if names[d.index] == wanted.casefold()]
        fit = fit or [d for d in able if wanted.casefold() in names[d.index]]
        usual = {d.host for d in able if (d.is_default_input if kind == "input" else d.is_default_output)}
        fit = [d for d in fit if d.host in usual] or fit
    if len(fit) == 1:
        return fit[0]
    if len(fit) > 1:
        names_found = ", ".join(f"{d.index} {d.name} ({d.host})" for d in fit)
        raise SoundDeviceError(f"{wanted!r} matches several {kind} devices: {names_found}; give the number")
    if wanted is None:
        raise SoundDeviceError(f"no {kind} device" + ("" if able else " on this machine"))
    raise SoundDeviceError(f"no {kind} device {wanted!r}; use `dccrn live --list-devices` to list them")


def default_rate(source: SoundDevice, target: SoundDevice, channels: int) -> int:
    """48 kHz if both devices support it, otherwise the default rate of either that the other supports, in Hz."""
    portaudio = _portaudio()
    for rate in (FULL_BAND_HZ, source.sample_rate, target.sample_rate):
        with contextlib.suppress(portaudio.PortAudioError, ValueError), silent_stderr():
            portaudio.check_input_settings(source.index, channels, "float32", samplerate=rate)
            portaudio.check_output_settings(target.index, channels, "float32", samplerate=rate)
            return rate
    return source.sample_rate


class DuplexStream:
    """Simultaneous input and output, while entered.

    Args:
        source, target: devices.
        sample_rate: sample rate in Hz.
        block: frames per call of `exchange`.
        channels: number of input channels; mono is played on two if the target has them.
        exchange: called from PortAudio's thread; it must never block.

    Raises:
        SoundDeviceError: a device does not support this format, or is busy.
    """

    def __init__(
        self,
        source: SoundDevice,
        target: SoundDevice,
        sample_rate: int,
        block: int,
        channels: int,
        exchange: Exchange,
    ) -> None:
        self._portaudio = portaudio = _portaudio()
        heard = np.zeros((block, channels), np.float32)
        played = np.zeros((block, channels), np.float32)

        def callback(given: np.ndarray, out: np.ndarray, frames: int, _time: Any, status: Any) -> None:
            heard[:frames] = given
            lost = bool(
                status.input_overflow or status.input_underflow or status.output_underflow or status.output_overflow
            )
            exchange(heard[:frames], played[:frames], lost)
            out[:] = played[:frames]

        outputs = max(channels, min(2, target.outputs))
        try:
            with silent_stderr():
                self._stream = portaudio.Stream(
                    samplerate=sample_rate,
                    blocksize=block,
                    device=(source.index, target.index),
                    channels=(channels, outputs),
                    dtype="float32",
                    latency=_LATENCY_BLOCKS * block / sample_rate,
                    callback=callback,
                )
        except (portaudio.PortAudioError, ValueError) as error:
            ends = " to ".join(f"{device.name} ({device.host})" for device in (source, target))
            raise SoundDeviceError(
                f"{ends}, {sample_rate} Hz, {'mono' if channels == 1 else 'stereo'}: {_reason(error)}"
            ) from None

    @property
    def latency_s(self) -> float:
        """Input and output latency as reported by the devices and the audio system."""
        return float(sum(self._stream.latency))

    @property
    def is_active(self) -> bool:
        """Whether both devices are still connected."""
        try:
            return bool(self._stream.active)
        except self._portaudio.PortAudioError:
            return False

    def __enter__(self) -> DuplexStream:
        try:
            with silent_stderr():
                self._stream.start()
        except self._portaudio.PortAudioError as error:
            self._stream.close()
            raise SoundDeviceError(_reason(error)) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A sound system that has stopped responding never returns from this, and what is recorded must not wait for it.
        closing = threading.Thread(target=self._close, name="dccrn sound device", daemon=True)
        closing.start()
        closing.join(_CLOSE_S)
        at_exit = getattr(self._portaudio, "_exit_handler", None)
        if closing.is_alive() and at_exit is not None:
            atexit.unregister(at_exit)  # it would not return either

    def _close(self) -> None:
        with contextlib.suppress(self._portaudio.PortAudioError):
            self._stream.abort()
            self._stream.close()


_LATENCY_BLOCKS = 2
"""Latency requested from the audio system, in blocks; with fewer it drops audio."""

_CLOSE_S = 5.0
"""How long closing a stream may take; normally it takes a fraction of a second."""


def _reason(error: Exception) -> str:
    return str(error.args[0]) if error.args else type(error).__name__
