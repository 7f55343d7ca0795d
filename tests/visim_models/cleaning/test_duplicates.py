"""Duplicates: pairs found in blocks, groups around medoids that chains do not join, cropped and mirrored copies."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.builders import drawn_picture, drawn_pictures
from visim_models import Gallery
from visim_models.cleaning import find_duplicates, neighbours
from visim_models.cleaning.alignment import aligned_similarity, compare_pairs
from visim_models.cleaning.duplicates import groups_within
from visim_models.cleaning.grouping import medoid_groups
from visim_models.cleaning.likeness import Pictures
from visim_models.cleaning.local_pictures import thumbnail_of
from visim_models.cleaning.neighbours import Pairs, near_pairs, nearest_in


def embeddings(count: int, width: int = 16, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def gallery(rows: torch.Tensor, **others: str) -> Gallery:
    return Gallery([f"{index:03d}.png" for index in range(len(rows))], [""] * len(rows), rows, **others)


def pairs(*found: tuple[int, int, float]) -> Pairs:
    first, second, scores = zip(*found, strict=True)
    return Pairs(torch.tensor(first), torch.tensor(second), torch.tensor(scores))


# --- pairs


def test_blocks_find_the_same_pairs_as_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", 7)
    rows = embeddings(100)
    unit = F.normalize(rows, dim=1)
    expected = {(i, j) for i, j in itertools.combinations(range(100), 2) if unit[i] @ unit[j] >= 0.4}
    found = near_pairs(rows, at_least=0.4)
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    assert len(found) == len(expected) > 50
    assert not found.is_cut


def test_too_many_pairs_leave_the_least_alike_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", 10)
    monkeypatch.setattr(neighbours, "MOST_PAIRS", 200)
    rows = embeddings(100)
    found, all_of_them = near_pairs(rows, at_least=-1.0), (F.normalize(rows, dim=1) @ F.normalize(rows, dim=1).T)
    assert found.is_cut
    assert len(found) <= 200
    best = all_of_them.triu(1).flatten().sort(descending=True).values[: len(found) // 2]
    torch.testing.assert_close(found.scores.sort(descending=True).values[: len(best)], best)


def test_nearest_in_another_set() -> None:
    scores, indices = nearest_in(embeddings(3), embeddings(40, seed=1), top_k=5)
    expected = (F.normalize(embeddings(3), dim=1) @ F.normalize(embeddings(40, seed=1), dim=1).T).topk(5, dim=1)
    torch.testing.assert_close(scores, expected.values)
    assert indices.tolist() == expected.indices.tolist()


# --- groups


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


def test_many_copies_are_one_group() -> None:
    rows = embeddings(40)
    rows[10:] = rows[0]
    (group,) = find_duplicates(gallery(rows))
    assert len(group) == 31


def test_a_large_group_of_near_copies_is_one_group() -> None:
    """Each picture is compared with eight neighbours only; the groups of these are joined."""
    picture = Image.fromarray(drawn_picture(3, size=64))
    rng = np.random.default_rng(0)
    noisy = [
        Image.fromarray((np.asarray(picture) + rng.normal(0, 3, (64, 64, 3))).clip(0, 255).astype(np.uint8))
        for _ in range(60)
    ]
    thumbnails = torch.stack([thumbnail_of(image) for image in noisy])
    groups = groups_within(Pictures(embeddings(60), thumbnails))
    assert len(groups[0]) >= 55
    assert sum(map(len, groups)) >= 58


# --- pictures


def variants() -> dict[str, Image.Image]:
    picture = Image.fromarray(drawn_picture(7, size=96))
    levels = np.asarray(picture, np.float32)
    return {
        "cropped": picture.crop((0, 0, 86, 86)),
        "half": picture.resize((48, 48)),
        "recoloured": Image.fromarray((levels * (0.75, 1.1, 0.8) + 10).clip(0, 255).astype(np.uint8)),
        "mirrored": ImageOps.mirror(picture),
        "framed": ImageOps.expand(picture, border=8, fill=(10, 200, 30)),
    }


@pytest.mark.parametrize("kind", variants())
def test_copies_are_alike(kind: str) -> None:
    one = thumbnail_of(Image.fromarray(drawn_picture(7, size=96)))[None]
    assert float(aligned_similarity(one, thumbnail_of(variants()[kind])[None])) > 0.93


def test_other_pictures_are_not_alike_and_plain_ones_never() -> None:
    thumbnails = torch.stack([thumbnail_of(Image.fromarray(picture)) for picture in drawn_pictures(8, size=96)])
    first, second = torch.triu_indices(8, 8, offset=1)
    assert float(compare_pairs(thumbnails, thumbnails, first, second).max()) < 0.9
    plain = torch.full((1, 3, 32, 32), 200, dtype=torch.uint8)
    assert float(aligned_similarity(plain, plain)) == 0.0
    assert len(compare_pairs(plain, plain, torch.empty(0), torch.empty(0))) == 0


def test_the_number_of_threads_is_as_before() -> None:
    threads = torch.get_num_threads()
    plain = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    compare_pairs(plain, plain, torch.zeros(1), torch.zeros(1))
    assert torch.get_num_threads() == threads


def test_mirrored_copies_are_found_by_their_pixels(tmp_path: object) -> None:
    pictures = [Image.fromarray(picture) for picture in drawn_pictures(12, size=64)]
    pictures.append(ImageOps.mirror(pictures[4]))
    thumbnails = torch.stack([thumbnail_of(picture) for picture in pictures])
    groups = groups_within(Pictures(embeddings(13), thumbnails))
    assert [{index for index, _ in group} for group in groups] == [{4, 12}]


def test_lower_groups_come_after_the_others() -> None:
    rows = embeddings(20)
    rows[1] = rows[0] + 0.05 * embeddings(1, seed=8)[0]
    rows[3] = rows[2] + 0.45 * embeddings(1, seed=9)[0]
    strict = groups_within(Pictures(rows), at=0.95)
    both = groups_within(Pictures(rows), at=0.95, floor=0.7)
    assert both[0] == strict[0]
    assert {index for index, _ in both[1]} == {2, 3}
    assert both[1][1][1] < 0.95
