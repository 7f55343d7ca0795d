"""Measure cars as anyone photographs them, of models that the network has not seen, and after common faults."""

import io
from collections.abc import Callable, Mapping
from typing import Final

import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor

from lab.data import ImageSet, read_column
from lab.evaluation.classification import class_probabilities
from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.evaluation.figures import share_figure
from lab.evaluation.retrieval import retrieval_shares
from lab.fitting import measure_images
from lab.tensors import Measured
from visim_models.models import Classifier
from visim_models.repo_folder.metrics import Figure

__all__ = ["alteration_figures", "same_model_chance", "wild_figures"]

WILD: Final = "cars/wild.zip"
_TABLE: Final = "cars/wild.csv"
_TOP: Final = 4
_ACCURACY: Final = 88.0
_RETRIEVAL: Final = 85.0
_FALSE_ALARMS: Final = 8.0


def wild_figures(repo: EvaluatedRepo, *, method: str = "") -> list[Figure]:
    """Measure the test part of the wild cars; none where the split does not divide them.

    Args:
        repo: the repo, or another network's view of its pictures.
        method: the method, for a baseline.
    """
    if WILD not in repo.divided_files("test"):
        return []
    images = repo.part("test", file=WILD)
    models = read_column(repo.data.path / _TABLE, "model")
    groups = _numbers([models[name] for name in images.file_names])
    measured = measure_images(repo.similarity, images.pixels, gallery=repo.known)
    verdicts = repo.similarity.ood.verdicts(*measured)
    figures = [
        share_figure(
            torch.tensor([float(verdict.is_ood) for verdict in verdicts]),
            name="wild_false_alarms_at_5",
            what="Share of other people's photographs of cars called strange: all bodies, models never seen.",
            groups=groups,
            target=None if method else {"at_most": _FALSE_ALARMS},
            method=method,
        )
    ]
    figures += _four_bodies(repo, images, measured, groups, method=method)
    figures.append(_same_model(images, measured.embeddings, groups, method=method))
    return figures


def _four_bodies(
    repo: EvaluatedRepo, images: ImageSet, measured: Measured, groups: list[int], *, method: str
) -> list[Figure]:
    """Measure those of a body that the gallery has: told right, and matches of the same body."""
    own = [index for index, label in enumerate(images.labels) if label in repo.benchmark.labels]
    chosen, features = images.subset(own), measured.embeddings[own]
    own_groups = [groups[index] for index in own]
    figures = []
    model = repo.similarity.model
    if isinstance(model, Classifier):
        is_right = class_probabilities(model, features).argmax(dim=1) == chosen.targets(model.class_names)
        figures.append(
            share_figure(
                is_right.float(),
                name="wild_accuracy",
                what="Share of other people's photographs, of models never seen, whose body type is told right.",
                groups=own_groups,
                target={"at_least": _ACCURACY},
                method=method,
            )
        )
    _, indices = repo.known.search(features.numpy(), top_k=min(_TOP, len(repo.known)))
    figures.append(
        share_figure(
            retrieval_shares(chosen.labels, torch.from_numpy(indices), repo.known, _TOP),
            name=f"wild_retrieval_top_{_TOP}",
            what=f"Share of the first {_TOP} matches in the dealers' gallery that have the body type of such a query.",
            decisions=_TOP,
            groups=own_groups,
            target=None if method else {"at_least": _RETRIEVAL},
            method=method,
        )
    )
    return figures


def _same_model(images: ImageSet, features: Tensor, models: list[int], *, method: str) -> Figure:
    """Measure likeness within a body: how many of the nearest of its body are of the same model."""
    return share_figure(
        _shares_within_bodies(images.labels, features, models),
        name=f"same_model_top_{_TOP}",
        what=f"Share of the first {_TOP} of the same model, among the other wild test pictures of the query's body.",
        decisions=_TOP,
        groups=models,
        method=method,
    )


def same_model_chance(repo: EvaluatedRepo) -> list[Figure]:
    """Return the figure of likeness within a body for matches that are drawn at random."""
    if WILD not in repo.divided_files("test"):
        return []
    images = repo.part("test", file=WILD)
    models = read_column(repo.data.path / _TABLE, "model")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random = torch.randn(len(images), 16)
    groups = _numbers([models[name] for name in images.file_names])
    return [_same_model(images, random, groups, method="chance")]


def _shares_within_bodies(labels: list[str], features: Tensor, models: list[int]) -> Tensor:
    unit = F.normalize(features, dim=1)
    bodies, own = torch.tensor(_numbers(labels)), torch.tensor(models)
    cosines = unit @ unit.T  # (N, N)
    cosines[bodies[:, None] != bodies[None]] = -2
    cosines.fill_diagonal_(-3)
    nearest = cosines.topk(min(_TOP, len(cosines) - 1), dim=1).indices  # (N, k)
    return (own[nearest] == own[:, None]).float().mean(dim=1)


def _numbers(names: list[str]) -> list[int]:
    index = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [index[name] for name in names]


Alteration = Callable[[Image.Image], Image.Image | bytes]

_ALTERED_TARGET: Final = 10.0
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
        verdicts = repo.similarity.ood.verdicts(*measure_images(repo.similarity, torch.cat(pixels), gallery=repo.known))
        figures.append(
            share_figure(
                torch.tensor([float(verdict.is_ood) for verdict in verdicts]),
                name=f"false_alarms_{name}",
                what=f"Share of held-out cars called strange, dealers' and others' together, {text}.",
                groups=[group for images in parts.values() for group in repo.groups(images)],
                target={"at_most": _ALTERED_TARGET} if repo.classifies_bodies else None,
            )
        )
    return figures
