"""The card of a gallery, written from the gallery itself."""

from visim_models.gallery import Gallery
from visim_models.models import PretrainedModel
from visim_models.ood import OutOfDistributionDetector

__all__ = ["card_text"]

_CARD = """\
---
library_name: visim-models
pipeline_tag: image-feature-extraction
tags:
- visual-similarity
- image-retrieval
- visim
---

# A visim gallery

{count} pictures{labels}, to be searched by visual similarity.

They were embedded by the network of this repo, a {network} (`{model_type}`, weights `{weights}`).

## Search it

Install the library from a copy of its source code, or from its wheel:

    pip install ./visim

Then search with a picture of your own:

    from visim_models import VisualSimilarity

    similarity = VisualSimilarity.from_pretrained("path/to/this/repo")  # or "namespace/repo" on the Hub
    similarity.search("photo.jpg", top_k=4)

## The verdict

{verdict}
"""

_VERDICT = """\
A query is called of another kind where at most {rate} of this gallery's pictures look as strange. The comparison rests
on {size} of this gallery's pictures, each scored against the others without its near-duplicates."""
_NO_VERDICT = """\
This gallery's {size} pictures are too few to call a query of another kind at a rate of {rate} false alarms."""


def card_text(gallery: Gallery, detector: OutOfDistributionDetector, model: PretrainedModel) -> str:
    """Write the card of a gallery: the text of README.md."""
    labels = sorted(set(gallery.labels) - {""})
    verdict = _VERDICT if detector.can_reject else _NO_VERDICT
    return _CARD.format(
        count=f"{len(gallery):,}",
        labels=f" with {len(labels):,} label{'s' * (len(labels) > 1)}" if labels else "",
        network=type(model).__name__,
        model_type=model.model_type,
        weights=gallery.weights_sha256[:12],
        verdict=verdict.format(
            rate=f"{100 * detector.false_alarm_rate:.3g} %", size=f"{len(detector.calibration_scores):,}"
        ),
    )
