"""A picture table keeps its rows together, and its parts on disk come back as they were, or are done again."""

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.milvus_servers import need
from visim_models import OutputError
from visim_models.galleries.part_store import Part, PartStore
from visim_models.galleries.picture_table import PictureTable, hash_array, thumbnails_of
from visim_models.galleries.sources import Skipped

FORMS = ("safetensors", "parquet")
MADE_BY = {"weights_sha256": "a" * 64, "processor_sha256": "b" * 64}


def table(*names: str, seed: int = 0) -> PictureTable:
    rng = np.random.default_rng(seed)
    return PictureTable(
        list(names),
        {
            "embeddings": rng.random((len(names), 5)).astype(np.float16).astype(np.float32),
            "sha256": rng.integers(0, 256, (len(names), 32), np.uint8),
            "thumbnails": rng.integers(0, 256, (len(names), 3, 16, 16), np.uint8),
            "measured.uncertainty": rng.random(len(names)).astype(np.float32),
        },
    )


def same(one: PictureTable | None, other: PictureTable) -> bool:
    if one is None or one.file_names != other.file_names or one.arrays.keys() != other.arrays.keys():
        return False
    return all(np.array_equal(one[name], other[name]) for name in other.arrays)


def test_rows_stay_together() -> None:
    pictures = table("b", "a", "c")
    chosen = PictureTable.concatenate([pictures.subset([2, 0]), table("d", seed=1)]).in_order()
    assert chosen.file_names == ["b", "c", "d"]
    assert same(chosen.subset([0, 1]), pictures.subset([0, 2]))
    assert same(pictures.renamed(["x", "y", "z"]).renamed(["b", "a", "c"]), pictures)
    assert np.array_equal(hash_array(pictures.sha256.values()), pictures["sha256"])
    measured = pictures.with_arrays(**{"measured.top": np.ones(3, np.float32)}).measured
    assert measured.keys() == {"uncertainty", "top"}


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("embeddings", np.zeros((2, 5), np.float16)),
        ("embeddings", np.zeros(2, np.float32)),
        ("sha256", np.zeros((3, 32), np.uint8)),
        ("thumbnails", np.zeros((2, 3, 32, 32), np.uint8)),
        ("measured.top", np.zeros((2, 1), np.float32)),
        ("sizes", np.zeros((3, 2))),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=name):
        table("a", "b").with_arrays(**{name: array})


@pytest.mark.parametrize("side", [224, 100, 8])
def test_a_thumbnail_is_the_mean_of_areas(side: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, side, side), np.uint8)
    expected = F.interpolate(torch.from_numpy(pixels).double(), size=(16, 16), mode="area").numpy()
    assert np.abs(thumbnails_of(pixels) - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_parts_come_back_but_those_that_are_damaged_changed_or_of_another_fingerprint(
    form: Literal["safetensors", "parquet"], tmp_path: Path
) -> None:
    if form == "parquet":
        need("pyarrow")
    now = {name: f"{name}-1" for name in ("a", "b", "c", "d", "bad")}
    store = PartStore(tmp_path / "parts", MADE_BY, form=form)
    first, second = Part(table("a", "b"), [Skipped("bad", "not a picture")]), Part(table("c", seed=1), [])
    for part in (first, second):
        store.keep(part, now)
    assert store.finished(now) == {"a", "b", "c"}
    found = Part.joined(list(PartStore(tmp_path / "parts", MADE_BY, form=form).read(now)))
    assert found.skipped == first.skipped
    assert found.pictures is not None
    assert same(found.pictures.in_order(), PictureTable.concatenate([table("a", "b"), table("c", seed=1)]))
    assert store.finished({**now, "b": "b-2", "c": ""}) == {"a"}
    store.keep(Part(table("bad"), []), now)  # what was left out is a picture now
    assert Part.joined(list(store.read(now))).skipped == []
    for path in store.folder.glob("part-*"):
        path.write_bytes(path.read_bytes()[:-1])
    assert PartStore(tmp_path / "parts", MADE_BY, form=form).finished(now) == set()


def test_safetensors_of_another_fingerprint_share_a_folder_and_a_parquet_folder_is_refused(tmp_path: Path) -> None:
    now, other = {"a": "1"}, {**MADE_BY, "root": "/elsewhere"}
    for made_by in (MADE_BY, other):
        PartStore(tmp_path / "parts", made_by).keep(Part(table("a"), []), now)
    assert len(list((tmp_path / "parts").iterdir())) == 2
    assert len(list(PartStore(tmp_path / "parts", other).read(now))) == 1
    need("pyarrow")
    PartStore(tmp_path / "vectors", MADE_BY, form="parquet")
    with pytest.raises(OutputError, match="another network"):
        PartStore(tmp_path / "vectors", other, form="parquet")
    with pytest.raises(OutputError, match="did not write"):
        PartStore(tmp_path / "parts", MADE_BY, form="parquet")


def test_only_the_parts_are_removed(tmp_path: Path) -> None:
    store = PartStore(tmp_path / "parts", MADE_BY)
    store.keep(Part(table("a"), []), {"a": "1"})
    (store.folder / "notes.txt").write_text("precious")
    store.remove()
    assert [path.name for path in store.folder.iterdir()] == ["notes.txt"]
    (store.folder / "notes.txt").unlink()
    store.remove()
    assert not store.folder.exists()


def test_two_processes_at_once_are_refused_where_the_system_has_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PartStore(tmp_path / "parts", MADE_BY)
    with store.locked(), pytest.raises(OutputError, match="at work"), store.locked():
        pass
    with store.locked():
        pass
    imported: Callable[..., Any] = builtins.__import__

    def without_fcntl(name: str, *arguments: Any) -> Any:
        if name == "fcntl":
            raise ImportError(name)
        return imported(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_fcntl)
    with store.locked(), store.locked():  # as on Windows
        pass
