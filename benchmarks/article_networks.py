"""The networks of both articles, rebuilt from tables, with the articles' layers and parameter names.

They share nothing with `visim_models`: weights that load into these with `strict=True` load into the articles' own
classes.
Source: O. Olu-Ipinlaye, "Autoencoders and Visual Similarity" and the car project behind "Visual Similarity".
"""

import torch
from torch import Tensor, nn

__all__ = ["ArticleAutoencoder", "ArticleCarExtractor", "ArticleDecoder", "ArticleEncoder"]

# Channels in, channels out, stride: of the encoder's convolutions, and of the decoder's transposed ones.
ENCODER_TABLE = ((3, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))
DECODER_TABLE = ((64, 64, 1), (64, 32, 2), (32, 32, 1), (32, 16, 2), (16, 16, 1), (16, 3, 1))
# Channels in, channels out, whether a pooling follows: conv1 to conv7 of the car network.
CAR_TABLE = (
    (3, 32, False),
    (32, 32, True),
    (32, 64, False),
    (64, 64, True),
    (64, 128, False),
    (128, 128, False),
    (128, 128, True),
)


class ArticleEncoder(nn.Module):
    """`net`: six convolutions, flattened, 4096 -> 1000; one ReLU module serves all layers, as in the article."""

    def __init__(self) -> None:
        super().__init__()
        relu = nn.ReLU()
        layers: list[nn.Module] = []
        for narrow, wide, stride in ENCODER_TABLE:
            layers += [nn.Conv2d(narrow, wide, kernel_size=3, stride=stride, padding=1), relu]
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 1000), relu)

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.net(pixels.reshape(-1, 3, 32, 32))
        return found


class ArticleDecoder(nn.Module):
    """`linear`: 1000 -> 4096; `conv`: six transposed convolutions, no ReLU after the last."""

    def __init__(self) -> None:
        super().__init__()
        relu = nn.ReLU()
        self.linear = nn.Sequential(nn.Linear(1000, 4096), relu)
        layers: list[nn.Module] = []
        for wide, narrow, stride in DECODER_TABLE:
            up = nn.ConvTranspose2d(wide, narrow, kernel_size=3, stride=stride, padding=1, output_padding=stride - 1)
            layers += [up, relu]
        self.conv = nn.Sequential(*layers[:-1])

    def forward(self, codes: Tensor) -> Tensor:
        found: Tensor = self.conv(self.linear(codes).reshape(-1, 64, 8, 8))
        return found


class ArticleAutoencoder(nn.Module):
    """`encoder` and `decoder`, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ArticleEncoder()
        self.decoder = ArticleDecoder()

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.decoder(self.encoder(pixels))
        return found


class ArticleCarExtractor(nn.Module):
    """conv1 to conv7, fc1 to fc3 and their batch norms; the forward pass stops after `batchnorm_fc1` and ReLU."""

    def __init__(self) -> None:
        super().__init__()
        for number, (narrow, wide, pooled) in enumerate(CAR_TABLE, start=1):
            self.add_module(f"conv{number}", nn.Conv2d(narrow, wide, 3))
            self.add_module(f"batchnorm_conv{number}", nn.BatchNorm2d(wide))
            if pooled:
                self.add_module(f"pool{number}", nn.MaxPool2d(2, 2))
        for number, (wide, narrow) in enumerate(((8192, 514), (514, 128), (128, 4)), start=1):
            self.add_module(f"fc{number}", nn.Linear(wide, narrow))
        self.batchnorm_fc1 = nn.BatchNorm1d(514)
        self.batchnorm_fc2 = nn.BatchNorm1d(128)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = pixels.reshape(-1, 3, 100, 100).float()
        for number, (_, _, pooled) in enumerate(CAR_TABLE, start=1):
            maps = self.get_submodule(f"conv{number}")(maps)
            maps = torch.relu(self.get_submodule(f"batchnorm_conv{number}")(maps))
            if pooled:
                maps = self.get_submodule(f"pool{number}")(maps)
        features = self.get_submodule("fc1")(maps.flatten(start_dim=1))
        return torch.relu(self.batchnorm_fc1(features))
