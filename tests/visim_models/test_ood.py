"""The detector's p-values and false alarms can be counted, and its files are read strictly."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import edit_json, write_part
from visim_models import ConfigurationError, OutOfDistributionDetector, QueryError, VisimError, WeightsError
from visim_models.ood import OODVerdict, Weighting
from visim_models.repo_folder import RepoFolder, formats

ONE = {"x": Weighting(weight=1, mean=0, std=1)}
NOWHERE = np.zeros((1, 1))  # embeddings that no term looks at


def verdict(detector: OutOfDistributionDetector, value: float) -> OODVerdict:
    return detector.verdicts({"x": np.array([value])}, NOWHERE)[0]


# --- p-values


@pytest.mark.parametrize(
    ("value", "at_least"), [(0.5, 9), (1, 9), (1.5, 8), (5, 5), (8.5, 1), (9, 1), (9.1, 0), (-100, 9), (1e6, 0)]
)
def test_p_values_by_hand(value: float, at_least: int) -> None:
    detector = OutOfDistributionDetector(ONE, calibration_scores=np.arange(1.0, 10), false_alarm_rate=0.2)
    found = verdict(detector, value)
    assert found.p_value == pytest.approx((1 + at_least) / 10)
    assert found.is_ood == (found.p_value <= 0.2)
    assert (found.calibration_size, found.false_alarm_rate, found.score) == (9, 0.2, pytest.approx(value))


def test_ties_count_as_at_least_as_strange() -> None:
    detector = OutOfDistributionDetector(ONE, calibration_scores=np.array([2.0, 1, 2, 2, 3]))
    assert verdict(detector, 2).p_value == pytest.approx(5 / 6)
    assert verdict(detector, 2.001).p_value == pytest.approx(2 / 6)


def test_the_smallest_p_value_needs_enough_calibration() -> None:
    for size, is_ood in ((18, False), (19, True)):  # 1 / 20 is the first that 5 % reaches
        detector = OutOfDistributionDetector(ONE, calibration_scores=np.zeros(size))
        assert verdict(detector, 9).is_ood is is_ood


def test_what_is_no_number_is_strange() -> None:
    detector = OutOfDistributionDetector(ONE, calibration_scores=np.arange(99.0))
    assert verdict(detector, float("nan")).is_ood
    assert verdict(detector, float("inf")).is_ood


def test_the_articles_rule() -> None:
    detector = OutOfDistributionDetector.top_score_rule()
    top_scores = np.array([0.49, 0.51, 1.0, -1.0])
    found = detector.verdicts({"top_distance": 1 - top_scores}, np.zeros((4, 1)))
    assert [one.is_ood for one in found] == [True, False, False, True]
    assert {one.p_value for one in found} == {1.0}
    assert found[0].score == pytest.approx(0.51)


def test_the_score_by_hand() -> None:
    weightings = {
        "x": Weighting(weight=2, mean=1, std=4),
        "y": Weighting(weight=-1, mean=0, std=0.5),
        "probe": Weighting(0.5, -1, 2),
    }
    detector = OutOfDistributionDetector(
        weightings, calibration_scores=np.zeros(9), probe_weight=np.array([1.0, -2.0]), probe_bias=0.25
    )
    evidence = {"x": np.array([3.0, 1]), "y": np.array([1.0, 0]), "unused": np.array([7.0, 7])}
    embeddings = np.array([[1.0, 1], [0, 0]])
    expected = [2 * 2 / 4 - 1 / 0.5 + 0.5 * (-0.75 + 1) / 2, 0.5 * (0.25 + 1) / 2]
    np.testing.assert_allclose(detector.score(evidence, embeddings), expected, rtol=1e-6)


def test_a_measurement_that_is_missing_or_of_another_width() -> None:
    with pytest.raises(QueryError, match="'x'"):
        OutOfDistributionDetector(ONE, threshold=0.0).score({"y": np.zeros(1)}, NOWHERE)
    probed = OutOfDistributionDetector({"probe": Weighting(1, 0, 1)}, threshold=0.0, probe_weight=np.ones(3))
    with pytest.raises(QueryError, match="width 3"):
        probed.score({}, np.zeros((1, 4)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"weightings": {}},
        {"weightings": {"x": Weighting(1, 0, 0)}},
        {"weightings": {"x": Weighting(1, 0, -1)}},
        {"weightings": {"x": Weighting(float("nan"), 0, 1)}},
        {"weightings": {"x": Weighting(1, float("inf"), 1)}},
        {"weightings": {"x": Weighting(1, 0, float("nan"))}},
        {"false_alarm_rate": 0.0},
        {"false_alarm_rate": 1.0},
        {"false_alarm_rate": float("nan")},
        {"threshold": None},
        {"threshold": float("nan")},
        {"weightings": {"probe": Weighting(1, 0, 1)}},
        {"probe_weight": np.ones(2)},
    ],
    ids=str,
)
def test_detectors_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        OutOfDistributionDetector(**{"weightings": ONE, "threshold": 0.5, **arguments})


def test_a_verdict_is_one_of_three_words_and_its_ground_is_kept(tmp_path: Path) -> None:
    """Too few pictures, or a trial that missed most of every kind, can tell nothing."""
    detector = OutOfDistributionDetector(ONE, calibration_scores=np.arange(99.0))
    assert [verdict(detector, value).word for value in (3, 1000)] == ["one of these", "not one of these"]
    assert verdict(detector.calibrated(np.arange(18.0)), 1000).word == "cannot tell"
    write_part(detector, tmp_path)
    assert "check" not in json.loads((tmp_path / "ood.json").read_text())
    for check, can_tell in (({"noise": 0.49, "text": 0.0}, False), ({"noise": 0.5, "text": 0.0}, True), ({}, True)):
        write_part(detector.checked(check), tmp_path)
        again = OutOfDistributionDetector.from_pretrained(tmp_path)
        assert (again.check, again.can_tell) == (check, can_tell)
        assert verdict(again, 1000).word == ("not one of these" if can_tell else "cannot tell")
    assert verdict(again, 3).to_dict() == {
        "is_ood": False, "can_tell": True, "score": 3, "p_value": 0.97, "false_alarm_rate": 0.05,
        "calibration_size": 99, "word": "one of these",
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match="check"):
        detector.checked({"noise": 1.5})


# --- calibration


def between(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """One score in each gap that sorted (n,) scores leave, below and above all of them too: (n + 1,)."""
    ends = np.array([scores[0] - 1]), np.array([scores[-1] + 1])
    return np.concatenate([ends[0], (scores[1:] + scores[:-1]) / 2, ends[1]])


def alarms(detector: OutOfDistributionDetector, scores: npt.NDArray[np.float32]) -> int:
    return sum(one.is_ood for one in detector.verdicts({"x": scores}, np.zeros((len(scores), 1))))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("size", [1, 18, 19, 99, 399, 434])
def test_false_alarms_are_as_rare_as_stated(size: int, rate: float) -> None:
    """A query that is drawn as the calibration pictures were is in each gap between their scores equally often."""
    detector = OutOfDistributionDetector(ONE, threshold=0.0, false_alarm_rate=rate).calibrated(np.arange(size) ** 1.5)
    queries = between(detector.calibration_scores)
    count = alarms(detector, queries)
    assert count == int(rate * (size + 1) + 1e-9)
    assert count / len(queries) <= rate < (count + 1) / len(queries)


def test_any_of_forty_pictures_is_a_false_alarm_as_often_as_stated() -> None:
    """Each in turn is the query and the other 39 the calibration: 2 of 40 are alarms at 5 %, whatever the scores."""
    scores = np.exp(np.random.default_rng(0).standard_normal(40))
    detector = OutOfDistributionDetector(ONE, threshold=0.0)
    others = [np.concatenate([scores[:index], scores[index + 1 :]]) for index in range(40)]
    assert sum(alarms(detector.calibrated(rest), scores[i : i + 1]) for i, rest in enumerate(others)) == 2


def test_p_values_are_uniform() -> None:
    detector = OutOfDistributionDetector(ONE, calibration_scores=np.square(np.arange(24.0)))
    queries = between(detector.calibration_scores)
    found = [one.p_value for one in detector.verdicts({"x": queries}, np.zeros((25, 1)))]
    assert found == pytest.approx([rank / 25 for rank in range(25, 0, -1)])


def test_calibrating_again_keeps_the_score_and_the_rate() -> None:
    first = OutOfDistributionDetector(
        {"x": Weighting(2, 1, 4), "probe": Weighting(1, 0, 1)},
        calibration_scores=np.arange(9.0),
        false_alarm_rate=0.1,
        probe_weight=np.array([0.5]),
        probe_bias=3.0,
    )
    again = first.calibrated(np.arange(50.0))
    query = {"x": np.array([7.0])}, np.ones((1, 1))
    assert np.array_equal(again.score(*query), first.score(*query))
    assert (len(again.calibration_scores), again.false_alarm_rate, again.threshold) == (50, 0.1, None)


# --- files


def probing() -> OutOfDistributionDetector:
    """A detector with a probe of six numbers and 400 calibration scores."""
    return OutOfDistributionDetector(
        {"near": Weighting(1.5, 0.0, 1.0), "far": Weighting(0.5, 2.0, 5.0), "probe": Weighting(2.0, -1.0, 3.0)},
        calibration_scores=np.sin(np.arange(400.0)),
        probe_weight=np.arange(6.0) - 2,
        probe_bias=0.25,
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    write_part(probing(), tmp_path)
    return tmp_path


@pytest.mark.parametrize("rule", [False, True])
def test_round_trip(rule: bool, tmp_path: Path) -> None:
    detector = OutOfDistributionDetector.top_score_rule() if rule else probing()
    write_part(detector, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = OutOfDistributionDetector.load(RepoFolder(tmp_path))
    draws = np.random.default_rng(9).standard_normal((50, 9)).astype(np.float32)
    seen = dict(zip(("near", "far", "top_distance"), draws[:, 6:].T, strict=True)), draws[:, :6]
    assert again.verdicts(*seen) == detector.verdicts(*seen)
    write_part(again, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


BAD_VALUES: list[tuple[str, Any]] = [
    ("weightings", ...),
    ("weightings", {}),
    ("weightings", []),
    ("weightings", None),
    ("weightings", {"near": 1}),
    ("weightings", {"near": {"weight": 1, "mean": 0}}),
    ("weightings", {"near": {"weight": 1, "mean": 0, "std": 0}}),
    ("weightings", {"near": {"weight": 1, "mean": 0, "std": 1, "more": 1}}),
    ("weightings", {"near": {"weight": "1", "mean": 0, "std": 1}}),
    ("weightings", {"near": {"weight": True, "mean": 0, "std": 1}}),
    ("weightings", {"near": {"weight": float("nan"), "mean": 0, "std": 1}}),
    ("weightings", {"near": {"weight": 10**400, "mean": 0, "std": 1}}),
    ("false_alarm_rate", ...),
    ("false_alarm_rate", 0),
    ("false_alarm_rate", 5),
    ("false_alarm_rate", "0.05"),
    ("false_alarm_rate", None),
    ("false_alarm_rate", True),
    ("threshold", "0.5"),
    ("threshold", True),
    ("threshold", []),
    ("threshold", float("nan")),
    ("threshold", 10**400),
    ("probe_bias", None),
    ("probe_bias", float("inf")),
    ("probe_bias", 1e300),
    ("threshold", -1.0),
    ("weightings", {"near": {"weight": 1e30, "mean": 0, "std": 1}}),
    ("weightings", {"near": {"weight": 1, "mean": 0, "std": 1e-30}}),
    ("calibration_size", ...),
    ("unknown", 1),
]


@pytest.mark.parametrize(("key", "value"), BAD_VALUES, ids=lambda part: str(part)[:40])
def test_values_that_do_not_fit(key: str, value: Any, saved: Path) -> None:
    edit_json(saved / "ood.json", **{key: value})
    with pytest.raises(ConfigurationError, match=r"ood\.json"):
        OutOfDistributionDetector.load(RepoFolder(saved))


@pytest.mark.parametrize("size", [0, 399, 400.5, "400", None])
def test_a_calibration_of_another_size(size: Any, saved: Path) -> None:
    edit_json(saved / "ood.json", calibration_size=size)
    with pytest.raises(VisimError, match="ood"):
        OutOfDistributionDetector.load(RepoFolder(saved))


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration_scores": None},
        {"calibration_scores": np.ones(399)},
        {"calibration_scores": np.ones((400, 1))},
        {"calibration_scores": np.full(400, np.nan)},
        {"calibration_scores": np.ones(400, np.complex64)},
        {"probe_weight": None},
        {"probe_weight": np.ones((2, 3))},
        {"probe_weight": np.full(6, np.inf)},
        {"probe_weight": np.full(6, 3e38)},
        {"probe_weight": np.ones(6, np.complex64)},
        {"another": np.ones(1)},
    ],
    ids=lambda changes: str({name: t if t is None else (t.dtype, tuple(t.shape)) for name, t in changes.items()}),
)
def test_tensors_that_do_not_fit(changes: dict[str, npt.NDArray[np.float32] | None], saved: Path) -> None:
    tensors = formats.read_tensors(saved / "ood.safetensors")
    merged = {**tensors, **changes}
    formats.write_tensors(
        saved / "ood.safetensors", {name: tensor for name, tensor in merged.items() if tensor is not None}
    )
    with pytest.raises((WeightsError, ConfigurationError), match="ood"):
        OutOfDistributionDetector.load(RepoFolder(saved))


NUMBERS = st.integers(-3, 500) | st.integers(10**300, 10**310) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["near", "probe", "weight", "mean", "std"]), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = ["weightings", "false_alarm_rate", "threshold", "calibration_size", "probe_bias", "other"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(changes=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=2))
def test_fuzzed_json(changes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed_ood"
    if not folder.exists():
        folder.mkdir()
        write_part(OutOfDistributionDetector(ONE, calibration_scores=np.arange(30.0)), folder)
        (folder / "ood.json").rename(folder / "sound.json")
    values = {**json.loads((folder / "sound.json").read_text()), **changes}
    (folder / "ood.json").write_text(json.dumps(values), encoding="utf-8")
    try:
        detector = OutOfDistributionDetector.load(RepoFolder(folder))
        found = detector.verdicts({"x": np.zeros(1), "near": np.zeros(1)}, NOWHERE)
    except VisimError:
        return
    assert 0 < found[0].p_value <= 1
