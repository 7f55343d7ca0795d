"""The verdict in words: plain, with rates that were measured, and the statistics for the fold."""

import pytest

from demo.basis import VerdictBasis
from demo.texts import writing_in
from demo.verdict import Words, explain_basis, explain_classes, explain_verdict, message, mood_of
from visim_models import OODVerdict
from visim_models.repo_folder.metrics import Figure

CARS = Words("cars", "a car", "cars", is_own=False)


def verdict(at_least_as_strange: int, *, size: int = 380, rate: float = 0.05) -> OODVerdict:
    p_value = (1 + at_least_as_strange) / (size + 1)
    return OODVerdict(p_value <= rate, True, 1.5, p_value, rate, size)


def figure(name: str, value: float, n: int = 709) -> Figure:
    return Figure(name=name, value=value, unit="%", n=n, what="", tolerance=1.0)


@pytest.mark.parametrize(
    ("at_least_as_strange", "mood", "claim", "alarm"),
    [
        (0, "strange", "This does not look like a car.", "About one in 100 real cars gets this warning."),
        (2, "strange", "This does not look like a car.", "About one in 100 real cars gets this warning."),
        (3, "unsure", "This is probably not a car.", "About one in 20 real cars gets this warning."),
        (18, "unsure", "This is probably not a car.", "About one in 20 real cars gets this warning."),
        (19, "known", "This looks like a car.", ""),
        (380, "known", "This looks like a car.", ""),
    ],
)
def test_the_verdict_is_plain_and_says_how_often_it_is_wrong(
    at_least_as_strange: int, mood: str, claim: str, alarm: str
) -> None:
    judged = verdict(at_least_as_strange)
    assert mood_of(judged) == mood
    said = explain_verdict(judged, CARS)
    assert claim in said
    assert alarm in said
    assert ("gets this warning" in said) == bool(alarm)
    assert "%" not in said


def test_one_right_picture_in_twenty_gets_a_warning() -> None:
    moods = [mood_of(verdict(rank, size=999)) for rank in range(1, 1000)]  # p-values of right pictures are uniform
    assert sum(mood != "known" for mood in moods) / len(moods) == pytest.approx(0.05, abs=0.002)


def test_a_rate_that_was_measured_is_said_instead_of_the_one_it_is_set_for() -> None:
    basis = VerdictBasis(figures=[figure("ood_false_alarms_at_5", 2.68), figure("ood_false_alarms_at_1", 0.141)])
    assert "About one in 35 real cars" in explain_verdict(verdict(10), CARS, basis=basis)
    assert "Fewer than one in 500 real cars" in explain_verdict(verdict(0), CARS, basis=basis)
    wild = VerdictBasis(figures=[*basis.figures, figure("wild_false_alarms_at_5", 9.8)])
    assert "About one in 10 real cars" in explain_verdict(verdict(10), CARS, basis=wild)


def test_the_statistics_are_in_the_fold() -> None:
    figures = [figure("ood_false_alarms_at_5", 2.68), figure("ood_found_at_5_noise", 99.6), figure("other", 1)]
    said = explain_basis(verdict(30), CARS, VerdictBasis(figures=figures))
    assert "It is stranger than 92.1 % of 380 cars that were held out; the warning is set for 5 % false alarms." in said
    assert "Measured on 709 other cars: 2.7 % of them got a warning, firm or mild." in said
    assert "Of pictures of other kinds, it finds 100 % of noise." in said
    own = explain_basis(verdict(200), Words("x", "a chair", "chairs"), VerdictBasis(is_self_calibrated=True))
    assert "Stranger" not in own
    assert "stranger than 47.4 % of 380 pictures of this gallery" in own


def test_a_rule_without_calibration_says_so() -> None:
    said = explain_verdict(OODVerdict(True, True, 0.7, 1.0, 0.05, 0), CARS)
    assert "does not look like a car" in said
    assert "not calibrated on any pictures" in said


def test_a_gallery_of_ones_own_speaks_of_its_own_pictures() -> None:
    basis = VerdictBasis(is_self_calibrated=True)
    said = explain_verdict(verdict(200), Words("x", "a picture like these", "pictures"), basis=basis)
    assert "This looks like this gallery&#x27;s pictures." in said
    chairs = explain_verdict(verdict(10), Words("x", "a chair", "chairs"), basis=basis)
    assert "This is probably not a chair." in chairs
    assert "About one in 20 pictures of this gallery gets this warning." in chairs


def test_a_verdict_that_cannot_tell_claims_nothing() -> None:
    basis = VerdictBasis(is_self_calibrated=True, cannot_tell="too_few")
    for judged in (verdict(0), verdict(380)):
        said = explain_verdict(judged, Words("x", "a chair", "chairs"), basis=basis)
        assert "Cannot tell whether this is a chair." in said
        assert "too few pictures" in said
        assert "visim-plain" in said


def test_the_label_is_said_with_the_others() -> None:
    said = explain_classes({"coupe": 0.951, "suv": 0.03, "sedan": 0.017, "truck": 0.002}, CARS)
    assert "<strong>Body: Coupe, 95 %</strong>" in said
    assert "SUV 3 % · sedan 2 % · truck &lt;1 %" in said
    assert "SUV, 99 %" in explain_classes({"suv": 0.99, "<b>": 0.01}, CARS)
    assert "<b>" not in explain_classes({"suv": 0.99, "<b>": 0.01}, CARS)


def test_the_verdict_is_said_in_german_too() -> None:
    with writing_in("de"):
        said = explain_verdict(verdict(10), CARS)
    assert "Von 20 echten Autos bekommt etwa eines diese Warnung." in said


def test_a_message_is_text_and_never_markup() -> None:
    assert "<script>" not in message("error", "<script>alert(1)</script>", "<b>")
