"""`python -m lab.export --run RUN --gallery PATH --out REPO`: turn a training run into a repo folder."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from lab.data import hashes_of, labels_of, left_out_labels, load_images, load_outliers, load_source, local_paths
from lab.fitting import DetectorFit, embed_images, fit_match_probability
from lab.run import ABOUT_KEYS, TrainingRun, read_about, run_command
from lab.splits import HELD_OUT, Split, learned_beside, not_held_out
from visim_models import Gallery, ImageProcessor, VisualSimilarity
from visim_models.errors import DataError, ImageSourceError
from visim_models.galleries.picture_table import PictureTable
from visim_models.models import MODEL_TYPES, TorchNetwork
from visim_models.models.torch_network import keep_freed_memory
from visim_models.repo_folder import RepoFolder, check_output, drafting
from visim_models.repo_folder.manifest import CONFIG, LOSSES, MEASUREMENTS, METRICS, PLOTS, SKIPPED, SPLIT, TRAINING

__all__ = ["export_repo", "main"]

_DESCRIPTION: Final = """\
Turn a training run into a repo folder: weights, processor, gallery, detector, split and record of the training.

The detector's weights are fitted on the part "fit" of the run's split, and its p-values rest on the part "calibration".
Both are found by the content of their files in the data that the run was trained on, and compared with the gallery
without any picture that the split holds out, and without near-duplicates of one: no picture is compared with itself,
whatever its name or folder.
"""
_EXAMPLE: Final = """\
example:
  python -m lab.export --run runs/mine --gallery my-kinds.zip --outliers other-things.zip --out my-repo
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if it went well, 2 with a message if not, 130 if it was interrupted."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _export(options), stopped="nothing was written")


def _export(options: argparse.Namespace) -> None:
    """Write a repo folder from a training run. The same inputs give the same bytes."""
    run, limit = TrainingRun(options.run), options.limit
    record, split = run.record(), run.split()
    sources = options.data or [row["source"] for row in record.sources]
    about = [options.about] if options.about else []
    inputs = local_paths([options.run, options.gallery, *sources, *options.outliers, *about])
    check_output(options.out, inputs=inputs)  # before the first picture is read
    texts = {"about": read_about(options.about)} if options.about else {}
    network, processor = _load_model(run.model())
    keep_freed_memory()

    shown = load_images(options.gallery, processor, limit=limit)
    trained_on = _load_sources(sources, processor, split, limit=record.limit)
    held_out = trained_on.subset(split.indices(hashes_of(trained_on), HELD_OUT))
    embeddings = embed_images(network, processor, shown["pixels"]).astype(np.float16).astype(np.float32)  # as stored
    gallery = Gallery(shown.file_names, labels_of(shown), embeddings, image_root=options.image_root)
    known = gallery.subset(not_held_out(shown, held_out, split))
    leave_out = left_out_labels({*labels_of(shown), *labels_of(held_out)})
    outliers, rows = load_outliers(
        options.outliers, processor.size, part="fit", seed=record.seed, leave_out=leave_out, limit=limit
    )
    fitted = DetectorFit.measure(
        known,
        network,
        processor,
        learned=learned_beside(shown, trained_on, split),
        fit=_parts(held_out, split, "fit"),
        calibration=_parts(held_out, split, "calibration"),
        outliers=outliers,
    )
    probability = fit_match_probability(known, network, processor, _parts(held_out, split, "validation", "fit"))
    export_repo(
        options.out,
        VisualSimilarity(network, processor, gallery, fitted.detector(), match_probability=probability),
        split=split,
        training={**record.to_dict(), "outliers": [*record.outliers, *rows], **texts},
        losses=run.losses,
        inputs=inputs,
    )
    print(f"exported: {options.out}")


def export_repo(
    folder: Path,
    similarity: VisualSimilarity,
    *,
    split: Split,
    training: Mapping[str, Any],
    losses: Path | None = None,
    inputs: Sequence[Path] = (),
) -> None:
    """Write a repo folder in one step; the same parts give the same bytes.

    Figures and plots of an older repo in the folder go, since they are not of these parts. A card and a description of
    the gallery that a person wrote stay.

    Args:
        folder: a new or empty folder, or a repo.
        similarity: network, processor, gallery and detector.
        split: of the pictures that it was made from.
        training: content of training.json.
        losses: the losses.csv of the training.
        inputs: folders and files that the parts were made from.

    Raises:
        OutputError: the folder has files and is no repo, or is, holds or is in one of the inputs.
        RepositoryError: the folder cannot be written.
    """
    with drafting(folder, inputs=inputs) as draft:
        draft.drop(METRICS, *PLOTS, LOSSES, SKIPPED, MEASUREMENTS)
        similarity.write_files(draft)
        draft.write_text(SPLIT, split.to_text())
        draft.write_json(TRAINING, training)
        if losses is not None:
            draft.write_text(LOSSES, losses.read_text(encoding="utf-8"))


def _load_model(repo: RepoFolder) -> tuple[TorchNetwork, ImageProcessor]:
    model_type = repo.json(CONFIG).get("model_type", "")
    if model_type not in MODEL_TYPES:
        raise DataError(
            f"{repo.path} has a network of the type {model_type!r}, which cannot be exported.", path=repo.path
        )
    return TorchNetwork(MODEL_TYPES[model_type].from_pretrained(repo)), ImageProcessor.load(repo)


def _load_sources(
    sources: Sequence[str], processor: ImageProcessor, split: Split, *, limit: int | None
) -> PictureTable:
    """Read the training data, and check that all held-out pictures are there."""
    try:
        found = PictureTable.concatenate([load_source(source, processor, limit=limit) for source in sources])
    except ImageSourceError as error:
        raise DataError(f"{error} Name the pictures that the run was trained on with --data.") from error
    if missing := split.count_missing(hashes_of(found), HELD_OUT):
        raise DataError(
            f"{missing} held-out pictures of the run are not in {', '.join(sources)}: name the pictures that it was "
            "trained on with --data."
        )
    return found


def _parts(images: PictureTable, split: Split, *parts: str) -> PictureTable:
    hashes = hashes_of(images)
    chosen = [split.indices(hashes, [part]) for part in parts]
    for part, indices in zip(parts, chosen, strict=True):
        if not indices:
            raise DataError(f"The run holds no picture out for {part!r}: train on more pictures.")
    return images.subset([index for indices in chosen for index in indices])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.export",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of a run that python -m lab.train has ended")
    parser.add_argument(
        "--gallery", required=True, metavar="PATH", help="pictures to be found: folder or zip of class/name.jpg"
    )
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="PATH",
        help="the pictures that the run was trained on, if they are not where the run found them any more",
    )
    parser.add_argument(
        "--outliers",
        nargs="*",
        default=[],
        metavar="PATH",
        help="folders or zips of other things, to fit the detector; a quarter of their kinds is used, which no run "
        "trains on, and drawn ones are added",
    )
    parser.add_argument(
        "--image-root",
        default="",
        metavar="ROOT",
        help="address, hf://datasets/... or folder where the gallery's pictures can be fetched from (default: none)",
    )
    parser.add_argument(
        "--about",
        type=Path,
        metavar="FILE",
        help=f"JSON file of texts for the card, any of: {', '.join(ABOUT_KEYS)}; license is an SPDX id",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="REPO", help="a new or empty folder, or a repo to be replaced"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="use at most N pictures of the gallery and of each source, for a trial"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
