"""`visim clean`: find what does not belong in a set of pictures, and move it out, so that it can be undone."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Final, TextIO, get_args

from visim_models.cleaning.apply import Applied
from visim_models.cleaning.clean_up import FINDS, THRESHOLDS, CleanUp, Mirrored, Wanted
from visim_models.cleaning.journal import Journal
from visim_models.cleaning.output_folder import CleanFolder, is_clean_folder, take_decisions
from visim_models.cleaning.plan import Plan
from visim_models.cleaning.quality import Keep, Preference
from visim_models.cleaning.report import FindTexts, ReportedFind, shown_rows, thumbnails_for, write_report
from visim_models.cleaning.survey import Survey, survey_pictures
from visim_models.cli import REPO_HELP, Commands, add_backend, add_index_uri, add_picture_choice, chosen
from visim_models.errors import DataError
from visim_models.galleries import DEFAULT_MODEL, update
from visim_models.galleries.embed import Embedder
from visim_models.galleries.sources import PictureSource, Skipped, local_inputs, open_store
from visim_models.gallery import Gallery
from visim_models.images.decode import decode_image
from visim_models.images.kinds import unread_summary
from visim_models.repo_folder import RepoFolder, is_repo
from visim_models.repo_folder.manifest import EMBEDDINGS
from visim_models.search.engine import EngineAddress

__all__ = ["EXAMPLES", "FIND_TEXTS", "add_clean", "add_options", "found_lines", "write_clean_report"]

EXAMPLES: Final = """\
examples:
  visim clean photos                                   duplicates, broken and strange pictures: a plan and a report
  visim clean photos --like soon.jpg seat.jpg --out clean
  visim clean photos --like seat.jpg --not-like dashboard.jpg --at 0.6
  visim clean train --leaks test validation
  visim clean photos --add new-photos --duplicates     compare new pictures with all; only new ones are removed
  visim clean my-gallery --duplicates                  a built gallery: nothing is embedded again
  visim clean --apply clean/plan.csv                   show what the plan would do
  visim clean --apply clean/plan.csv --yes             move the files into a quarantine folder
  visim clean --undo photos-quarantine/journal-20260101-120000.jsonl

The plan is a CSV: edit its column action to keep, look or remove. Given again, a command looks only at new and changed
files."""

FIND_TEXTS: Final = {
    "like": FindTexts("Like the examples", "picture", "Pictures that look like the examples, best first."),
    "duplicates": FindTexts("Duplicates", "group", "Each picture is a copy of the first one of its group."),
    "leaks": FindTexts("Near-duplicates in the other folder", "pair", "Pictures that the other folder has, too."),
    "labels": FindTexts("Labels to look at", "picture", "Pictures whose label may be wrong, the clearest first."),
    "quality": FindTexts("Poor quality", "picture", "Blurred, dark, bright or flat pictures, the clearest first."),
    "broken": FindTexts("Broken files", "file", "Files that cannot be decoded."),
    "blank": FindTexts("Blank pictures", "picture", "Pictures of one colour."),
    "tiny": FindTexts("Tiny pictures", "picture", "Pictures far smaller than is usual here."),
    "shape": FindTexts("Extreme shapes", "picture", "Pictures far longer than wide, or wider than long."),
    "strange": FindTexts("Strange pictures", "picture", "Pictures that look like none of the others, strangest first."),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `visim clean`."""
    parser.add_argument(
        "pictures",
        nargs="?",
        metavar="PICTURES",
        help="the pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/NAMESPACE/NAME, "
        "s3://BUCKET/FOLDER, or the repo folder of a built gallery",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="where plan.csv and report.html go (default: PICTURES-clean, here or beside PICTURES)",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f"the network that compares the pictures: {REPO_HELP} (default: {DEFAULT_MODEL})",
    )
    parser.add_argument("--images", metavar="PATH", help="with a gallery: the folder or zip of its pictures")
    parser.add_argument("--add", metavar="PATH", help="new pictures, compared with PICTURES: only new ones are removed")
    add_picture_choice(parser)
    add_backend(parser)
    add_index_uri(parser)
    _add_finds(parser)
    _add_choices(parser)
    _add_changes(parser)


def _add_finds(parser: argparse.ArgumentParser) -> None:
    finds = parser.add_argument_group("what to find (default: --duplicates --broken --strange)")
    finds.add_argument(
        "--like",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="everything that looks like these pictures",
    )
    finds.add_argument(
        "--not-like",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="with --like: except what looks more like these",
    )
    finds.add_argument(
        "--duplicates", action="store_true", help="copies and near-duplicates; the best of each group is kept"
    )
    finds.add_argument(
        "--leaks",
        nargs="+",
        action="extend",
        default=[],
        metavar="TEST",
        help="near-duplicates of the pictures of other folders or zips, which are kept",
    )
    finds.add_argument(
        "--labels",
        action="store_true",
        help="pictures under two labels, and pictures whose nearest have another label; the folders are the labels",
    )
    finds.add_argument(
        "--quality", action="store_true", help="blurred, dark, bright and flat pictures, and grey ones among colours"
    )
    finds.add_argument("--strange", action="store_true", help="pictures that look like none of the others")
    finds.add_argument(
        "--broken", action="store_true", help="files that do not decode; blank, tiny and odd-shaped pictures"
    )
    finds.add_argument(
        "--at",
        nargs="+",
        default=[],
        metavar="SCORE",
        help="the threshold, such as 0.9; or duplicates=0.9 like=0.6 leaks=0.85",
    )
    finds.add_argument("--top", type=int, metavar="N", help="of --like: the N best, whatever their scores")


def _add_choices(parser: argparse.ArgumentParser) -> None:
    choices = parser.add_argument_group("which copy is kept")
    choices.add_argument(
        "--prefer",
        nargs="+",
        action="extend",
        default=[],
        metavar="FOLDER",
        help="keep the copy in the first of these folders, else the one in the second, and so on",
    )
    choices.add_argument(
        "--keep",
        choices=get_args(Keep),
        default="best",
        help="keep the copy with the most information, or the oldest, newest or largest file (default: %(default)s)",
    )
    choices.add_argument(
        "--mirrored",
        choices=get_args(Mirrored),
        default="look",
        help="whether a mirrored picture is no copy, one to look at, or one to remove (default: %(default)s)",
    )


def _add_changes(parser: argparse.ArgumentParser) -> None:
    changes = parser.add_argument_group("carrying a plan out")
    changes.add_argument("--apply", metavar="PLAN", help="show what a plan.csv would do")
    changes.add_argument("--yes", action="store_true", help="with --apply: move the files; none is deleted")
    changes.add_argument("--quarantine", metavar="FOLDER", help="where they go (default: beside the pictures)")
    changes.add_argument(
        "--alone", action="store_true", help="leave the files of the same stem (.xmp, .MOV, .CR2, .txt) where they are"
    )
    changes.add_argument("--gallery", metavar="REPO", help="with --apply: a gallery that shall forget them, too")
    changes.add_argument("--undo", metavar="JOURNAL", help="bring back what a journal in a quarantine names")


_SHOWN = 10
_NAMED = ("like", "duplicates", "strange", "broken", "leaks", "quality", "labels")


def add_clean(commands: Commands) -> None:
    """Add the command `clean`."""
    parser = commands.add_parser(
        "clean",
        help="find duplicates, look-alikes and broken files, and move them out",
        description="Find the pictures of a set to take out; write a plan and a report; carry it out, or undo it. "
        "Files are moved, never deleted.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    modes = [name for name in ("pictures", "apply", "undo") if getattr(options, name) is not None]
    if len(modes) != 1:
        raise DataError("Name PICTURES to look at, or --apply PLAN, or --undo JOURNAL: one of them.")
    if modes == ["undo"]:
        return _undo(options)
    return _apply(options) if modes == ["apply"] else _find(options)


def _find(options: argparse.Namespace) -> int:
    wanted = _wanted(options)
    named, parts, gallery = _source(options)
    source = chosen(named, options)
    added = chosen(options.add, options) if options.add else None
    others = [chosen(each, options) for each in options.leaks]
    inputs = [each for each in (source, added, *others) if each]
    _check_apart(*inputs)
    for each in inputs:
        open_store(each)  # a wrong name is said before a folder is made
    for example in (*wanted.like, *wanted.not_like):
        decode_image(example)
    out = CleanFolder(options.out or _output_for(Path(options.pictures).resolve()), inputs=local_inputs(*inputs))
    decisions = out.take_decisions()
    cleaned = [str(path) for path in local_inputs(source, added)]
    look = partial(survey_pictures, parts=parts, kept=out.survey, cleaned=cleaned, progress=True)
    first = look(source, gallery=gallery)
    more = look(added) if added else None
    leaks = [look(each) for each in others]
    clean_up = CleanUp(more or first, kept=first if more else None, decisions=decisions, parts=parts, progress=True)
    plan = clean_up.plan(wanted, leaks=leaks)
    surveys = [survey for survey in (first, more, *leaks) if survey is not None]
    edited = out.write(
        plan,
        partial(
            write_clean_report, plan=plan, thresholds=clean_up.thresholds, surveys=surveys, options=options, out=out
        ),
    )
    if edited:
        print(f"your edited plan is {edited} now")
    print("\n".join(found_lines(plan, clean_up.thresholds, surveys, out)))
    return 0


def _output_for(pictures: Path) -> Path:
    """Return the folder that is written by default: here, or beside the pictures for someone who is among them."""
    here = Path.cwd().resolve()
    name = pictures.name if pictures.is_dir() else pictures.stem
    return (pictures.parent if here.is_relative_to(pictures) else here) / f"{name}-clean"


def _check_apart(*sources: PictureSource) -> None:
    """Refuse two folders one of which is, or is in, the other: a file would be found to be a copy of itself."""
    for one, other in combinations([path.resolve() for path in local_inputs(*sources)], 2):
        is_nested = one.is_dir() and other.is_dir() and (one in other.parents or other in one.parents)
        if one == other or is_nested:  # a zip in the folder is another source
            raise DataError(
                f"{other} and {one} hold the same files: name folders that are apart, such as data/train and data/test."
            )


def _source(options: argparse.Namespace) -> tuple[str, Embedder, Gallery | None]:
    """Return where the pictures are, the network, and the gallery that has their embeddings already, if any."""
    folder = Path(options.pictures)
    if not (is_repo(folder) and RepoFolder(folder).has(EMBEDDINGS)):
        return options.pictures, Embedder.load(options.model or DEFAULT_MODEL, backend=options.backend), None
    repo = RepoFolder(folder)
    parts = Embedder.load(repo, backend=options.backend)
    gallery = Gallery.load(
        repo,
        weights_sha256=parts.weights_sha256,
        processor_sha256=parts.processor_sha256,
        address=EngineAddress.given(options.index_uri),
    ).whole()
    root = options.images or gallery.image_root
    if options.model or not root:
        raise DataError(
            f"{folder} is a gallery: it has its own network (leave --model out), and needs to know where its pictures "
            "are: --images PATH.",
            path=folder,
        )
    return root, parts, gallery


def _wanted(options: argparse.Namespace) -> Wanted:
    named = any(getattr(options, name) for name in _NAMED)
    if options.not_like and not options.like:
        raise DataError("--not-like goes with --like: name an example of what you look for.")
    if options.top is not None and (not options.like or options.top < 1):
        raise DataError("--top goes with --like, and is at least 1.")
    return Wanted(
        like=options.like,
        not_like=options.not_like,
        duplicates=options.duplicates or not named,
        strange=options.strange or not named,
        broken=options.broken or not named,
        at=_thresholds(options, [name for name in THRESHOLDS if getattr(options, name)] or ["duplicates"]),
        quality=options.quality,
        labels=options.labels,
        top=options.top,
        mirrored=options.mirrored,
        preference=Preference(tuple(options.prefer), options.keep),
    )


def _thresholds(options: argparse.Namespace, finds: Sequence[str]) -> dict[str, float]:
    """Read --at: "0.9" for all finds that have a threshold, "duplicates=0.9" for one."""
    found: dict[str, float] = {}
    for text in options.at:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 < value <= 1 or (name and name not in THRESHOLDS):
            raise DataError(
                f"--at is {text!r}, but must be a number up to 1, or FIND=NUMBER with {', '.join(THRESHOLDS)}."
            )
        if name and name not in finds:
            raise DataError(f"--at is {text!r}, but --{name} was not asked for: add it, or leave this out.")
        found |= dict.fromkeys([name] if name else finds, round(value, 2))
    return found


def _apply(options: argparse.Namespace) -> int:
    plan = Plan.read(options.apply)
    if is_clean_folder(folder := Path(options.apply).resolve().parent):
        take_decisions(folder)
    applied = plan.apply(quarantine=options.quarantine, dry_run=not options.yes, alone=options.alone, progress=True)
    lines = [*_applied_lines(applied), *_warnings(plan)]
    if options.gallery and options.yes and applied.gone:
        report = update(options.gallery, remove=applied.gone)
        lines += report.lines()
    print("\n".join(lines))
    if not options.yes:
        print("nothing was moved: add --yes to do it")
    return 2 if applied.failed else 0


def _applied_lines(applied: Applied) -> list[str]:
    verb = "would be moved" if applied.is_dry_run else "moved"
    lines = [f"{len(applied.moved):,} files {verb} to {applied.quarantine} ({applied.bytes / 1e6:,.1f} MB)"]
    if not applied.moved:
        lines = ["there is nothing to move"]
    shown = applied.moved[:_SHOWN] if applied.is_dry_run else []
    lines += [f"  {name}" for name in shown]
    if len(applied.moved) > len(shown) > 0:
        lines.append(f"  and {len(applied.moved) - len(shown):,} more")
    if applied.beside:
        lines.append(f"{len(applied.beside):,} files that belong to them go along (--alone leaves them)")
    if applied.already:
        lines.append(f"{len(applied.already):,} files had been moved before")
    if applied.elsewhere:
        lines.append(
            f"{len(applied.elsewhere):,} files are in a zip or at an address and stay there: --gallery REPO makes a "
            "gallery forget them"
        )
    lines += _failures(applied.failed, "stay")
    if applied.journal:
        lines.append(f"undo:   {shlex.join(['visim', 'clean', '--undo', str(applied.journal)])}")
    return lines


def _warnings(plan: Plan) -> list[str]:
    """Say of which pictures an edited plan leaves no copy: it is done, and can be undone."""
    groups = plan.groups_without_any
    shown = [f"  {', '.join(row.file_name for row in rows)}" for rows in groups[:_SHOWN]]
    return [f"groups of which the plan leaves no copy: {len(groups):,}", *shown] if groups else []


def _undo(options: argparse.Namespace) -> int:
    done = Journal(options.undo).undo(progress=True)
    print(f"{len(done.restored):,} files are back, {done.already:,} were where they belong")
    for line in _failures(done.failed, "could not be brought back"):
        print(line)
    return 2 if done.failed else 0


def _failures(failed: Sequence[Skipped], verb: str) -> list[str]:
    lines = [f"{len(failed):,} files {verb}:"] if failed else []
    return lines + [f"  {item.file_name}: {item.reason}" for item in failed]


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
