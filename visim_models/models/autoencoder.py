"""The convolutional autoencoder of "Autoencoders and Visual Similarity" (O. Olu-Ipinlaye).

At its defaults it has that article's layers and parameter names (`encoder.net.0.weight` ... `decoder.conv.10.bias`),
for 32 x 32 pictures. A larger `image_size` with more `stages` gives the same network for larger pictures.
"""

from itertools import pairwise

from torch import Tensor, nn

from visim_models.errors import ConfigurationError
from visim_models.models.base import PretrainedModel

__all__ = ["ConvolutionalAutoencoder", "Decoder", "Encoder"]


class Encoder(nn.Module):
    """3x3 convolutions, two a stage, then a linear layer to the code; ReLU after each, the code included.

    Every stage after the first halves the side and doubles the channels: with the defaults 16, 16, 32, 32, 64, 64
    channels at 32, 32, 16, 16, 8, 8 pixels, then 4096 -> 1000.

    Args:
        image_size: side of the square picture, in pixels; divisible by `2 ** stages`.
        in_channels: channels of the picture.
        base_channels: channels of the first stage.
        stages: how many times the side is halved.
        latent_dim: length of the code.
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        in_channels: int = 3,
        base_channels: int = 16,
        stages: int = 2,
        latent_dim: int = 1000,
    ) -> None:
        super().__init__()
        widths = [base_channels * 2**stage for stage in range(stages + 1)]
        side = image_size // 2**stages
        layers: list[nn.Module] = [nn.Conv2d(in_channels, widths[0], 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(widths[0], widths[0], 3, padding=1), nn.ReLU()]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 3, padding=1, stride=2), nn.ReLU()]
            layers += [nn.Conv2d(wide, wide, 3, padding=1), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(widths[-1] * side * side, latent_dim), nn.ReLU()]
        self.net = nn.Sequential(*layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode pictures: (N, C, S, S) float pixels -> (N, latent_dim) codes, each value >= 0."""
        codes: Tensor = self.net(pixels)
        return codes


class Decoder(nn.Module):
    """The encoder mirrored: a linear layer, then transposed 3x3 convolutions; ReLU after each but the last.

    Args:
        image_size: side of the square picture, in pixels; divisible by `2 ** stages`.
        in_channels: channels of the picture.
        base_channels: channels of the last stage.
        stages: how many times the side is doubled.
        latent_dim: length of the code.
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        in_channels: int = 3,
        base_channels: int = 16,
        stages: int = 2,
        latent_dim: int = 1000,
    ) -> None:
        super().__init__()
        widths = [base_channels * 2**stage for stage in range(stages, -1, -1)]
        self.side = image_size // 2**stages
        self.linear = nn.Sequential(nn.Linear(latent_dim, widths[0] * self.side * self.side), nn.ReLU())
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [nn.ConvTranspose2d(wide, wide, 3, padding=1), nn.ReLU()]
            layers += [nn.ConvTranspose2d(wide, narrow, 3, padding=1, stride=2, output_padding=1), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], widths[-1], 3, padding=1), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], in_channels, 3, padding=1)]
        self.conv = nn.Sequential(*layers)

    def forward(self, codes: Tensor) -> Tensor:
        """Decode codes: (N, latent_dim) -> (N, C, S, S) pixels, on the scale that the encoder takes."""
        maps = self.linear(codes).unflatten(1, (-1, self.side, self.side))  # (N, W, side, side)
        pixels: Tensor = self.conv(maps)  # (N, C, S, S)
        return pixels


class ConvolutionalAutoencoder(PretrainedModel):
    """An `Encoder` and a `Decoder`, with the article's three calls: `encode`, `decode`, and the model itself.

    Args:
        image_size: side of the square picture, in pixels; divisible by `2 ** stages`.
        in_channels: channels of the picture.
        base_channels: channels of the encoder's first stage.
        stages: how many times the side is halved.
        latent_dim: length of the code.

    Raises:
        ConfigurationError: a size is not positive, or `image_size` cannot be halved `stages` times.
    """

    model_type = "convolutional-autoencoder"

    def __init__(
        self,
        *,
        image_size: int = 32,
        in_channels: int = 3,
        base_channels: int = 16,
        stages: int = 2,
        latent_dim: int = 1000,
    ) -> None:
        sizes = {
            "image_size": image_size,
            "in_channels": in_channels,
            "base_channels": base_channels,
            "stages": stages,
            "latent_dim": latent_dim,
        }
        for key, value in sizes.items():
            if value < 1:
                raise ConfigurationError(f"{key} is {value}: an autoencoder needs at least 1.")
        if image_size % 2**stages:
            raise ConfigurationError(
                f"image_size {image_size} cannot be halved {stages} times: choose a multiple of 2 ** {stages}."
            )
        super().__init__(sizes)
        self.image_size, self.embedding_dim = image_size, latent_dim
        self.encoder = Encoder(**sizes)
        self.decoder = Decoder(**sizes)

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode pictures: (N, C, S, S) pixels -> (N, latent_dim) codes."""
        codes: Tensor = self.encoder(pixels)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes: (N, latent_dim) -> (N, C, S, S) pixels."""
        pixels: Tensor = self.decoder(codes)
        return pixels

    def forward(self, pixels: Tensor) -> Tensor:
        """Autoencode: (N, C, S, S) pixels -> their reconstruction, of the same shape."""
        return self.decode(self.encode(pixels))

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pictures by their codes: (N, C, S, S) pixels -> (N, latent_dim)."""
        return self.encode(pixels)
