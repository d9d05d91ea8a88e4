"""`dccrn enhance`."""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dccrn_cli.cli.console import INTERRUPTED, SOME_FAILED, STANDARD, USAGE, count, error_line, plain_errors

if TYPE_CHECKING:
    from dccrn_cli.audio.raw import RawFormat
    from dccrn_cli.engine.enhance_options import EnhanceOptions, Track, Workers
    from dccrn_cli.engine.files.plan import Job, Plan, PlanOptions

FILES, RESULTS, SOUND, WORK, MESSAGES, PIPES = (
    "Which files", "Results", "Sound", "Work", "Messages", "Raw samples on standard input and output"
)  # fmt: skip


class HighBandChoice(enum.StrEnum):
    """What happens above 8 kHz."""

    gate = "gate"
    keep = "keep"
    drop = "drop"


class PrecisionChoice(enum.StrEnum):
    """Of the network's convolutions."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class DeviceChoice(enum.StrEnum):
    """Where the network runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class BackendChoice(enum.StrEnum):
    """Who does the work."""

    local = "local"
    dask = "dask"


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
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="Folder for the results; for one file also a file name, or - for standard output.",
            show_default="beside the originals, with --suffix or --name",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Take only what matches; may be repeated.", rich_help_panel=FILES),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB", help="Leave out files and folders that match; may be repeated.", rich_help_panel=FILES
        ),
    ] = None,
    input_list: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Take the files named in this list, one per line (or separated by NUL); - for standard input.",
            rich_help_panel=FILES,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace results that exist; else they are skipped.", rich_help_panel=RESULTS),
    ] = False,
    suffix: Annotated[
        str, typer.Option(metavar="TEXT", help="Add this to the names: a.wav → a_clean.wav.", rich_help_panel=RESULTS)
    ] = "",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Names from {stem}, {ext} (with its dot) and {folder}.",
            show_default="{stem}{ext}",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    container: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Write wav, flac, ogg, opus, mp3, aiff, caf, w64 …",
            show_default="that of the original",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    sample_format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="s16, s24, s32, f32, u8, ulaw, vorbis …",
            show_default="that of the original",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    sample_rate: Annotated[
        int | None,
        typer.Option(
            min=1000,
            max=768_000,
            metavar="HZ",
            help="Rate of the results.",
            show_default="that of the original",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    noise_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Also write what was removed: original minus result.", rich_help_panel=RESULTS
        ),
    ] = None,
    keep_mtime: Annotated[
        bool,
        typer.Option("--keep-mtime", help="Results get the time of their originals.", rich_help_panel=RESULTS),
    ] = False,
    keep_video: Annotated[
        bool,
        typer.Option(
            "--keep-video",
            help="A video stays a video: its picture is copied, its sound cleaned. Else the sound alone is written.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    track: Annotated[
        str | None,
        typer.Option(
            metavar="N|all",
            help="Of several sound tracks, the one to enhance; all: each of them.",
            show_default="the default track",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A bundled model (see `dccrn models`) or a model file.",
            show_default="the best",
            rich_help_panel=SOUND,
        ),
    ] = None,
    attenuation_limit: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="DB",
            help="Make nothing fainter by more than this: 12 leaves some of the room's life.",
            show_default="no limit",
            rich_help_panel=SOUND,
        ),
    ] = None,
    mix: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="From 0, the original alone, to 1, the result alone.", rich_help_panel=SOUND
        ),
    ] = 1.0,
    high_band: Annotated[
        HighBandChoice,
        typer.Option(help="Above 8 kHz: gate with the network's gain, keep as it is, or drop.", rich_help_panel=SOUND),
    ] = HighBandChoice.gate,
    jobs: Annotated[
        int | None,
        typer.Option(
            "-j",
            "--jobs",
            min=1,
            help="Files at once, each in a process of its own.",
            show_default="as many as the cores allow and the work pays",
            rich_help_panel=WORK,
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            min=1, help="CPU threads for each file. More help only large models, on idle cores.", rich_help_panel=WORK
        ),
    ] = 1,
    device: Annotated[
        DeviceChoice,
        typer.Option(
            help="Where the network runs; auto is CUDA if there is such a GPU, else the CPU.", rich_help_panel=WORK
        ),
    ] = DeviceChoice.auto,
    precision: Annotated[
        PrecisionChoice,
        typer.Option(
            help="Of the network's convolutions; bf16 where the processor multiplies it faster, fp32 elsewhere.",
            rich_help_panel=WORK,
        ),
    ] = PrecisionChoice.auto,
    backend: Annotated[
        BackendChoice,
        typer.Option(
            help="This machine, or a dask cluster whose machines all see the same files.", rich_help_panel=WORK
        ),
    ] = BackendChoice.local,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Of the dask scheduler: tcp://host:8786.", rich_help_panel=WORK),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "-n", "--dry-run", help="Only say what would be done and how long it takes.", rich_help_panel=WORK
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a table of all files as .jsonl or .csv, row by row.", rich_help_panel=MESSAGES
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print what happens as JSON lines, for programs.", rich_help_panel=MESSAGES),
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.", rich_help_panel=MESSAGES)] = False,
    raw: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="s16le, s24le, f32le, mulaw …", show_default="WAV", rich_help_panel=PIPES),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(metavar="HZ", help="Rate of raw samples.", show_default="16000", rich_help_panel=PIPES),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, help="Channels of raw samples.", show_default="1", rich_help_panel=PIPES)
    ] = None,
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
    from dccrn_cli.engine.enhance_options import EnhanceOptions, Workers
    from dccrn_cli.engine.files.plan import PlanOptions
    from dccrn_cli.errors import OptionError

    suffix_wanted = "" if container is None else container_suffix(container)
    options = EnhanceOptions(
        model=_model_for_all(model),
        high_band=high_band.value,
        attenuation_limit_db=attenuation_limit,
        mix=mix,
        device=device.value,
        precision=precision.value,
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
    workers = Workers(jobs, backend.value, scheduler)
    if raw is None:
        _refuse({"--rate": rate, "--channels": channels}, "without --raw")
    if STANDARD in (paths or ()) or output == STANDARD:
        unfit = {
            "--input-list": input_list, "--noise-out": noise_out, "--report": report, "--dry-run": dry_run,
            "--json": as_json, "--keep-video": keep_video, "--include": include, "--exclude": exclude,
            "--suffix": suffix, "--name": name, "--keep-mtime": keep_mtime, "--jobs": jobs,
            "--backend": backend.value == "dask", "--scheduler": scheduler,
            "--overwrite": overwrite and output in (None, STANDARD),
            "--track": STANDARD in (paths or ()) and track, "--track all": track == "all",
        }  # fmt: skip
        _refuse(unfit, "with standard input or output")
        _pipe(
            paths or [],
            output,
            options,
            naming,
            None if raw is None else RawFormat(raw, rate or 16_000, channels or 1),
            quiet,
        )
        return
    if raw is not None:
        raise OptionError("--raw is for standard input and output, each written as -")
    if scheduler is not None and backend.value != "dask":
        raise OptionError("--scheduler is for --backend dask")
    if keep_video and container is not None:
        raise OptionError("--keep-video keeps the container and --format changes it; use one")
    if keep_video and options.track == "all" and noise_out is not None:
        raise OptionError("--noise-out writes one track of a video; name it with --track N")
    plan = _plan(paths or [], output, naming, input_list)
    if dry_run:
        _dry_run(plan, options, workers, as_json)
    else:
        _enhance(plan, options, workers, report, as_json, quiet)


def _pipe(
    paths: list[str],
    output: str | None,
    options: EnhanceOptions,
    naming: PlanOptions,
    raw: RawFormat | None,
    quiet: bool,
) -> None:
    from dccrn_cli.cli.pipe import enhance_pipe
    from dccrn_cli.errors import OptionError

    if raw is not None and options.sample_format is not None:
        raise OptionError("--raw says the sample format; --sample-format is for files")
    enhance_pipe(paths, output, options, naming.suffix, raw, quiet)


def _refuse(options: Mapping[str, object], where: str) -> None:
    """Options that would have no effect are refused.

    Raises:
        OptionError: one of them is given.
    """
    from dccrn_cli.errors import OptionError

    if given := [name for name, value in options.items() if value not in (None, False, "")]:
        raise OptionError(f"{', '.join(given)} cannot be used {where}")


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


def _model_for_all(model: str | None) -> str:
    """The model under a name that every process and machine can find."""
    from dccrn_cli.nn.models import find_model, models_folder

    path = find_model(model)
    return path.stem if path.parent == models_folder() else str(path.absolute())


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
    from dccrn_cli.errors import OptionError

    try:
        data = sys.stdin.buffer.read() if name == STANDARD else Path(name).read_bytes()
    except OSError as error:
        raise OptionError(f"cannot be read ({error.strerror})", name) from None
    import os

    separator = b"\0" if b"\0" in data else b"\n"
    lines = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(separator)]
    return [os.fsdecode(line) for line in lines if line.strip()]


def _split(plan: Plan, overwrite: bool) -> tuple[list[Job], list[Job]]:
    """What is to be done, and what is done already."""
    from dccrn_cli.utils.paths import is_file

    done = [job for job in plan.jobs if not overwrite and all(is_file(target) for target in job.targets)]
    known = set(done)
    return [job for job in plan.jobs if job not in known], done


def _dry_run(plan: Plan, options: EnhanceOptions, workers: Workers, as_json: bool) -> None:
    from dccrn_cli.audio.reader import probe
    from dccrn_cli.cli.batch import plan_events, show_plan
    from dccrn_cli.engine.files.estimate import estimate_s

    jobs, skipped = _split(plan, options.overwrite)
    probes = probe([job.source for job in jobs])
    processes = workers.processes([found.work_s for found in probes], options.threads)
    seconds = estimate_s(probes, options, processes)
    for path, reason in plan.unusable:
        error_line(f"FAILED {path}: {reason}")
    if as_json:
        plan_events(jobs, skipped, probes, seconds)
    else:
        show_plan(plan, jobs, skipped, probes, seconds, processes)


def _enhance(
    plan: Plan, options: EnhanceOptions, workers: Workers, report: Path | None, as_json: bool, quiet: bool
) -> None:
    from dccrn_cli.audio.reader import probe
    from dccrn_cli.cli.batch import BatchLog
    from dccrn_cli.cli.progress import BatchProgress
    from dccrn_cli.engine.files.batch import enhance_batch
    from dccrn_cli.utils.interrupt import Interrupt

    jobs, skipped = _split(plan, options.overwrite)
    log = BatchLog(report, as_json, quiet, jobs, skipped)
    with log, Interrupt() as interrupt:
        probes = probe([job.source for job in jobs])
        seconds = sum(found.seconds for found in probes)
        log.start(plan, skipped, seconds)
        with BatchProgress(len(jobs), seconds, enabled=not (quiet or as_json)) as progress:
            work = [found.work_s for found in probes]
            for result in enhance_batch(jobs, work, options, workers, interrupt, progress.board):
                log.add(result)
                progress.finish(result.source)
        log.finish(progress.elapsed_s, plan.ignored, interrupt.requested)
    if interrupt.requested:
        raise typer.Exit(INTERRUPTED)
    if log.done["failed"] or log.incomplete:
        raise typer.Exit(SOME_FAILED)
