"""`python -m lab.export --run RUN --gallery PATH --out REPO`: turn a training run into a repo folder."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lab.data import ImageSet, left_out_labels, load_images, load_outliers, load_source, local_paths
from lab.fitting import DetectorFit, embed_images, fit_match_probability
from lab.run import ABOUT_KEYS, TrainingRun, read_about
from lab.splits import HELD_OUT, Split, learned_beside, not_held_out
from visim_models import Gallery, ImageProcessor, OutOfDistributionDetector, VisualSimilarity
from visim_models.errors import DataError, ImageSourceError, VisimError
from visim_models.models import MODEL_TYPES, PretrainedModel
from visim_models.models.torch_network import keep_freed_memory, prepared
from visim_models.repo_folder import RepoFolder, check_output, drafting
from visim_models.repo_folder.manifest import CONFIG, LOSSES, MEASUREMENTS, METRICS, PLOTS, SKIPPED, SPLIT, TRAINING
from visim_models.search.match_probability import MatchProbability

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
    try:
        export_run(
            options.run,
            options.out,
            gallery=options.gallery,
            data=options.data,
            outliers=options.outliers,
            image_root=options.image_root,
            about=options.about,
            limit=options.limit,
        )
        print(f"exported: {options.out}")
    except VisimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped: nothing was written", file=sys.stderr)
        return 130
    return 0


def export_run(
    run_folder: Path,
    out: Path,
    *,
    gallery: str,
    data: Sequence[str] = (),
    outliers: Sequence[str] = (),
    image_root: str = "",
    about: Path | None = None,
    limit: int | None = None,
) -> None:
    """Write a repo folder from a training run. The same inputs give the same bytes.

    Args:
        run_folder: the run.
        out: a new or empty folder, or a repo.
        gallery: folder or zip of the pictures to be found, `class/name.jpg`.
        data: the pictures that the run was trained on; by default where the run found them.
        outliers: folders or zips of other things, to fit the detector; drawn ones are added.
        image_root: where the gallery's pictures can be fetched from, for those who want to see them.
        about: JSON file of hand-written texts for the card.
        limit: use at most so many pictures of the gallery and of each source of outliers, for a trial.

    Raises:
        OutputError: `out` has files and is no repo, or is, holds or is in one of the inputs.
        DataError: the run or a source cannot be used, or the network was trained by another split than the run's.
        VisimError: a file cannot be read or written.
    """
    run = TrainingRun(run_folder)
    record, split = run.record(), run.split()
    sources = list(data) or [row["source"] for row in record.sources]
    inputs = local_paths([run_folder, gallery, *sources, *outliers, *([about] if about else [])])
    check_output(out, inputs=inputs)  # before the first picture is read
    texts = {"about": read_about(about)} if about else {}
    model, processor = _load_model(run.model())
    keep_freed_memory()

    shown = load_images(gallery, processor, limit=limit)
    trained_on = _load_sources(sources, processor, split, limit=record.limit)
    held_out = trained_on.subset(split.indices(trained_on.sha256, HELD_OUT))
    known = not_held_out(shown, held_out, split)
    embeddings = embed_images(model, processor, shown.pixels).half().float().numpy()  # as they are stored
    entries = Gallery(shown.file_names, shown.labels, embeddings, image_root=image_root)
    leave_out = left_out_labels({*shown.labels, *held_out.labels})
    others = load_outliers(outliers, processor.size, part="fit", seed=record.seed, leave_out=leave_out, limit=limit)
    fitted = DetectorFit.measure(
        entries.subset(known),
        model,
        processor,
        learned=learned_beside(shown, trained_on, split).pixels,
        fit=_part(held_out, split, "fit").pixels,
        calibration=_part(held_out, split, "calibration").pixels,
        outliers=others.pixels,
        kinds=others.kinds,
    )
    queries = ImageSet.concatenate([_part(held_out, split, part) for part in ("validation", "fit")])
    training = {**record.to_dict(), "outliers": [*record.outliers, *others.sources]}
    export_repo(
        out,
        model=model,
        processor=processor,
        gallery=entries,
        ood=fitted.detector(),
        match_probability=fit_match_probability(entries.subset(known), model, processor, queries),
        split=split.to_text(),
        training={**training, **texts},
        losses=run.losses,
        inputs=inputs,
    )


def export_repo(
    folder: Path,
    *,
    model: PretrainedModel,
    processor: ImageProcessor,
    gallery: Gallery,
    ood: OutOfDistributionDetector,
    split: str,
    training: Mapping[str, Any],
    match_probability: MatchProbability | None = None,
    losses: Path | None = None,
    inputs: Sequence[Path] = (),
) -> None:
    """Write a repo folder in one step; the same parts give the same bytes.

    Figures and plots of an older repo in the folder go, since they are not of these parts. A card and a description of
    the gallery that a person wrote stay.

    Args:
        folder: a new or empty folder, or a repo.
        model: the network.
        processor: makes its input.
        gallery: embedded by the two.
        ood: calibrated for the three.
        split: content of split.csv.
        training: content of training.json.
        match_probability: of the gallery's labels.
        losses: the losses.csv of the training.
        inputs: folders and files that the parts were made from.

    Raises:
        OutputError: the folder has files and is no repo, or is, holds or is in one of the inputs.
        VisimError: the parts do not fit together.
        RepositoryError: the folder cannot be written.
    """
    similarity = VisualSimilarity(model, processor, gallery, ood, match_probability=match_probability)
    with drafting(folder, inputs=inputs) as draft:
        draft.drop(METRICS, *PLOTS, LOSSES, SKIPPED, MEASUREMENTS)
        similarity.write_files(draft)
        draft.write_text(SPLIT, split)
        draft.write_json(TRAINING, training)
        if losses is not None:
            draft.write_text(LOSSES, losses.read_text(encoding="utf-8"))


def _load_model(repo: RepoFolder) -> tuple[PretrainedModel, ImageProcessor]:
    model_type = repo.json(CONFIG).get("model_type", "")
    if model_type not in MODEL_TYPES:
        raise DataError(
            f"{repo.path} has a network of the type {model_type!r}, which cannot be exported.", path=repo.path
        )
    return prepared(MODEL_TYPES[model_type].from_pretrained(repo)), ImageProcessor.load(repo)


def _load_sources(sources: Sequence[str], processor: ImageProcessor, split: Split, *, limit: int | None) -> ImageSet:
    """Read the training data, and check that all held-out pictures are there."""
    try:
        parts = [load_source(source, processor, limit=limit) for source in sources]
    except ImageSourceError as error:
        raise DataError(f"{error} Name the pictures that the run was trained on with --data.") from error
    found = ImageSet.concatenate(parts)
    if missing := split.count_missing(found.sha256, HELD_OUT):
        raise DataError(
            f"{missing} held-out pictures of the run are not in {', '.join(sources)}: name the pictures that it was "
            "trained on with --data."
        )
    return found


def _part(images: ImageSet, split: Split, part: str) -> ImageSet:
    chosen = split.indices(images.sha256, [part])
    if not chosen:
        raise DataError(f"The run holds no picture out for {part!r}: train on more pictures.")
    return images.subset(chosen)


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
