"""A gallery's own pictures, each left out in its turn, calibrate the detector as queries would; drawn ones try it."""

from pathlib import Path

import numpy as np
import pytest

from tests.builders import write_pictures
from visim_models import VisualSimilarity
from visim_models.galleries import Description, MetadataTable, build, update
from visim_models.galleries.calibration import check_verdict, distance_detector, leave_one_out, match_probability
from visim_models.galleries.picture_table import PictureTable
from visim_models.measurements import measure_neighbours
from visim_models.repo_folder import RepoFolder


def pictures_of(embeddings: np.ndarray, thumbnails: np.ndarray) -> PictureTable:
    names = [str(number) for number in range(len(embeddings))]
    return PictureTable(names, {"embeddings": embeddings.astype(np.float32), "thumbnails": thumbnails})


def noise(count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 255, (count, 3, 16, 16), np.uint8)


def test_the_calibration_measures_as_a_query_is_measured(model: Path, pictures: Path, tmp_path: Path) -> None:
    """Each picture left out is measured as `VisualSimilarity.measure` measures it against the gallery without it."""
    build(pictures, tmp_path / "mine", model=model, progress=False)
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    left_out = leave_one_out(PictureTable.load(RepoFolder(tmp_path / "mine"), mine.gallery))
    assert len(left_out) == 16
    for index in range(0, 16, 3):
        pixels = mine.processor(pictures / mine.gallery.file_names[index])[None]
        others = mine.gallery.subset([other for other in range(16) if other != index])
        seen = mine._measure(pixels, others, 1)[0]
        assert set(seen) == set(left_out.measured)
        for name, values in seen.items():
            assert values.item() == pytest.approx(left_out.measured[name][index].item(), rel=2e-3, abs=2e-3), name


def test_near_duplicates_are_left_out_together() -> None:
    thumbnails = noise(4, np.random.default_rng(0))
    thumbnails[1] = thumbnails[0]
    left_out = leave_one_out(pictures_of(np.eye(4)[[0, 0, 1, 2]] + 0.01, thumbnails))
    assert left_out.measured["top_distance"][:2].min() > 0.9  # not 0, the distance of each other


def test_the_rate_of_false_alarms_is_kept() -> None:
    """On exchangeable pictures: alarms on fresh ones stay at the stated rate, within three standard errors."""
    rng = np.random.default_rng(5)
    known, fresh = (rng.standard_normal((count, 6)).astype(np.float32) for count in (400, 1000))
    detector = distance_detector(leave_one_out(pictures_of(known, noise(400, rng))))
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (fresh, known)]
    cosines = -np.sort(-(unit[0] @ unit[1].T), axis=1)[:, :10]
    alarms = sum(each.is_ood for each in detector.verdicts(measure_neighbours(fresh, cosines), fresh)) / 1000
    spread = (0.05 * 0.95 * (1 / 400 + 1 / 1000)) ** 0.5
    assert 0.05 - 3 * spread < alarms < 0.05 + 3 * spread


def test_a_large_gallery_is_calibrated_on_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visim_models.galleries.calibration.LARGEST_CALIBRATION", 20)
    rng = np.random.default_rng(1)
    pictures = pictures_of(rng.standard_normal((50, 6)), noise(50, rng))
    measured = leave_one_out(pictures)
    assert len(measured) == 20
    assert np.array_equal(measured["embeddings"][[0, -1]], pictures["embeddings"][[0, -1]])


@pytest.mark.parametrize(
    ("count", "share", "word"), [(1, None, "cannot tell"), (10, 0.2, "cannot tell"), (10, 0.9, "")]
)
def test_a_gallery_that_is_too_small_or_misses_what_is_strange_cannot_tell(
    count: int, share: float | None, word: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial's result is in ood.json, and report, card and result say the same."""
    found = {} if share is None else dict.fromkeys(("noise", "plain"), share)
    monkeypatch.setattr("visim_models.galleries.built_gallery.check_verdict", lambda *_, **__: found)
    pictures = write_pictures(tmp_path / "pictures", count)
    report = build(pictures, tmp_path / "mine", model=model, progress=False)
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    verdict = mine.search(pictures / "suv" / "0000.png", top_k=1).ood
    assert mine.ood.check == (found or None)
    assert verdict.can_tell == mine.ood.can_tell == report.detector.can_tell == (not word)
    assert not word or verdict.word == word
    said = ['"cannot tell"' in text for text in (report.lines()[1], (tmp_path / "mine" / "README.md").read_text())]
    assert said == [bool(word)] * 2


def test_labels_show_how_probable_a_match_is(model: Path, tmp_path: Path) -> None:
    """Measured leave-one-out, kept with the gallery, stated with its error, and measured again for other labels."""
    pictures = write_pictures(tmp_path / "pictures", 15)
    report = build(pictures, tmp_path / "mine", model=model, progress=False)
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    found = mine.match_probability
    assert found is not None
    assert found == report.match_probability
    assert found.queries == 60
    assert found.calibration_error is not None
    stated = (
        f"rests on 60 pictures; on pictures that it was not fitted on, it is off by {100 * found.calibration_error:.1f}"
    )
    assert any(stated in line for line in report.lines())
    assert stated in (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert mine.search(pictures / "suv" / "0000.png").matches[0].probability is not None
    names = mine.gallery.file_names
    (tmp_path / "t.csv").write_text(
        "file_name,label\n" + "".join(f"{name},{number % 2}\n" for number, name in enumerate(names))
    )
    update(tmp_path / "mine", description=Description(metadata=MetadataTable.read(tmp_path / "t.csv")), progress=False)
    assert VisualSimilarity.from_pretrained(tmp_path / "mine").match_probability not in (None, found)
    rows = "".join(f"{name},\n" for name in names)
    (tmp_path / "t.csv").write_text(f"file_name,label\n{rows}")
    update(tmp_path / "mine", description=Description(metadata=MetadataTable.read(tmp_path / "t.csv")), progress=False)
    assert VisualSimilarity.from_pretrained(tmp_path / "mine").match_probability is None


def test_the_probability_of_a_match_is_that_of_its_neighbours_labels() -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(3), 40, axis=0)
    pictures = pictures_of(centres + 0.02 * rng.standard_normal((120, 3)), noise(120, rng))
    labels = [*("a" * 40), *("b" * 40), *"cd" * 20]  # the last two are mixed
    found = match_probability(leave_one_out(pictures, labels=labels))
    assert found is not None
    assert found.queries == 120
    assert 0.75 < found(0.9998) < 0.95  # two thirds of the queries find their own, a third find half
    assert match_probability(leave_one_out(pictures, labels=["a"] * 120)) is None
    assert match_probability(leave_one_out(pictures, labels=[""] * 100 + ["a", "b"] * 10)) is None


def test_the_check_is_what_the_verdict_finds_of_drawn_pictures(model: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 10)
    build(pictures, tmp_path / "mine", model=model, progress=False)
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    check = check_verdict(mine.network, mine.processor, mine.gallery, mine.ood)
    assert mine.ood.check == check
    assert check.keys() == {"noise", "plain", "gradient", "stripes", "text", "plot"}
    small = write_pictures(tmp_path / "small", 1)
    build(small, tmp_path / "few", model=model, progress=False)
    few = VisualSimilarity.from_pretrained(tmp_path / "few")
    assert check_verdict(few.network, few.processor, few.gallery, few.ood) == {}
