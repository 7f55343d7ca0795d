"""A data folder of drawn pictures, laid out like the real one, and repos of tiny networks that were split on it."""

import io
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lab.data import hashes_of, labels_of, load_images, table_of
from lab.export import export_repo
from lab.fitting import DetectorFit, embed_images, fit_match_probability
from lab.splits import Split
from visim_models import (
    CAR_CLASSES,
    CarFeatureExtractor,
    ConvolutionalAutoencoder,
    Gallery,
    ImageProcessor,
    VisualSimilarity,
)
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.synthetic import synthetic_outliers
from visim_models.models import PretrainedModel, TorchNetwork

__all__ = [
    "CIFAR10_CLASSES",
    "training_record",
    "write_autoencoder_repo",
    "write_car_repo",
    "write_data",
    "write_later_sources",
]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PARTS = ("calibration", "test", "fit", "train", "train")
"""Dealt out in turn."""


def write_data(folder: Path) -> Path:
    """Write the zips, with a few pictures of each class; each class is a shape and a colour of its own."""
    things = {f"n{index:08d}_thing.png": 40 + index for index in range(16)}
    _write_zip(folder / "not_cars" / "imagenet.zip", things)
    _write_zip(folder / "not_cars" / "caltech101.zip", _things(60))
    _write_zip(folder / "not_cifar10" / "tiny_imagenet.zip", _things(90))
    _write_zip(folder / "cars" / "photos.zip", _classes(CAR_CLASSES, 10))
    wild = _classes((*CAR_CLASSES, "van"), 6, first_style=23)
    _write_zip(folder / "cars" / "wild.zip", wild)
    rows = [f"{name},{name.partition('/')[0]},model {number // 2}" for number, name in enumerate(wild)]
    (folder / "cars" / "wild.csv").write_text("\n".join(["file_name,body,model", *rows]), encoding="utf-8")
    _write_zip(folder / "cifar10" / "train.zip", _classes(CIFAR10_CLASSES, 8))
    _write_zip(folder / "cifar10" / "test.zip", _classes(CIFAR10_CLASSES, 4))
    return folder


def write_later_sources(folder: Path) -> None:
    """Write the zips that came after the training of the repos: listings, near kinds, a second source of CIFAR-10."""
    listings = _classes(("sedan", "suv"), 20, first_style=31)
    _write_zip(folder / "cars" / "listings.zip", listings)
    rows = [f"{name},{name.partition('/')[0]},group {number // 2}" for number, name in enumerate(listings)]
    (folder / "cars" / "listings.csv").write_text("\n".join(["file_name,body,near_group", *rows]), encoding="utf-8")
    _write_zip(folder / "not_cars" / "car_parts.zip", _classes(("interior", "boot", "engine_bay"), 3, first_style=50))
    _write_zip(folder / "not_cars" / "vehicles.zip", _classes(("lorry", "bus"), 3, first_style=70))
    _write_zip(folder / "not_cifar10" / "vehicles.zip", _classes(("motorbike", "bus"), 3, first_style=80))
    _write_zip(folder / "cifar10" / "second_source.zip", _classes(("airplane", "dog"), 6, first_style=11))


def write_car_repo(folder: Path, data: Path, *, about: Mapping[str, Any] | None = None) -> Path:
    """Write a car extractor with random weights; its gallery holds the pictures that it held out, too."""
    processor = ImageProcessor(size=100)
    cars, wild = (load_images(data / "cars" / f"{name}.zip", processor, quiet=True) for name in ("photos", "wild"))
    both = PictureTable.concatenate([cars, wild])
    return _write_repo(folder, _seeded(CarFeatureExtractor), processor, cars, both, about)


def write_autoencoder_repo(folder: Path, data: Path, *, about: Mapping[str, Any] | None = None) -> Path:
    """Write a small CIFAR-10 autoencoder with random weights."""
    processor = ImageProcessor(size=16)
    shown = load_images(data / "cifar10" / "test.zip", processor, quiet=True)
    learnt = load_images(data / "cifar10" / "train.zip", processor, quiet=True)
    return _write_repo(folder, _seeded(_small_autoencoder), processor, shown, learnt, about)


def training_record(images: PictureTable, split: Split, **changes: Any) -> dict[str, Any]:
    """Return a training.json as a run writes it."""
    classes = dict(sorted(Counter(labels_of(images)).items()))
    parts = split.counts(hashes_of(images))
    return {
        "task": "drawn",
        "recipe": "tiny",
        "settings": {"batch_size": 4, "learning_rate": 0.002, "cosine": True, "augmentation": {"flip": False}},
        "epochs": 7,
        "seed": 3,
        "limit": None,
        "command": "python -m lab.train drawn --out runs/tiny",
        "sources": [{"source": "drawn.zip", "pictures": len(images), "classes": classes, "parts": parts}],
        "outliers": [{"source": "drawn: noise", "part": "fit", "pictures": 8}],
        "split_sha256": split.sha256,
        **changes,
    }


def _write_repo(
    folder: Path,
    model: PretrainedModel,
    processor: ImageProcessor,
    shown: PictureTable,
    trained_on: PictureTable,
    about: Mapping[str, Any] | None,
) -> Path:
    hashes, network = hashes_of(trained_on), TorchNetwork(model)
    split = Split({sha256: PARTS[index % len(PARTS)] for index, sha256 in enumerate(hashes)})
    gallery = Gallery(shown.file_names, labels_of(shown), embed_images(network, processor, shown["pixels"]))
    known = gallery.subset(
        [index for index, sha256 in enumerate(hashes_of(shown)) if split.part_of(sha256) in (None, "train")]
    )
    parts = {part: trained_on.subset(split.indices(hashes, [part])) for part in ("fit", "calibration")}
    outliers = table_of(synthetic_outliers("noise", 8, processor.size, seed=0))
    detector = DetectorFit.measure(known, network, processor, outliers=outliers, **parts).detector()
    probability = fit_match_probability(known, network, processor, parts["fit"])
    export_repo(
        folder,
        VisualSimilarity(network, processor, gallery, detector, match_probability=probability),
        split=split,
        training=training_record(trained_on, split, **({"about": about} if about is not None else {})),
    )
    return folder


def _seeded(build: Callable[[], PretrainedModel]) -> PretrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def _small_autoencoder() -> ConvolutionalAutoencoder:
    return ConvolutionalAutoencoder(image_size=16, base_channels=4, stages=1, latent_dim=24)


def _classes(labels: tuple[str, ...], count: int, *, first_style: int = 0) -> dict[str, int]:
    return {
        f"{label}/{number:04d}.png": first_style + 3 * index
        for index, label in enumerate(labels)
        for number in range(count)
    }


def _things(style: int) -> dict[str, int]:
    """Kinds of other things, some for each purpose, two pictures a kind."""
    return {f"kind_{kind}/{number}.png": style + kind for kind in range(8) for number in range(2)}


def _write_zip(path: Path, styles: Mapping[str, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, style) in enumerate(styles.items()):
            file = io.BytesIO()
            _draw(style, number).save(file, "PNG")
            archive.writestr(name, file.getvalue())


def _draw(style: int, number: int) -> Image.Image:
    """Draw a block on squares: the style rules their colours, the number their shades. No two are near-duplicates."""
    ground, block = (np.array([((style + 1) * step + shade) % 256 for shade in (30, 110, 190)]) for step in (37, 61))
    shades = np.random.default_rng(1000 * style + number).integers(-70, 70, (4, 5, 1))
    picture = np.broadcast_to(ground, (32, 40, 3)) + shades.repeat(8, axis=0).repeat(8, axis=1)
    top, left = style % 12, style % 16
    picture[top : top + 12, left : left + 18] = block
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))
