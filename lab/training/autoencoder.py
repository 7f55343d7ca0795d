"""Train the autoencoder: squared error of the reconstruction and, on request, codes of a class drawn together."""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hub.plots import draw_reconstructions
from lab.data import labels_of, targets_of
from lab.recipes import AutoencoderRecipe
from lab.training.augmentation import normalized, resized
from visim_models.galleries.picture_table import PictureTable
from visim_models.models import ConvolutionalAutoencoder

__all__ = ["AutoencoderObjective", "principal_components_", "xavier_"]

_BIAS = 0.01
_HEADROOM = 1.2
"""Factor of the largest negative value seen, by which a channel is shifted: unseen values stay positive, too."""
_FREE_SCALE = 0.1
_SINGLE_SCALE = 0.1
_SINGLE_LIFT = 6.0
"""Factor of a component that has one number, and by how many standard deviations it is lifted: it stays positive, and
is too small to decide over the cosine of two codes."""


def xavier_(model: nn.Module) -> None:
    """Draw Xavier-uniform weights for convolutions and linear layers, with biases of 0.01, as in the first article."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.constant_(module.bias, _BIAS)


@torch.no_grad()
def principal_components_(
    model: ConvolutionalAutoencoder,
    pixels: Tensor,
    *,
    share: float = 0.9,
    paired_share: float = 1.0,
    mirrored: bool = False,
) -> None:
    """Set the weights so that the untrained network projects onto principal components and back.

    Some channels carry the picture. The others start as in `xavier_`, and training finds a use for them. A 3x3
    convolution of stride 1 passes the carrying channels on; one of stride 2 turns each 2x2 block of them into its
    principal components; the linear layer projects onto those of the whole picture. ReLU cuts negative values off, so
    carrying channels are shifted up, and the largest components have two numbers in the code each, for the positive and
    the negative part. They are divided by the root of their standard deviation, so that the few largest do not decide
    over the cosine of two codes. The other components have one number, which is shifted up and small.

    Args:
        model: the network.
        pixels: (N, C, S, S) float pictures, the network's input.
        mirrored: take the components of the pictures and of their mirror images.
        share: of the numbers of the code, how many start as components; the others start at random.
        paired_share: of the numbers of the code that start as components, those of the components with two.
    """
    xavier_(model)
    pixels = torch.cat([pixels, pixels.flip(-1)]) if mirrored else pixels
    encoder = [module for module in model.encoder.net if isinstance(module, nn.Conv2d)]
    decoder = [module for module in model.decoder.conv if isinstance(module, nn.ConvTranspose2d)][::-1]
    values = pixels
    carried = pixels.shape[1]
    shift = _shift(values)
    _pass_on(encoder[0], torch.eye(carried)[:, :, None, None], torch.zeros(carried), shift)
    _keep(encoder[1], carried)
    _give_back(decoder[0], torch.eye(carried)[:, :, None, None], shift, torch.zeros(carried))
    _keep(decoder[1], carried + 1)
    for down, hold, up, hold_up in zip(encoder[2::2], encoder[3::2], decoder[2::2], decoder[3::2], strict=True):
        room = down.out_channels - 1  # the last channel is the decoder's constant one
        blocks = nn.functional.pixel_unshuffle(values, 2)  # (N, 4C, S/2, S/2)
        basis = _block_basis(blocks, room)  # (P, 4C)
        values = torch.einsum("pc,nchw->nphw", basis, blocks)
        filters = basis.unflatten(1, (-1, 2, 2))  # (P, C, 2, 2)
        above = _shift(values)
        _pass_on(down, filters, shift, above)
        _give_back(up, filters, above, shift)
        carried, shift = len(basis), above
        _keep(hold, carried)
        _keep(hold_up, carried + 1)
    _project(model, values, shift, share, paired_share)


def _shift(values: Tensor) -> Tensor:
    """Return the (C,) numbers that keep each channel of (N, C, H, W) positive when they are added to it."""
    return _HEADROOM * values.amin(dim=(0, 2, 3)).neg().clamp(min=0.1)


def _block_basis(blocks: Tensor, room: int) -> Tensor:
    """Return the (P, C) principal directions of the channels of (N, C, H, W), or the channels if there is room."""
    channels = blocks.shape[1]
    if channels <= room:
        return torch.eye(channels)
    sample = blocks[:: max(1, len(blocks) // 4000)].movedim(1, -1).flatten(0, -2)  # (M, C)
    second_moments = sample.T @ sample / len(sample)
    eigenvectors: Tensor = torch.linalg.eigh(second_moments).eigenvectors  # by rising variance
    return eigenvectors.flip(1).T[:room].contiguous()


def _pass_on(convolution: nn.Conv2d, filters: Tensor, below: Tensor, above: Tensor) -> None:
    """Make the first channels `filters` (P, C, k, k) of the carrying ones, unshifted by `below`, shifted by `above`."""
    out, size, width = filters.shape[0], filters.shape[1], filters.shape[2]
    convolution.weight[:out] = 0
    convolution.weight[:out, :size, 1 : 1 + width, 1 : 1 + width] = filters
    convolution.bias[:out] = above - (filters.sum(dim=(2, 3)) @ below)  # type: ignore[index]


def _give_back(convolution: nn.ConvTranspose2d, filters: Tensor, above: Tensor, below: Tensor) -> None:
    """Reverse `_pass_on`: from channels shifted by `above` to ones shifted by `below`, and the constant channel.

    The channel after the carrying ones is 1 everywhere: through it the shift of each pixel of a block is taken away.
    """
    out, size, width = filters.shape[0], filters.shape[1], filters.shape[2]
    window = slice(1, 1 + width)
    convolution.weight[:, : size + 1] = 0
    convolution.weight[:out, :size, window, window] = filters
    correction = torch.einsum("pckl,p->ckl", filters, above)
    convolution.weight[out, :size, window, window] = below[:, None, None] - correction
    convolution.bias[:size] = 0  # type: ignore[index]
    if convolution.out_channels > size:
        convolution.weight[out, size, window, window] = 1
        convolution.bias[size] = 0  # type: ignore[index]


def _keep(convolution: nn.Conv2d | nn.ConvTranspose2d, count: int) -> None:
    """Pass the first channels on unchanged."""
    rows = convolution.weight[:count] if isinstance(convolution, nn.Conv2d) else convolution.weight[:, :count]
    rows.zero_()
    convolution.weight[:count, :count, 1, 1] = torch.eye(count)
    convolution.bias[:count] = 0  # type: ignore[index]


def _project(model: ConvolutionalAutoencoder, values: Tensor, shift: Tensor, share: float, paired_share: float) -> None:
    """Set both linear layers: onto the principal components of `values` (N, P, h, w), and back."""
    into = next(module for module in model.encoder.net if isinstance(module, nn.Linear))
    back = next(module for module in model.decoder.linear if isinstance(module, nn.Linear))
    carried, area = values.shape[1], values.shape[2] * values.shape[3]
    flat = values.flatten(1)  # (N, P * h * w)
    mean = flat.mean(dim=0)
    numbers = int(share * into.out_features)
    paired = int(paired_share * numbers) // 2
    count = min(paired + numbers - 2 * paired if paired_share < 1 else paired, min(flat.shape) - 1)
    paired = min(paired, count)
    _, spread, directions = torch.svd_lowrank(flat - mean, q=min(count + 50, min(flat.shape)), niter=3)
    deviation = (spread[:count] / len(flat) ** 0.5).clamp(min=1e-4)  # (K,)
    directions = directions[:, :count].T  # (K, P * h * w)
    gain = deviation.rsqrt()
    gain[paired:] *= _SINGLE_SCALE
    lift = shift.repeat_interleave(area)  # (P * h * w)
    scaled = gain[:, None] * directions
    rows = torch.cat([scaled, -scaled[:paired]])  # (K + paired, P * h * w)
    raised = torch.zeros(len(rows))
    raised[paired:count] = (_SINGLE_LIFT * gain * deviation)[paired:]
    into.weight.mul_(_FREE_SCALE)  # numbers that start at random must not drown the components
    into.weight[: len(rows)] = 0
    into.weight[: len(rows), : carried * area] = rows
    into.bias[: len(rows)] = raised - rows @ (lift + mean)
    back.weight[: (carried + 1) * area] = 0
    restored = (directions / gain[:, None]).T  # (P * h * w, K)
    columns = torch.cat([restored, -restored[:, :paired]], dim=1)  # (P * h * w, K + paired)
    back.weight[: carried * area, : len(rows)] = columns
    back.bias[: carried * area] = lift + mean - columns @ raised
    back.bias[carried * area : (carried + 1) * area] = 1


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

    def __init__(self, train: PictureTable, validation: PictureTable, recipe: AutoencoderRecipe) -> None:
        self.recipe = recipe
        self.model = ConvolutionalAutoencoder(**recipe.model)
        self.classes = sorted(set(labels_of(train)))
        self.heads = nn.Linear(self.model.config["latent_dim"], len(self.classes), bias=False)
        size = recipe.processor.size
        self.train_pixels = torch.from_numpy(train["pixels"])
        self.train_targets = torch.from_numpy(targets_of(train, self.classes))
        self.validation_pixels = resized(torch.from_numpy(validation["pixels"]), size)  # (V, 3, S, S)
        shown = labels_of(validation)
        one_of_each = [shown.index(label) for label in self.classes if label in shown]
        self.shown = self.validation_pixels[one_of_each[:10]]
        self.steps = max(1, len(train) // recipe.batch_size)
        if recipe.principal_components:
            principal_components_(
                self.model,
                normalized(recipe.processor, resized(self.train_pixels, size)),
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
            yield normalized(recipe.processor, images), self.train_targets[chosen]

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
            pixels = normalized(self.recipe.processor, images).to(next(model.parameters()).device)
            losses.append(F.mse_loss(model(pixels), pixels).item())
        mean = sum(losses) / len(losses)
        return losses, {"validation_loss": mean, "psnr": 10 * torch.tensor(4 / mean).log10().item()}

    def picture(self, model: nn.Module, file: Path) -> None:
        """Draw one validation picture of each class above its reconstruction."""
        processor = self.recipe.processor
        pixels = normalized(processor, self.shown).to(next(model.parameters()).device)
        seen, drawn = (processor.denormalize(each.float().cpu().numpy()) for each in (pixels, model(pixels)))
        draw_reconstructions(seen, drawn, file)
