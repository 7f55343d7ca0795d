"""Making what a repo needs besides its weights: the gallery's embeddings, and a detector calibrated for them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from visim_models.gallery import Gallery
from visim_models.inference import inference_network, pictures_at_once
from visim_models.ood import OutOfDistributionDetector, fit_probe
from visim_models.pipeline import Observation, VisualSimilarity
from visim_models.pretrained import PretrainedModel
from visim_models.processing import ImageProcessor

__all__ = ["calibrate", "embed_images", "observe_images"]

_PROBE_PENALTY = 1e-3


def embed_images(model: PretrainedModel, processor: ImageProcessor, images: Tensor) -> Tensor:
    """(N, 3, S, S) uint8 pictures -> (N, D) embeddings, in batches, with a progress bar."""
    network, parts = inference_network(model), []
    for batch in tqdm(images.split(pictures_at_once(processor.size)), desc="embedding", leave=False):
        with torch.inference_mode():
            parts.append(network.embed(processor.normalize(batch)).float())
    return torch.cat(parts)


def observe_images(similarity: VisualSimilarity, images: Tensor, *, gallery: Gallery | None = None) -> Observation:
    """What the detector sees of (N, 3, S, S) uint8 pictures, compared with `gallery` or the pipeline's own."""
    at_once = pictures_at_once(similarity.processor.size)
    batches = tqdm(images.split(at_once), desc="observing", leave=False)
    return Observation.concatenate(
        [similarity.observe(similarity.processor.normalize(batch), gallery=gallery) for batch in batches]
    )


def calibrate(
    similarity: VisualSimilarity,
    calibration: Tensor,
    outliers: Tensor,
    *,
    held_out: Sequence[int] = (),
    false_alarm_rate: float = 0.05,
) -> OutOfDistributionDetector:
    """A detector for this model and gallery.

    The probe is learnt from the gallery's pictures and every second outlier, the weights of the measurements from the
    calibration pictures and the other outliers; the p-values then rest on the calibration pictures.

    Args:
        similarity: model, processor and gallery; its own detector is not asked.
        calibration: (n, 3, S, S) uint8 pictures of the right kind that the model was not trained on.
        outliers: (m, 3, S, S) uint8 pictures of other things.
        held_out: rows of the gallery that calibration pictures must not be compared with: their own, among others.
        false_alarm_rate: of the detector.
    """
    left_out = set(held_out)
    known = similarity.gallery.subset([place for place in range(len(similarity.gallery)) if place not in left_out])
    inside = observe_images(similarity, calibration, gallery=known)
    outside = observe_images(similarity, outliers, gallery=known)
    probe = fit_probe(torch.from_numpy(known.embeddings), outside.embeddings[::2], penalty=_PROBE_PENALTY)
    return OutOfDistributionDetector.fit(
        inside.evidence,
        {name: values[1::2] for name, values in outside.evidence.items()},
        inside_embeddings=inside.embeddings,
        outside_embeddings=outside.embeddings[1::2],
        probe=probe,
        false_alarm_rate=false_alarm_rate,
    )
