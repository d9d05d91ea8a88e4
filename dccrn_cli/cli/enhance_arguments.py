"""Options of `dccrn enhance` taken together: values, contradictions, and the files they name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from dccrn_cli.cli.console import STANDARD, USAGE, count, error_line

if TYPE_CHECKING:
    from dccrn_cli.engine.enhance_options import Loudness, Track, Workers
    from dccrn_cli.engine.files.plan import Plan, PlanOptions


def check_fit(naming: PlanOptions, workers: Workers, raw: str | None, container: str | None) -> None:
    """Reject contradictory options.

    Raises:
        OptionError: options contradict each other.
    """
    from dccrn_cli.errors import OptionError

    if raw is not None:
        raise OptionError("--raw is only for standard input and output (-)")
    if workers.scheduler is not None and workers.backend != "dask":
        raise OptionError("--scheduler requires --backend dask")
    if naming.keep_video and container is not None:
        raise OptionError("--keep-video and --format cannot be combined: one keeps the container, the other changes it")
    if naming.keep_video and naming.all_tracks and naming.noise_output is not None:
        raise OptionError("--noise-out supports a single track of a video; choose it with --track N")


def refuse(options: Mapping[str, object], where: str) -> None:
    """Reject options that would have no effect.

    Raises:
        OptionError: one of them is given.
    """
    from dccrn_cli.errors import OptionError

    if given := [name for name, value in options.items() if value not in (None, False, "")]:
        raise OptionError(f"{', '.join(given)} cannot be used {where}")


def parse_loudness(text: str | None) -> Loudness | None:
    from dccrn_cli.errors import OptionError

    if text is None or text == "keep":
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"--loudness must be a level in LUFS, such as -16, or keep, not {text!r}") from None


def parse_track(text: str | None) -> Track:
    from dccrn_cli.errors import OptionError

    if text in (None, "all"):
        return text  # type: ignore[return-value]
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise OptionError(f"--track must be a number from 1, or all, not {text!r}")
    return int(text)


def name_template(name: str | None, suffix: str) -> str:
    from dccrn_cli.engine.files.plan import KEEP_NAME
    from dccrn_cli.errors import OptionError

    if name is not None and suffix:
        raise OptionError("--name and --suffix cannot be combined: both set the names of results")
    literal = suffix.replace("{", "{{").replace("}", "}}")
    return name or KEEP_NAME.replace("{ext}", f"{literal}{{ext}}")


def plan_files(paths: list[str], output: str | None, naming: PlanOptions, input_list: str | None) -> Plan:
    from dccrn_cli.engine.files.plan import KEEP_NAME, make_plan
    from dccrn_cli.errors import OptionError

    if not paths and input_list is None:
        raise OptionError("give files or folders to enhance, or an --input-list")
    if output is None and naming.name == KEEP_NAME:
        raise OptionError("specify where to write results: -o OUT, or --suffix TEXT for beside the originals")
    plan = make_plan(paths, output, naming, [] if input_list is None else _read_list(input_list))
    if not plan.jobs:
        for path, reason in plan.unusable:
            error_line(f"FAILED {path}: {reason}")
        left = f"; {count(plan.ignored, 'other file')} ignored" if plan.ignored else ""
        error_line(f"Error: no audio files found{left}")
        raise typer.Exit(USAGE)
    return plan


def _read_list(name: str) -> list[str]:
    from dccrn_cli.engine.files.plan import listed_files, read_file_list

    return listed_files(sys.stdin.buffer.read()) if name == STANDARD else read_file_list(name)
