"""`visim search`, `compare`, `info` and `check`: what can be asked of a gallery and of its repo folder."""

import argparse
import json
import os
import shlex
import sys
from collections import Counter
from dataclasses import asdict
from typing import Any

from visim_models.cli import REPO_HELP, Commands, add_backend, add_index_uri
from visim_models.errors import QueryError, RepositoryError, VisimError
from visim_models.galleries.calibration import check_verdict, summary
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector
from visim_models.pipeline import VisualSimilarity
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder, is_repo
from visim_models.repo_folder.formats import listed
from visim_models.repo_folder.manifest import CONFIG, EMBEDDINGS, MANIFEST, OOD, PROCESSOR, manifest_files
from visim_models.search.engine import IndexSettings
from visim_models.search.feedback import score_pair
from visim_models.search.results import Match, SimilarityResult

__all__ = ["add_check", "add_compare", "add_info", "add_search"]

_EXAMPLES = """\
examples:
  visim search my-gallery photo.jpg
  visim search car-extractor *.jpg --top-k 10 --json > results.jsonl
  visim search my-gallery photo.jpg --at-least 0.8 --where 'price < 20000 and city == "Bonn"'"""
_COMPARE_EXAMPLES = """\
examples:
  visim compare my-gallery one.jpg other.jpg"""
_TOP_K = 4


def add_search(commands: Commands) -> None:
    """Add the command `search`."""
    parser = commands.add_parser(
        "search",
        help="find the pictures of a gallery that look most like yours",
        description="Find the pictures of a gallery that look most like yours, and whether yours are of their kind.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repo", metavar="REPO", help=f"the repo with the gallery: {REPO_HELP}")
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="the files to search with, or file names of the gallery's own"
    )
    parser.add_argument(
        "--top-k", type=int, metavar="K", help=f"how many matches to show (default: {_TOP_K}; with --at-least, all)"
    )
    parser.add_argument("--label", metavar="LABEL", help="find pictures with this label alone")
    parser.add_argument(
        "--where", metavar="FILTER", help="find pictures alone whose columns fit: 'price < 20000 and city == \"Bonn\"'"
    )
    parser.add_argument("--at-least", type=float, metavar="SCORE", help="show only matches of this score or more, to 1")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line, for each picture")
    add_backend(parser)
    add_index_uri(parser)
    parser.set_defaults(run=_search)


def _search(options: argparse.Namespace) -> int:
    if os.path.isdir(options.repo) and not os.path.exists(os.path.join(options.repo, CONFIG)):
        raise RepositoryError(
            f"{options.repo} is a folder, but no gallery. Make one of its pictures first: "
            f"visim build {shlex.quote(options.repo)} --out my-gallery",
            path=options.repo,
        )
    similarity = VisualSimilarity.from_pretrained(options.repo, backend=options.backend, index_uri=options.index_uri)
    usual = _TOP_K if options.at_least is None else len(similarity.gallery)
    top_k = usual if options.top_k is None else options.top_k
    asked: dict[str, Any] = {"top_k": top_k, "label": options.label, "where": options.where}
    results = similarity.search_batch(options.pictures, on_error="skip", progress=len(options.pictures) > 1, **asked)
    failed = False
    for path, result in zip(options.pictures, results, strict=True):
        own = _matches_of_its_own(similarity, path, asked) if isinstance(result, VisimError) else []
        matches = own if isinstance(result, VisimError) else result.matches
        shown = [match for match in matches if options.at_least is None or match.score >= options.at_least]
        if isinstance(result, VisimError) and not own:
            print(f"error: {' '.join(str(result).split())}", file=sys.stderr)
            failed = True
        elif options.label is not None and not matches:
            labels = {label for label in similarity.gallery.labels if label}
            known = f"its labels are {listed(labels)}" if labels else "its pictures have none"
            print(f"error: no picture of the gallery has the label {options.label!r}: {known}.", file=sys.stderr)
            failed = True
        elif options.json:
            verdict = {} if isinstance(result, VisimError) else {"ood": result.ood.to_dict()}
            print(json.dumps({"picture": path, "matches": [match.to_dict() for match in shown], **verdict}))
        else:
            print("\n".join([f"{path}: {_said(result)}", *map(_match_line, shown)]))
    return 2 if failed else 0


def _said(result: SimilarityResult | VisimError) -> str:
    if isinstance(result, VisimError):
        return "a picture of the gallery"
    return f"{result.ood.word} (p = {result.ood.p_value:.3f})"


def _matches_of_its_own(similarity: VisualSimilarity, name: str, asked: dict[str, Any]) -> list[Match]:
    """Return the matches of a picture of the gallery, itself the first; none where no picture has this name."""
    if os.path.exists(name):
        return []
    try:
        embedding = similarity.gallery.embedding(name)
    except QueryError:
        return []
    return similarity.nearest(embedding, **asked)


def _match_line(match: Match) -> str:
    return f"  {match.percent:>4} %  {match.file_name}" + f"  ({match.label})" * bool(match.label)


def add_compare(commands: Commands) -> None:
    """Add the command `compare`."""
    parser = commands.add_parser(
        "compare",
        help="say how alike two pictures are, and what that means in a gallery",
        description="Say how alike two pictures are to the network of a gallery, what that score means among the "
        "gallery's pictures, and whether one is a copy of the other.",
        epilog=_COMPARE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repo", metavar="REPO", help=f"the repo with the gallery: {REPO_HELP}")
    parser.add_argument("pictures", nargs=2, metavar="PICTURE", help="the two files")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_backend(parser)
    add_index_uri(parser)
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> int:
    similarity = VisualSimilarity.from_pretrained(options.repo, backend=options.backend, index_uri=options.index_uri)
    found = score_pair(similarity, *options.pictures)
    if options.json:
        print(json.dumps(asdict(found)))
        return 0
    print(f"{round(100 * found.score)} % alike (score {found.score:.3f})")
    print(f"of two pictures of this gallery, {100 * found.share_below:.1f} % are less alike")
    if found.probability is not None:
        print(f"a match with this score has the label of its query in {100 * found.probability:.0f} % of the cases")
    print("one is a copy of the other, or nearly" if found.is_copy else "neither is a copy of the other")
    return 0


_INFO_EXAMPLES = """\
examples:
  visim info my-gallery
  visim info car-extractor"""
_CHECK_EXAMPLES = """\
examples:
  visim check my-gallery"""

_LABELS_SHOWN = 10


def add_info(commands: Commands) -> None:
    """Add the command `info`."""
    parser = commands.add_parser(
        "info",
        help="show what a repo holds",
        description="Show the network, gallery and detector of a repo, and its files with their sizes and hashes.",
        epilog=_INFO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repo", metavar="REPO", help=f"the repo: {REPO_HELP}")
    parser.set_defaults(run=_info)


def _info(options: argparse.Namespace) -> int:
    repo = RepoFolder.find(options.repo)
    if not is_repo(repo.path):
        raise RepositoryError(f"{options.repo} is no visim repo: it has no config.json of visim.", path=repo.path)
    print("\n".join(_info_lines(repo)))
    return 0


def add_check(commands: Commands) -> None:
    """Add the command `check`."""
    parser = commands.add_parser(
        "check",
        help="try the verdict of a gallery on drawn pictures",
        description="Try the verdict of a gallery on drawn pictures, which surely are of another kind: some seconds.",
        epilog=_CHECK_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repo", metavar="REPO", help=f"the repo with the gallery: {REPO_HELP}")
    add_backend(parser)
    add_index_uri(parser)
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    tried = VisualSimilarity.from_pretrained(options.repo, backend=options.backend, index_uri=options.index_uri)
    found = check_verdict(tried.network, tried.processor, tried.gallery, tried.ood, progress=True)
    print(summary(found) if found else "The gallery has too few pictures for a verdict.")
    return 0


def _info_lines(repo: RepoFolder) -> list[str]:
    """Describe a repo folder.

    Raises:
        VisimError: a file of the repo is damaged.
    """
    config = repo.json(CONFIG)
    arguments = ", ".join(f"{key} {_text(value)}" for key, value in config.items() if key != "model_type")
    lines = [f"{'model':<12}{config.get('model_type')}{f' ({arguments})' if arguments else ''}"]
    if repo.has(PROCESSOR):
        size = ImageProcessor.load(repo).size
        lines.append(f"{'input':<12}{size} x {size} pixels")
    if repo.has(EMBEDDINGS):
        lines += _gallery_lines(Gallery.load(repo, sample=True), IndexSettings.load(repo))
    if repo.has(OOD):
        lines += _detector_lines(OutOfDistributionDetector.load(repo))
    return [*lines, "files", *_file_lines(repo)]


def _gallery_lines(gallery: Gallery, settings: IndexSettings | None) -> list[str]:
    counts = Counter(gallery.labels)
    counts.pop("", None)
    shown = ", ".join(f"{label} {count:,}" for label, count in counts.most_common(_LABELS_SHOWN))
    more = f" and {len(counts) - _LABELS_SHOWN:,} more" if len(counts) > _LABELS_SHOWN else ""
    lines = [
        f"{'gallery':<12}{len(gallery):,} pictures, embeddings of {gallery.embeddings.shape[1]:,} numbers",
        f"{'labels':<12}{f'{len(counts):,}: {shown}{more}' if counts else 'none'}",
        f"{'image root':<12}{gallery.image_root or 'none'}",
    ]
    if settings:
        lines = [
            f"{'gallery':<12}{settings.pictures:,} pictures, embeddings of {settings.width:,} numbers",
            f"{'index':<12}{settings.kind} in {settings.engine}, collection {settings.collection}",
            f"{'sample':<12}{len(gallery):,} pictures, whose labels are {lines[1].removeprefix('labels').strip()}",
            lines[2],
        ]
    if gallery.columns:
        lines.insert(2, f"{'columns':<12}{', '.join(gallery.columns)}")
    return lines


def _detector_lines(detector: OutOfDistributionDetector) -> list[str]:
    used = ", ".join(name for name, each in detector.weightings.items() if each.weight)
    if detector.threshold is not None:
        return [f"{'detector':<12}score above {detector.threshold:g} of {used}; no p-values"]
    size = len(detector.calibration_scores)
    few = "" if detector.can_reject else "; too few pictures for a verdict"
    few += "; cannot tell, for its trial missed most of every kind of drawn pictures" * detector.misses_strangers
    return [
        f"{'detector':<12}{used}; {100 * detector.false_alarm_rate:.3g} % false alarms, "
        f"calibrated on {size:,} pictures{few}"
    ]


def _file_lines(repo: RepoFolder) -> list[str]:
    order = {name: number for number, name in enumerate(MANIFEST)}
    names = sorted(manifest_files(repo.path), key=lambda name: (order.get(name, len(order)), name))
    width = max(len(name) for name in names)
    return [
        f"  {name:<{width}}  {(repo / name).stat().st_size:>12,} bytes  sha256 {repo.sha256(name)}" for name in names
    ]


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
