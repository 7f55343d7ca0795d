"""split.csv names the part of each picture by content, is read strictly, and has a digest of its own."""

import hashlib
from pathlib import Path

import pytest

from lab.split_file import HELD_OUT, PARTS, Split
from visim_models import DataError


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
