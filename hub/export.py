"""Write a whole repo folder: network, processor, gallery, detector, split and record of the training.

This is the one module that knows all of a repo that was trained here. It computes nothing; `python -m lab.export` does.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visim_models import Gallery, ImageProcessor, OutOfDistributionDetector, VisualSimilarity
from visim_models.models import PretrainedModel
from visim_models.repo_folder import drafting
from visim_models.repo_folder.manifest import LOSSES, MEASUREMENTS, METRICS, PLOTS, SKIPPED, SPLIT, TRAINING
from visim_models.search.match_probability import MatchProbability

__all__ = ["export_repo"]


def export_repo(
    folder: str | os.PathLike[str],
    *,
    model: PretrainedModel,
    processor: ImageProcessor,
    gallery: Gallery,
    ood: OutOfDistributionDetector,
    split: str,
    training: Mapping[str, Any],
    match_probability: MatchProbability | None = None,
    losses: Path | None = None,
    inputs: Sequence[str | os.PathLike[str]] = (),
) -> None:
    """Write a repo folder in one step; the same parts give the same bytes.

    Figures and plots of an older repo in the folder go, since they are not of these parts. A card and a description of
    the gallery that a person wrote stay.

    Args:
        folder: a new or empty folder, or a repo.
        model: the network.
        processor: makes its input.
        gallery: embedded by the two.
        ood: calibrated for the three.
        split: content of split.csv.
        training: content of training.json.
        match_probability: of the gallery's labels.
        losses: the losses.csv of the training.
        inputs: folders and files that the parts were made from.

    Raises:
        OutputError: the folder has files and is no repo, or is, holds or is in one of the inputs.
        VisimError: the parts do not fit together.
        RepositoryError: the folder cannot be written.
    """
    similarity = VisualSimilarity(model, processor, gallery, ood, match_probability=match_probability)
    with drafting(folder, inputs=inputs) as draft:
        draft.drop(METRICS, *PLOTS, LOSSES, SKIPPED, MEASUREMENTS)
        similarity.write_files(draft)
        draft.write_text(SPLIT, split)
        draft.write_json(TRAINING, training)
        if losses is not None:
            draft.write_text(LOSSES, losses.read_text(encoding="utf-8"))
