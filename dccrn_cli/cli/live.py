"""`dccrn live`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dccrn_cli.cli.console import plain_errors, printable
from dccrn_cli.cli.options import AsJson, OverwriteFile, Quiet, option
from dccrn_cli.engine.enhance_options import HighBand

if TYPE_CHECKING:
    from dccrn_cli.engine.live.realtime import LiveStatus
    from dccrn_cli.engine.live.session import LiveEnhancer

_METER_DB, _METER_WIDTH = (-70.0, 0.0), 30


@plain_errors
def live(
    source: Annotated[
        str | None, option("Input device: number, name or part of a name.", "--input", metavar="DEVICE")
    ] = None,
    target: Annotated[
        str | None, option("Output device: a loudspeaker or a virtual device.", "--output", metavar="DEVICE")
    ] = None,
    list_devices: Annotated[bool, option("List the devices and exit.", "--list-devices")] = False,
    model: Annotated[
        str | None,
        option(
            "Bundled model (see `dccrn models`) or model file.",
            metavar="NAME|PATH",
            show_default="lowest latency among those that keep up",
        ),
    ] = None,
    block: Annotated[
        float,
        option(
            "Audio per call of the network. The delay includes two blocks; longer blocks need less processing.",
            metavar="MS",
            min=1.0,
            max=1000.0,
        ),
    ] = 32.0,
    sample_rate: Annotated[
        int | None,
        option(
            "Sample rate of the devices; 16000 gives the shortest delay.",
            min=8000,
            max=192_000,
            metavar="HZ",
            show_default="48000 if supported",
        ),
    ] = None,
    channels: Annotated[
        int, option("1 for mono, or 2 for stereo, which needs twice the processing.", min=1, max=2)
    ] = 1,
    attenuation_limit: Annotated[
        float | None,
        option("Attenuate noise by at most this.", min=0.0, metavar="DB", show_default="no limit"),
    ] = None,
    mix: Annotated[
        float,
        option("Share of the enhanced signal, from 0 (only the original) to 1 (only the result).", min=0.0, max=1.0),
    ] = 1.0,
    high_band: Annotated[
        HighBand, option("Band above 8 kHz: gate with the network's gain, keep unchanged, or drop.")
    ] = "gate",
    record: Annotated[
        Path | None,
        option("Record to a file: the channels of the original first, then those of the result.", metavar="FILE"),
    ] = None,
    seconds: Annotated[
        float | None, option("Stop after this many seconds.", min=0.0, metavar="S", show_default="until q or Ctrl-C")
    ] = None,
    overwrite: OverwriteFile = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Remove noise from a microphone in real time.

    Audio from --input is enhanced and played to --output: a loudspeaker, or a virtual device that other
    programs use as a microphone. While it runs, the space bar toggles between original and result, and q stops.

    Needs: pip install 'dccrn-cli[live]'
    """
    if list_devices:
        _list_devices(as_json)
        return
    from dccrn_cli.audio.native_stderr import silent_stderr
    from dccrn_cli.engine.live.session import LiveEnhancer, LiveOptions
    from dccrn_cli.utils.interrupt import Interrupt

    options = LiveOptions(
        source, target, sample_rate, channels, block, model, high_band, attenuation_limit, mix,
        record=record, overwrite=overwrite,
    )  # fmt: skip
    with Interrupt() as interrupt, LiveEnhancer(options) as running:
        if as_json or not quiet:
            _say(_started(running), as_json)
        # PortAudio and ALSA print to standard error whenever a device is late or disconnected.
        with _display(running, quiet or as_json) as look, silent_stderr():
            status = running.wait(seconds, lambda now: not interrupt.requested and look(now))
        if as_json or not quiet:
            _say(_ended(status), as_json)


def _list_devices(as_json: bool) -> None:
    from dataclasses import asdict

    from dccrn_cli.audio.sound_devices import sound_devices

    devices = sound_devices()
    if as_json:
        typer.echo(json.dumps([asdict(device) for device in devices], indent=2, ensure_ascii=False))
        return
    for device in devices:
        marks = [
            "default input" if device.is_default_input else "",
            "default output" if device.is_default_output else "",
        ]
        form = f"{device.inputs} in, {device.outputs} out, {device.sample_rate} Hz"
        typer.echo(
            f"{device.index:3}  {printable(device.name)}  ({', '.join(filter(None, [device.host, form, *marks]))})"
        )
    if not devices:
        typer.echo("No audio devices found.")


def _started(running: LiveEnhancer) -> dict[str, Any]:
    return {
        "event": "started",
        "input": running.source.name,
        "output": running.target.name,
        "sample_rate": running.sample_rate,
        "model": running.model,
        "load": round(running.load, 3),
        "latency_ms": round(1000 * running.latency_s, 1),
    }


def _ended(status: LiveStatus) -> dict[str, Any]:
    return {
        "event": "ended",
        "seconds": round(status.seconds, 2),
        "xruns": status.xruns,
        "silence_ms": round(1000 * status.missing_s, 1),
        "lost_ms": round(1000 * status.lost_s, 1),
    }


def _say(event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(event, ensure_ascii=False))
    elif event["event"] == "started":
        typer.echo(
            f"{printable(event['input'])} → {event['model']} → {printable(event['output'])}: "
            f"{event['sample_rate']} Hz, {event['latency_ms']:.0f} ms from end to end, "
            f"{event['load']:.2f} s of processing per second of audio"
        )
    else:
        typer.echo(
            f"{event['seconds']:.1f} s played; {event['xruns']} xruns; {event['silence_ms']:.0f} ms of silence "
            f"since the network was late; {event['lost_ms']:.0f} ms lost"
        )


@contextlib.contextmanager
def _display(running: LiveEnhancer, hidden: bool) -> Iterator[Callable[[LiveStatus], bool]]:
    """Show meters and read keys if there is a terminal; yields the callback for `wait`."""
    from dccrn_cli.cli.keys import Keys

    with contextlib.ExitStack() as stack:
        keys = stack.enter_context(Keys())
        update: Any = None
        if not hidden and sys.stdout.isatty():
            from rich.live import Live

            update = stack.enter_context(Live(refresh_per_second=10, transient=True)).update

        def look(status: LiveStatus) -> bool:
            for key in keys.pressed():
                if key == " ":
                    running.bypass = not running.bypass
                elif key == "q":
                    return False
            if update is not None:
                update(_meters(status))
            return True

        yield look


def _meters(status: LiveStatus) -> str:
    return "\n".join(
        [
            f"speech {_bar(status.speech_dbfs)} {status.speech_dbfs:6.1f} dBFS",
            f"noise  {_bar(status.noise_dbfs)} {status.noise_dbfs:6.1f} dBFS{'' if status.bypass else ' removed'}",
            f"{status.seconds:8.1f} s   load {status.load:4.0%}   xruns {status.xruns}   silence "
            f"{1000 * status.missing_s:.0f} ms   {'ORIGINAL' if status.bypass else 'result'} (space: switch, q: stop)",
        ]
    )


def _bar(dbfs: float) -> str:
    low, high = _METER_DB
    filled = round(min(max((dbfs - low) / (high - low), 0.0), 1.0) * _METER_WIDTH)
    return "█" * filled + "·" * (_METER_WIDTH - filled)
