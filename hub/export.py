"""A training run and a folder of pictures -> a repo folder. This is the one place that knows the whole artifact."""

import argparse
import csv
import shutil
from pathlib import Path

from lab.data import load_images
from lab.fitting import calibrate, embed_images
from lab.outlier_data import load_outliers
from lab.run import HELD_OUT_FILE, RunRecord, read_split
from lab.training.loop import LOSSES_FILE
from visim_models import Gallery, ImageProcessor, OutOfDistributionDetector, VisualSimilarity, repository
from visim_models.errors import DataError
from visim_models.models.base import CONFIG_FILE
from visim_models.pipeline import MODEL_TYPES

__all__ = ["add_arguments", "export", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m hub export`."""
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--training-data", type=Path, required=True, help="what the run was trained on: folder or zip")
    parser.add_argument(
        "--gallery", type=Path, required=True, help="pictures to be found: folder or zip, class/name.jpg"
    )
    parser.add_argument("--outliers", type=Path, nargs="*", default=[], help="folders or zips of other things")
    parser.add_argument("--image-root", default="", help="where the gallery's pictures can be fetched from later")
    parser.add_argument("--out", type=Path, required=True, help="the repo folder to write")
    parser.add_argument("--limit", type=int, help="use only so many pictures of each source, to try things out")


def run(options: argparse.Namespace) -> None:
    """Export as the options say."""
    export(
        options.run,
        options.out,
        training_data=options.training_data,
        gallery=options.gallery,
        outliers=options.outliers,
        image_root=options.image_root,
        limit=options.limit,
    )
    print(f"exported: {options.out}")


def export(
    run_folder: Path,
    out: Path,
    *,
    training_data: Path,
    gallery: Path,
    outliers: list[Path],
    image_root: str = "",
    limit: int | None = None,
) -> None:
    """Write a repo folder: weights, processor, gallery, detector, held-out pictures. The same inputs, the same bytes.

    Args:
        run_folder: the training run; its `model` folder and its split are used.
        out: the repo folder, replaced as a whole.
        training_data: the pictures that the run dealt out; its calibration part calibrates the detector.
        gallery: the pictures to embed.
        outliers: pictures of other things, to weigh the detector's measurements; synthetic ones are added.
        image_root: kept with the gallery, for those who want to see its pictures.
        limit: use only so many pictures of each source.

    Raises:
        DataError: the run or a source cannot be used.
        RepositoryError: `out` cannot be written.
    """
    record, parts = RunRecord.read(run_folder), read_split(run_folder)
    model_type = repository.read_json(run_folder / "model" / CONFIG_FILE).get("model_type", "")
    if model_type not in MODEL_TYPES:
        raise DataError(f"{run_folder / 'model'} holds a {model_type!r}, which visim cannot export.")
    model = MODEL_TYPES[model_type].from_pretrained(run_folder / "model")
    processor = ImageProcessor.load(run_folder / "model")

    shown = load_images(gallery, processor, limit=limit)
    embeddings = embed_images(model, processor, shown.pixels)
    entries = Gallery(shown.file_names, shown.labels, embeddings, image_root=image_root)
    similarity = VisualSimilarity(model, processor, entries, OutOfDistributionDetector.top_score_rule())

    same_pictures = training_data.resolve() == gallery.resolve()
    trained_on = shown if same_pictures else load_images(training_data, processor, limit=limit)
    place_of = {name: place for place, name in enumerate(trained_on.file_names)}
    calibration = [place_of[name] for name in parts["calibration"] if name in place_of]
    if not calibration:
        raise DataError(f"None of the run's calibration pictures is in {training_data}: name what it was trained on.")
    not_learnt = [place_of[name] for part in ("calibration", "test") for name in parts[part] if name in place_of]
    similarity.ood = calibrate(
        similarity,
        trained_on.pixels[calibration],
        load_outliers(outliers, processor.size, seed=record.seed, limit=limit),
        held_out=not_learnt if same_pictures else (),
    )
    with repository.replacing_folder(out) as staged:
        similarity.write_files(staged)
        _write_held_out(staged / HELD_OUT_FILE, parts, in_gallery=same_pictures)
        repository.write_json(staged / "training.json", vars(record))
        shutil.copyfile(run_folder / LOSSES_FILE, staged / LOSSES_FILE)


def _write_held_out(path: Path, parts: dict[str, list[str]], *, in_gallery: bool) -> None:
    """file_name, part, in_gallery: which training pictures the network has not seen, for those who measure it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_name", "part", "in_gallery"])
        for part in ("calibration", "test"):
            writer.writerows([name, part, str(in_gallery).lower()] for name in parts[part])
