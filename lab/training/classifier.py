"""Train a classifier on classes of pictures, with outlier exposure, further kinds, and a teacher."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hub.locate import locate
from hub.plots import draw_confusion
from lab.data import labels_of, targets_of
from lab.recipes import ClassifierRecipe
from lab.training.augmentation import abstract, cut_mix, normalized, resized
from visim_models.errors import DataError
from visim_models.galleries.picture_table import PictureTable
from visim_models.models import CAR_CLASSES, CarClassifier, Cifar10Classifier, Classifier, PretrainedModel, load_model
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder

__all__ = ["NETWORKS", "ClassifierObjective", "all_labels_of", "class_names_of", "indices_of_classes"]

_WHITENED: Final = 5000
"""Pictures of which the first layer of a small network takes the principal components."""


class FineTunedBackbone(PretrainedModel):
    """The general extractor and a linear layer: a teacher, which no repo holds.

    Args:
        class_names: C names, in the order of the outputs.
    """

    model_type = "fine-tuned-backbone"

    def __init__(self, *, class_names: Sequence[str]) -> None:
        super().__init__({"class_names": list(class_names)})
        self.backbone = load_model(RepoFolder(locate("general-extractor")))
        self.embedding_dim = self.backbone.embedding_dim
        self.head = nn.Linear(self.embedding_dim, len(class_names))

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, S, S) pixels -> (N, D) features."""
        return self.backbone.embed(pixels)

    def classify(self, features: Tensor) -> Tensor:
        """Classify embeddings: (N, D) features -> (N, C) log-probabilities, in the order of `class_names`."""
        return F.log_softmax(self.head(features), dim=1)

    @property
    def class_names(self) -> list[str]:
        """Return the C names of the classes, in the order of the outputs."""
        return list(self.config["class_names"])


class _WideCifar10Classifier(Cifar10Classifier):
    """Four times the weights of the one that is shipped: its teacher."""

    widths = (128, 512, 512)


def _whitened(
    network: type[Cifar10Classifier],
) -> Callable[[Sequence[str], PictureTable, ImageProcessor], Cifar10Classifier]:
    def build(class_names: Sequence[str], train: PictureTable, processor: ImageProcessor) -> Cifar10Classifier:
        model = network(class_names=class_names)
        sample = torch.from_numpy(train["pixels"][:: max(1, len(train) // _WHITENED)])
        model.whiten_(normalized(processor, sample))
        return model

    return build


NetworkBuilder = Callable[
    [Sequence[str], PictureTable, ImageProcessor], CarClassifier | Cifar10Classifier | FineTunedBackbone
]

NETWORKS: Final[Mapping[str, NetworkBuilder]] = {
    "car-classifier": lambda names, *_: CarClassifier(class_names=names),
    "cifar10-classifier": _whitened(Cifar10Classifier),
    "wide-cifar10-classifier": _whitened(_WideCifar10Classifier),
    "general-extractor": lambda names, *_: FineTunedBackbone(class_names=names),
}
"""`network` of a recipe -> what builds it: class names, pictures to learn from, processor -> network."""


class Views:
    """Changed pictures without end: B of labels and O outliers in a batch.

    Args:
        train: pictures to learn from, at the recipe's `load_size`. An array `doubted` has the class that a label is
            smoothed with, -1 for none.
        outliers: pictures of other things, likewise; may be empty if the recipe uses none.
        labels: K labels, of which each picture has one.
        recipe: the settings.
        device: where the pictures are held and changed.

    Attributes:
        outliers_in_batch: O.
        seconds: M, the second labels: of the array `second` of the pictures, -1 where there is none.
        steps: batches in an epoch.
    """

    def __init__(
        self,
        train: PictureTable,
        outliers: PictureTable,
        labels: Sequence[str],
        recipe: ClassifierRecipe,
        device: torch.device,
    ) -> None:
        self.recipe, self.device, self.labels = recipe, device, len(labels)
        self.pixels, self.outliers = (torch.from_numpy(each["pixels"]).to(device) for each in (train, outliers))
        targets = F.one_hot(torch.from_numpy(targets_of(train, labels)), len(labels) + 1).float()  # (N, K + 1)
        if "doubted" in train.arrays:
            others = torch.from_numpy(train["doubted"])  # (N,)
            told = F.one_hot(others.clamp(min=0), len(labels) + 1)
            targets = torch.where((others >= 0)[:, None], (targets + told) / 2, targets)
        second = torch.from_numpy(train.arrays.get("second", np.full(len(train), -1)))  # (N,)
        self.seconds = int(second.max()) + 1
        is_known = F.one_hot(second + 1, self.seconds + 1)[:, 1:].float()  # (N, M)
        self.targets = torch.cat([targets, is_known], dim=1).to(device)  # (N, K + 1 + M)
        self.outliers_in_batch = round(recipe.outlier_share * recipe.batch_size)
        self.steps = max(1, len(train) // recipe.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, in random order.

        Yields:
            (B + O, 3, V, V) views, 0 to 255, and their (B + O, K + 1 + M) probabilities of labels and of second labels;
            outliers are last in both.
        """
        recipe, size = self.recipe, self.recipe.view_size
        order = torch.randperm(len(self.pixels)).to(self.device)
        for chosen in order.split(recipe.batch_size)[: self.steps]:
            views, targets = recipe.augmentation(self.pixels[chosen], size), self.targets[chosen]
            if recipe.cut_mix:
                views, targets = cut_mix(views, targets, recipe.cut_mix)
            if self.outliers_in_batch:
                some = torch.randint(len(self.outliers), (self.outliers_in_batch,)).to(self.device)
                others = abstract(self.outliers[some].float(), recipe.abstract_share)
                views = torch.cat([views, recipe.augmentation(others, size)])
                targets = F.pad(targets, (0, 0, 0, self.outliers_in_batch))
                targets[-self.outliers_in_batch :, self.labels] = 1
            yield views.contiguous(memory_format=torch.channels_last), targets


_VALIDATION_BATCH: Final = 128
_COSINE_SCALE: Final = 16.0
"""Inverse temperature of the head that tells all labels apart: how far apart cosines of -1 to 1 are as logits."""
_OUTLIER: Final = "something else"
_PURE: Final = 0.75
_TEMPERATURE: Final = 0.1
"""Of the contrastive loss, and the probability of one label from which on a view shows it."""


def class_names_of(labels: Sequence[str]) -> list[str]:
    """Return the classes that a network learns of some pictures, in the order of its outputs.

    Where the article's four are among them, they are the classes, in the article's order, and all others are further
    kinds, which only training tells apart. Else all labels are classes, sorted.

    Raises:
        DataError: there is one class only, or a picture is in no folder.
    """
    found = set(labels)
    if "" in found or len(found) < 2:
        raise DataError(
            f"The pictures have the classes {sorted(found)}: put those of each class into a folder of its name, and "
            "give at least two."
        )
    return list(CAR_CLASSES) if found >= set(CAR_CLASSES) else sorted(found)


def all_labels_of(labels: Sequence[str]) -> list[str]:
    """Return the classes, the further kinds, and one label for all outliers: what a teacher tells apart.

    Raises:
        DataError: there is one class only, or a picture is in no folder.
    """
    classes = class_names_of(labels)
    return [*classes, *sorted(set(labels) - set(classes)), _OUTLIER]


def indices_of_classes(labels: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Return the indices of the held-out pictures that show one of the classes.

    Raises:
        DataError: there is none.
    """
    found = [index for index, label in enumerate(labels) if label in class_names]
    if not found:
        raise DataError(f"No held-out picture shows one of {list(class_names)}: give more pictures of these.")
    return found


class ClassifierObjective:
    """Cross-entropy over C classes; outliers are pushed towards equal probabilities (Hendrycks et al. 2019).

    A head that only training has tells all K labels of the pictures and the outliers apart, by the cosines of the
    features with a vector each (NormFace, Wang et al. 2017). So neighbours share a label, and a detector can tell
    outliers. A teacher needs no such head: its classes are all of these labels.

    With a teacher, the network learns from the very views that the teacher sees (Beyer et al., "A good teacher is
    patient and consistent", 2022): its probabilities, and its features as hints (Romero et al., "FitNets", 2015).

    Args:
        train: pictures to learn from, at the recipe's `load_size`.
        validation: pictures to validate on, likewise. Those whose label is no class are left out.
        outliers: M pictures of other things, likewise; may be empty if the recipe uses none.
        recipe: the settings.
        class_names: C names, in the order of the outputs: those of `class_names_of` or of `all_labels_of`.
        device: where to compute.
        teacher: a network whose classes are those of `all_labels_of`; None to learn from the labels alone.

    Raises:
        DataError: no picture to validate on has one of the classes.
    """

    def __init__(
        self,
        train: PictureTable,
        validation: PictureTable,
        outliers: PictureTable,
        recipe: ClassifierRecipe,
        *,
        class_names: Sequence[str],
        device: torch.device,
        teacher: Classifier | None = None,
    ) -> None:
        self.class_names, self.recipe = list(class_names), recipe
        self.labels = all_labels_of(labels_of(train))
        self.views = Views(train, outliers, self.labels[:-1], recipe, device)
        self.steps = self.views.steps
        self.model = NETWORKS[recipe.network](self.class_names, train, recipe.processor)
        self.heads = nn.ModuleDict()
        if recipe.label_weight:
            self.heads["labels"] = nn.Linear(self.model.embedding_dim, len(self.labels), bias=False)
        if recipe.second_weight and self.views.seconds:
            self.heads["second"] = nn.Linear(self.model.embedding_dim, self.views.seconds, bias=False)
        if teacher is not None:
            self.heads["hints"] = nn.Linear(self.model.embedding_dim, teacher.embedding_dim)
            self.heads["hint_scale"] = nn.BatchNorm1d(teacher.embedding_dim, affine=False)
        self.teacher = teacher
        self.validation = validation.subset(indices_of_classes(labels_of(validation), self.class_names))
        self.confusion = torch.zeros(len(self.class_names), len(self.class_names))

    def training_batches(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield (B + O, 3, V, V) views, outliers last, and the (B + O, K + 1 + M) probabilities of their labels."""
        yield from self.views

    def training_loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Compute the losses of the classes, of all labels, of second ones, of the outliers, and of the hints."""
        views, targets = batch
        targets, seconds = targets[:, : len(self.labels)], targets[:, len(self.labels) :]  # (B + O, K + 1), (B + O, M)
        given = targets
        targets = self._smoothed(targets)
        features = self.model.embed(self._pixels(views, self.recipe))  # (B + O, D)
        logs = self.model.classify(features).float()  # (B + O, C)
        if self.teacher is not None:
            taught, hints = self._taught(views)  # (B + O, K + 1), (B + O, H)
            targets = targets + self.recipe.teacher_share * (taught - targets)
        classes = len(self.class_names)
        loss = -(targets[:, :classes] * logs).sum() / targets[:, :classes].sum().clamp(min=1)
        if "labels" in self.heads:
            loss = loss + self.recipe.label_weight * F.cross_entropy(self._cosines(features, "labels"), targets)
        if "second" in self.heads:
            told = F.log_softmax(self._cosines(features, "second"), dim=1)  # (B + O, M)
            loss = loss - self.recipe.second_weight * (seconds * told).sum() / seconds.sum().clamp(min=1)
        if self.recipe.contrastive_weight:
            loss = loss + self.recipe.contrastive_weight * contrastive_loss(features, given[:, :-1])
        if (outliers := self.views.outliers_in_batch) and self.recipe.outlier_weight:
            evenly = -logs[-outliers:].mean() - math.log(classes)
            loss = loss + self.recipe.outlier_weight * evenly
        if self.teacher is not None:
            guessed = self.heads["hints"](features).float()
            loss = loss + self.recipe.hint_weight * (1 - F.cosine_similarity(guessed, hints)).mean()
        return loss

    def _pixels(self, views: Tensor, recipe: ClassifierRecipe) -> Tensor:
        """Make a network's input of (N, 3, V, V) views."""
        return normalized(recipe.processor, resized(views, recipe.processor.size))

    def _smoothed(self, targets: Tensor) -> Tensor:
        """Spread a share of the probability over all labels but the outliers', which are sure."""
        smooth, known = self.recipe.label_smoothing, targets[:, :-1]
        mass = known.sum(dim=1, keepdim=True)
        return torch.cat([(1 - smooth) * known + smooth / known.shape[1] * mass, targets[:, -1:]], dim=1)

    def _cosines(self, features: Tensor, head: str) -> Tensor:
        vectors = F.normalize(self.heads[head].weight, dim=1)  # type: ignore[arg-type]
        return _COSINE_SCALE * F.normalize(features.float(), dim=1) @ vectors.T

    @torch.no_grad()
    def _taught(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return the teacher's (N, K + 1) probabilities, and its (N, H) features, of mean 0 and spread 1."""
        assert self.teacher is not None
        assert self.recipe.teacher is not None
        features = self.teacher.embed(self._pixels(views, self.recipe.teacher))
        return self.teacher.classify(features).float().exp(), self.heads["hint_scale"](features.float())

    def validate(self, model: PretrainedModel) -> tuple[list[float], dict[str, float]]:
        """Compute the cross-entropy of each batch, its mean, and the accuracy, over the pictures of the classes.

        Where they are of several sources, the mean of the sources' accuracies, too: by it recipes are chosen.
        """
        network = cast(CarClassifier, model)
        losses, predictions = [], []
        every = torch.from_numpy(targets_of(self.validation, self.class_names))
        targets = every.split(_VALIDATION_BATCH)
        for images, target in zip(
            torch.from_numpy(self.validation["pixels"]).split(_VALIDATION_BATCH), targets, strict=True
        ):
            pixels = self._pixels(images.to(self.views.device), self.recipe)
            logs = network.classify(network.embed(pixels)).cpu()
            losses.append(F.nll_loss(logs, target).item())
            predictions.append(logs.argmax(dim=1))
        predicted = torch.cat(predictions)
        classes = len(self.class_names)
        self.confusion = torch.bincount(every * classes + predicted, minlength=classes**2).view(classes, classes)
        is_right = (predicted == every).float().numpy()
        found = {"validation_loss": sum(losses) / len(losses), "accuracy": float(is_right.mean())}
        sources = self.validation.arrays.get("source", np.zeros(len(is_right)))
        if len(of_each := np.unique(sources)) > 1:
            found["mean_accuracy"] = float(np.mean([is_right[sources == source].mean() for source in of_each]))
        return losses, found

    def picture(self, model: PretrainedModel, file: Path) -> None:
        """Draw the confusion matrix of the last validation."""
        draw_confusion(self.confusion.numpy(), self.class_names, file)


def contrastive_loss(features: Tensor, targets: Tensor) -> Tensor:
    """Compute the supervised contrastive loss (Khosla et al. 2020), over views that show one label.

    Args:
        features: (B, D).
        targets: (B, K) probabilities; a view of two labels, or of none, is only kept away from.
    """
    mass, labels = targets.max(dim=1)  # (B,) each
    pure = mass >= _PURE
    unit = F.normalize(features.float(), dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    cosines = (unit @ unit.T / _TEMPERATURE).masked_fill(itself, -torch.inf)  # (B, B)
    logs = (cosines - cosines.logsumexp(dim=1, keepdim=True)).masked_fill(itself, 0)
    alike = (labels[:, None] == labels) & pure[:, None] & pure & ~itself
    counts = alike.sum(dim=1)  # (B,)
    losses = -(logs * alike).sum(dim=1) / counts.clamp(min=1)
    return losses.sum() / (counts > 0).sum().clamp(min=1)
