"""`python -m lab.train TASK`: train a network by a named recipe, on a split of the pictures that is written down."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch

from hub.plots import new_figure
from lab.data import (
    CIFAR10_DOWNLOAD,
    hashes_of,
    labels_of,
    left_out_labels,
    load_outliers,
    load_source,
    local_paths,
    read_column,
    table_of,
)
from lab.recipes import RECIPES, AutoencoderRecipe, ClassifierRecipe, Recipe
from lab.run import TrainingRecord, TrainingRun, command_line, run_command, source_row
from lab.splits import PARTS, Split, extended, split_images
from lab.training.autoencoder import AutoencoderObjective
from lab.training.classifier import ClassifierObjective, all_labels_of, class_names_of, indices_of_classes
from lab.training.labels import doubted_labels
from lab.training.loop import Objective, fit
from visim_models.errors import DataError
from visim_models.galleries.picture_table import PictureTable
from visim_models.models import CarClassifier, PretrainedModel

__all__ = ["main"]

_DESCRIPTION: Final = """\
Train a network from random weights, by a named recipe of lab/recipes.py.

The pictures are first dealt out into the parts train, validation, fit, calibration and test: by the content of their
files, with near-duplicates together. OUT/split.csv says which picture is in which part; it is written before the
training starts. The network learns from "train" and is logged on "validation". The other parts are kept for
`python -m lab.export`, which makes a repo of the run, and for `python -m lab.evaluate`, which measures the repo.
"""
_EXAMPLE: Final = """\
example:
  python -m lab.train car-classifier --recipe car-extractor --data my-kinds.zip \\
      --outliers other-things.zip --out runs/mine
  python -m lab.export --run runs/mine --gallery my-kinds.zip --outliers other-things.zip --out my-repo
"""
_TASKS: Final = {
    "autoencoder": "train the convolutional autoencoder of the first article, on pictures of anything",
    "car-classifier": "train the classifier of the second article, on body types of cars or on classes of your own: a "
    "folder for each",
    "cifar10-classifier": "train a quick classifier of 32 x 32 pictures, on CIFAR-10 or on classes of your own",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if it went well, 2 with a message if not, 130 if it was interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given)
    return run_command(
        lambda: _train(options, command=command_line("lab.train", given)),
        stopped="run the same command with --resume to continue after the last whole epoch",
    )


def _train(options: argparse.Namespace, *, command: str) -> None:
    device, recipe = _device(options.device), _recipe(options)
    new_figure(1, 1)  # a missing matplotlib is an error now, not after the first epoch
    inputs = local_paths(
        [
            *options.data,
            *options.outliers,
            *(table for table, _ in options.keep_together),
            *(options.second_label or [])[:1],
        ]
    )
    run = TrainingRun.for_output(options.out, inputs=inputs, resume=options.resume, force=options.force)

    load = dataclasses.replace(recipe.processor, size=recipe.load_size)
    sources = {source: load_source(source, load, limit=options.limit) for source in options.data}
    images = PictureTable.concatenate(list(sources.values()))
    images = images.with_arrays(source=np.repeat(np.arange(len(sources)), [len(each) for each in sources.values()]))
    hashes = hashes_of(images)
    outliers, outlier_rows = _outliers(options, recipe, images)

    split = run.split() if options.resume else _split(sources, recipe, options)
    train, validation = (images.subset(split.indices(hashes, [part])) for part in ("train", "validation"))
    if len(train) < 2 or not len(validation):
        raise DataError(f"{len(images)} pictures are too few to learn from some and validate on others.")
    if isinstance(recipe, ClassifierRecipe):  # an error now, before anything is written
        indices_of_classes(labels_of(validation), class_names_of(labels_of(train)))
    rows = [source_row(source, found, split) for source, found in sources.items()]
    train = _with_second_labels(train, sources, recipe, options)
    train = _without_doubt(train, rows, split, recipe, seed=options.seed)
    record = TrainingRecord(
        task=options.task,
        recipe=options.recipe,
        settings=recipe.settings(),
        epochs=recipe.epochs,
        seed=options.seed,
        limit=options.limit,
        command=command,
        sources=rows,
        outliers=outlier_rows,
        split_sha256=split.sha256,
    )
    torch.manual_seed(options.seed)
    if options.resume:
        run.resume(record, hashes)
    else:
        run.begin(record, split)
    print(f"{options.recipe} on {device}: {_counts(split, hashes)}")

    start = partial(fit, split_sha256=split.sha256, device=device, resume=options.resume)
    model = _learn(recipe, train, validation, outliers, run, device=device, start=start)
    run.save_model(model, recipe.processor)
    print(f"trained: {run.path / 'model'}")


def _learn(
    recipe: Recipe,
    train: PictureTable,
    validation: PictureTable,
    outliers: PictureTable,
    run: TrainingRun,
    *,
    device: torch.device,
    start: Callable[[Objective, Recipe, TrainingRun], PretrainedModel],
) -> PretrainedModel:
    """Train the network of a recipe, and before it its teacher."""
    if not isinstance(recipe, ClassifierRecipe):
        return start(AutoencoderObjective(train, validation, cast(AutoencoderRecipe, recipe)), recipe, run)
    objective = partial(ClassifierObjective, train, validation, outliers, device=device)
    teacher = None
    if recipe.teacher:
        learner = objective(recipe.teacher, class_names=all_labels_of(labels_of(train)))
        taught = start(learner, recipe.teacher, run.teacher)
        teacher = cast(CarClassifier, taught.to(device).to(memory_format=torch.channels_last))
        print("the teacher is trained")
    return start(objective(recipe, class_names=class_names_of(labels_of(train)), teacher=teacher), recipe, run)


def _recipe(options: argparse.Namespace) -> Recipe:
    for name in ("epochs", "limit"):
        if (number := getattr(options, name)) is not None and number < 1:
            raise DataError(f"--{name} is {number}: at least 1 is needed.", key=name)
    recipe: Recipe = options.recipes[options.recipe]
    return recipe if options.epochs is None else recipe.for_epochs(options.epochs)


def _device(name: str | None) -> torch.device:
    try:
        return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise DataError(f"--device {name}: torch has no such device.") from error


def _split(sources: Mapping[str, PictureTable], recipe: Recipe, options: argparse.Namespace) -> Split:
    """Read the split that was named, and deal out the pictures that it lacks; or deal out all of them."""
    together: dict[str, str] = {}
    for table, column in options.keep_together:
        together |= {key: f"{table}: {value}" for key, value in _column_of(table, column, sources).items()}
    images = PictureTable.concatenate(list(sources.values()))
    hashes = hashes_of(images)
    split = Split.read(options.split) if options.split else None
    if split is not None:
        split = split.of(hashes) if options.limit else split
        if not len(split) or split.count_missing(hashes, PARTS):
            raise DataError(f"{options.split} is the split of other pictures: leave --split out.", path=options.split)
        if split.has_exactly(hashes):
            return split
    print(f"looking for near-duplicates among {len(images):,} pictures", flush=True)
    if split is None:
        return split_images(images, recipe.shares, seed=options.seed, kept_together=together)
    return extended(split, images, recipe.shares, seed=options.seed, kept_together=together)


def _column_of(table: str, column: str, sources: Mapping[str, PictureTable]) -> dict[str, str]:
    """Read a column of a table of one source's pictures: SHA-256 of a file -> value.

    Raises:
        DataError: the table names the pictures of no source, or of several, none of which is called as it is.
    """
    values = read_column(table, column)
    named = {source: images for source, images in sources.items() if values.keys() & set(images.file_names)}
    if len(named) > 1:
        named = {source: images for source, images in named.items() if Path(source).stem == Path(table).stem}
    if len(named) != 1:
        raise DataError(
            f"{table} must name the pictures of one source by their paths in it, such as "
            f"{next(iter(sources.values())).file_names[0]}, and be called as it is where others have such paths, too.",
            path=table,
        )
    (images,) = named.values()
    return {
        sha256: values[name]
        for name, sha256 in zip(images.file_names, hashes_of(images), strict=True)
        if name in values
    }


def _with_second_labels(
    train: PictureTable, sources: Mapping[str, PictureTable], recipe: Recipe, options: argparse.Namespace
) -> PictureTable:
    """Number the second labels of the training pictures: -1 where a picture has none."""
    wanted = isinstance(recipe, ClassifierRecipe) and bool(recipe.second_weight)
    if wanted != bool(options.second_label):
        state = "learns second labels: name a table of them" if wanted else "learns no second labels: leave it out"
        raise DataError(f"--second-label: the recipe {options.recipe} {state}.", key="second_label")
    if not wanted:
        return train
    table, column = options.second_label
    values = _column_of(table, column, sources)
    hashes = hashes_of(train)
    number_of = {value: number for number, value in enumerate(sorted({values[key] for key in hashes if key in values}))}
    return train.with_arrays(second=np.array([number_of.get(values.get(key, ""), -1) for key in hashes], np.int64))


def _without_doubt(
    train: PictureTable, rows: list[dict[str, Any]], split: Split, recipe: Recipe, *, seed: int
) -> PictureTable:
    """Leave pictures of doubted labels out, or smooth the labels; count them in the rows of the sources."""
    if not isinstance(recipe, ClassifierRecipe) or recipe.doubted_labels == "kept":
        return train
    groups = [split.group_of(key) for key in hashes_of(train)]
    own = [-1 - index if group is None else group for index, group in enumerate(groups)]
    doubted = doubted_labels(train, class_names_of(labels_of(train)), own, seed=seed)
    for number, row in enumerate(rows):
        row["doubted"] = int((doubted[train["source"] == number] >= 0).sum())
        print(f"{row['source']}: {row['doubted']:,} labels are doubted, and {recipe.doubted_labels}")
    if recipe.doubted_labels == "left out":
        return train.subset(np.flatnonzero(doubted < 0))
    return train.with_arrays(doubted=doubted)


def _outliers(
    options: argparse.Namespace, recipe: Recipe, images: PictureTable
) -> tuple[PictureTable, list[dict[str, Any]]]:
    if not isinstance(recipe, ClassifierRecipe) or not recipe.outlier_share:
        if options.outliers:
            raise DataError(f"The recipe {options.recipe} uses no outliers: leave --outliers out.", key="outliers")
        return table_of(np.empty((0, 3, recipe.load_size, recipe.load_size), np.uint8)), []
    if not options.outliers:
        raise DataError(f"The recipe {options.recipe} learns from outliers, too: name some with --outliers.")
    found, rows = load_outliers(
        options.outliers,
        recipe.load_size,
        part="train",
        seed=options.seed,
        leave_out=left_out_labels(set(labels_of(images))),
        per_source=recipe.outliers_per_source,
        limit=options.limit,
    )
    if not len(found):
        raise DataError("None of the outliers is of a kind that is for training: name more kinds.", key="outliers")
    return found, rows


def _counts(split: Split, hashes: list[str]) -> str:
    return ", ".join(f"{part} {count:,}" for part, count in split.counts(hashes).items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.train",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    for task, text in _TASKS.items():
        _add_task(tasks.add_parser(task, help=text, description=text), RECIPES[task])
    return parser


def _add_task(parser: argparse.ArgumentParser, recipes: Mapping[str, Recipe]) -> None:
    default = next(iter(recipes))
    parser.set_defaults(recipes=recipes, outliers=[], second_label=None)
    parser.add_argument(
        "--recipe", choices=recipes, default=default, help=f"named settings of lab/recipes.py (default: {default})"
    )
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="PATH",
        help="pictures to learn from: folders or zips of class/name.jpg, hf://datasets/..., or "
        f"'{CIFAR10_DOWNLOAD}' for torchvision's download of CIFAR-10",
    )
    parser.add_argument(
        "--keep-together",
        nargs=2,
        action="append",
        default=[],
        metavar=("CSV", "COLUMN"),
        help="table with file_name and a column, such as the model of a car: pictures of one are in one part; "
        "once for each source",
    )
    parser.add_argument(
        "--split",
        type=Path,
        metavar="CSV",
        help="split.csv of an earlier run or repo, so that the same pictures are held out; pictures that it lacks are "
        "dealt out beside (default: a new split)",
    )
    if any(isinstance(recipe, ClassifierRecipe) for recipe in recipes.values()):
        parser.add_argument(
            "--outliers",
            nargs="*",
            default=[],
            metavar="PATH",
            help="folders or zips of other things, a folder a kind, which a recipe with outlier exposure teaches the "
            "network to doubt; half of the kinds are learnt from",
        )
        parser.add_argument(
            "--second-label",
            nargs=2,
            metavar=("CSV", "COLUMN"),
            help="table with file_name and a column of finer labels of one source, such as the models of cars, which a "
            "recipe with a second head tells apart",
        )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="RUN", help="folder of the run: a new or empty one, outside --data"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the pictures (default: the recipe's)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the split, the first weights and the order (default: 0)"
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="where to compute: cpu, cuda, ... (default: a GPU if there is one, else the CPU)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="use at most N pictures of each source, for a trial")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue the run in RUN after its last whole epoch")
    again.add_argument(
        "--force", action="store_true", help="start the run in RUN again; its own files are deleted, no others"
    )


if __name__ == "__main__":
    sys.exit(main())
