"""Batches of changed pictures, of known labels and of other things, with the probability of each label."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.data import ImageSet
from lab.recipes import ClassifierRecipe
from lab.training.abstraction import abstract
from lab.training.augmentation import cut_mix

__all__ = ["Views"]


class Views:
    """Changed pictures without end: B of labels and O outliers in a batch.

    Args:
        train: pictures to learn from, at the recipe's `load_size`.
        outliers: (M, 3, load_size, load_size) uint8 pictures of other things; may be empty if the recipe uses none.
        labels: K labels, of which each picture has one.
        recipe: the settings.
        device: where the pictures are held and changed.

    Attributes:
        outliers_in_batch: O.
        steps: batches in an epoch.
    """

    def __init__(
        self, train: ImageSet, outliers: Tensor, labels: Sequence[str], recipe: ClassifierRecipe, device: torch.device
    ) -> None:
        self.recipe, self.device = recipe, device
        self.pixels, self.outliers = train.pixels.to(device), outliers.to(device)
        self.targets = F.one_hot(train.targets(labels), len(labels) + 1).float().to(device)  # (N, K + 1)
        self.outliers_in_batch = round(recipe.outlier_share * recipe.batch_size)
        self.steps = max(1, len(train) // recipe.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, in random order.

        Yields:
            (B + O, 3, V, V) views, 0 to 255, and their (B + O, K + 1) probabilities; outliers are last in both.
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
                targets[-self.outliers_in_batch :, -1] = 1
            yield views.contiguous(memory_format=torch.channels_last), targets
