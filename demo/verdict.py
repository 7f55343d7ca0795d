"""The verdict on an upload, and the other messages of the page, in words."""

from html import escape
from typing import Literal

from visim_models import OODVerdict

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


def explain_verdict(verdict: OODVerdict, *, one: str, many: str) -> str:
    """Write the verdict as HTML, with the reason for it.

    Args:
        verdict: of the upload.
        one: a word for a picture of the gallery, in the singular with its article: "a car".
        many: the same in the plural: "cars".
    """
    mood = mood_of(verdict)
    claim = {
        "known": f"This looks like {one}",
        "unsure": f"Unsure whether this is {one}",
        "strange": f"This does not look like {one}",
    }[mood]
    if not verdict.calibration_size:
        return message(mood, f"{claim}.", "This gallery's rule was not calibrated on held-out pictures.")
    size = verdict.calibration_size
    as_strange = round(verdict.p_value * (size + 1)) - 1  # the count that the p-value is made from
    share = 100 * (size - as_strange) / size
    reason = (
        f"Stranger than {share:.1f} % of {size:,} held-out {many}; "
        f"set for {100 * verdict.false_alarm_rate:g} % false alarms."
    )
    return message(mood, f"{claim}.", reason)


def message(mood: Mood | Literal["error", "plain"], headline: str, detail: str = "") -> str:
    """Write a message of the page as HTML."""
    return (
        f'<div class="visim-message visim-{mood}">'
        f'<span class="visim-sign" aria-hidden="true">{_SIGNS[mood]}</span>'
        f"<div><strong>{escape(headline)}</strong> {escape(detail)}</div></div>"
    )
