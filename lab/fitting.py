"""Embed a gallery, fit a detector's weights and the probability of a match, and calibrate, each on its own pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lab.data import labels_of
from visim_models.galleries.picture_table import MEASURED, PictureTable
from visim_models.gallery import Gallery
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.measurements import NEIGHBOURS, measure
from visim_models.models.network import Network
from visim_models.ood import PROBE, OutOfDistributionDetector, Weighting
from visim_models.processing import ImageProcessor
from visim_models.search.results import MatchProbability

__all__ = ["DetectorFit", "embed_images", "fit_logistic", "fit_match_probability", "measure_images"]

_Floats = npt.NDArray[np.float32]

_PROBE_PENALTY: Final = 1e-3
_WEIGHTS_PENALTY: Final = 1e-3
"""Of the measurements' weights; chosen on the photographs for tuning, of which it finds all at 1 % false alarms."""
_FARTHEST: Final = 20.0
"""Standard deviations beyond which a measurement counts as this in the fit: a few extreme outliers must not decide."""


def embed_images(network: Network, processor: ImageProcessor, pixels: npt.NDArray[np.uint8]) -> _Floats:
    """Embed (N, 3, S, S) uint8 pictures: (N, D) float32, with a progress bar."""
    parts = [network.embed(batch) for batch in _batches(processor, pixels, "embedding")]
    return np.concatenate([np.empty((0, network.embedding_dim), np.float32), *parts])


def measure_images(
    pictures: PictureTable, *, network: Network, processor: ImageProcessor, gallery: Gallery
) -> PictureTable:
    """Measure pictures as queries of a gallery, with a progress bar.

    Returns:
        The same pictures with `embeddings` and `measured.NAME`, in place of their pixels and hashes.
    """
    embeddings, measured = [], []
    for pixels in _batches(processor, pictures["pixels"], "measuring"):
        embeddings.append(network.embed(pixels))  # (B, D)
        cosines, _ = gallery.search(embeddings[-1], top_k=min(NEIGHBOURS, len(gallery)))  # (B, k)
        measured.append(measure(network, pixels, embeddings[-1], cosines))
    arrays = {MEASURED + name: np.concatenate([part[name] for part in measured]) for name in measured[0]}
    return PictureTable(pictures.file_names, {"embeddings": np.concatenate(embeddings), **arrays})


@dataclass(frozen=True)
class DetectorFit:
    """All that a detector is fitted to, measured once, so that it can be fitted again without some kind of outliers.

    Attributes:
        ours: (m, D) embeddings of pictures of the gallery's kind that the network has learnt.
        inside: pictures of the gallery's kind that the network has not learnt, measured.
        outside: outliers, measured, labelled by their kind.
        calibration: further pictures of the gallery's kind, measured.
    """

    ours: _Floats
    inside: PictureTable
    outside: PictureTable
    calibration: PictureTable

    @classmethod
    def measure(
        cls,
        known: Gallery,
        network: Network,
        processor: ImageProcessor,
        *,
        fit: PictureTable,
        calibration: PictureTable,
        outliers: PictureTable,
        learned: PictureTable | None = None,
    ) -> Self:
        """Measure all pictures against a gallery.

        Args:
            known: a gallery without the pictures to fit and to calibrate, and without near-duplicates of them.
            network: embeds them.
            processor: of the network.
            fit: pictures of the gallery's kind that the network was not trained on.
            calibration: likewise, and others than those to fit.
            outliers: pictures of other things, best such that the network was not trained on.
            learned: pictures of the gallery's kind beside the gallery's, none of them held out.
        """
        more = [] if learned is None else [embed_images(network, processor, learned["pixels"])]
        measured = (
            measure_images(each, network=network, processor=processor, gallery=known)
            for each in (fit, outliers, calibration)
        )
        return cls(np.concatenate([known.embeddings, *more]), *measured)

    def detector(self, *, without: str = "", false_alarm_rate: float = 0.05) -> OutOfDistributionDetector:
        """Fit a detector, and calibrate it on pictures that the fit has not seen.

        The probe is fitted on what the network has learnt and every second outlier; the weights of the measurements on
        the pictures to fit and the other outliers. The p-values rest on the calibration pictures alone.

        Args:
            without: leave the outliers of this kind out.
            false_alarm_rate: of the detector.
        """
        kinds = labels_of(self.outside)
        outside = self.outside.subset([index for index, kind in enumerate(kinds) if kind != without or not kind])
        weight, bias = fit_logistic(self.ours, outside["embeddings"][::2], penalty=_PROBE_PENALTY)

        def values(pictures: PictureTable) -> dict[str, _Floats]:
            return {**pictures.measured, PROBE: pictures["embeddings"] @ weight + np.float32(bias)}

        weightings = _weigh(values(self.inside), values(outside.subset(range(1, len(outside), 2))))
        uncalibrated = OutOfDistributionDetector(
            weightings, threshold=0.0, false_alarm_rate=false_alarm_rate, probe_weight=weight, probe_bias=bias
        )
        return uncalibrated.calibrated(uncalibrated.score(self.calibration.measured, self.calibration["embeddings"]))


def _weigh(inside: dict[str, _Floats], outside: dict[str, _Floats]) -> dict[str, Weighting]:
    """Weigh the measurements so that they best tell `inside` from `outside`."""
    means = {name: _rounded(values.mean()) for name, values in inside.items()}
    stds = {name: max(_rounded(values.std(ddof=1)), 1e-6) for name, values in inside.items()}
    tables = [
        np.stack([(part[name] - means[name]) / stds[name] for name in means], axis=1).clip(-_FARTHEST, _FARTHEST)
        for part in (inside, outside)
    ]  # (n, T), (o, T)
    weights, _ = fit_logistic(*tables, penalty=_WEIGHTS_PENALTY, is_non_negative=True)  # (T,)
    return {
        name: Weighting(weight=round(float(weight), 6), mean=means[name], std=stds[name])
        for name, weight in zip(means, weights, strict=True)
    }


def fit_match_probability(
    known: Gallery, network: Network, processor: ImageProcessor, queries: PictureTable
) -> MatchProbability | None:
    """Fit the probability that a match has its query's label, by isotonic regression on the score.

    Args:
        known: a gallery without the queries and their near-duplicates.
        network: embeds the queries.
        processor: of the network.
        queries: pictures that the network was not trained on; those without a label of the gallery do not count.

    Returns:
        None where no query has a label of the gallery.
    """
    labels, all_labels = set(known.labels) - {""}, labels_of(queries)
    own = [index for index, label in enumerate(all_labels) if label in labels]
    if not own:
        return None
    embeddings = embed_images(network, processor, queries["pixels"][own])
    scores, indices = known.search(embeddings, top_k=min(NEIGHBOURS, len(known)))  # (Q, k) each
    is_true = np.array(known.labels)[indices] == np.array(all_labels)[own][:, None]
    return MatchProbability.fitted(scores, is_true)


def fit_logistic(
    inside: _Floats, outside: _Floats, *, penalty: float, is_non_negative: bool = False
) -> tuple[_Floats, float]:
    """Fit a logistic regression that is positive outside. Both sides weigh the same, whatever their sizes.

    Args:
        inside: (n, D) inputs.
        outside: (m, D) inputs.
        penalty: factor of the squared weights, on standardised inputs.
        is_non_negative: allow no weight below 0, so that more of an input never means less strange.

    Returns:
        The weights, (D,), and the bias.
    """
    rows = torch.from_numpy(np.concatenate([inside, outside])).double()  # (n + m, D)
    mean, std = rows.mean(dim=0), rows.std(dim=0).clamp(min=1e-6)
    rows = (rows - mean) / std
    targets = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))]).double()
    share = torch.where(targets > 0, 0.5 / len(outside), 0.5 / len(inside))
    # Squares of free numbers cannot be negative. The start is not 0, where the gradient of a square vanishes.
    free = torch.full((rows.shape[1],), 0.1 if is_non_negative else 0.0, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [free, bias], max_iter=500, tolerance_grad=1e-8, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        weight = free.square() if is_non_negative else free
        losses = F.binary_cross_entropy_with_logits(rows @ weight + bias, targets, reduction="none")
        loss = (share * losses).sum() + penalty * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    weight = (free.square() if is_non_negative else free).detach() / std
    return weight.float().numpy(), float(bias.detach() - weight @ mean)


def _rounded(value: np.floating[Any]) -> float:
    return float(f"{float(value):.6g}")


def _batches(processor: ImageProcessor, pixels: npt.NDArray[np.uint8], description: str) -> Iterator[_Floats]:
    """Split uint8 pictures into batches of the network's input, (B, 3, S, S) float32, with a progress bar."""
    at_once = pictures_at_once(processor.size)
    with tqdm(total=len(pixels), desc=description, unit="picture", leave=False) as bar:
        for start in range(0, max(len(pixels), 1), at_once):
            batch = pixels[start : start + at_once]
            yield processor.normalize(batch)
            bar.update(len(batch))
