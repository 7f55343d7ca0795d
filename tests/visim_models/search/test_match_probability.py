"""The probability of a match rises with the score, is kept with the repo, and is the share of true matches."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lab.evaluation.retrieval import calibration_error
from tests.builders import edit_json, tiny_repo
from visim_models import ConfigurationError, VisualSimilarity
from visim_models.repo_folder import RepoFolder, drafting
from visim_models.search.results import MatchProbability, isotonic


def test_between_two_scores_it_is_a_straight_line() -> None:
    probability = MatchProbability((0.2, 0.6), (0.1, 0.9), 7)
    assert [probability(score) for score in (-1, 0.2, 0.4, 0.6, 1)] == pytest.approx([0.1, 0.1, 0.5, 0.9, 0.9])


@pytest.mark.parametrize(
    ("scores", "probabilities", "queries"),
    [
        ((), (), 1),
        ((0.5,), (0.5, 0.6), 1),
        ((0.5, 0.5), (0.1, 0.2), 1),
        ((0.1, 0.5), (0.3, 0.2), 1),
        ((0.5,), (1.5,), 1),
        ((float("nan"),), (0.5,), 1),
        ((0.5,), (0.5,), 0),
        ((True,), (0.5,), 1),
    ],
)
def test_numbers_that_do_not_fit(scores: tuple[float, ...], probabilities: tuple[float, ...], queries: int) -> None:
    with pytest.raises(ConfigurationError):
        MatchProbability(scores, probabilities, queries)


def test_isotonic_by_hand() -> None:
    inputs, values = isotonic(np.array([3.0, 1.0, 2.0, 4.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert inputs == pytest.approx([1.0, 2.5, 4.0])
    assert values == pytest.approx([0.0, 0.5, 1.0])


def test_it_is_calibrated_on_other_draws() -> None:
    rng = np.random.default_rng(0)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        scores = rng.uniform(0, 1, count)
        return scores, (rng.uniform(0, 1, count) < scores**2).astype(float)

    steps = isotonic(*draw(20_000))
    probability = MatchProbability(*steps, queries=20_000)
    scores, true = draw(20_000)
    error, rows = calibration_error(np.array([probability(s) for s in scores]), true)
    assert error < 0.02
    assert len(rows) == 10
    queries = draw(4000)
    found = MatchProbability.fitted(*(each.reshape(400, 10) for each in queries))
    assert found.queries == 400
    assert found.calibration_error is not None
    assert 0 < found.calibration_error < 0.05
    misleading = np.repeat([[0.0], [1.0]], 200, axis=1).reshape(400, 1)[np.arange(400) % 2 * 200]  # halves that differ
    assert MatchProbability.fitted(np.full((400, 1), 0.5), misleading).calibration_error == pytest.approx(1)


def test_a_repo_keeps_it_and_matches_state_it(tmp_path: Path) -> None:
    repo = tiny_repo(tmp_path / "repo")
    plain = VisualSimilarity.from_pretrained(repo)
    picture = np.zeros((20, 20, 3), np.uint8)
    assert plain.search(picture).matches[0].probability is None
    with drafting(repo) as draft:
        MatchProbability((-1.0, 1.0), (0.0, 1.0), 5).write_files(draft)
    loaded = VisualSimilarity.from_pretrained(repo)
    match = loaded.search(picture).matches[0]
    assert match.probability == pytest.approx((match.score + 1) / 2, abs=1e-6)
    assert match.to_dict()["probability"] == match.probability
    loaded.save_pretrained(tmp_path / "copy")
    assert VisualSimilarity.from_pretrained(tmp_path / "copy").match_probability == loaded.match_probability
    plain.save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy" / "match_probability.json").exists()


@pytest.mark.parametrize("change", [{"queries": 0}, {"scores": [[]]}, {"probabilities": "x"}, {"more": 1}])
def test_a_damaged_file_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    repo = tiny_repo(tmp_path / "repo")
    with drafting(repo) as draft:
        MatchProbability((-1.0, 1.0), (0.0, 1.0), 5).write_files(draft)
    edit_json(repo / "match_probability.json", **change)
    with pytest.raises(ConfigurationError, match=r"match_probability\.json"):
        MatchProbability.load(RepoFolder(repo))
    shutil.rmtree(repo)
