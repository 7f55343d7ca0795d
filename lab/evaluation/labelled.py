"""Figures of any labelled gallery, from labelled pictures that are not in it."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from lab.data import labels_of, load_images, read_named
from lab.evaluation.evaluated_repo import is_strange
from lab.evaluation.figures import share_figure
from lab.evaluation.retrieval import RAW_PIXELS, nearest, nearest_label_figure, raw_pixels, retrieval_figure
from lab.fitting import embed_images, measure_images
from visim_models import Gallery, ImageStore, VisualSimilarity
from visim_models.errors import DataError
from visim_models.galleries.calibration import check_figures, check_verdict
from visim_models.galleries.picture_table import PictureTable
from visim_models.models.loading import load_network
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import WEIGHTS
from visim_models.repo_folder.metrics import Figure, Metrics

__all__ = ["evaluate_labelled", "recall_at_1"]

_RANKS: Final = (1, 4)
_SAME: Final = 0.9999
"""Cosine from which on a query is a picture of the gallery itself."""


def evaluate_labelled(folder: Path, pictures: Path, *, command: str, limit: int | None = None) -> Metrics:
    """Measure a gallery by labelled pictures of its kinds; those that are in the gallery do not count.

    Args:
        folder: the repo folder.
        pictures: folder or zip of `label/name.jpg`.
        command: reproduces the metrics; written into them.
        limit: use at most so many pictures, evenly spaced; None for all.

    Raises:
        DataError: the gallery has no labels, or none of the pictures has one of them and is not in the gallery.
        VisimError: the repo or the pictures cannot be read.
    """
    repo, similarity = RepoFolder(folder), VisualSimilarity.from_pretrained(folder)
    gallery = similarity.gallery
    if not any(gallery.labels):
        raise DataError(f"{folder} has a gallery without labels: nothing says which matches are right.", path=folder)
    images = load_images(pictures, similarity.processor, limit=limit)
    known = set(gallery.labels) - {""}
    images = images.subset([index for index, label in enumerate(labels_of(images)) if label in known])
    if not len(images):
        raise DataError(
            f"No picture of {pictures} has a label of the gallery, such as {next(filter(None, gallery.labels))}: lay "
            "them out as label/name.jpg.",
            path=pictures,
        )
    measured = measure_images(images, network=similarity.network, processor=similarity.processor, gallery=gallery)
    is_new = np.flatnonzero(measured.measured["top_distance"] >= 1 - _SAME)
    if not len(is_new):
        raise DataError(f"All pictures of {pictures} are in the gallery: name others of its kinds.", path=pictures)
    queries, measured = images.subset(is_new), measured.subset(is_new)
    _, found = gallery.search(measured["embeddings"], top_k=min(max(_RANKS), len(gallery)))
    alarms = share_figure(
        is_strange(similarity.ood.verdicts(measured.measured, measured["embeddings"])),
        name="ood_false_alarms_at_5",
        what="Share of pictures of the gallery's kinds that are not in it, called strange.",
    )
    check = check_verdict(similarity.network, similarity.processor, gallery, similarity.ood)
    return Metrics(
        command=command,
        limit=limit,
        weights_sha256=repo.sha256(WEIGHTS),
        data={pictures.name: len(queries)},
        figures=[*_retrieval(queries, found, gallery), alarms, *check_figures(similarity.ood.checked(check))],
        baselines=_raw_pixels(queries, similarity),
    )


def recall_at_1(folder: Path, pictures: Path, *, limit: int | None = None) -> Figure:
    """Measure how often the nearest of all other pictures has the label of a picture: Recall@1, as for Cars196.

    Source: Oh Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding" (2016). There the pictures
    are those of the last 98 models, in `model/name.jpg`.

    Args:
        folder: the repo folder, whose network embeds the pictures; its gallery does not matter.
        pictures: folder or zip of `label/name.jpg`.
        limit: use at most so many pictures, evenly spaced; None for all.

    Raises:
        DataError: there are fewer than two pictures.
        VisimError: the repo or the pictures cannot be read.
    """
    repo = RepoFolder(folder)
    network, processor = load_network(repo), ImageProcessor.load(repo)
    images = load_images(pictures, processor, limit=limit)
    if len(images) < 2:
        raise DataError(f"{pictures} has {len(images)} pictures: at least two are needed.", path=pictures)
    return nearest_label_figure(
        labels_of(images),
        embed_images(network, processor, images["pixels"]),
        name="recall_at_1",
        what=f"Share of the pictures of {pictures.name} whose nearest of all others has their label.",
    )


def _retrieval(
    queries: PictureTable, indices: npt.NDArray[np.int64], gallery: Gallery, *, method: str = ""
) -> list[Figure]:
    return [
        retrieval_figure(
            queries,
            indices,
            gallery,
            top_k,
            name=f"retrieval_top_{top_k}",
            what=f"Share of the first {top_k} matches that have the label of a query that is not in the gallery.",
            method=method,
        )
        for top_k in _RANKS
    ]


def _raw_pixels(queries: PictureTable, similarity: VisualSimilarity) -> list[Figure]:
    """Measure the nearest neighbours in raw pixels, where the gallery's pictures are on this machine."""
    gallery, processor = similarity.gallery, similarity.processor
    if not gallery.image_root or "://" in gallery.image_root:
        return []
    if ImageStore(gallery.image_root).is_remote:  # a list of addresses
        return []
    rows = raw_pixels(read_named(gallery.image_root, gallery.file_names, processor))
    indices = nearest(raw_pixels(queries["pixels"]), rows, top_k=min(max(_RANKS), len(gallery)))
    return _retrieval(queries, indices, gallery, method=RAW_PIXELS)
