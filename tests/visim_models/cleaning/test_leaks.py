"""Near-duplicates between two galleries, with the pictures at hand and without; look-alikes of examples."""

import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from tests.builders import drawn_picture, drawn_pictures, tiny_similarity
from visim_models import Gallery, GalleryMismatchError, QueryError, VisualSimilarity
from visim_models.cleaning import find_leaks, find_like
from visim_models.cleaning.look_alikes import look_alike_scores, threshold_of
from visim_models.cleaning.neighbours import unit_rows
from visim_models.galleries import embed_gallery

Floats = npt.NDArray[np.float32]


def gallery(prefix: str, rows: Floats, **others: str) -> Gallery:
    return Gallery([f"{prefix}/{index:03d}.png" for index in range(len(rows))], [""] * len(rows), rows, **others)


def rows(count: int, seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((count, 16), np.float32)


def test_leaks_by_embeddings_alone() -> None:
    first, second = rows(20, 1), rows(50, 2)
    second[7] = first[3] + 0.02 * rows(1, 3)[0]
    second[9] = first[5] * 3
    second[8] = first[5]
    pairs = find_leaks(gallery("test", first), gallery("train", second))
    assert {(pair.first, pair.second) for pair in pairs[:3]} == {
        ("test/003.png", "train/007.png"),
        ("test/005.png", "train/008.png"),
        ("test/005.png", "train/009.png"),
    }
    assert {pair.first for pair in pairs} == {f"test/{index:03d}.png" for index in range(20)}
    assert [pair.score for pair in pairs] == sorted((pair.score for pair in pairs), reverse=True)
    assert pairs[0].cosine > 0.99
    assert find_leaks(gallery("test", first), gallery("train", second), top=2) == pairs[:2]


def test_kinds_do_not_hide_what_copies_have_in_common() -> None:
    """Pictures of one kind are far more alike by their cosines than altered copies are by the rest."""
    kinds = 10 * rows(5, 1)
    first, second = (kinds[np.arange(count) % 5] + rows(count, count) for count in (100, 600))
    colours = 10 * np.eye(16, dtype=np.float32)[:2]  # two directions: they differ much, and of a copy, too
    first, second = first + rows(100, 7)[:, :2] @ colours, second + rows(600, 8)[:, :2] @ colours
    second[:40] = first[:40] + 0.2 * rows(40, 5) + 0.5 * rows(40, 6)[:, :2] @ colours
    found = {(pair.first, pair.second) for pair in find_leaks(gallery("a", first), gallery("b", second), top=40)}
    truth = {(f"a/{index:03d}.png", f"b/{index:03d}.png") for index in range(40)}
    cosines = unit_rows(first) @ unit_rows(second).T
    where = cosines.argmax(axis=1)
    by_cosine = sum(int(where[index]) == index < 40 for index in np.argsort(-cosines.max(axis=1))[:40].tolist())
    assert len(found & truth) >= 30 > by_cosine + 10


def test_many_copies_of_one_picture_are_near_too() -> None:
    first, second = rows(40, 1), rows(80, 2)
    second[:30] = first[7]  # all of its neighbours are as near
    best = find_leaks(gallery("a", first), gallery("b", second), top=8)
    assert {pair.first for pair in best} == {"a/007.png"}
    assert {pair.second for pair in best} < {f"b/{index:03d}.png" for index in range(30)}


def test_few_pictures_of_many_numbers() -> None:
    """Fewer pictures than dimensions: fully whitened, all would be as far apart."""
    generator = np.random.default_rng(3)
    first, second = (generator.standard_normal((count, 200), np.float32).clip(0) for count in (6, 9))
    second[4] = first[2] + 0.3 * generator.standard_normal(200, np.float32)
    best = find_leaks(gallery("a", first), gallery("b", second))[0]
    assert (best.first, best.second) == ("a/002.png", "b/004.png")
    assert best.score > 0.5
    assert len(find_leaks(gallery("a", first[:1]), gallery("b", first[:1]))) == 1
    assert len(find_leaks(gallery("a", first[:1]), gallery("b", second[:1]))) == 1


def test_pictures_at_hand_are_compared(tmp_path: Path, model: Path) -> None:
    """A mirrored and cropped copy in a zip; the network of the test has random weights."""
    (tmp_path / "test").mkdir()
    pictures = [Image.fromarray(picture) for picture in drawn_pictures(8, size=64)]
    for index, picture in enumerate(pictures):
        picture.save(tmp_path / "test" / f"{index}.png")
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        others = [Image.fromarray(picture) for picture in drawn_pictures(12, size=64, seed=9)]
        copy = ImageOps.mirror(pictures[5]).crop((0, 0, 58, 58))
        for index, picture in enumerate([*others, copy]):
            file = io.BytesIO()
            picture.save(file, "PNG")
            archive.writestr(f"a/{index}.png", file.getvalue())
    first, second = (
        embed_gallery(tmp_path / name, model=model, progress=False).gallery for name in ("test", "train.zip")
    )
    best = find_leaks(first, second)[0]
    assert (best.first, best.second) == ("5.png", "a/12.png")


def test_a_missing_file_is_like_nothing(tmp_path: Path, model: Path) -> None:
    for index, picture in enumerate(drawn_pictures(5, size=64)):
        (tmp_path / "test").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "test" / f"{index}.png")
    first = embed_gallery(tmp_path / "test", model=model, progress=False).gallery
    (tmp_path / "test" / "3.png").unlink()
    pairs = find_leaks(first, first)
    assert {(pair.first, pair.second) for pair in pairs[:4]} == {(f"{index}.png",) * 2 for index in (0, 1, 2, 4)}


def test_galleries_of_different_networks() -> None:
    with pytest.raises(GalleryMismatchError, match="16 and 8 numbers"):
        find_leaks(gallery("a", rows(4, 1)), gallery("b", rows(4, 1)[:, :8]))
    with pytest.raises(GalleryMismatchError, match="different networks"):
        find_leaks(gallery("a", rows(4, 1), weights_sha256="1"), gallery("b", rows(4, 1), weights_sha256="2"))


# --- look-alikes


@pytest.fixture
def similarity() -> VisualSimilarity:
    return tiny_similarity(20)


def test_the_example_itself_comes_first(similarity: VisualSimilarity) -> None:
    found = find_like(similarity, drawn_picture(4), top=3)
    assert len(found) == 3
    assert found[0].file_name == similarity.gallery.file_names[4]
    assert found[0].score == pytest.approx(1, abs=1e-3)
    assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)


def test_several_examples_and_counterexamples(similarity: VisualSimilarity) -> None:
    names = similarity.gallery.file_names
    both = find_like(similarity, [drawn_picture(4), drawn_picture(9)], at=0.99)
    assert {match.file_name for match in both} == {names[4], names[9]}
    less = find_like(similarity, [drawn_picture(4), drawn_picture(9)], not_like=[drawn_picture(9)], at=0.99)
    assert {match.file_name for match in less} == {names[4]}


def test_no_example(similarity: VisualSimilarity) -> None:
    with pytest.raises(QueryError, match="no example"):
        find_like(similarity, [])


def test_the_threshold_keeps_its_precision() -> None:
    """Of 40 sought pictures among 2,000, nearly all are found, and few others."""
    generator = np.random.default_rng(0)
    noise, sought = generator.normal(0, 0.1, 2000), generator.normal(0.7, 0.08, 40)
    scores = np.concatenate([noise, sought])
    at = threshold_of(scores)
    assert (scores[2000:] >= at).mean() > 0.95
    assert (scores[:2000] >= at).sum() <= 3


def test_where_nothing_is_alike_nothing_is_found() -> None:
    embeddings = rows(2000, 4)
    scores = look_alike_scores(embeddings, rows(1, 99), rows(0, 1))
    assert int((scores >= threshold_of(scores)).sum()) <= 2
    assert threshold_of(np.empty(0)) == 0.9


def test_the_least_alike_of_three_groups_is_left_out() -> None:
    """What is sought may be of two groups itself: placeholders with a camera and such with the outline of a car."""
    others = 0.1 * np.random.default_rng(0).standard_normal(5000)
    groups = [np.linspace(middle - 0.04, middle + 0.04, 30) for middle in (0.9, 0.65, 0.42)]
    assert 0.46 < threshold_of(np.concatenate([others, *groups])) < 0.61


def test_of_two_groups_that_are_found_the_better_one_is_meant() -> None:
    generator = np.random.default_rng(0)
    others = 0.1 * generator.standard_normal(2000) - 0.1
    sought = 0.6 + 0.3 * generator.random(50)
    drawn_too = 0.35 + 0.03 * generator.standard_normal(50)
    assert 0.45 < threshold_of(np.concatenate([others, sought, drawn_too])) <= 0.61
    assert threshold_of(np.concatenate([others, sought])) <= 0.61  # one group: nothing is cut off
    spread = np.concatenate([others, 0.4 + 0.5 * generator.random(50)])
    assert threshold_of(spread) < 0.45


def test_copies_of_an_example_are_no_group_of_their_own() -> None:
    generator = np.random.default_rng(0)
    others = 0.1 * generator.standard_normal(2000) - 0.1
    alike = 0.6 + 0.05 * generator.random(30)
    for copies in (np.ones(12), np.full(2, 0.93)):
        assert threshold_of(np.concatenate([others, alike, copies])) <= 0.61
