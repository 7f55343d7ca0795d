"""Measure pictures of other sources than the gallery's, each apart, and the faults of cameras and of the way.

Other people's cars are of models that the network has not seen, and listings are of another country. Four kinds of
CIFAR-10 come from a second source, on which nothing is fitted or chosen.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

from lab.data import hashes_of, labels_of, read_column, read_named
from lab.evaluation.classification import class_probabilities, told_right
from lab.evaluation.evaluated_repo import CARS, CIFAR10, EvaluatedRepo, is_strange
from lab.evaluation.figures import mean_figure, share_figure
from lab.evaluation.retrieval import nearest_label_figure, retrieval_figure
from visim_models.galleries.picture_table import PictureTable
from visim_models.repo_folder.metrics import Figure

__all__ = ["alteration_figures", "mean_figures", "same_model_chance", "source_figures"]


@dataclass(frozen=True)
class _Source:
    """Pictures of another source.

    Attributes:
        file: of the data folder.
        name: that its figures begin with.
        what: names the pictures in a sentence.
        targets: of the share that is told right, of retrieval, and of false alarms.
    """

    file: str
    name: str
    what: str
    targets: tuple[float, float | None, float]


_WILD: Final = _Source("cars/wild.zip", "wild", "other people's photographs, of models never seen", (88, 85, 7))
_LISTINGS: Final = _Source("cars/listings.zip", "listings", "second-hand listings of another country", (90, 85, 7))
_SECOND: Final = _Source(
    "cifar10/second_source.zip", "second_source", "four of the kinds, of a second source", (90, None, 7)
)
_DEALERS: Final = {
    "accuracy": "accuracy",
    "retrieval_top_4": "retrieval_top_4",
    "false_alarms_at_5": "ood_false_alarms_at_5",
}
"""What a figure of a source is called behind its name -> the same figure of the dealers' cars."""
_TOP: Final = 4


def source_figures(repo: EvaluatedRepo, *, method: str = "") -> list[Figure]:
    """Measure every other source that there is: told right, matches of the label, called strange.

    Args:
        repo: the repo, or another network's view of its pictures.
        method: the method, for a baseline.
    """
    figures = []
    if repo.benchmark is CIFAR10 and repo.data.has(_SECOND.file) and repo.similarity.network.class_names:
        images = repo.data.read(_SECOND.file, repo.similarity.processor)
        figures += _figures(repo, _SECOND, images.subset(repo.data.limited(range(len(images)))), None, method)
    for source in _held_out(repo):
        images = repo.part("test", file=source.file)
        groups = _groups(repo, source, images)
        figures += _figures(repo, source, images, groups, method)
        if source is _WILD:
            embeddings = repo.measured(images)["embeddings"]
            figures += _same_model(images, embeddings, groups, method=method)
    return figures


def mean_figures(figures: Sequence[Figure], *, method: str = "") -> list[Figure]:
    """Return the means over dealers, wild cars and listings, of equal weight; none where one is missing."""
    found = {figure.name: figure for figure in figures if figure.method == method}
    means = []
    for name, of_dealers in _DEALERS.items():
        parts = [of_dealers, *(f"{source.name}_{name}" for source in (_WILD, _LISTINGS))]
        if all(part in found for part in parts):
            what = f"Mean of {', '.join(parts)}: of the three sources, each counts the same."
            means.append(mean_figure([found[part] for part in parts], name=f"mean_{name}", what=what, method=method))
    return means


def same_model_chance(repo: EvaluatedRepo) -> list[Figure]:
    """Return the figures of likeness within a body for matches that are drawn at random."""
    if _WILD not in _held_out(repo):
        return []
    images = repo.part("test", file=_WILD.file)
    random = np.random.default_rng(0).standard_normal((len(images), 16)).astype(np.float32)
    return _same_model(images, random, _groups(repo, _WILD, images), method="chance")


def _held_out(repo: EvaluatedRepo) -> list[_Source]:
    """Return the sources of cars that have a test part."""
    return [
        source
        for source in (_WILD, _LISTINGS)
        if repo.benchmark is CARS
        and source.file in repo.images
        and repo.split.indices(hashes_of(repo.images[source.file]), ["test"])
    ]


def _groups(repo: EvaluatedRepo, source: _Source, images: PictureTable) -> list[int]:
    table, column = repo.benchmark.groups[source.file]
    values = read_column(repo.data.path / table, column)
    return _numbers([values[name] for name in images.file_names])


def _figures(
    repo: EvaluatedRepo, source: _Source, images: PictureTable, groups: Sequence[int] | None, method: str
) -> list[Figure]:
    """Measure a source: the verdict on all of it; the rest on those pictures whose label the gallery has."""
    told, retrieval, alarms = source.targets
    measured, network = repo.measured(images), repo.similarity.network
    verdicts = repo.similarity.ood.verdicts(measured.measured, measured["embeddings"])
    figures = [
        share_figure(
            is_strange(verdicts),
            name=f"{source.name}_false_alarms_at_5",
            what=f"Share called strange of {source.what}.",
            groups=groups,
            target=None if method else {"at_most": alarms},
            method=method,
        )
    ]
    own = [index for index, label in enumerate(labels_of(images)) if label in repo.benchmark.labels]
    queries, measured = images.subset(own), measured.subset(own)
    groups = None if groups is None else [groups[index] for index in own]
    if network.class_names:
        probabilities = class_probabilities(network, measured["embeddings"])
        figures.append(
            share_figure(
                told_right(queries, probabilities, network.class_names),
                name=f"{source.name}_accuracy",
                what=f"Share whose {repo.benchmark.label_name} is told right, of {source.what}.",
                groups=groups,
                target=None if method else {"at_least": told},
                method=method,
            )
        )
    top_k = repo.benchmark.ranks[-1]
    figures.append(
        retrieval_figure(
            queries,
            repo.matches(measured, top_k)[1],
            repo.known,
            top_k,
            name=f"{source.name}_retrieval_top_{top_k}",
            what=f"Share of the first {top_k} matches in the gallery that have the {repo.benchmark.label_name} of the "
            f"query, of {source.what}.",
            groups=groups,
            target=None if retrieval is None else {"at_least": retrieval},
            method=method,
        )
    )
    return figures


def _same_model(
    images: PictureTable, embeddings: npt.NDArray[np.float32], models: list[int], *, method: str
) -> list[Figure]:
    """Measure likeness among the wild test pictures alone, whose models the network has not seen.

    `same_model_top_4` is within a body. `wild_recall_at_1` is the field's measure of retrieval on unseen classes.
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(min=1e-12)
    cosines = unit @ unit.T  # (N, N)
    np.fill_diagonal(cosines, -3)
    own, bodies = np.array(models), np.array(_numbers(labels_of(images)))
    cosines[(bodies[:, None] != bodies) & (cosines > -3)] = -2
    top = min(_TOP, len(cosines) - 1)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :top]  # (N, k)
    return [
        share_figure(
            (own[nearest] == own[:, None]).mean(axis=1),
            name=f"same_model_top_{_TOP}",
            what=f"Share of the first {_TOP} of the same model, among the other wild test pictures of the body.",
            decisions=_TOP,
            groups=models,
            method=method,
        ),
        nearest_label_figure(
            [str(model) for model in models],
            embeddings,
            name="wild_recall_at_1",
            what="Share whose nearest of the other wild test pictures is of the same model, one never seen.",
            groups=models,
            method=method,
        ),
    ]


def _numbers(names: Sequence[str]) -> list[int]:
    index = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [index[name] for name in names]


# --- faults of cameras, and of the way to the viewer

_Change = Callable[[Image.Image], Image.Image | bytes]

_MOST_ALTERED: Final = 10.0
_TILT: Final = 8
_KEPT: Final = 0.8
"""Of each side, after a turn by `_TILT` degrees: within it there are no empty corners."""


def _narrow(image: Image.Image) -> Image.Image:
    return image.resize((64, max(1, round(64 * image.height / image.width))), Image.Resampling.BILINEAR)


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return file.getvalue()


def _tilted(image: Image.Image) -> Image.Image:
    turned = image.rotate(_TILT, Image.Resampling.BICUBIC)
    across, down = (1 - _KEPT) / 2 * image.width, (1 - _KEPT) / 2 * image.height
    return turned.crop((round(across), round(down), round(image.width - across), round(image.height - down)))


_ALTERATIONS: Final[Mapping[str, tuple[_Change, str]]] = {
    "64_pixels_wide": (_narrow, "reduced to a width of 64 pixels"),
    "blurred": (
        lambda image: image.filter(ImageFilter.GaussianBlur(0.01 * image.width)),
        "blurred by 1 % of the width",
    ),
    "dark": (lambda image: ImageEnhance.Brightness(image).enhance(0.35), "darkened to 35 %"),
    "jpeg_30": (_jpeg, "saved as JPEG of quality 30"),
    "tilted": (_tilted, f"turned by {_TILT} degrees"),
}
"""Name -> what is done to a picture, and how a sentence says it."""


def alteration_figures(repo: EvaluatedRepo) -> list[Figure]:
    """Return the share of altered test pictures, of all sources of the training, that the repo calls strange."""
    figures = []
    parts = {file: repo.part("test", file=file) for file in repo.divided_files("test")}
    for name, (change, text) in _ALTERATIONS.items():
        altered: list[Any] = []
        for file, images in parts.items():
            pixels = read_named(repo.data.path / file, images.file_names, repo.similarity.processor, change=change)
            altered.append(repo.measured(images.with_arrays(pixels=pixels)))
        measured = PictureTable.concatenate(altered)
        verdicts = repo.similarity.ood.verdicts(measured.measured, measured["embeddings"])
        figures.append(
            share_figure(
                is_strange(verdicts),
                name=f"false_alarms_{name}",
                what=f"Share of held-out cars called strange, dealers' and others' together, {text}.",
                groups=[group for images in parts.values() for group in repo.groups(images)],
                target={"at_most": _MOST_ALTERED} if repo.classifies_bodies else None,
            )
        )
    return figures
