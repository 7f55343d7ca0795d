"""The card of a gallery, written from the gallery itself."""

from visim_models.galleries.calibration import summary
from visim_models.gallery import Gallery
from visim_models.models.network import Network
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder.card import escaped, model_card

__all__ = ["card_text"]

_VERDICT = """\
A query is called "not one of these" where at most {rate} of this gallery's pictures look as strange. The comparison
rests on {size} of this gallery's pictures, each scored against the others without its near-duplicates."""
_TOO_FEW = """\
Every query gets "cannot tell": this gallery's {size} pictures are too few to call one "not one of these" at a rate of
{rate} false alarms."""
_MISSES = """\
Every query gets "cannot tell": the comparison with {size} of this gallery's pictures misses most of every kind of drawn
pictures, which surely are of another kind."""


def card_text(gallery: Gallery, detector: OutOfDistributionDetector, network: Network) -> str:
    """Write the card of a gallery: the text of README.md.

    Args:
        gallery: the gallery.
        detector: calibrated on its pictures.
        network: embedded them.
    """
    labels = set() if gallery.engine else set(gallery.labels) - {""}  # a sample does not have them all
    shown = f" with {len(labels):,} label{'s' * (len(labels) > 1)}" if labels else ""
    verdict = (_VERDICT if detector.can_tell else _MISSES if detector.can_reject else _TOO_FEW).format(
        rate=f"{100 * detector.false_alarm_rate:.3g} %", size=f"{len(detector.calibration_scores):,}"
    )
    return model_card(
        name="my-gallery",
        introduction=[
            f"# {escaped(gallery.about.title) or 'A visim gallery'}",
            f"{len(gallery):,} pictures{shown}, to be searched by visual similarity.",
            f"They were embedded by the network of this repo (`{network.model_type}`, weights "
            f"`{gallery.weights_sha256[:12]}`){_origin(network)}.",
        ],
        sections=[f"## The verdict\n\n{verdict}", summary(detector.check) if detector.check else ""],
        extra="timm" if network.model_type == "timm-backbone" else "",
    )


def _origin(network: Network) -> str:
    """Say where the weights are from and their licence, where the network knows."""
    stated = {key: escaped(str(network.config.get(key, ""))) for key in ("source", "revision", "license")}
    parts = [f"from {stated['source']}"] if stated["source"] else []
    parts += [f"version {stated['revision']}"] if stated["revision"] else []
    parts += [f"licence {stated['license']}"] if stated["license"] else []
    return f", {', '.join(parts)}" if parts else ""
