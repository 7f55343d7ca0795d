"""The verdict on an upload, and the other messages of the page, in words."""

from html import escape
from typing import Literal

from demo.basis import VerdictBasis
from visim_models import GalleryAbout, OODVerdict

__all__ = ["Mood", "explain_verdict", "message", "mood_of"]

Mood = Literal["known", "unsure", "strange"]

_UNSURE = 3
"""A picture that is not called strange, but would be at three times the rate of false alarms, is called unsure."""

_SIGNS = {"known": "✓", "unsure": "?", "strange": "!", "error": "✕", "plain": "i"}


def mood_of(verdict: OODVerdict) -> Mood:
    """Say how sure the verdict is."""
    if verdict.is_ood:
        return "strange"
    return "unsure" if verdict.p_value <= _UNSURE * verdict.false_alarm_rate else "known"


def explain_verdict(verdict: OODVerdict, *, one: str, many: str, basis: VerdictBasis | None = None) -> str:
    """Write the verdict as HTML, with the reason for it.

    Args:
        verdict: of the upload.
        one: a word for a picture of the gallery, in the singular with its article: "a car".
        many: the same in the plural: "cars".
        basis: the ground that the verdict has; by default, pictures that were held out.
    """
    basis = basis or VerdictBasis()
    if basis.cannot_tell:
        return message("plain", f"Cannot tell whether this is {one}.", basis.cannot_tell)
    mood = mood_of(verdict)
    like = "this gallery's pictures" if one == GalleryAbout.one else one
    claim = {
        "known": f"This looks like {like}",
        "unsure": f"Unsure whether this is {one}",
        "strange": f"This does not look like {like}",
    }[mood]
    if not verdict.calibration_size:
        return message(mood, f"{claim}.", "This gallery's rule was not calibrated on any pictures.")
    size = verdict.calibration_size
    as_strange = round(verdict.p_value * (size + 1)) - 1  # the count that the p-value is made from
    share = 100 * (size - as_strange) / size
    others = "pictures of this gallery" if basis.is_self_calibrated else f"held-out {many}"
    reason = (
        f"Stranger than {share:.1f} % of {size:,} {others}; set for {100 * verdict.false_alarm_rate:g} % false alarms."
    )
    return message(mood, f"{claim}.", reason)


def message(mood: Mood | Literal["error", "plain"], headline: str, detail: str = "") -> str:
    """Write a message of the page as HTML."""
    return (
        f'<div class="visim-message visim-{mood}">'
        f'<span class="visim-sign" aria-hidden="true">{_SIGNS[mood]}</span>'
        f"<div><strong>{escape(headline)}</strong> {escape(detail)}</div></div>"
    )
