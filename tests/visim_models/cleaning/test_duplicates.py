"""Duplicates: pairs found in blocks, groups that chains do not join, and pictures laid on each other."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.builders import drawn_picture, drawn_pictures
from tests.visim_models.cleaning.families import COPIES, copy_of, photograph
from visim_models import Gallery
from visim_models.cleaning import find_duplicates, neighbours
from visim_models.cleaning.alignment import oriented, place_pairs
from visim_models.cleaning.comparison import compare_pictures
from visim_models.cleaning.duplicates import BY_PICTURE, Grouping, is_alike
from visim_models.cleaning.neighbours import Pairs, medoid_groups, near_pairs, nearest_in, unit_rows
from visim_models.cleaning.survey import thumbnail_square
from visim_models.galleries.picture_table import PictureTable

Floats = npt.NDArray[np.float32]


def embeddings(count: int, width: int = 16, *, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((count, width), np.float32)


def gallery(rows: Floats, **others: str) -> Gallery:
    return Gallery([f"{index:03d}.png" for index in range(len(rows))], [""] * len(rows), rows, **others)


def pairs(*found: tuple[int, int, float]) -> Pairs:
    first, second, scores = zip(*found, strict=True)
    return Pairs(np.array(first), np.array(second), np.array(scores, np.float32))


def grouping(rows: Floats, pictures: list[Image.Image]) -> Grouping:
    table = PictureTable(
        [f"{index:03d}.png" for index in range(len(rows))],
        {"embeddings": rows, "squares": np.stack([thumbnail_square(picture) for picture in pictures])},
    )
    return Grouping(table, read=pictures.__getitem__)


# --- pairs


@pytest.mark.parametrize("is_bounded", [False, True])
def test_blocks_find_the_same_pairs_as_the_whole_matrix(is_bounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", 7)
    rows = embeddings(100, 16)
    if is_bounded:  # by the main directions of many numbers
        monkeypatch.setattr(neighbours, "_WORTH_PROJECTING", 1)
        rows = np.concatenate([rows, 0.05 * embeddings(100, 600, seed=1)], axis=1)
    unit = unit_rows(rows)
    expected = {(i, j) for i, j in itertools.combinations(range(100), 2) if unit[i] @ unit[j] >= 0.4}
    found = near_pairs(rows, at_least=0.4)
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    assert len(found) == len(expected) > 30
    assert not found.is_cut


def test_too_many_pairs_leave_the_least_alike_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", 10)
    monkeypatch.setattr(neighbours, "MOST_PAIRS", 200)
    rows = embeddings(100)
    found = near_pairs(rows, at_least=-1.0)
    assert found.is_cut
    assert len(found) <= 200
    every = np.sort((unit_rows(rows) @ unit_rows(rows).T)[np.triu_indices(100, 1)])[::-1]
    best = np.sort(found.scores)[::-1][: len(found) // 2]
    np.testing.assert_allclose(best, every[: len(best)], rtol=1e-5)


def test_nearest_in_another_set() -> None:
    scores, indices = nearest_in(embeddings(3), embeddings(40, seed=1), top_k=5)
    cosines = unit_rows(embeddings(3)) @ unit_rows(embeddings(40, seed=1)).T
    expected = np.argsort(-cosines, axis=1)[:, :5]
    assert indices.tolist() == expected.tolist()
    np.testing.assert_allclose(scores, np.take_along_axis(cosines, expected, axis=1), rtol=1e-5)


# --- groups of embeddings


def test_chains_do_not_join() -> None:
    chain = pairs(*((index, index + 1, 0.95) for index in range(9)))
    groups = medoid_groups(chain)
    assert max(len(group) for group in groups) == 3
    assert len({index for group in groups for index, _ in group}) == sum(map(len, groups))


@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14), st.floats(0.875, 1, width=32)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_every_member_is_like_its_medoid(found: list[tuple[int, int, float]]) -> None:
    known = {(min(one, two), max(one, two)): score for one, two, score in found if one != two}
    if not known:
        return
    groups = medoid_groups(pairs(*((*key, score) for key, score in known.items())))
    seen = [index for group in groups for index, _ in group]
    assert len(seen) == len(set(seen))
    for (medoid, one), *others in groups:
        assert one == 1.0
        assert others
        for other, score in others:
            assert known[min(medoid, other), max(medoid, other)] == pytest.approx(score)


def test_groups_of_a_gallery_without_pictures() -> None:
    rows = embeddings(30)
    rows[7] = rows[3] * 2
    rows[9] = rows[3] + 0.01 * embeddings(1, seed=5)[0]
    rows[20] = rows[21]
    (first, second) = find_duplicates(gallery(rows))
    assert set(first) == {"003.png", "007.png", "009.png"}
    assert first.scores[0] == 1.0
    assert min(first.scores) > 0.99
    assert first.medoid == first.file_names[0]
    assert second.file_names == ("020.png", "021.png")
    assert find_duplicates(gallery(embeddings(30))) == []
    rows[:] = rows[0]
    assert [len(group) for group in find_duplicates(gallery(rows))] == [30]


# --- pictures


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_lies_on_its_original_either_way_around(kind: str) -> None:
    picture = photograph(7, size=(320, 240))
    copy = copy_of(picture, kind, 3)
    squares = np.stack([thumbnail_square(picture), thumbnail_square(copy)])
    placed = place_pairs(squares, squares, np.array([0, 1]), np.array([1, 0]))
    assert is_alike(placed, BY_PICTURE).all()
    there, back = compare_pictures(picture, copy, placed[0]), compare_pictures(copy, picture, placed[0].reversed())
    assert there.relation == back.relation == "same"
    assert min(there.score, back.score) > 0.85


def test_other_pictures_are_not_alike_and_plain_ones_never() -> None:
    pictures = [Image.fromarray(picture) for picture in drawn_pictures(8, size=96)]
    squares = np.stack([thumbnail_square(picture) for picture in pictures])
    first, second = np.triu_indices(8, 1)
    placed = place_pairs(squares, squares, first, second)
    alike = is_alike(placed, BY_PICTURE).nonzero()[0].tolist()
    assert len(alike) <= 1
    for pair in alike:
        found = compare_pictures(pictures[first[pair]], pictures[second[pair]], placed[pair])
        assert found.relation != "same"
    plain = np.full((2, 3, 32, 32), 200, np.uint8)
    assert place_pairs(plain, plain, np.array([0]), np.array([1])).scores.max() == 0.0
    assert len(place_pairs(plain, plain, np.array([], int), np.array([], int))) == 0


def test_all_orientations_are_told_apart() -> None:
    (square,) = [thumbnail_square(Image.fromarray(drawn_picture(5, size=64)))]
    for turn in range(8):
        pair = np.stack([oriented(square, turn), square])
        placed = place_pairs(pair, pair, np.array([0, 1]), np.array([1, 0]))
        assert placed.orientations[0] == turn
        assert placed.orientations[1] == placed[0].reversed().orientation


def test_a_large_group_of_near_copies_is_one_group() -> None:
    """Each picture is compared with eight neighbours only; the groups of these are connected."""
    picture = np.asarray(Image.fromarray(drawn_picture(3, size=64)))
    rng = np.random.default_rng(0)
    noisy = [
        Image.fromarray((picture + rng.normal(0, 3, (64, 64, 3))).clip(0, 255).astype(np.uint8)) for _ in range(60)
    ]
    groups = grouping(embeddings(60), noisy).groups()
    assert len(groups[0]) == 60


def test_copies_are_found_by_their_pixels_where_the_network_sees_nothing() -> None:
    pictures = [photograph(seed, size=(160, 120)) for seed in range(12)]
    pictures += [copy_of(pictures[4], "mirrored", 0), copy_of(pictures[7], "turned by 90", 0)]
    groups = grouping(embeddings(14), pictures).groups()
    assert [{member.index for member in group} for group in groups] == [{4, 12}, {7, 13}]
