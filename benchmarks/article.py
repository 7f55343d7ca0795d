"""Do the two articles' work for one upload, step by step as they are written: the baselines of a query.

Each follows its article's function in libraries, order and loops: OpenCV reads and resizes, every picture of the
gallery is compared in a call of its own, and pandas sorts the scores. Display (a plot, a print) is left out.

There is one difference: the second article unpickles a list of features at every upload, and nothing is unpickled here.
`torch.load` with `weights_only` reads the same list, of as many tensors and names, from one file instead. Both took
about 1.4 s for 7,600 pictures when they were compared, on two busy cores.

The networks are rebuilt from tables, with the articles' layers and parameter names. They share nothing with
`visim_models`: weights that load into these with `strict=True` load into the articles' own classes.
Source: O. Olu-Ipinlaye, "Autoencoders and Visual Similarity" and the car project behind "Visual Similarity".
"""

from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visim_models import ConvolutionalAutoencoder, VisualSimilarity

__all__ = ["Article", "ArticleAutoencoder", "ArticleCarExtractor", "CarArticle", "Cifar10Article"]

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


Picture = npt.NDArray[Any]


class Article:
    """The steps that both articles have.

    Attributes:
        file_names: N names of the gallery's pictures, in the order of the features.
    """

    file_names: list[str]

    def network(self) -> nn.Module:
        """Return the article's network, ready to embed."""
        raise NotImplementedError

    def read(self, path: Path) -> Tensor:
        """Read a picture's file as the article does: (1, 3, S, S)."""
        raise NotImplementedError

    def rank(self, pixels: Tensor) -> list[tuple[str, float]]:
        """Return every picture of the gallery with its score, best first, for one picture in memory, (1, 3, S, S)."""
        raise NotImplementedError


class CarArticle(Article):
    """The app of the second article: it keeps nothing from one upload to the next.

    For each upload it writes the picture to disk, builds the network, loads its weights, loads the features, reads the
    picture back, embeds it, compares it with one feature after the other, sorts, and deletes the picture.
    Source: `save_image` and `compute_similarities`.

    Args:
        similarity: a car extractor with its gallery.
        folder: an existing folder for the weights, the features and the upload.
    """

    def __init__(self, similarity: VisualSimilarity, folder: Path) -> None:
        self.file_names = similarity.gallery.file_names
        self._weights, self._features, self._upload = (folder / name for name in ("weights.pt", "features.pt", "a.jpg"))
        torch.save(similarity.model.state_dict(), self._weights)
        rows = torch.from_numpy(similarity.gallery.embeddings)
        torch.save([[row[None].clone(), name] for row, name in zip(rows, self.file_names, strict=True)], self._features)

    def search(self, picture: bytes, *, top_k: int = 4) -> tuple[list[str], list[str], float]:
        """Return the most similar pictures, a caption for each, and the highest score."""
        self._upload.write_bytes(picture)
        series = self._scores(self.read(self._upload))
        names = list(series.index[:top_k])
        captions = [f"similarity: {round(100 * score)}%" for score in series.values[:top_k]]
        highest = series.values[0]
        self._upload.unlink()
        return names, captions, float(highest)

    def network(self) -> nn.Module:
        """Build the network and load its weights."""
        network = ArticleCarExtractor()
        network.load_state_dict(torch.load(self._weights, map_location="cpu", weights_only=True))
        return network.eval()

    def read(self, path: Path) -> Tensor:
        """Read and resize with OpenCV, in its BGR, and divide by 255: (1, 3, 100, 100) float64."""
        import cv2
        from torchvision import transforms

        read: Any = cv2.imread(str(path))
        picture: Picture = cv2.resize(read, (100, 100))
        pixels: Tensor = transforms.ToTensor()(picture / 255)
        return pixels[None]

    def rank(self, pixels: Tensor) -> list[tuple[str, float]]:
        """Return every picture with its score, best first, for one picture in memory."""
        return list(self._scores(pixels).items())

    def _scores(self, pixels: Tensor) -> Any:
        import pandas as pd

        network = self.network()
        features = torch.load(self._features, weights_only=True)
        with torch.no_grad():
            query = network(pixels)  # (1, D)
        pairs = [[F.cosine_similarity(query, feature).item(), name] for feature, name in features]
        scores, names = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return pd.Series(scores, index=names).sort_values(ascending=False)


class Cifar10Article(Article):
    """The function of the first article: the network and the features are its arguments, so it reads the upload alone.

    Source: `visual_similarity`, without its plot.

    Args:
        similarity: an autoencoder with its gallery.
    """

    def __init__(self, similarity: VisualSimilarity) -> None:
        self.file_names = similarity.gallery.file_names
        assert isinstance(similarity.model, ConvolutionalAutoencoder)
        self._model = ConvolutionalAutoencoder(**similarity.model.config).eval()  # in the article's memory format
        self._model.load_state_dict(similarity.model.state_dict())
        self._features = [row[None].clone() for row in torch.from_numpy(similarity.gallery.embeddings)]  # N x (1, D)

    def search(self, path: Path) -> tuple[int, float]:
        """Return the index of the most similar picture, and its score."""
        series = self._scores(self.read(path))
        index = series.index[0]
        return int(index), float(series[index])

    def network(self) -> nn.Module:
        """Return the encoder."""
        return self._model.encoder

    def read(self, path: Path) -> Tensor:
        """Read, turn to RGB and resize with OpenCV, then scale to [-1, 1]: (1, 3, S, S) float32."""
        import cv2
        from torchvision import transforms

        read: Any = cv2.imread(str(path))
        picture: Picture = cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
        picture = cv2.resize(picture, (self._model.image_size,) * 2)
        steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
        pixels: Tensor = steps(picture)
        return pixels[None]

    def rank(self, pixels: Tensor) -> list[tuple[str, float]]:
        """Return every picture with its score, best first, for one picture in memory."""
        return [(self.file_names[index], score) for index, score in self._scores(pixels).items()]

    def _scores(self, pixels: Tensor) -> Any:
        import pandas as pd

        with torch.no_grad():
            query = self._model.encode(pixels)  # (1, D)
        cosines = [F.cosine_similarity(query, feature) for feature in self._features]  # N x (1,)
        numbers = [cosine.cpu().detach().item() for cosine in cosines]
        return pd.Series([round(number, 3) for number in numbers]).sort_values(ascending=False)
