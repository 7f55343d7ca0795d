"""Train the autoencoder: squared error of the reconstruction and, on request, codes of a class drawn together."""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hub.plots import draw_reconstructions
from lab.data import ImageSet
from lab.recipes import AutoencoderRecipe
from lab.training.initialization import principal_components_, xavier_
from visim_models.models import ConvolutionalAutoencoder

__all__ = ["AutoencoderObjective"]

_COSINE_SCALE = 12.0
"""Inverse temperature of the class loss: how far apart cosines of 0 to 1 are as logits."""


class AutoencoderObjective:
    """Mean squared error of the normalised pixels, as in the article.

    With a `class_weight`, a prototype of each class is learnt as well, and the cosines of a code with the prototypes
    must tell its class (NormFace, Wang et al. 2017): the cosine of two codes becomes a better measure of likeness.

    Args:
        train: pictures to learn from, at the recipe's `load_size`.
        validation: pictures to validate on, at the recipe's `load_size`.
        recipe: the settings.
    """

    def __init__(self, train: ImageSet, validation: ImageSet, recipe: AutoencoderRecipe) -> None:
        self.recipe = recipe
        self.model = ConvolutionalAutoencoder(**recipe.model)
        self.classes = sorted(set(train.labels))
        self.heads = nn.Linear(self.model.config["latent_dim"], len(self.classes), bias=False)
        self.train_pixels, self.train_targets = train.pixels, train.targets(self.classes)
        self.validation_pixels = self._resized(validation.pixels)  # (V, 3, S, S) float, 0 to 255
        one_of_each = [validation.labels.index(label) for label in self.classes if label in validation.labels]
        self.shown = self.validation_pixels[one_of_each[:10]]
        self.steps = max(1, len(train) // recipe.batch_size)
        if recipe.principal_components:
            pixels = recipe.processor.normalize(self._resized(train.pixels))
            principal_components_(
                self.model,
                pixels,
                share=recipe.components_share,
                paired_share=recipe.paired_share,
                mirrored=recipe.mirrored_components,
            )
        else:
            xavier_(self.model)
        if recipe.frozen_code:
            self.model.encoder.requires_grad_(False)
            self.model.decoder.linear.requires_grad_(False)

    def training_batches(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield (B, 3, S, S) pixels and the (B,) indices of their classes."""
        recipe = self.recipe
        order = torch.randperm(len(self.train_pixels))
        for step in range(self.steps):
            chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            images = recipe.augmentation(self.train_pixels[chosen], recipe.processor.size)
            pixels = recipe.processor.normalize(images).contiguous(memory_format=torch.channels_last)
            yield pixels, self.train_targets[chosen]

    def training_loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Compute the squared error plus the weighted class loss."""
        pixels, targets = batch
        codes = self.model.encode(pixels)  # (B, D)
        loss = F.mse_loss(self.model.decode(codes).float(), pixels)
        if self.recipe.class_weight:
            cosines = F.normalize(codes.float(), dim=1) @ F.normalize(self.heads.weight, dim=1).T  # (B, C)
            loss = loss + self.recipe.class_weight * F.cross_entropy(_COSINE_SCALE * cosines, targets)
        return loss

    def validate(self, model: nn.Module) -> tuple[list[float], dict[str, float]]:
        """Compute the squared error of each batch, its mean, and the PSNR in dB on the scale of the pixels, [-1, 1]."""
        losses = []
        for images in self.validation_pixels.split(self.recipe.batch_size):
            pixels = self.recipe.processor.normalize(images).to(next(model.parameters()).device)
            losses.append(F.mse_loss(model(pixels), pixels).item())
        mean = sum(losses) / len(losses)
        return losses, {"validation_loss": mean, "psnr": 10 * torch.tensor(4 / mean).log10().item()}

    def picture(self, model: nn.Module, file: Path) -> None:
        """Draw one validation picture of each class above its reconstruction."""
        processor = self.recipe.processor
        pixels = processor.normalize(self.shown).to(next(model.parameters()).device)
        draw_reconstructions(processor.denormalize(pixels).cpu(), processor.denormalize(model(pixels)).cpu(), file)

    def _resized(self, pixels: Tensor) -> Tensor:
        size = self.recipe.processor.size
        if pixels.shape[-1] == size:
            return pixels
        small = [
            F.interpolate(block.float(), size=(size, size), mode="bilinear", antialias=True)
            for block in pixels.split(512)
        ]
        return torch.cat(small)
