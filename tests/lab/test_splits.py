"""Splits hold their shares, do not leak, and are read as they were written."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lab.data import hashes_of
from lab.splits import HELD_OUT, PARTS, Shares, Split, deal, extended, keep_one_of_each_group, split_images
from tests.builders import drawn_table
from visim_models import DataError
from visim_models.galleries.picture_table import PictureTable, hash_array

SHARES = Shares(test=0.2, calibration=0.1, fit=0.05, validation=0.05)
NOBODY = Shares(test=0, calibration=0, fit=0, validation=0)


def keys(count: int) -> list[str]:
    return [f"{(index + 1) * 2654435761 % 2**32:032x}" for index in range(count)]


def parts_of(split: Split, hashes: list[str]) -> Counter[str | None]:
    return Counter(split.part_of(sha256) for sha256 in hashes)


def test_every_picture_is_dealt_once_and_groups_stay_whole() -> None:
    hashes, rng = keys(800), np.random.default_rng(0)
    groups = dict(zip(hashes, rng.integers(0, 300, 800).tolist(), strict=True))
    labels = {sha256: f"class {groups[sha256] % 3}" for sha256 in hashes}
    split = deal(labels, groups, SHARES, seed=1)
    assert split.has_exactly(hashes)
    parts_of_group: dict[int, set[str | None]] = {}
    for sha256 in hashes:
        part = split.part_of(sha256)
        parts_of_group.setdefault(groups[sha256], set()).add("calibration" if part == "unused" else part)
        assert split.group_of(sha256) is not None or list(groups.values()).count(groups[sha256]) == 1
    assert all(len(parts) == 1 for parts in parts_of_group.values())
    counts = parts_of(split, hashes)
    assert set(counts) == set(PARTS)
    assert counts["test"] == pytest.approx(160, abs=5)
    assert counts["calibration"] + counts["unused"] == pytest.approx(80, abs=5)
    assert counts["fit"] == pytest.approx(40, abs=5)
    assert counts["validation"] == pytest.approx(40, abs=5)


def test_of_each_group_one_picture_calibrates() -> None:
    hashes = keys(200)
    groups = {sha256: index // 4 for index, sha256 in enumerate(hashes)}
    split = deal(dict.fromkeys(hashes, "a"), groups, SHARES, seed=0)
    calibrating = [groups[sha256] for sha256 in hashes if split.part_of(sha256) == "calibration"]
    assert len(calibrating) == len(set(calibrating)) == 5
    assert parts_of(split, hashes)["unused"] == 15
    assert parts_of(split, hashes)["test"] == 40  # elsewhere, all of a group count


def test_keeping_one_does_not_depend_on_the_order() -> None:
    hashes = keys(6)
    parts, groups = dict.fromkeys(hashes, "calibration"), dict.fromkeys(hashes[:5], 0)
    kept = keep_one_of_each_group(parts, groups)
    assert Counter(kept.values()) == {"calibration": 2, "unused": 4}
    assert kept == keep_one_of_each_group(dict(reversed(parts.items())), groups)


def test_each_class_has_its_share() -> None:
    hashes = keys(120)
    labels = dict(zip(hashes, ["a"] * 80 + ["b"] * 40, strict=True))
    split = deal(labels, {sha256: index for index, sha256 in enumerate(hashes)}, SHARES, seed=3)
    assert Counter(labels[sha256] for sha256 in hashes if split.part_of(sha256) == "test") == {"a": 16, "b": 8}
    assert Counter(labels[sha256] for sha256 in hashes if split.part_of(sha256) == "fit") == {"a": 4, "b": 2}


def test_small_classes_do_not_take_more_than_the_share() -> None:
    """One picture of each part from each class would hold half of the pictures out."""
    hashes = keys(400)
    labels = {sha256: f"class {index // 8:02}" for index, sha256 in enumerate(hashes)}
    split = deal(labels, {sha256: index for index, sha256 in enumerate(hashes)}, SHARES, seed=0)
    assert parts_of(split, hashes) == {"train": 240, "test": 80, "calibration": 40, "fit": 20, "validation": 20}


def test_the_seed_decides() -> None:
    hashes = keys(100)
    labels, groups = dict.fromkeys(hashes, "a"), {sha256: index for index, sha256 in enumerate(hashes)}
    assert deal(labels, groups, SHARES, seed=1).sha256 == deal(labels, groups, SHARES, seed=1).sha256
    assert deal(labels, groups, SHARES, seed=1).sha256 != deal(labels, groups, SHARES, seed=2).sha256


def test_no_share_is_nobody() -> None:
    hashes = keys(9)
    split = deal(dict.fromkeys(hashes, "a"), dict.fromkeys(hashes, 0), NOBODY, seed=0)
    assert parts_of(split, hashes) == {"train": 9}


def test_a_mirrored_picture_is_in_the_part_of_its_original() -> None:
    originals = drawn_table(40, size=32)
    mirrored = drawn_table(40, size=32, seed=1, labels=["b"]).with_arrays(pixels=originals["pixels"][..., ::-1])
    split = split_images(PictureTable.concatenate([originals, mirrored]), SHARES, seed=0)
    for one, other in zip(hashes_of(originals), hashes_of(mirrored), strict=True):
        assert split.group_of(one) == split.group_of(other) is not None
        parts = {split.part_of(one), split.part_of(other)}
        assert len(parts) == 1 or parts == {"calibration", "unused"}


def test_names_order_and_copies_of_the_files_do_not_matter() -> None:
    found = drawn_table(40, size=32)
    order = [*range(39, -1, -1), 3, 4]  # two of them twice
    copies = found.subset(order).renamed([f"a/copy {index}.png" for index in order])
    assert split_images(copies, SHARES, seed=0).sha256 == split_images(found, SHARES, seed=0).sha256


def test_plain_copies_are_one_content() -> None:
    """Two files of one content have nothing that a thumbnail could be compared by, and still are in one part."""
    plain = {"pixels": np.full((2, 3, 32, 32), 90, np.uint8), "sha256": hash_array(["f" * 64] * 2)}
    both = PictureTable.concatenate([drawn_table(20, size=32), PictureTable(["a/x.png", "a/y.png"], plain)])
    split = split_images(both, SHARES, seed=0)
    assert len(split) == 21
    assert split.part_of("f" * 64) in PARTS


def test_what_is_kept_together_is_in_one_part() -> None:
    """The models of cars, say: whole ones are held out, whatever their near-duplicates are."""
    images = drawn_table(120, size=16)
    hashes = hashes_of(images)
    models = {sha256: f"model {index % 12}" for index, sha256 in enumerate(hashes[:96])}
    split = split_images(images, SHARES, seed=0, kept_together=models)
    parts: dict[str, set[str | None]] = {}
    for sha256 in hashes:
        part = split.part_of(sha256)
        parts.setdefault(models.get(sha256, sha256), set()).add("calibration" if part == "unused" else part)
    assert all(len(found) == 1 for found in parts.values())
    assert {part for found in parts.values() for part in found} >= {"train", "test", "calibration"}
    assert parts_of(split, hashes)["unused"] < 5  # of one model many pictures calibrate: they are no near-duplicates


def test_a_split_is_extended_by_a_new_source_and_keeps_its_parts() -> None:
    """A new picture that is an old one again is in its part; of a calibration picture it is not used."""
    old, new = drawn_table(60, size=32), drawn_table(60, size=32, seed=500, labels=["b"])
    split = split_images(old, SHARES, seed=0)
    again = drawn_table(60, size=32, seed=2, labels=["b"]).with_arrays(pixels=old["pixels"])
    every = PictureTable.concatenate([old, new, again])
    found = extended(split, every, SHARES, seed=0, kept_together=dict.fromkeys(hashes_of(new)[:20], "one model"))
    assert found.of(hashes_of(old)).parts == split.parts
    assert found.has_exactly(hashes_of(every))
    assert len({found.part_of(sha256) for sha256 in hashes_of(new)[:20]} - {"unused", "calibration"}) <= 1
    assert set(parts_of(found, hashes_of(new))) >= {"train", "test", "fit", "calibration"}
    for one, other in zip(hashes_of(old), hashes_of(again), strict=True):
        part = split.part_of(one)
        assert found.part_of(other) == ("unused" if part == "calibration" else part)


def sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


SPLIT = Split(
    {sha256(1): "train", sha256(2): "train", sha256(3): "calibration", sha256(4): "unused", sha256(5): "test"},
    {sha256(3): 0, sha256(4): 0},
)


def test_written_and_read_again(tmp_path: Path) -> None:
    SPLIT.write(tmp_path / "split.csv")
    read = Split.read(tmp_path / "split.csv")
    assert read.sha256 == SPLIT.sha256 == hashlib.sha256((tmp_path / "split.csv").read_bytes()).hexdigest()
    assert [read.part_of(sha256(number)) for number in range(7)] == [
        None, "train", "train", "calibration", "unused", "test", None
    ]  # fmt: skip
    assert [read.group_of(sha256(number)) for number in (2, 3, 4)] == [None, 0, 0]
    assert len(read) == 5


def test_the_file_is_compact_and_names_no_file(tmp_path: Path) -> None:
    SPLIT.write(tmp_path / "split.csv")
    lines = (tmp_path / "split.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "sha256,part,group"
    assert f"{sha256(3)[:32]},calibration,0" in lines
    assert f"{sha256(1)[:32]},train," in lines
    assert lines[1:] == sorted(lines[1:])


def test_the_order_of_the_pictures_does_not_matter_and_a_part_does() -> None:
    parts = {sha256(number): "train" for number in range(4)}
    assert Split(dict(reversed(parts.items()))).sha256 == Split(parts).sha256
    assert Split({**parts, sha256(0): "test"}).sha256 != Split(parts).sha256
    assert Split(parts, {sha256(0): 1, sha256(1): 1}).sha256 != Split(parts).sha256


def test_line_ends_do_not_change_the_digest(tmp_path: Path) -> None:
    """A checkout on another system may turn them."""
    (tmp_path / "split.csv").write_bytes(SPLIT.to_text().replace("\n", "\r\n").encode())
    assert Split.read(tmp_path / "split.csv").sha256 == SPLIT.sha256


def test_pictures_are_found_by_content() -> None:
    hashes = [sha256(5), sha256(9), sha256(3), sha256(1), sha256(5)]
    assert SPLIT.indices([hashes[0], hashes[2], hashes[0]], PARTS) == [0, 1]
    assert SPLIT.indices(hashes, ["test"]) == [0]
    assert SPLIT.indices(hashes, ["test"], with_copies=True) == [0, 4]
    assert SPLIT.indices(hashes, HELD_OUT) == [0, 2]
    assert SPLIT.indices(hashes, PARTS) == [0, 2, 3]
    assert SPLIT.indices(hashes, PARTS, with_copies=True) == [0, 2, 3, 4]
    assert SPLIT.counts(hashes) == {"train": 1, "calibration": 1, "test": 1}
    assert SPLIT.count_missing(hashes, HELD_OUT) == 1
    assert SPLIT.count_missing(hashes, ["train"]) == 1


def test_the_pictures_of_a_split() -> None:
    hashes = [sha256(number) for number in (5, 4, 3, 2, 1, 1)]
    assert SPLIT.has_exactly(hashes)
    assert not SPLIT.has_exactly(hashes[1:])
    assert not SPLIT.has_exactly([*hashes, sha256(6)])


FIRST = f"{sha256(1)[:32]},train,\n"
DAMAGED = {
    "empty": "",
    "other columns": "file_name,part\na.jpg,train\n",
    "unknown part": f"sha256,part,group\n{sha256(1)[:32]},training,\n",
    "no hash": "sha256,part,group\nsuv/0001.jpg,train,\n",
    "short hash": f"sha256,part,group\n{sha256(1)[:31]},train,\n",
    "twice": f"sha256,part,group\n{FIRST}{FIRST}",
    "group": f"sha256,part,group\n{sha256(1)[:32]},train,x\n",
    "columns": f"sha256,part,group\n{sha256(1)[:32]},train\n",
    "cut off": f"sha256,part,group\n{FIRST}{sha256(2)[:10]}",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_split_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"split\.csv") as caught:
        Split.read(tmp_path / "split.csv")
    assert caught.value.path == tmp_path / "split.csv"


def test_a_missing_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="held out"):
        Split.read(tmp_path / "split.csv")
