"""Embed a gallery, fit a detector's weights and the probability of a match, and calibrate, each on its own pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lab.data import ImageSet
from lab.tensors import Measured, embed_pixels, normalized
from visim_models.gallery import Gallery
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.measurements import NEIGHBOURS, measure
from visim_models.models import PretrainedModel, TorchNetwork
from visim_models.ood import PROBE, OutOfDistributionDetector, Weighting
from visim_models.pipeline import VisualSimilarity
from visim_models.processing import ImageProcessor
from visim_models.search.match_probability import MatchProbability

__all__ = [
    "DetectorFit",
    "embed_images",
    "fit_logistic",
    "fit_match_probability",
    "isotonic",
    "measure_against",
    "measure_images",
]

_PROBE_PENALTY = 1e-3
_WEIGHTS_PENALTY = 1e-3
"""Of the measurements' weights; chosen on the photographs for tuning, of which it finds all at 1 % false alarms."""
_MOST_BLOCKS = 100
"""Of the scores that the probability of a match is fitted on: each stands for as many matches."""
_FARTHEST = 20.0
"""Standard deviations beyond which a measurement counts as this in the fit: a few extreme outliers must not decide."""


def embed_images(model: PretrainedModel, processor: ImageProcessor, images: Tensor) -> Tensor:
    """Embed (N, 3, S, S) uint8 pictures: (N, D) float32, with a progress bar."""
    parts = [embed_pixels(model, pixels) for pixels in _batches(processor, images, "embedding")]
    return torch.cat([torch.empty(0, model.embedding_dim), *parts])


def measure_images(similarity: VisualSimilarity, images: Tensor, *, gallery: Gallery | None = None) -> Measured:
    """Measure (N, 3, S, S) uint8 pictures against a gallery, by default the pipeline's own."""
    return measure_against(gallery or similarity.gallery, similarity.model, similarity.processor, images)


def measure_against(gallery: Gallery, model: PretrainedModel, processor: ImageProcessor, images: Tensor) -> Measured:
    """Measure (N, 3, S, S) uint8 pictures as queries of a gallery, with a progress bar.

    Args:
        gallery: what they are compared with.
        model: embeds them; in evaluation mode, on the CPU.
        processor: of the model.
        images: the pictures.
    """
    parts, network = [], TorchNetwork(model)
    for batch in _batches(processor, images, "measuring"):
        pixels = batch.numpy()
        embeddings = network.embed(pixels)  # (B, D)
        scores, _ = gallery.search(embeddings, top_k=min(NEIGHBOURS, len(gallery)))  # (B, k)
        parts.append(Measured.of_arrays(embeddings, measure(network, pixels, embeddings, scores)))
    return Measured.concatenate(parts)


@dataclass(frozen=True)
class DetectorFit:
    """All that a detector is fitted to, measured once, so that it can be fitted again without some kind of outliers.

    Attributes:
        ours: (m, D) embeddings of pictures of the gallery's kind that the network has learnt.
        inside: pictures of the gallery's kind that the network has not learnt.
        outside: outliers.
        kinds: the kind of each outlier.
        calibration: further pictures of the gallery's kind.
    """

    ours: Tensor
    inside: Measured
    outside: Measured
    kinds: Sequence[str]
    calibration: Measured

    @classmethod
    def measure(
        cls,
        known: Gallery,
        model: PretrainedModel,
        processor: ImageProcessor,
        *,
        fit: Tensor,
        calibration: Tensor,
        outliers: Tensor,
        kinds: Sequence[str] = (),
        learned: Tensor | None = None,
    ) -> Self:
        """Measure all pictures against a gallery.

        Args:
            known: a gallery without the pictures to fit and to calibrate, and without near-duplicates of them.
            model: in evaluation mode, on the CPU.
            processor: of the model.
            fit: (n, 3, S, S) uint8 pictures of the gallery's kind that the model was not trained on.
            calibration: (m, 3, S, S) uint8, likewise, and others than those to fit.
            outliers: (o, 3, S, S) uint8 pictures of other things, best such that the model was not trained on.
            kinds: the kind of each outlier; by default they are of one.
            learned: (l, 3, S, S) uint8 pictures of the gallery's kind beside the gallery's, none of them held out.
        """
        ours = [torch.from_numpy(known.embeddings)]
        if learned is not None:
            ours.append(embed_images(model, processor, learned))
        inside, outside, others = (
            measure_against(known, model, processor, images) for images in (fit, outliers, calibration)
        )
        return cls(torch.cat(ours), inside, outside, kinds or [""] * len(outliers), others)

    def detector(self, *, without: str = "", false_alarm_rate: float = 0.05) -> OutOfDistributionDetector:
        """Fit a detector, and calibrate it on pictures that the fit has not seen.

        The probe is fitted on what the network has learnt and every second outlier; the weights of the measurements on
        the pictures to fit and the other outliers. The p-values rest on the calibration pictures alone.

        Args:
            without: leave the outliers of this kind out.
            false_alarm_rate: of the detector.
        """
        outside = self.outside.subset([index for index, kind in enumerate(self.kinds) if kind != without or not kind])
        probe = fit_logistic(self.ours, outside.embeddings[::2], penalty=_PROBE_PENALTY)
        uncalibrated = _weighed(self.inside, outside.subset(slice(1, None, 2)), probe, false_alarm_rate)
        return uncalibrated.calibrated(uncalibrated.score(*self.calibration))


def _weighed(
    inside: Measured, outside: Measured, probe: tuple[Tensor, float], false_alarm_rate: float
) -> OutOfDistributionDetector:
    """Weigh the measurements so that they best tell `inside` from `outside`; the detector is not calibrated yet."""
    weight, bias = probe
    inside_values, outside_values = (
        {**part.values, PROBE: part.embeddings @ weight + bias} for part in (inside, outside)
    )
    means = {name: _rounded(values.mean()) for name, values in inside_values.items()}
    stds = {name: max(_rounded(values.std()), 1e-6) for name, values in inside_values.items()}
    tables = [
        torch.stack([(part[name] - means[name]) / stds[name] for name in means], dim=1).clamp(-_FARTHEST, _FARTHEST)
        for part in (inside_values, outside_values)
    ]  # (n, T), (o, T)
    weights, _ = fit_logistic(*tables, penalty=_WEIGHTS_PENALTY, is_non_negative=True)  # (T,)
    weightings = {
        name: Weighting(weight=round(weights[index].item(), 6), mean=means[name], std=stds[name])
        for index, name in enumerate(means)
    }
    return OutOfDistributionDetector(
        weightings, threshold=0.0, false_alarm_rate=false_alarm_rate, probe_weight=weight.numpy(), probe_bias=bias
    )


def fit_match_probability(
    known: Gallery, model: PretrainedModel, processor: ImageProcessor, queries: ImageSet
) -> MatchProbability | None:
    """Fit the probability that a match has its query's label, by isotonic regression on the score.

    Args:
        known: a gallery without the queries and their near-duplicates.
        model: in evaluation mode, on the CPU.
        processor: of the model.
        queries: pictures that the model was not trained on; those without a label of the gallery do not count.

    Returns:
        None where no query has a label of the gallery.
    """
    labels = set(known.labels) - {""}
    own = queries.subset([index for index, label in enumerate(queries.labels) if label in labels])
    if not len(own):
        return None
    embeddings = embed_images(model, processor, own.pixels).numpy()  # (Q, D)
    scores, indices = known.search(embeddings, top_k=min(NEIGHBOURS, len(known)))
    is_true = [[known.labels[index] == label for index in row] for label, row in zip(own.labels, indices, strict=True)]
    rising, probabilities = isotonic(scores.ravel(), np.ravel(is_true).astype(float))
    return MatchProbability(rising, probabilities, len(own))


def isotonic(
    inputs: npt.NDArray[np.floating[Any]], values: npt.NDArray[np.floating[Any]]
) -> tuple[list[float], list[float]]:
    """Fit the never falling function that is nearest to values, in squares, by pooling adjacent violators.

    Args:
        inputs: (n,), in any order.
        values: (n,) of the inputs.

    Returns:
        Rising inputs, the mean one of each of at most `_MOST_BLOCKS` blocks, and the mean value of each.
    """
    order = np.argsort(inputs, kind="stable")
    blocks: list[list[float]] = []  # [sum of inputs, sum of values, count]
    for part in np.array_split(order, min(_MOST_BLOCKS, len(order))):
        blocks.append([float(inputs[part].sum()), float(values[part].sum()), float(len(part))])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            last = blocks.pop()
            blocks[-1] = [one + other for one, other in zip(blocks[-1], last, strict=True)]
    kept = {round(total / count, 5): round(value / count, 5) for total, value, count in blocks}
    return list(kept), list(kept.values())


def fit_logistic(
    inside: Tensor, outside: Tensor, *, penalty: float, is_non_negative: bool = False
) -> tuple[Tensor, float]:
    """Fit a logistic regression that is positive outside. Both sides weigh the same, whatever their sizes.

    Args:
        inside: (n, D) inputs.
        outside: (m, D) inputs.
        penalty: factor of the squared weights, on standardised inputs.
        is_non_negative: allow no weight below 0, so that more of an input never means less strange.

    Returns:
        The weights, (D,), and the bias.
    """
    rows = torch.cat([inside, outside]).double()  # (n + m, D)
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
    return weight.float(), float(bias.detach() - weight @ mean)


def _rounded(value: Tensor) -> float:
    return float(f"{value.item():.6g}")


def _batches(processor: ImageProcessor, images: Tensor, description: str) -> Iterator[Tensor]:
    """Split uint8 pictures into batches of the network's input, (B, 3, S, S) float32, with a progress bar."""
    with tqdm(total=len(images), desc=description, unit="picture", leave=False) as bar:
        for batch in images.split(pictures_at_once(processor.size)):
            yield normalized(processor, batch)
            bar.update(len(batch))
