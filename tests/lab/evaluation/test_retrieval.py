"""True and false matches are counted by hand, and painting on a query is the same each time."""

import torch

from lab.evaluation.retrieval import match_tables, paint_around, retrieval_shares
from visim_models import Gallery


def test_shares_of_the_first_matches() -> None:
    gallery = Gallery(["a", "b", "c"], ["x", "x", "y"], torch.eye(3))
    shares = retrieval_shares(["x", "y"], torch.tensor([[0, 2, 1], [2, 1, 0]]), gallery, 2)
    assert shares.tolist() == [0.5, 0.5]


def test_match_tables_count_true_and_false_matches() -> None:
    gallery = Gallery(["a", "b", "c"], ["x", "x", "y"], torch.eye(3))
    scores = torch.tensor([[0.99, 0.5], [1.0, 0.504]])
    tables = match_tables(["x", "y"], scores, torch.tensor([[0, 2], [2, 1]]), gallery)
    counts = tables["match_scores"]
    assert {percent for percent, count in enumerate(counts["true"]) if count} == {99, 100}
    assert counts["false"][50] == 2
    reliability = dict(zip(tables["reliability"]["percent_from"], tables["reliability"]["true_share"], strict=True))
    assert reliability[95] == 1
    assert reliability[50] == 0
    assert reliability[0] is None


def test_painting_is_the_same_each_time_and_leaves_the_global_generator_alone() -> None:
    images = torch.full((6, 3, 32, 32), 128, dtype=torch.uint8)
    before = torch.random.get_rng_state()
    painted = paint_around(images)
    assert torch.equal(painted, paint_around(images))
    assert all((picture != 128).any() for picture in painted)
    assert torch.equal(torch.random.get_rng_state(), before)
