"""`dccrn enhance`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dccrn_cli.cli.console import STANDARD, plain_errors
from dccrn_cli.cli.enhance_arguments import check_fit, name_template, parse_loudness, parse_track, plan_files, refuse
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
    from dccrn_cli.engine.enhance_options import EnhanceOptions
    from dccrn_cli.engine.files.plan import PlanOptions

SOUND, PIPES = "Enhancement", "Raw samples on standard input and output"


@plain_errors
def enhance(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Files, folders (searched recursively) and glob patterns; - for standard input. "
            "Write names that start with a dash as ./-a.wav",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        option(
            "Folder for the results; for a single file also a file name, or - for standard output.",
            "-o",
            "--output",
            metavar="OUT",
            show_default="beside the originals, with --suffix or --name",
        ),
    ] = None,
    include: Annotated[
        list[str] | None, option("Only process files that match; may be repeated.", panel=FILES, metavar="GLOB")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        option("Skip files and folders that match; may be repeated.", panel=FILES, metavar="GLOB"),
    ] = None,
    input_list: Annotated[
        str | None,
        option(
            "Process the files in this list, one per line (or separated by NUL); - for standard input.",
            panel=FILES,
            metavar="FILE",
        ),
    ] = None,
    overwrite: OverwriteResults = False,
    suffix: Annotated[str, option("Append this to names: a.wav → a_clean.wav.", panel=RESULTS, metavar="TEXT")] = "",
    name: Annotated[
        str | None,
        option(
            "Template for names with {stem}, {ext} (including its dot), {oldext} (without) and {folder}.",
            panel=RESULTS,
            metavar="TEMPLATE",
            show_default="{stem}{ext}",
        ),
    ] = None,
    container: Annotated[
        str | None,
        option(
            "Output container: wav, flac, ogg, opus, mp3, aiff, caf, w64 …",
            "--format",
            panel=RESULTS,
            metavar="NAME",
            show_default="same as the original",
        ),
    ] = None,
    sample_format: Annotated[
        str | None,
        option(
            "s16, s24, s32, f32, u8, ulaw, vorbis …", panel=RESULTS, metavar="NAME", show_default="same as the original"
        ),
    ] = None,
    sample_rate: Annotated[
        int | None,
        option(
            "Sample rate of the results.",
            panel=RESULTS,
            min=1000,
            max=768_000,
            metavar="HZ",
            show_default="same as the original",
        ),
    ] = None,
    noise_out: Annotated[
        Path | None, option("Also write the removed noise: original minus result.", panel=RESULTS, metavar="FOLDER")
    ] = None,
    keep_mtime: Annotated[
        bool, option("Give results the modification time of their originals.", "--keep-mtime", panel=RESULTS)
    ] = False,
    keep_video: Annotated[
        bool,
        option(
            "Keep videos as videos: copy the picture, enhance the audio. Otherwise only the audio is written.",
            "--keep-video",
            panel=RESULTS,
        ),
    ] = False,
    track: Annotated[
        str | None,
        option(
            "Number of the audio track to enhance, or all for every track.",
            panel=RESULTS,
            metavar="N|all",
            show_default="the default track",
        ),
    ] = None,
    model: Annotated[
        str | None,
        option(
            "Bundled model (see `dccrn models`) or model file.",
            panel=SOUND,
            metavar="NAME|PATH",
            show_default="dccrn",
        ),
    ] = None,
    attenuation_limit: Annotated[
        float | None,
        option(
            "Attenuate noise by at most this; 12 leaves some natural ambience.",
            panel=SOUND,
            min=0.0,
            metavar="DB",
            show_default="no limit",
        ),
    ] = None,
    mix: Annotated[
        float,
        option(
            "Share of the enhanced signal, from 0 (only the original) to 1 (only the result).",
            panel=SOUND,
            min=0.0,
            max=1.0,
        ),
    ] = 1.0,
    purpose: Annotated[
        Purpose,
        option(
            "asr: for a speech recogniser. A quarter of the noise remains (--attenuation-limit 12 unless another is "
            "given), and its share in pauses is measured.",
            "--for",
            panel=SOUND,
        ),
    ] = "listening",
    loudness: Annotated[
        str | None,
        option(
            "Adjust each result to this integrated loudness (BS.1770-4) with one gain, or keep that of the original.",
            panel=SOUND,
            metavar="LUFS|keep",
            show_default="no gain",
        ),
    ] = None,
    true_peak: Annotated[
        float | None,
        option("True-peak limit of that gain.", panel=SOUND, min=-70.0, max=0.0, metavar="DBTP", show_default="-1"),
    ] = None,
    link_channels: Annotated[
        bool,
        option(
            "Apply one gain to all channels of a file, so that panned speech keeps its position. For stereo mixes; off "
            "by default because it leaves more noise where each talker has a microphone.",
            "--link-channels",
            panel=SOUND,
        ),
    ] = False,
    high_band: Annotated[
        HighBand, option("Band above 8 kHz: gate with the network's gain, keep unchanged, or drop.", panel=SOUND)
    ] = "gate",
    jobs: Jobs = None,
    threads: Annotated[
        int,
        option("CPU threads per file. More than one only helps with large models on idle cores.", panel=WORK, min=1),
    ] = 1,
    device: Device = "auto",
    precision: Annotated[
        Precision,
        option(
            "Precision of the network's convolutions; auto is bf16 if the processor supports it natively.", panel=WORK
        ),
    ] = "auto",
    backend: Annotated[
        Literal["local", "dask"],
        option("This machine, or a dask cluster with a shared file system.", panel=WORK),
    ] = "local",
    scheduler: Annotated[
        str | None, option("Address of the dask scheduler: tcp://host:8786.", panel=WORK, metavar="ADDRESS")
    ] = None,
    dry_run: Annotated[
        bool, option("Only show what would be done and how long it would take.", "-n", "--dry-run", panel=WORK)
    ] = False,
    report: Annotated[
        Path | None,
        option("Write a table of all files to a .jsonl or .csv file, row by row.", panel=MESSAGES, metavar="FILE"),
    ] = None,
    listen: Listen = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    raw: Annotated[
        str | None, option("s16le, s24le, f32le, mulaw …", panel=PIPES, metavar="FORMAT", show_default="WAV")
    ] = None,
    rate: Annotated[
        int | None, option("Sample rate of raw samples.", panel=PIPES, metavar="HZ", show_default="16000")
    ] = None,
    channels: Annotated[int | None, option("Channels of raw samples.", panel=PIPES, min=1, show_default="1")] = None,
) -> None:
    """Remove noise from speech recordings.

    Results keep the names, folder structure, format, sample rate, channels and length of the
    originals, which are never modified. Files that fail are reported and the rest continues.
    Rerun the same command to resume a stopped run.

    Exit codes: 0 all done, 1 some files failed, 2 invalid usage, 130 interrupted.
    """
    from dccrn_cli.audio.formats import container_suffix
    from dccrn_cli.audio.formats import sample_format as find_sample_format
    from dccrn_cli.audio.raw import RawFormat
    from dccrn_cli.cli.batch_output import run_batch, show_dry_run
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
        loudness=parse_loudness(loudness),
        true_peak_dbtp=-1.0 if true_peak is None else true_peak,
        link_channels=link_channels,
        device=device,
        precision=precision,
        sample_format=None if sample_format is None else find_sample_format(sample_format, suffix_wanted),
        sample_rate=sample_rate,
        track=parse_track(track),
        keep_mtime=keep_mtime,
        overwrite=overwrite,
        threads=threads,
    )
    naming = PlanOptions(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        name=name_template(name, suffix),
        suffix=suffix_wanted,
        keep_video=keep_video,
        noise_output=noise_out,
        all_tracks=options.track == "all",
    )
    workers = Workers(jobs, backend, scheduler)
    if loudness is None:
        refuse({"--true-peak": None if true_peak is None else True}, "without --loudness")
    if raw is None:
        refuse({"--rate": rate, "--channels": channels}, "without --raw")
    if STANDARD in (paths or ()) or output == STANDARD:
        unfit = {
            "--input-list": input_list, "--noise-out": noise_out, "--report": report, "--dry-run": dry_run,
            "--json": as_json, "--keep-video": keep_video, "--include": include, "--exclude": exclude,
            "--suffix": suffix, "--name": name, "--keep-mtime": keep_mtime, "--jobs": jobs,
            "--backend": backend == "dask", "--scheduler": scheduler,
            "--listen": listen, "--overwrite": overwrite and output in (None, STANDARD),
            "--loudness": loudness, "--track": STANDARD in (paths or ()) and track, "--track all": track == "all",
        }  # fmt: skip
        refuse(unfit, "with standard input or output")
        raw_format = None if raw is None else RawFormat(raw, rate or 16_000, channels or 1)
        _pipe(paths or [], output, options, naming, raw_format, quiet)
        return
    check_fit(naming, workers, raw, container)
    batch = FileBatch(plan_files(paths or [], output, naming, input_list), options, workers)
    if dry_run:
        show_dry_run(batch, as_json)
    else:
        if listen is not None:
            check_page(listen)
        run_batch(batch, report, as_json, quiet, listen)


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
        raise OptionError("--raw sets the sample format; --sample-format is for files")
    run_pipe(paths, output, options, naming.suffix, raw, quiet)
