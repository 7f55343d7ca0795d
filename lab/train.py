"""`python -m lab.train autoencoder | car-classifier`: train a network by a named recipe."""

import argparse
import dataclasses
import sys
from pathlib import Path

import torch

from lab.outlier_data import load_outliers
from lab.recipes import AUTOENCODER_RECIPES, CAR_CLASSIFIER_RECIPES, Recipe
from lab.run import (
    RunRecord,
    check_same_split,
    load_training_images,
    split_images,
)
from lab.training.autoencoder import AutoencoderObjective
from lab.training.car_classifier import CarClassifierObjective
from lab.training.loop import Objective, fit
from visim_models.errors import DataError, VisimError
from visim_models.models.base import PretrainedModel

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if it went well, 2 with a message if not."""
    options = _parser().parse_args(arguments)
    try:
        _train(options)
    except VisimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nstopped: go on with --resume --out {options.out}", file=sys.stderr)
        return 130
    return 0


def _train(options: argparse.Namespace) -> None:
    for name in ("epochs", "limit"):
        if (number := getattr(options, name)) is not None and number < 1:
            raise DataError(f"--{name} is {number}: at least 1 is needed.")
    device = _device(options.device)
    recipe: Recipe = options.recipes[options.recipe]
    if options.epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=options.epochs)
    torch.manual_seed(options.seed)
    images = load_training_images(options.data, recipe, limit=options.limit)
    parts = split_images(images, recipe, seed=options.seed)
    if not parts.train or not parts.calibration:
        raise DataError(f"{len(images)} pictures are too few to learn from some and validate on others.")
    if options.resume:
        check_same_split(options.out, images, parts)
    record = RunRecord(task=options.task, recipe=options.recipe, epochs=recipe.epochs, seed=options.seed)
    record.write(options.out, images, parts)
    train, validation = images.subset(parts.train), images.subset(parts.calibration)
    objective: Objective
    if options.task == "autoencoder":
        objective = AutoencoderObjective(train, validation, recipe)  # type: ignore[arg-type]
    else:
        outliers = load_outliers(options.outliers, recipe.load_size, seed=options.seed, limit=options.limit)
        objective = CarClassifierObjective(train, validation, outliers, recipe)  # type: ignore[arg-type]
    print(f"{options.recipe}: {len(train)} pictures to learn from, {len(validation)} to validate on, {device}")
    model: PretrainedModel = fit(objective, recipe, options.out, resume=options.resume, device=device)
    model.save_pretrained(options.out / "model")
    recipe.processor.write_files(options.out / "model")
    print(f"trained: {options.out / 'model'}")


def _device(name: str | None) -> torch.device:
    try:
        return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise DataError(f"--device {name}: torch has no such device.") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.train", description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    for task, recipes in (("autoencoder", AUTOENCODER_RECIPES), ("car-classifier", CAR_CLASSIFIER_RECIPES)):
        sub = tasks.add_parser(task, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        sub.set_defaults(recipes=recipes)
        sub.add_argument("--recipe", choices=recipes, default="article", help="how to train")
        sub.add_argument(
            "--data",
            required=True,
            help="folder or zip of class/name.jpg, or 'cifar10' for torchvision's download",
        )
        sub.add_argument("--out", type=Path, required=True, help="folder of the run: logs, pictures, checkpoint, model")
        sub.add_argument("--epochs", type=int, help="passes over the pictures (default: the recipe's)")
        sub.add_argument("--seed", type=int, default=0, help="of the split, the first weights and the order")
        sub.add_argument("--device", help="cpu, cuda, ... (default: a GPU if there is one)")
        sub.add_argument("--limit", type=int, help="use only so many pictures, to try things out")
        sub.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
        if task == "car-classifier":
            sub.add_argument(
                "--outliers", type=Path, nargs="*", default=[], help="folders or zips of pictures of no car"
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
