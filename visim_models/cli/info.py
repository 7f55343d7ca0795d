"""`visim info`: show what a repo folder holds; and `visim check`: try the verdict of its gallery again."""

import argparse
from collections import Counter

from visim_models.cli import REPO_HELP, Commands, add_backend, add_index_uri
from visim_models.errors import RepositoryError
from visim_models.galleries.calibration import check_verdict, summary
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector
from visim_models.pipeline import VisualSimilarity
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder, is_repo
from visim_models.repo_folder.manifest import CONFIG, EMBEDDINGS, MANIFEST, OOD, PROCESSOR, manifest_files
from visim_models.search.engine import IndexSettings

__all__ = ["add_check", "add_info"]

_EXAMPLES = """\
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
        epilog=_EXAMPLES,
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
