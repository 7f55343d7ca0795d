"""What `visim clean` says of a plan: its report, and the lines that it prints."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from visim_models.cleaning.clean_up import FINDS
from visim_models.cleaning.output_folder import CleanFolder
from visim_models.cleaning.plan import Plan
from visim_models.cleaning.report import ReportedFind, shown_rows, thumbnails_for, write_report
from visim_models.cleaning.survey import Survey
from visim_models.cli.clean_options import FIND_TEXTS
from visim_models.galleries.sources import open_store
from visim_models.images.kinds import unread_summary

__all__ = ["found_lines", "write_clean_report"]


def write_clean_report(
    file: TextIO,
    *,
    plan: Plan,
    thresholds: Mapping[str, float],
    surveys: Sequence[Survey],
    options: argparse.Namespace,
    out: CleanFolder,
) -> None:
    """Write the report of a plan.

    Args:
        file: to write into.
        plan: the plan.
        thresholds: find -> threshold.
        surveys: of all pictures that were looked at, those to clean first.
        options: of the command.
        out: the folder of the plan.
    """
    finds = [
        ReportedFind(name, FIND_TEXTS[name], rows, thresholds.get(name))
        for name in FINDS
        if (rows := [row for row in plan.rows if row.find == name])
    ]
    stores = {survey.root: open_store(survey.root) for survey in surveys}
    removed = plan.removed
    size = sum(row.bytes or 0 for row in removed)
    write_report(
        file,
        finds,
        title=f"Clean {Path(surveys[0].root).name}",
        summary=[
            f"{sum(map(len, surveys)):,} picture files were looked at. The plan removes "
            f"{len(removed):,} of them ({size / 1e6:,.1f} MB)."
        ],
        command=_command_again(options),
        apply_command=shlex.join(["visim", "clean", "--apply", str(out.plan)]),
        thumbnail=thumbnails_for(shown_rows(finds), stores, progress=True),
    )


def _command_again(options: argparse.Namespace) -> str:
    """Return the command without --at, to which the report adds thresholds."""
    words = ["visim", "clean", options.pictures]
    for name in ("like", "not_like", "leaks", "prefer", "exclude"):
        if values := getattr(options, name):
            words += [f"--{name.replace('_', '-')}", *values]
    for name in ("model", "images", "add", "out"):
        if value := getattr(options, name):
            words += [f"--{name}", value]
    words += [
        f"--{name}"
        for name in ("duplicates", "strange", "broken", "quality", "labels", "all")
        if getattr(options, name)
    ]
    for name, default in (("keep", "best"), ("mirrored", "look")):
        if (value := getattr(options, name)) != default:
            words += [f"--{name}", value]
    return shlex.join(words)


def found_lines(plan: Plan, thresholds: Mapping[str, float], surveys: Sequence[Survey], out: CleanFolder) -> list[str]:
    lines = [
        f"{survey.root}: {len(survey):,} picture files, {survey.reused:,} of them known from before"
        for survey in surveys
    ]
    for name in FINDS:
        rows = [row for row in plan.rows if row.find == name]
        if rows or name in thresholds:
            at = f", from {thresholds[name]:.2f} on" if name in thresholds else ""
            count = sum(row.action == "remove" and not row.is_removed_elsewhere for row in rows)
            seen = sum(row.action == "look" for row in rows)
            more = f", {seen:,} to look at" if seen else ""
            more += ": nothing stands out" if name == "like" and not count else ""
            lines.append(f"  {name:<10} {count:>7,} to remove{at}{more}")
    lines += filter(None, (unread_summary(item.reason for survey in surveys for item in survey.broken),))
    lines += [survey.put_aside for survey in surveys if survey.put_aside]
    return [
        *lines,
        f"plan:   {out.plan} ({len(plan.removed):,} files to remove; edit the column action to disagree)",
        f"report: {out.report}",
        *_memory_lines(),
        f"next:   {shlex.join(['visim', 'clean', '--apply', str(out.plan)])}",
    ]


def _memory_lines() -> list[str]:
    try:
        import resource  # which Windows does not have
    except ImportError:
        return []
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return [f"memory: {peak / 1e9:.1f} GB at most"]
