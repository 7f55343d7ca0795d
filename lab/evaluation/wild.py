"""Cars as anyone photographs them, of models that the network has not seen: bodies, matches, verdict, likeness."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.data import ImageSet, read_column
from lab.evaluation.classification import class_probabilities
from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.evaluation.figures import share_figure
from lab.evaluation.retrieval import retrieval_shares
from lab.fitting import measure_images
from visim_models.measurements import Measured
from visim_models.models import Classifier
from visim_models.repo_folder.metrics import Figure

__all__ = ["WILD", "same_model_chance", "wild_figures"]

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
    verdicts = repo.similarity.ood.verdicts(measured)
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
    _, indices = repo.known.search(features, top_k=min(_TOP, len(repo.known)))
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
