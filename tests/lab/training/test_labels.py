"""Wrong labels are found by classifiers that have not seen the picture, nor its near-duplicates."""

import numpy as np

from lab.training.labels import cross_validated, doubted_labels
from tests.builders import drawn_table


def test_swapped_labels_are_told_and_near_duplicates_do_not_vouch_for_each_other() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(120) % 3
    features = (np.eye(3)[truth] * 4 + rng.normal(size=(120, 3))).astype(np.float32)
    stated = truth.copy()
    stated[:4] = (truth[:4] + 1) % 3
    found = cross_validated(features, stated, np.arange(120))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert (found.argmax(axis=1)[:4] == truth[:4]).all()
    assert (found.argmax(axis=1)[4:] == truth[4:]).mean() > 0.95
    lone = np.zeros((60, 1), np.float32)
    lone[:20] = 9  # one group, whose label only its own members have there
    labels = np.array([1] * 20 + [0, 1] * 20)
    together = cross_validated(lone, labels, np.array([0] * 20 + list(range(1, 41))))
    assert together[:20, 1].max() < 0.9


def test_pictures_of_other_labels_are_not_judged() -> None:
    pictures = drawn_table(10, size=32, labels=["sedan", "coupe", "van"])
    found = doubted_labels(pictures, ["sedan", "coupe"], list(range(10)))
    assert found.shape == (10,)
    assert (found[2::3] == -1).all()
    assert set(found.tolist()) <= {-1, 0, 1}
    assert (doubted_labels(pictures, ["lorry"], list(range(10))) == -1).all()
