"""`visim clean`: find what does not belong in a set of pictures, and move it out, so that it can be undone."""

import argparse
import shlex
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

from visim_models.cleaning.apply import Applied
from visim_models.cleaning.clean_up import THRESHOLDS, CleanUp, Wanted
from visim_models.cleaning.journal import Journal
from visim_models.cleaning.output_folder import CleanFolder, is_clean_folder, take_decisions
from visim_models.cleaning.plan import Plan
from visim_models.cleaning.quality import Preference
from visim_models.cleaning.survey import survey_pictures
from visim_models.cli import Commands, chosen
from visim_models.cli.clean_options import EXAMPLES, add_options
from visim_models.cli.clean_report import found_lines, write_clean_report
from visim_models.errors import DataError
from visim_models.galleries import DEFAULT_MODEL, update
from visim_models.galleries.embed import Embedder
from visim_models.galleries.sources import PictureSource, Skipped, local_inputs, open_store
from visim_models.gallery import Gallery
from visim_models.images.decode import decode_image
from visim_models.repo_folder import RepoFolder, is_repo
from visim_models.repo_folder.manifest import EMBEDDINGS
from visim_models.search.engine import EngineAddress

__all__ = ["add_clean"]

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
