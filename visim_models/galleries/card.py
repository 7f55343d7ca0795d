"""The card of a gallery, written from the gallery itself."""

import re
from collections.abc import Sequence

from visim_models.galleries.verdict_check import summary
from visim_models.gallery import Gallery
from visim_models.models import PretrainedModel, TimmBackbone
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder.metrics import Figure

__all__ = ["card_text", "escaped"]

_CARD = """\
---
library_name: visim-models
pipeline_tag: image-feature-extraction
tags:
- visual-similarity
- image-retrieval
- visim
---

# {title}

{count} pictures{labels}, to be searched by visual similarity.

They were embedded by the network of this repo, a {network} (`{model_type}`, weights `{weights}`){origin}.

## Search it

Install the library from a copy of its source code, or with `pip install git+ADDRESS` of its repository:

    pip install {package}

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


def card_text(
    gallery: Gallery, detector: OutOfDistributionDetector, model: PretrainedModel, check: Sequence[Figure] = ()
) -> str:
    """Write the card of a gallery: the text of README.md.

    Args:
        gallery: the gallery.
        detector: calibrated on its pictures.
        model: the network that embedded them.
        check: how many drawn pictures the verdict finds; none where that is unknown.
    """
    labels = set() if gallery.engine else set(gallery.labels) - {""}  # a sample does not have them all
    verdict = _VERDICT if detector.can_reject else _NO_VERDICT
    if check:
        verdict += f"\n\n{summary(check)}"
    return _CARD.format(
        package='"./visim[timm]"' if isinstance(model, TimmBackbone) else "./visim",
        title=escaped(gallery.about.title) or "A visim gallery",
        count=f"{len(gallery):,}",
        labels=f" with {len(labels):,} label{'s' * (len(labels) > 1)}" if labels else "",
        network=type(model).__name__,
        model_type=model.model_type,
        origin=_origin(model),
        weights=gallery.weights_sha256[:12],
        verdict=verdict.format(
            rate=f"{100 * detector.false_alarm_rate:.3g} %", size=f"{len(detector.calibration_scores):,}"
        ),
    )


def escaped(text: str) -> str:
    """Escape a text that the gallery's owner wrote for one line of Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _origin(model: PretrainedModel) -> str:
    """Say where the weights are from and their licence, where the network knows."""
    stated = {key: escaped(str(model.config.get(key, ""))) for key in ("source", "revision", "license")}
    parts = [f"from {stated['source']}"] if stated["source"] else []
    parts += [f"version {stated['revision']}"] if stated["revision"] else []
    parts += [f"licence {stated['license']}"] if stated["license"] else []
    return f", {', '.join(parts)}" if parts else ""
