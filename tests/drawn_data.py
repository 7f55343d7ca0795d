"""A data folder of drawn pictures, laid out like the real one, and whole repos of tiny networks that know it."""

import csv
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from lab.data import ImageSet, load_images
from lab.fitting import calibrate, embed_images
from visim_models import (
    CAR_CLASSES,
    CarFeatureExtractor,
    ConvolutionalAutoencoder,
    Gallery,
    ImageProcessor,
    OutOfDistributionDetector,
    VisualSimilarity,
)
from visim_models.models.base import PretrainedModel
from visim_models.synthetic import synthetic_outliers

__all__ = ["CIFAR10_CLASSES", "write_autoencoder_repo", "write_car_repo", "write_data"]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_data(folder: Path) -> Path:
    """The four zips, with a few pictures of each class; each class is a shape and a colour of its own."""
    names = [f"n{place:08d}_thing.png" for place in range(16)]
    _write_zip(folder / "not_cars" / "imagenet.zip", {name: 40 + place for place, name in enumerate(names)})
    _write_zip(folder / "cars" / "photos.zip", _classes(CAR_CLASSES, 10))
    _write_zip(folder / "cifar10" / "train.zip", _classes(CIFAR10_CLASSES, 8))
    _write_zip(folder / "cifar10" / "test.zip", _classes(CIFAR10_CLASSES, 4))
    return folder


def write_car_repo(folder: Path, data: Path) -> Path:
    """A car extractor with random weights; its gallery holds what it held out."""
    processor = ImageProcessor(size=100)
    cars = load_images(data / "cars" / "photos.zip", processor, quiet=True)
    return _write_repo(folder, _seeded(CarFeatureExtractor), processor, cars, cars)


def write_autoencoder_repo(folder: Path, data: Path) -> Path:
    """A small CIFAR-10 autoencoder with random weights."""
    processor = ImageProcessor(size=16)
    shown = load_images(data / "cifar10" / "test.zip", processor, quiet=True)
    learnt = load_images(data / "cifar10" / "train.zip", processor, quiet=True)
    return _write_repo(folder, _seeded(_small_autoencoder), processor, shown, learnt)


def _write_repo(
    folder: Path, model: PretrainedModel, processor: ImageProcessor, shown: ImageSet, trained_on: ImageSet
) -> Path:
    """Every fourth picture of the training file is held out to calibrate, the one after it to test."""
    parts = {"calibration": range(0, len(trained_on), 4), "test": range(1, len(trained_on), 4)}
    in_gallery = shown is trained_on
    gallery = Gallery(shown.file_names, shown.labels, embed_images(model, processor, shown.pixels))
    similarity = VisualSimilarity(model, processor, gallery, OutOfDistributionDetector.top_score_rule())
    similarity.ood = calibrate(
        similarity,
        trained_on.pixels[list(parts["calibration"])],
        synthetic_outliers("noise", 8, processor.size, seed=0),
        held_out=[place for part in parts.values() for place in part] if in_gallery else (),
    )
    similarity.save_pretrained(folder)
    with (folder / "held_out.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_name", "part", "in_gallery"])
        for part, places in parts.items():
            writer.writerows([trained_on.file_names[place], part, str(in_gallery).lower()] for place in places)
    return folder


def _seeded(build: Callable[[], PretrainedModel]) -> PretrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def _small_autoencoder() -> ConvolutionalAutoencoder:
    return ConvolutionalAutoencoder(image_size=16, base_channels=4, stages=1, latent_dim=24)


def _classes(labels: tuple[str, ...], count: int) -> dict[str, int]:
    return {f"{label}/{number:04d}.png": 3 * place for place, label in enumerate(labels) for number in range(count)}


def _write_zip(path: Path, styles: Mapping[str, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, style) in enumerate(styles.items()):
            file = io.BytesIO()
            _draw(style, number).save(file, "PNG")
            archive.writestr(name, file.getvalue())


def _draw(style: int, number: int) -> Image.Image:
    """A block and a disc: the style rules their colours and places, the number shifts them."""
    ground, block, disc = (tuple((style * step + shade) % 256 for shade in (30, 110, 190)) for step in (37, 61, 89))
    image = Image.new("RGB", (40, 32), ground)
    canvas = ImageDraw.Draw(image)
    left, top = (style * 5 + number) % 16, (style * 3 + 2 * number) % 12
    canvas.rectangle([left, top, left + 18, top + 10], fill=block)
    canvas.ellipse([30 - left, 18 - top, 38 - left, 26 - top], fill=disc)
    return image
