"""The verdict in words."""

import pytest

from demo.basis import VerdictBasis
from demo.verdict import explain_verdict, message, mood_of
from visim_models import OODVerdict


def verdict(at_least_as_strange: int, *, size: int = 380, rate: float = 0.05) -> OODVerdict:
    p_value = (1 + at_least_as_strange) / (size + 1)
    return OODVerdict(p_value <= rate, 1.5, p_value, rate, size)


@pytest.mark.parametrize(
    ("at_least_as_strange", "mood", "claim", "share"),
    [
        (3, "strange", "This does not look like a car.", "99.2 %"),
        (0, "strange", "This does not look like a car.", "100.0 %"),
        (30, "unsure", "Unsure whether this is a car.", "92.1 %"),
        (200, "known", "This looks like a car.", "47.4 %"),
        (380, "known", "This looks like a car.", "0.0 %"),
    ],
)
def test_the_verdict_says_what_and_how(at_least_as_strange: int, mood: str, claim: str, share: str) -> None:
    judged = verdict(at_least_as_strange)
    assert mood_of(judged) == mood
    said = explain_verdict(judged, one="a car", many="cars")
    assert claim in said
    assert f"Stranger than {share} of 380 held-out cars; set for 5 % false alarms." in said


def test_a_rule_without_calibration_says_so() -> None:
    said = explain_verdict(OODVerdict(True, 0.7, 1.0, 0.05, 0), one="a car", many="cars")
    assert "does not look like a car" in said
    assert "not calibrated on any pictures" in said


def test_a_gallery_of_ones_own_speaks_of_its_own_pictures() -> None:
    basis = VerdictBasis(is_self_calibrated=True)
    said = explain_verdict(verdict(200), one="a picture like these", many="pictures", basis=basis)
    assert "This looks like this gallery&#x27;s pictures." in said
    assert "Stranger than 47.4 % of 380 pictures of this gallery; set for 5 % false alarms." in said
    assert "held-out" not in said


def test_a_verdict_that_cannot_tell_claims_nothing() -> None:
    basis = VerdictBasis(is_self_calibrated=True, cannot_tell="This gallery has too few pictures for a verdict.")
    for judged in (verdict(0), verdict(380)):
        said = explain_verdict(judged, one="a chair", many="chairs", basis=basis)
        assert "Cannot tell whether this is a chair." in said
        assert "too few pictures" in said
        assert "visim-plain" in said


def test_a_message_is_text_and_never_markup() -> None:
    assert "<script>" not in message("error", "<script>alert(1)</script>", "<b>")
