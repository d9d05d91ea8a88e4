"""Stands in for the package `sounddevice`: devices whose microphone repeats a signal in real time."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

HOSTS = ("MME", "WASAPI")


class PortAudioError(Exception):
    """Raised by PortAudio."""


def device(name: str, inputs: int, outputs: int, host: int = 0, rate: float = 48_000.0) -> dict[str, Any]:
    return {
        "name": name,
        "hostapi": host,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": rate,
    }


class FakePortAudio:
    """A sound system with some devices; the default ones are the first two.

    Attributes:
        rates: supported sample rates of devices by number; those not named support all.
        signal: what microphones hear, again and again.
        played: blocks played so far.
        unplugged, frozen: whether the devices were disconnected, or have stopped without a word.
        wedged: closing a stream never ends while this is set.
    """

    PortAudioError = PortAudioError

    def __init__(self, *devices: dict[str, Any]) -> None:
        self.devices = devices or (device("Microphone", 2, 0), device("Loudspeaker", 0, 2))
        self.default = SimpleNamespace(device=(0, 1))
        self.rates: dict[int, list[int]] = {}
        self.signal: np.ndarray = np.zeros(1, np.float32)
        self.played: list[np.ndarray] = []
        self.unplugged = self.frozen = False
        self.wedged = threading.Event()

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": name, "default_input_device": 0, "default_output_device": 1} for name in HOSTS]

    def query_devices(self) -> tuple[dict[str, Any], ...]:
        return self.devices

    def check_input_settings(self, number: int, channels: int, dtype: str, samplerate: int) -> None:
        if samplerate not in self.rates.get(number, [samplerate]):
            raise PortAudioError("Invalid sample rate", -9997)

    check_output_settings = check_input_settings

    def Stream(self, **settings: Any) -> FakeStream:
        for number in settings["device"]:
            self.check_input_settings(number, 1, "float32", settings["samplerate"])
        return FakeStream(self, **settings)

    def _exit_handler(self) -> None:
        pass


class FakeStream:
    """Calls its callback in a thread until it ends."""

    latency = (0.01, 0.02)

    def __init__(
        self,
        system: FakePortAudio,
        *,
        samplerate: int,
        blocksize: int,
        channels: tuple[int, int],
        callback: Any,
        **_: Any,
    ) -> None:
        self.system = system
        self.active = False
        self._rate, self._block, self._channels, self._callback = samplerate, blocksize, channels, callback
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        system, at = self.system, 0
        status = SimpleNamespace(
            input_overflow=False, input_underflow=False, output_underflow=False, output_overflow=False
        )
        while self.active and not system.unplugged:
            time.sleep(self._block / self._rate)
            if system.frozen:
                continue
            places = np.arange(at, at + self._block) % len(system.signal)
            heard = np.repeat(system.signal[places, None], self._channels[0], axis=1)
            out = np.full((self._block, self._channels[1]), np.nan, np.float32)
            self._callback(heard, out, self._block, None, status)
            system.played.append(out)
            at += self._block
        self.active = False

    def start(self) -> None:
        self.active = True
        self._thread.start()

    def abort(self) -> None:
        while self.system.wedged.is_set():
            time.sleep(0.01)
        self.active = False
        self._thread.join()

    def close(self) -> None:
        pass
