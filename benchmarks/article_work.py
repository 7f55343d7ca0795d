"""Do the two articles' work for one upload, step by step as they are written: the baselines of a query.

Each follows its article's function in libraries, order and loops: OpenCV reads and resizes, every picture of the
gallery is compared in a call of its own, and pandas sorts the scores. Display (a plot, a print) is left out.

There is one difference: the second article unpickles a list of features at every upload, and nothing is unpickled here.
`torch.load` with `weights_only` reads the same list, of as many tensors and names, from one file instead. Both took
about 1.4 s for 7,600 pictures when they were compared, on two busy cores.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.article_networks import ArticleCarExtractor
from visim_models import ConvolutionalAutoencoder, MissingExtraError, VisualSimilarity

__all__ = ["Article", "CarArticle", "Cifar10Article"]

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

    def embed_files(self, paths: Iterable[Path]) -> Tensor:
        """Embed the files of a gallery one at a time, (N, D), as both articles do before their first upload."""
        network = self.network()
        with torch.no_grad():
            return torch.cat([network(self.read(path)) for path in paths])


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
        cv2, transforms = _cv2(), _transforms()
        picture: Picture = cv2.resize(cv2.imread(str(path)), (100, 100))
        pixels: Tensor = transforms.ToTensor()(picture / 255)
        return pixels[None]

    def rank(self, pixels: Tensor) -> list[tuple[str, float]]:
        """Return every picture with its score, best first, for one picture in memory."""
        return list(self._scores(pixels).items())

    def _scores(self, pixels: Tensor) -> Any:
        network = self.network()
        features = torch.load(self._features, weights_only=True)
        with torch.no_grad():
            query = network(pixels)  # (1, D)
        pairs = [[F.cosine_similarity(query, feature).item(), name] for feature, name in features]
        scores, names = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return _pandas().Series(scores, index=names).sort_values(ascending=False)


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
        cv2, transforms = _cv2(), _transforms()
        picture: Picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        picture = cv2.resize(picture, (self._model.image_size,) * 2)
        steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
        pixels: Tensor = steps(picture)
        return pixels[None]

    def rank(self, pixels: Tensor) -> list[tuple[str, float]]:
        """Return every picture with its score, best first, for one picture in memory."""
        return [(self.file_names[index], score) for index, score in self._scores(pixels).items()]

    def _scores(self, pixels: Tensor) -> Any:
        with torch.no_grad():
            query = self._model.encode(pixels)  # (1, D)
        cosines = [F.cosine_similarity(query, feature) for feature in self._features]  # N x (1,)
        numbers = [cosine.cpu().detach().item() for cosine in cosines]
        return _pandas().Series([round(number, 3) for number in numbers]).sort_values(ascending=False)


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError(
            "opencv-python-headless", extra="dev", purpose="The articles' way of reading"
        ) from error
    return cv2


def _transforms() -> Any:
    from torchvision import transforms

    return transforms


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("pandas", extra="dev", purpose="The articles' way of sorting") from error
    return pd
