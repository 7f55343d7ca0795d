"""Small, drawn and deterministic things to test with: pictures, networks of a tiny size, whole repo folders."""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lab.data import table_of
from lab.fitting import DetectorFit
from visim_models import (
    CAR_CLASSES,
    CarFeatureExtractor,
    ConvolutionalAutoencoder,
    Gallery,
    ImageProcessor,
    VisualSimilarity,
)
from visim_models.galleries.picture_table import PictureTable, hash_array
from visim_models.galleries.synthetic import SYNTHETIC_KINDS, synthetic_outliers
from visim_models.models import TorchNetwork
from visim_models.repo_folder import RepoDraft

__all__ = [
    "drawn_picture",
    "drawn_pictures",
    "drawn_table",
    "edit_json",
    "files_of",
    "flat_png",
    "raw_safetensors",
    "tiny_autoencoder",
    "tiny_car_repo",
    "tiny_repo",
    "tiny_similarity",
    "write_part",
    "write_pictures",
]

TINY_SIZE = 8
TINY_NETWORK = {"image_size": TINY_SIZE, "in_channels": 3, "base_channels": 4, "stages": 1, "latent_dim": 32}


def drawn_picture(seed: int, *, size: int = 48) -> npt.NDArray[np.uint8]:
    """One picture, (size, size, 3) uint8: a smooth ground, and a disc and a bar in other colours; made by formulas."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    corners = rng.uniform(0, 255, (3, 3))
    picture = corners[0] * (1 - x - y)[..., None] + corners[1] * x[..., None] + corners[2] * y[..., None]
    centre, radius = rng.uniform(0.25, 0.75, 2), rng.uniform(0.1, 0.3)
    disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
    picture[disc] = rng.uniform(0, 255, 3)
    top = rng.uniform(0.1, 0.8)
    picture[(y > top) & (y < top + 0.12)] = rng.uniform(0, 255, 3)
    pixels: npt.NDArray[np.uint8] = picture.clip(0, 255).astype(np.uint8)
    return pixels


def drawn_pictures(count: int, *, size: int = 48, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    """`count` different drawn pictures."""
    return [drawn_picture(1000 * seed + place, size=size) for place in range(count)]


def flat_png(colour: str) -> bytes:
    """A small PNG file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(file, "PNG")
    return file.getvalue()


def write_pictures(
    folder: Path, each: int, *, classes: Sequence[str] = CAR_CLASSES, size: int = 48, seed: int = 0
) -> Path:
    """Write `each` drawn pictures a class as folder/class/NNNN.png, and give the folder back."""
    for place, label in enumerate(classes):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(drawn_pictures(each, size=size, seed=100 * seed + place + 1)):
            Image.fromarray(picture).save(folder / label / f"{number:04d}.png")
    return folder


def drawn_table(count: int, *, size: int, seed: int = 0, labels: Sequence[str] = ("a",)) -> PictureTable:
    """A table of drawn pictures, with these labels in turn."""
    pixels = np.stack([picture.transpose(2, 0, 1) for picture in drawn_pictures(count, size=size, seed=seed)])
    names = [f"{labels[index % len(labels)]}/{index}.png" for index in range(count)]
    hashes = hash_array(hashlib.sha256(f"{seed} {index}".encode()).hexdigest() for index in range(count))
    return PictureTable(names, {"pixels": pixels, "sha256": hashes})


def tiny_autoencoder(*, seed: int = 0) -> ConvolutionalAutoencoder:
    """The real class for 8 x 8 pictures, in evaluation mode; the caller's random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvolutionalAutoencoder(**TINY_NETWORK).eval()


def tiny_similarity(count: int = 12, *, seed: int = 0) -> VisualSimilarity:
    """A tiny autoencoder with a gallery of `count` drawn pictures and a calibrated detector."""
    model, processor = tiny_autoencoder(seed=seed), ImageProcessor(size=TINY_SIZE)
    return _with_gallery(model, processor, count, root="")


def tiny_repo(folder: Path, *, count: int = 12, seed: int = 0) -> Path:
    """`tiny_similarity` saved as a repo folder; its gallery's picture N is `drawn_pictures(count)[N]`."""
    tiny_similarity(count, seed=seed).save_pretrained(folder)
    return folder


def tiny_car_repo(folder: Path, *, count: int = 12) -> Path:
    """A repo folder of the car extractor (its layers have one size only) with fresh weights and a small gallery."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = CarFeatureExtractor().eval()
    _with_gallery(model, ImageProcessor(size=100), count, root="").save_pretrained(folder)
    return folder


def write_part(part: Any, folder: Path) -> None:
    """Write one part of a repo into a folder, whole repo or not."""
    folder.mkdir(parents=True, exist_ok=True)
    part.write_files(RepoDraft(folder, folder))


def _with_gallery(
    model: ConvolutionalAutoencoder | CarFeatureExtractor, processor: ImageProcessor, count: int, *, root: str
) -> VisualSimilarity:
    shown = np.stack([processor.resize(Image.fromarray(picture)) for picture in drawn_pictures(count)])
    network = TorchNetwork(model)
    embeddings = network.embed(processor.normalize(shown))
    names = [f"{CAR_CLASSES[place % 4]}/{place:04d}.png" for place in range(count)]
    labels = [CAR_CLASSES[place % 4] for place in range(count)]
    gallery = Gallery(names, labels, embeddings.astype(np.float16).astype(np.float32), image_root=root)
    others = drawn_pictures(60, seed=7)
    held_out = np.stack([processor.resize(Image.fromarray(picture)) for picture in others])
    drawn = [synthetic_outliers(kind, 5, processor.size, seed=3) for kind in SYNTHETIC_KINDS]
    detector = DetectorFit.measure(
        gallery,
        network,
        processor,
        fit=table_of(held_out[:30]),
        calibration=table_of(held_out[30:]),
        outliers=table_of(np.concatenate(drawn)),
    ).detector()
    return VisualSimilarity(model, processor, gallery, detector)


def raw_safetensors(header: bytes | dict[str, Any], data: bytes = b"", *, length: int | None = None) -> bytes:
    """The bytes of a safetensors file with this header, whatever is wrong with it; `length` belies the header's own."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def edit_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file; a value of `...` takes the key out."""
    values = json.loads(path.read_text(encoding="utf-8"))
    values.update(changes)
    kept = {key: value for key, value in values.items() if value is not ...}
    path.write_text(json.dumps(kept), encoding="utf-8")


def files_of(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes of every file in a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
