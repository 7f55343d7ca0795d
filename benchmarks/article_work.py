"""What the articles do for one upload, written anew: the baseline of a query. Nothing is kept from one to the next.

The weights and every picture's features are read again, the features one by one; each is compared in a call of its own;
the scores are sorted as a pandas Series. The articles unpickle their features: here each is a tensor file of its own,
made by the benchmark in its own temporary folder and read with `weights_only`.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from visim_models import VisualSimilarity

__all__ = ["ArticleWork"]

_WEIGHTS = "weights.pt"


class ArticleWork:
    """The per-upload work on one gallery.

    Args:
        similarity: its network and gallery are written out; its processor stands for the articles' own steps.
        folder: for the weights and the features, a file a picture.
    """

    def __init__(self, similarity: VisualSimilarity, folder: Path) -> None:
        self._similarity, self._folder = similarity, folder
        torch.save(similarity.model.state_dict(), folder / _WEIGHTS)
        self._files = {name: folder / f"{place:06d}.pt" for place, name in enumerate(similarity.gallery.file_names)}
        rows = torch.from_numpy(similarity.gallery.embeddings)
        for row, file in zip(rows, self._files.values(), strict=True):
            torch.save(row[None].clone(), file)  # (1, D)

    def search(self, picture: Path, *, top_k: int = 4) -> list[tuple[str, float]]:
        """The names and scores of the most similar pictures, best first."""
        model = type(self._similarity.model)(**self._similarity.model.config)
        model.load_state_dict(torch.load(self._folder / _WEIGHTS, weights_only=True))
        features = list(self._features())
        pixels = self._similarity.processor(picture)[None]  # (1, 3, S, S)
        model.eval()
        with torch.no_grad():
            query = model.embed(pixels)  # (1, D)
        scores = [F.cosine_similarity(query, feature).item() for feature in features]
        return _best(scores, list(self._files), top_k)

    def _features(self) -> Iterator[Tensor]:
        for file in self._files.values():
            feature: Tensor = torch.load(file, weights_only=True)
            yield feature


def _best(scores: list[float], names: list[str], top_k: int) -> list[tuple[str, float]]:
    try:
        import pandas as pd  # Gradio brings it
    except ImportError:
        return sorted(zip(names, scores, strict=True), key=lambda pair: -pair[1])[:top_k]
    series = pd.Series(scores, index=names).sort_values(ascending=False)
    return [(str(name), float(score)) for name, score in series.head(top_k).items()]
