"""The verdict on an upload, and the other messages of the page, in words."""

from collections.abc import Mapping
from html import escape
from typing import Literal

from demo.basis import VerdictBasis
from demo.texts import LANGUAGES, say
from visim_models import GalleryAbout, OODVerdict

__all__ = ["Mood", "Words", "explain_basis", "explain_classes", "explain_verdict", "message", "mood_of"]

Mood = Literal["known", "unsure", "strange"]

_SURE = 5
"""A picture that would be called strange at a fifth of the rate of false alarms, too, is surely strange: at the usual
5 %, one right picture in twenty gets a warning, and one in a hundred the firm one."""
_NUMBERS = ((1000, 500), (200, 100), (50, 10), (10, 5))
"""From so many on, "one in so many" is rounded down to a multiple of the second, so as not to seem exact."""
_MOST = 500
_ABBREVIATIONS = {"suv": "SUV"}
"""Labels of the bundled galleries that are written in capitals."""
_SIGNS = {"known": "✓", "unsure": "?", "strange": "!", "error": "✕", "plain": "i"}


class Words:
    """What the pictures of a gallery are called, in the language of the page.

    Args:
        key: of the gallery.
        one: a word for one of its pictures, in the singular with its article: "a car".
        many: the same in the plural.
        is_own: the gallery is a host's own, whose words are used as they are.
    """

    def __init__(self, key: str, one: str, many: str, *, is_own: bool = True) -> None:
        self._key = "own" if is_own or f"real_{key}" not in LANGUAGES["en"] else key
        self._one, self._many = one, many

    @property
    def one(self) -> str:
        """Return the word for one picture, with its article."""
        return self._one if self._key == "own" else say(f"one_{self._key}")

    @property
    def many(self) -> str:
        """Return the word for many pictures."""
        return self._many if self._key == "own" else say(f"many_{self._key}")

    @property
    def like(self) -> str:
        """Return what a picture of this kind looks like."""
        return say("these") if self._key == "own" and self._one == GalleryAbout.one else self.one

    def of(self, kind: Literal["real", "same", "class"]) -> str:
        """Return the words for right pictures, for two of one label, or for the label itself."""
        return say(f"{kind}_{self._key}")


def mood_of(verdict: OODVerdict) -> Mood:
    """Say how sure the verdict is."""
    if not verdict.is_ood:
        return "known"
    is_sure = not verdict.calibration_size or verdict.p_value <= verdict.false_alarm_rate / _SURE
    return "strange" if is_sure else "unsure"


def explain_verdict(
    verdict: OODVerdict, words: Words, *, basis: VerdictBasis | None = None, more: str = "", data: str = ""
) -> str:
    """Write the verdict as HTML: in one sentence, and how often a right picture gets it.

    Args:
        verdict: of the upload.
        words: what the gallery's pictures are called.
        basis: the ground that the verdict has; by default, pictures that were held out.
        more: HTML that follows.
        data: attributes of the message, as HTML.
    """
    basis = basis or VerdictBasis()
    if basis.cannot_tell:
        return message("plain", say("cannot_tell", one=words.one), say(basis.cannot_tell), more=more, data=data)
    mood = mood_of(verdict)
    # A picture that is only probably of another kind is compared by the word for one: "probably not a car".
    claim = say(mood, one=words.one if mood == "unsure" else words.like)
    return message(mood, claim, _alarm(verdict, words, basis), more=more, data=data)


def _alarm(verdict: OODVerdict, words: Words, basis: VerdictBasis) -> str:
    """Say how many right pictures get the warning, by what was measured; else, by what it is set for."""
    mood = mood_of(verdict)
    if mood == "known":
        return ""
    if not verdict.calibration_size:
        return say("not_calibrated")
    rate = verdict.false_alarm_rate / (_SURE if mood == "strange" else 1)
    measured = basis.alarms(rate)
    share = measured.value / 100 if measured else rate
    if share * _MOST < 1:
        return say("alarm_less", n=min(_MOST, measured.n) if measured else _MOST, real=words.of("real"))
    return say("alarm", n=_rounded(1 / share), real=words.of("real"))


def _rounded(number: float) -> int:
    step = next((step for least, step in _NUMBERS if number >= least), 1)
    return max(1, round(number / step) * step)


def explain_basis(verdict: OODVerdict | None, words: Words, basis: VerdictBasis) -> str:
    """Write the statistics behind a verdict as HTML, for a fold."""
    said = []
    rate = verdict.false_alarm_rate if verdict else 0.05
    if verdict and verdict.calibration_size and not basis.cannot_tell:
        size = verdict.calibration_size
        as_strange = round(verdict.p_value * (size + 1)) - 1  # the count that the p-value is made from
        others = say("own_pictures") if basis.is_self_calibrated else say("held_out", many=words.many)
        share = f"{100 * (size - as_strange) / size:.1f}"
        said.append(say("stranger", share=share, size=f"{size:,}", others=others, rate=f"{100 * rate:g}"))
    if measured := basis.alarms(rate):
        said.append(say("measured", n=f"{measured.n:,}", many=words.many, share=f"{measured.value:.1f}"))
    found = {kind: figure for kind, figure in basis.found(rate).items() if f"kind_{kind}" in LANGUAGES["en"]}
    if found:
        shares = [say("found", share=f"{each.value:.0f}", kind=say(f"kind_{kind}")) for kind, each in found.items()]
        number = next(iter(found.values())).n
        said.append(say("finds" if basis.is_self_calibrated else "passes", n=number, found=", ".join(shares)))
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in said)


def explain_classes(shares: Mapping[str, float], words: Words) -> str:
    """Write the label that a classifier gives an upload, and its other labels, as HTML."""
    (first, share), *others = shares.items()
    name = _ABBREVIATIONS.get(first, first)
    said = say("class", noun=words.of("class"), first=name[:1].upper() + name[1:], share=_percent(share))
    rest = " · ".join(
        say("class_other", label=_ABBREVIATIONS.get(label, label), share=_percent(other)) for label, other in others[:3]
    )
    return f'<p class="visim-classes"><strong>{escape(said)}</strong> <span>{escape(rest)}</span></p>'


def _percent(share: float) -> str:
    return "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"


def message(
    mood: Mood | Literal["error", "plain"], headline: str, detail: str = "", *, more: str = "", data: str = ""
) -> str:
    """Write a message of the page as HTML.

    Args:
        mood: its colour and sign.
        headline: plain text.
        detail: plain text.
        more: HTML that follows.
        data: attributes, as HTML.
    """
    return (
        f'<div class="visim-message visim-{mood}" tabindex="-1"{data}>'
        f'<span class="visim-sign" aria-hidden="true">{_SIGNS[mood]}</span>'
        f"<div><strong>{escape(headline)}</strong> {escape(detail)}{more}</div></div>"
    )
