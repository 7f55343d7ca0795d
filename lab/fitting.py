"""Fit a detector's weights, and calibrate it, on pictures that the network was not trained on."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from visim_models.decoding import pictures_at_once
from visim_models.gallery import Gallery
from visim_models.measurements import Measured
from visim_models.ood import PROBE, OutOfDistributionDetector, Weighting
from visim_models.pipeline import VisualSimilarity

__all__ = ["calibrate", "fit_probe", "measure_images"]

_PROBE_PENALTY = 1e-3
_WEIGHTS_PENALTY = 1e-3
"""Of the measurements' weights; chosen on the photographs for tuning, of which it finds all at 1 % false alarms."""


def measure_images(similarity: VisualSimilarity, images: Tensor, *, gallery: Gallery | None = None) -> Measured:
    """Measure (N, 3, S, S) uint8 pictures against a gallery, by default the pipeline's own."""
    at_once = pictures_at_once(similarity.processor.size)
    batches = tqdm(images.split(at_once), desc="measuring", leave=False)
    return Measured.concatenate(
        [similarity.measure(similarity.processor.normalize(batch), gallery=gallery) for batch in batches]
    )


def calibrate(
    similarity: VisualSimilarity,
    calibration: Tensor,
    outliers: Tensor,
    *,
    held_out: Sequence[int] = (),
    false_alarm_rate: float = 0.05,
) -> OutOfDistributionDetector:
    """Fit a detector for this model and gallery.

    The probe is learnt from the gallery's pictures and every second outlier, the weights of the measurements from the
    calibration pictures and the other outliers; the p-values then rest on the calibration pictures.

    Args:
        similarity: model, processor and gallery; its own detector is not used.
        calibration: (n, 3, S, S) uint8 pictures of the right kind that the model was not trained on.
        outliers: (m, 3, S, S) uint8 pictures of other things.
        held_out: indices of gallery pictures that calibration pictures must not be compared with.
        false_alarm_rate: of the detector.
    """
    left_out = set(held_out)
    known = similarity.gallery.subset([index for index in range(len(similarity.gallery)) if index not in left_out])
    inside = measure_images(similarity, calibration, gallery=known)
    outside = measure_images(similarity, outliers, gallery=known)
    probe = fit_probe(torch.from_numpy(known.embeddings), outside.embeddings[::2], penalty=_PROBE_PENALTY)
    return fit_detector(inside, outside.subset(slice(1, None, 2)), probe=probe, false_alarm_rate=false_alarm_rate)


def fit_detector(
    inside: Measured, outside: Measured, *, probe: tuple[Tensor, float], false_alarm_rate: float = 0.05
) -> OutOfDistributionDetector:
    """Weigh the measurements so that they best tell `inside` from `outside`, and calibrate on `inside`."""
    weight, bias = probe
    inside_values = {**inside.values, PROBE: inside.embeddings @ weight + bias}
    outside_values = {**outside.values, PROBE: outside.embeddings @ weight + bias}
    means = {name: values.mean().item() for name, values in inside_values.items()}
    stds = {name: max(values.std().item(), 1e-6) for name, values in inside_values.items()}
    table = [
        torch.stack([(part[name] - means[name]) / stds[name] for name in means], dim=1)
        for part in (inside_values, outside_values)
    ]  # (n, T), (m, T)
    weights, _ = fit_probe(table[0].clamp(-20, 20), table[1].clamp(-20, 20), penalty=_WEIGHTS_PENALTY)  # (T,)
    weightings = {
        name: Weighting(
            weight=round(max(weights[index].item(), 0.0), 6), mean=round(means[name], 6), std=round(stds[name], 6)
        )
        for index, name in enumerate(means)
    }
    untested = OutOfDistributionDetector(
        weightings, threshold=0.0, false_alarm_rate=false_alarm_rate, probe_weight=weight, probe_bias=bias
    )
    return untested.calibrated(untested.score(inside))


def fit_probe(inside: Tensor, outside: Tensor, *, penalty: float) -> tuple[Tensor, float]:
    """Fit a logistic regression that is positive outside: (n, D) and (m, D) -> weight (D,) and bias.

    Both sides weigh the same, whatever their sizes; `penalty` is that of the squared weights, on standardised inputs.
    """
    rows = torch.cat([inside, outside])  # (n + m, D)
    mean, std = rows.mean(dim=0), rows.std(dim=0).clamp(min=1e-6)
    rows = (rows - mean) / std
    targets = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))])
    share = torch.cat([torch.full((len(inside),), 0.5 / len(inside)), torch.full((len(outside),), 0.5 / len(outside))])
    weight = torch.zeros(rows.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = F.binary_cross_entropy_with_logits(rows @ weight + bias, targets, reduction="none")
        loss = (share * losses).sum() + penalty * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    raw = (weight / std).detach()
    return raw, float(bias.detach() - raw @ mean)
