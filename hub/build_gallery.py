"""Make a repo folder with a gallery of one's own pictures, add pictures to it, or remove some.

The network, its processor and the score of its detector are those of another repo (--model); the gallery and the
detector's calibration are made from the pictures. A run that was killed goes on where it stopped when the same
command is given again.
"""

import argparse
import csv
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from hub.embedded_pictures import EmbeddedPictures, embed_source
from hub.locate import locate
from hub.picture_source import PictureSource, Skipped
from hub.self_calibration import calibrated_on
from visim_models import Gallery, OutOfDistributionDetector, VisualSimilarity, repository
from visim_models.errors import DataError
from visim_models.models.base import CONFIG_FILE, WEIGHTS_FILE
from visim_models.processing import PROCESSOR_FILE

__all__ = [
    "SKIPPED_FILE",
    "GalleryReport",
    "add_arguments",
    "build_gallery",
    "change_gallery",
    "run",
    "work_folder",
    "write_gallery",
]

SKIPPED_FILE = "skipped.csv"
MODEL_FILES = (CONFIG_FILE, WEIGHTS_FILE, PROCESSOR_FILE)


@dataclass(frozen=True)
class GalleryReport:
    """What became of a gallery.

    Attributes:
        pictures: how many it has now.
        added: how many were embedded and put in.
        removed: how many were taken out.
        skipped: files that were left out; they are listed in skipped.csv.
        calibration_size: how many pictures the detector's p-values rest on.
    """

    pictures: int
    added: int
    removed: int
    skipped: int
    calibration_size: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m hub build-gallery`."""
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the repo folder to make or change")
    parser.add_argument(
        "--image-root",
        metavar="ROOT",
        help="where the pictures can be fetched from later (folder, zip, https address, hf://datasets/...); "
        "a new gallery gets --images, an old one keeps its own",
    )
    new = parser.add_argument_group("to make a gallery (both)")
    new.add_argument("--model", metavar="REPO", help="whose network is used: car-extractor, a folder, namespace/repo")
    new.add_argument("--images", type=Path, metavar="PATH", help="folder or zip of pictures, label/name.jpg")
    old = parser.add_argument_group("to change one (any)")
    old.add_argument("--add", type=Path, metavar="PATH", help="add what is new in this folder or zip")
    old.add_argument(
        "--remove", nargs="+", default=[], metavar="NAME", help="remove these pictures, as metadata.csv has them"
    )
    old.add_argument(
        "--remove-list", type=Path, metavar="FILE", help="remove the pictures that this file names, one a line"
    )


def run(options: argparse.Namespace) -> None:
    """Build or change a gallery as the options say."""
    removed = list(options.remove)
    if options.remove_list:
        try:
            removed += [line for line in options.remove_list.read_text(encoding="utf-8").splitlines() if line]
        except (OSError, ValueError) as error:
            raise DataError(f"{options.remove_list} cannot be read ({error}).") from error
    makes = bool(options.images and options.model)
    changes = bool(options.add or options.remove or options.remove_list)
    if (options.images or options.model) and (changes or not makes):
        raise DataError("Give --model and --images to make a gallery, without --add and --remove, which change one.")
    if not makes and not changes and options.image_root is None:
        raise DataError(
            "Give --model and --images to make a gallery; --add, --remove, --remove-list or --image-root to change one."
        )
    if makes:
        report = build_gallery(options.model, options.images, options.out, image_root=options.image_root)
    else:
        report = change_gallery(options.out, add=options.add, remove=removed, image_root=options.image_root)
    print(
        f"{options.out}: {report.pictures:,} pictures ({report.added:,} added, {report.removed:,} removed); "
        f"the detector is calibrated on {report.calibration_size:,} of them"
    )
    if report.skipped:
        print(f"{report.skipped:,} files were skipped: {options.out / SKIPPED_FILE} lists them with the reasons")


def build_gallery(
    model: str | os.PathLike[str], images: Path, out: Path, *, image_root: str | None = None
) -> GalleryReport:
    """Write a repo folder: the network and processor of `model`, a gallery of `images`, a detector calibrated on it.

    Args:
        model: a repo, as `hub.locate` takes it.
        images: folder or zip; the folder of each picture is its label.
        out: the repo folder, replaced as a whole.
        image_root: kept with the gallery, for those who want to see its pictures; by default `images`.

    Raises:
        VisimError: the repo, the pictures or the place to write cannot be used. `out` is then as it was.
    """
    source_repo = locate(model)
    similarity = VisualSimilarity.from_pretrained(source_repo)
    source = PictureSource(images)
    work = work_folder(out, source_repo)
    pictures = embed_source(source, source.file_names, similarity.model, similarity.processor, work=work)
    root = str(images.resolve()) if image_root is None else image_root
    report = write_gallery(out, source_repo, pictures, similarity.ood, image_root=root, added=len(pictures))
    shutil.rmtree(work, ignore_errors=True)
    return report


def change_gallery(
    repo: Path, *, add: Path | None = None, remove: Sequence[str] = (), image_root: str | None = None
) -> GalleryReport:
    """Remove pictures from a gallery that `build_gallery` made and add others; the rest is not embedded again.

    Args:
        repo: its folder, replaced as a whole.
        add: folder or zip; a picture whose name the gallery has already is left as it is there.
        remove: file names, each of which the gallery must have. Removing comes first.
        image_root: replaces the gallery's own.

    Raises:
        VisimError: the folder, the pictures or a name cannot be used. `repo` is then as it was.
    """
    similarity = VisualSimilarity.from_pretrained(repo)
    pictures = EmbeddedPictures.of_gallery(repo, similarity.gallery)
    gone = set(remove)
    if missing := gone - set(pictures.file_names):
        raise DataError(f"{repo} has no pictures {sorted(missing)[:5]}: nothing was removed. See gallery/metadata.csv.")
    if not add and len(gone) == len(pictures):
        raise DataError(f"That would remove all {len(pictures):,} pictures of {repo}: delete the folder instead.")
    kept = pictures.subset([place for place, name in enumerate(pictures.file_names) if name not in gone])
    work = work_folder(repo, repo)
    added = 0
    if add:
        source = PictureSource(add)
        names = set(kept.file_names)
        new = [name for name in source.file_names if name not in names]
        if known := len(source.file_names) - len(new):
            tqdm.write(f"{known:,} pictures of {add} are in the gallery already and stay as they are")
        if new:
            found = embed_source(source, new, similarity.model, similarity.processor, work=work)
            added = len(found)
            kept = EmbeddedPictures.concatenate([kept, found])
    root = similarity.gallery.image_root if image_root is None else image_root
    report = write_gallery(repo, repo, kept, similarity.ood, image_root=root, added=added, removed=len(gone))
    shutil.rmtree(work, ignore_errors=True)
    return report


def write_gallery(
    out: Path,
    source_repo: Path,
    pictures: EmbeddedPictures,
    detector: OutOfDistributionDetector,
    *,
    image_root: str,
    added: int = 0,
    removed: int = 0,
) -> GalleryReport:
    """Replace `out` by a repo folder: the network of `source_repo`, these pictures, the detector calibrated anew.

    Raises:
        DataError: too few pictures to calibrate on.
        RepositoryError: `out` cannot be written.
    """
    calibrated = calibrated_on(pictures, detector)
    size = len(calibrated.calibration_scores)
    if size + 1 < 1 / calibrated.false_alarm_rate:
        tqdm.write(f"{size} pictures are too few for any verdict at {calibrated.false_alarm_rate:.0%} false alarms")
    with repository.replacing_folder(out) as staged:
        for name in MODEL_FILES:
            shutil.copyfile(source_repo / name, staged / name)
        gallery = Gallery(
            pictures.file_names,
            pictures.labels,
            pictures.embeddings,
            weights_sha256=repository.file_sha256(staged / WEIGHTS_FILE),
            processor_sha256=repository.file_sha256(staged / PROCESSOR_FILE),
            image_root=image_root,
        )
        gallery.write_files(staged)
        pictures.write_measurements(staged)
        calibrated.write_files(staged)
        _write_skipped(staged / SKIPPED_FILE, pictures.skipped)
        (staged / "README.md").write_text(_card(gallery, calibrated), encoding="utf-8")
    return GalleryReport(len(pictures), added, removed, len(pictures.skipped), size)


def work_folder(out: Path, source_repo: Path) -> Path:
    """Beside `out`, of its name and of the weights and processor: other ones never share embeddings."""
    key = hashlib.sha256()
    for name in MODEL_FILES:
        key.update(repository.file_sha256(source_repo / name).encode())
    whole = out.resolve()
    return whole.with_name(f".{whole.name}.work-{key.hexdigest()[:12]}")


def _write_skipped(path: Path, skipped: Sequence[Skipped]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_name", "reason"])
        # A name from a zip or a disk may hold what no text file can: shown escaped.
        writer.writerows([ascii(item.file_name)[1:-1], " ".join(ascii(item.reason)[1:-1].split())] for item in skipped)


def _card(gallery: Gallery, detector: OutOfDistributionDetector) -> str:
    labels = sorted(set(gallery.labels) - {""})
    return f"""---
library_name: visim-models
pipeline_tag: image-feature-extraction
tags:
- visual-similarity
- image-retrieval
- visim
---

# A visim gallery

{len(gallery):,} pictures{f" with {len(labels):,} labels" if labels else ""}, to be searched by visual similarity.

    import hub
    similarity = hub.load("namespace/this-repo")
    similarity.search("photo.jpg", top_k=4)

The detector of pictures of another kind is set for {detector.false_alarm_rate:.0%} false alarms. Its p-values rest on
{len(detector.calibration_scores):,} of the gallery's own pictures, each scored against the others without its
near-duplicates.
"""
