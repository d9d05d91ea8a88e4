"""`dccrn enhance`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dccrn_cli.cli.console import STANDARD, USAGE, count, error_line, plain_errors
from dccrn_cli.cli.options import (
    FILES,
    MESSAGES,
    RESULTS,
    WORK,
    AsJson,
    Device,
    Jobs,
    Listen,
    OverwriteResults,
    Quiet,
    option,
)  # fmt: skip
from dccrn_cli.engine.enhance_options import HighBand, Precision, Purpose

if TYPE_CHECKING:
    from dccrn_cli.audio.raw import RawFormat
    from dccrn_cli.engine.enhance_options import EnhanceOptions, Loudness, Track, Workers
    from dccrn_cli.engine.files.plan import Plan, PlanOptions

SOUND, PIPES = "Sound", "Raw samples on standard input and output"


@plain_errors
def enhance(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Files, folders (with all below them) and glob patterns; - for standard input. "
            "A name that begins with a dash: ./-a.wav",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        option(
            "Folder for the results; for one file also a file name, or - for standard output.",
            "-o",
            "--output",
            metavar="OUT",
            show_default="beside the originals, with --suffix or --name",
        ),
    ] = None,
    include: Annotated[
        list[str] | None, option("Take only what matches; may be repeated.", panel=FILES, metavar="GLOB")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        option("Leave out files and folders that match; may be repeated.", panel=FILES, metavar="GLOB"),
    ] = None,
    input_list: Annotated[
        str | None,
        option(
            "Take the files named in this list, one per line (or separated by NUL); - for standard input.",
            panel=FILES,
            metavar="FILE",
        ),
    ] = None,
    overwrite: OverwriteResults = False,
    suffix: Annotated[str, option("Add this to the names: a.wav → a_clean.wav.", panel=RESULTS, metavar="TEXT")] = "",
    name: Annotated[
        str | None,
        option(
            "Names from {stem}, {ext} (with its dot) and {folder}.",
            panel=RESULTS,
            metavar="TEMPLATE",
            show_default="{stem}{ext}",
        ),
    ] = None,
    container: Annotated[
        str | None,
        option(
            "Write wav, flac, ogg, opus, mp3, aiff, caf, w64 …",
            "--format",
            panel=RESULTS,
            metavar="NAME",
            show_default="that of the original",
        ),
    ] = None,
    sample_format: Annotated[
        str | None,
        option(
            "s16, s24, s32, f32, u8, ulaw, vorbis …", panel=RESULTS, metavar="NAME", show_default="that of the original"
        ),
    ] = None,
    sample_rate: Annotated[
        int | None,
        option(
            "Rate of the results.",
            panel=RESULTS,
            min=1000,
            max=768_000,
            metavar="HZ",
            show_default="that of the original",
        ),
    ] = None,
    noise_out: Annotated[
        Path | None, option("Also write what was removed: original minus result.", panel=RESULTS, metavar="FOLDER")
    ] = None,
    keep_mtime: Annotated[
        bool, option("Results get the time of their originals.", "--keep-mtime", panel=RESULTS)
    ] = False,
    keep_video: Annotated[
        bool,
        option(
            "A video stays a video: its picture is copied, its sound cleaned. Else the sound alone is written.",
            "--keep-video",
            panel=RESULTS,
        ),
    ] = False,
    track: Annotated[
        str | None,
        option(
            "Of several sound tracks, the one to enhance; all: each of them.",
            panel=RESULTS,
            metavar="N|all",
            show_default="the default track",
        ),
    ] = None,
    model: Annotated[
        str | None,
        option(
            "A bundled model (see `dccrn models`) or a model file.",
            panel=SOUND,
            metavar="NAME|PATH",
            show_default="the best",
        ),
    ] = None,
    attenuation_limit: Annotated[
        float | None,
        option(
            "Make nothing fainter by more than this: 12 leaves some of the room's life.",
            panel=SOUND,
            min=0.0,
            metavar="DB",
            show_default="no limit",
        ),
    ] = None,
    mix: Annotated[
        float, option("From 0, the original alone, to 1, the result alone.", panel=SOUND, min=0.0, max=1.0)
    ] = 1.0,
    purpose: Annotated[
        Purpose,
        option(
            "asr: for a speech recogniser. A quarter of the noise stays (--attenuation-limit 12 unless another is "
            "given); its share in pauses is measured.",
            "--for",
            panel=SOUND,
        ),
    ] = "listening",
    loudness: Annotated[
        str | None,
        option(
            "Bring each result to this integrated loudness (BS.1770-4) by one gain, or keep that of the original.",
            panel=SOUND,
            metavar="LUFS|keep",
            show_default="no gain",
        ),
    ] = None,
    true_peak: Annotated[
        float | None,
        option("Limit to that gain.", panel=SOUND, min=-70.0, max=0.0, metavar="DBTP", show_default="-1"),
    ] = None,
    high_band: Annotated[
        HighBand, option("Above 8 kHz: gate with the network's gain, keep as it is, or drop.", panel=SOUND)
    ] = "gate",
    jobs: Jobs = None,
    threads: Annotated[
        int, option("CPU threads for each file. More help only large models, on idle cores.", panel=WORK, min=1)
    ] = 1,
    device: Device = "auto",
    precision: Annotated[
        Precision,
        option(
            "Of the network's convolutions; bf16 where the processor multiplies it faster, fp32 elsewhere.", panel=WORK
        ),
    ] = "auto",
    backend: Annotated[
        Literal["local", "dask"],
        option("This machine, or a dask cluster whose machines all see the same files.", panel=WORK),
    ] = "local",
    scheduler: Annotated[
        str | None, option("Of the dask scheduler: tcp://host:8786.", panel=WORK, metavar="ADDRESS")
    ] = None,
    dry_run: Annotated[
        bool, option("Only say what would be done and how long it takes.", "-n", "--dry-run", panel=WORK)
    ] = False,
    report: Annotated[
        Path | None, option("Write a table of all files as .jsonl or .csv, row by row.", panel=MESSAGES, metavar="FILE")
    ] = None,
    listen: Listen = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    raw: Annotated[
        str | None, option("s16le, s24le, f32le, mulaw …", panel=PIPES, metavar="FORMAT", show_default="WAV")
    ] = None,
    rate: Annotated[int | None, option("Rate of raw samples.", panel=PIPES, metavar="HZ", show_default="16000")] = None,
    channels: Annotated[int | None, option("Channels of raw samples.", panel=PIPES, min=1, show_default="1")] = None,
) -> None:
    """Remove noise from speech recordings.

    The results have the names, tree, format, sample rate, channels and length of the originals,
    which are never changed. A file that cannot be used is named and the rest goes on. A run that
    was stopped, in whatever way, goes on with the same command.

    Exit code: 0 all done, 1 some files failed, 2 wrong usage, 130 interrupted.
    """
    from dccrn_cli.audio.formats import container_suffix
    from dccrn_cli.audio.formats import sample_format as find_sample_format
    from dccrn_cli.audio.raw import RawFormat
    from dccrn_cli.cli.batch import run_batch, show_dry_run
    from dccrn_cli.cli.listen import check_page
    from dccrn_cli.engine.enhance_options import EnhanceOptions, Workers
    from dccrn_cli.engine.files.folder import FileBatch
    from dccrn_cli.engine.files.plan import PlanOptions
    from dccrn_cli.nn.models import portable_name

    suffix_wanted = "" if container is None else container_suffix(container)
    options = EnhanceOptions(
        model=portable_name(model),
        high_band=high_band,
        attenuation_limit_db=attenuation_limit,
        mix=mix,
        purpose=purpose,
        loudness=_loudness(loudness),
        true_peak_dbtp=-1.0 if true_peak is None else true_peak,
        device=device,
        precision=precision,
        sample_format=None if sample_format is None else find_sample_format(sample_format, suffix_wanted),
        sample_rate=sample_rate,
        track=_track(track),
        keep_mtime=keep_mtime,
        overwrite=overwrite,
        threads=threads,
    )
    naming = PlanOptions(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        name=_template(name, suffix),
        suffix=suffix_wanted,
        keep_video=keep_video,
        noise_output=noise_out,
        all_tracks=options.track == "all",
    )
    workers = Workers(jobs, backend, scheduler)
    if loudness is None:
        _refuse({"--true-peak": None if true_peak is None else True}, "without --loudness")
    if raw is None:
        _refuse({"--rate": rate, "--channels": channels}, "without --raw")
    if STANDARD in (paths or ()) or output == STANDARD:
        unfit = {
            "--input-list": input_list, "--noise-out": noise_out, "--report": report, "--dry-run": dry_run,
            "--json": as_json, "--keep-video": keep_video, "--include": include, "--exclude": exclude,
            "--suffix": suffix, "--name": name, "--keep-mtime": keep_mtime, "--jobs": jobs,
            "--backend": backend == "dask", "--scheduler": scheduler,
            "--listen": listen, "--overwrite": overwrite and output in (None, STANDARD),
            "--loudness": loudness, "--track": STANDARD in (paths or ()) and track, "--track all": track == "all",
        }  # fmt: skip
        _refuse(unfit, "with standard input or output")
        raw_format = None if raw is None else RawFormat(raw, rate or 16_000, channels or 1)
        _pipe(paths or [], output, options, naming, raw_format, quiet)
        return
    _check_fit(naming, workers, raw, container)
    batch = FileBatch(_plan(paths or [], output, naming, input_list), options, workers)
    if dry_run:
        show_dry_run(batch, as_json)
    else:
        if listen is not None:
            check_page(listen)
        run_batch(batch, report, as_json, quiet, listen)


def _check_fit(naming: PlanOptions, workers: Workers, raw: str | None, container: str | None) -> None:
    """Options that contradict each other are refused.

    Raises:
        OptionError: they do.
    """
    from dccrn_cli.errors import OptionError

    if raw is not None:
        raise OptionError("--raw is for standard input and output, each written as -")
    if workers.scheduler is not None and workers.backend != "dask":
        raise OptionError("--scheduler is for --backend dask")
    if naming.keep_video and container is not None:
        raise OptionError("--keep-video keeps the container and --format changes it; use one")
    if naming.keep_video and naming.all_tracks and naming.noise_output is not None:
        raise OptionError("--noise-out writes one track of a video; name it with --track N")


def _pipe(
    paths: list[str],
    output: str | None,
    options: EnhanceOptions,
    naming: PlanOptions,
    raw: RawFormat | None,
    quiet: bool,
) -> None:
    from dccrn_cli.cli.pipe import run_pipe
    from dccrn_cli.errors import OptionError

    if raw is not None and options.sample_format is not None:
        raise OptionError("--raw says the sample format; --sample-format is for files")
    run_pipe(paths, output, options, naming.suffix, raw, quiet)


def _refuse(options: Mapping[str, object], where: str) -> None:
    """Options that would have no effect are refused.

    Raises:
        OptionError: one of them is given.
    """
    from dccrn_cli.errors import OptionError

    if given := [name for name, value in options.items() if value not in (None, False, "")]:
        raise OptionError(f"{', '.join(given)} cannot be used {where}")


def _loudness(text: str | None) -> Loudness | None:
    from dccrn_cli.errors import OptionError

    if text is None or text == "keep":
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"--loudness takes LUFS, as -16, or keep; not {text!r}") from None


def _track(text: str | None) -> Track:
    from dccrn_cli.errors import OptionError

    if text in (None, "all"):
        return text  # type: ignore[return-value]
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise OptionError(f"--track takes a number from 1 on, or all; not {text!r}")
    return int(text)


def _template(name: str | None, suffix: str) -> str:
    from dccrn_cli.engine.files.plan import KEEP_NAME
    from dccrn_cli.errors import OptionError

    if name is not None and suffix:
        raise OptionError("--name and --suffix both name the results; use one")
    literal = suffix.replace("{", "{{").replace("}", "}}")
    return name or KEEP_NAME.replace("{ext}", f"{literal}{{ext}}")


def _plan(paths: list[str], output: str | None, naming: PlanOptions, input_list: str | None) -> Plan:
    from dccrn_cli.engine.files.plan import KEEP_NAME, make_plan
    from dccrn_cli.errors import OptionError

    if not paths and input_list is None:
        raise OptionError("name files or folders to enhance, or an --input-list")
    if output is None and naming.name == KEEP_NAME:
        raise OptionError("say where the results go: -o OUT, or --suffix TEXT for beside the originals")
    plan = make_plan(paths, output, naming, [] if input_list is None else _read_list(input_list))
    if not plan.jobs:
        for path, reason in plan.unusable:
            error_line(f"FAILED {path}: {reason}")
        left = f"; {count(plan.ignored, 'other file')} left alone" if plan.ignored else ""
        error_line(f"Error: no audio files found{left}")
        raise typer.Exit(USAGE)
    return plan


def _read_list(name: str) -> list[str]:
    from dccrn_cli.engine.files.plan import listed_files, read_file_list

    return listed_files(sys.stdin.buffer.read()) if name == STANDARD else read_file_list(name)
