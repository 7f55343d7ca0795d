"""What phones and the way to the viewer do to pictures of cars: how often each makes the verdict wrong."""

import io
from collections.abc import Callable, Mapping
from typing import Final

import torch
from PIL import Image, ImageEnhance, ImageFilter

from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.evaluation.figures import share_figure
from lab.fitting import measure_images
from visim_models.repo_folder.metrics import Figure

__all__ = ["ALTERATIONS", "alteration_figures"]

Alteration = Callable[[Image.Image], Image.Image | bytes]

_TARGET: Final = 10.0
_TILT: Final = 8
_KEPT: Final = 0.8
"""Of each side, after a turn by `_TILT` degrees: within it there are no empty corners."""


def _narrow(image: Image.Image) -> Image.Image:
    return image.resize((64, max(1, round(64 * image.height / image.width))), Image.Resampling.BILINEAR)


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.01 * image.width))


def _dark(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.35)


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return file.getvalue()


def _tilted(image: Image.Image) -> Image.Image:
    turned = image.rotate(_TILT, Image.Resampling.BICUBIC)
    across, down = (1 - _KEPT) / 2 * image.width, (1 - _KEPT) / 2 * image.height
    return turned.crop((round(across), round(down), round(image.width - across), round(image.height - down)))


ALTERATIONS: Final[Mapping[str, tuple[Alteration, str]]] = {
    "64_pixels_wide": (_narrow, "reduced to a width of 64 pixels"),
    "blurred": (_blurred, "blurred by 1 % of their width"),
    "dark": (_dark, "darkened to 35 %"),
    "jpeg_30": (_jpeg, "saved as JPEG of quality 30"),
    "tilted": (_tilted, f"turned by {_TILT} degrees"),
}
"""Name -> what is done to a picture, and how a sentence says it."""


def alteration_figures(repo: EvaluatedRepo) -> list[Figure]:
    """Return the share of altered test pictures, of all sources, that the repo calls strange."""
    figures = []
    parts = {file: repo.part("test", file=file) for file in repo.divided_files("test")}
    for name, (change, text) in ALTERATIONS.items():
        pixels = [
            repo.data.read_changed(file, images.file_names, repo.similarity.processor, change)
            for file, images in parts.items()
        ]
        verdicts = repo.similarity.ood.verdicts(measure_images(repo.similarity, torch.cat(pixels), gallery=repo.known))
        figures.append(
            share_figure(
                torch.tensor([float(verdict.is_ood) for verdict in verdicts]),
                name=f"false_alarms_{name}",
                what=f"Share of held-out cars called strange, dealers' and others' together, {text}.",
                groups=[group for images in parts.values() for group in repo.groups(images)],
                target={"at_most": _TARGET} if repo.classifies_bodies else None,
            )
        )
    return figures
