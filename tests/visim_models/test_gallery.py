"""The gallery's cosines can be checked by hand; its files are read strictly and written whole."""

import csv
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import write_part
from visim_models import Gallery, GalleryError, GalleryMismatchError, QueryError, VisimError
from visim_models.repo_folder import RepoFolder, formats

ROWS = np.array([[1, 0], [3, 4], [0, 2], [-1, 0], [0, 0]], np.float32)
NAMES = ["east.jpg", "between.jpg", "north.jpg", "west.jpg", "nowhere.jpg"]
LABELS = ["a", "b", "a", "b", "c"]


def compass() -> Gallery:
    return Gallery(NAMES, LABELS, ROWS, weights_sha256="w", processor_sha256="p", image_root="hf://datasets/x")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    write_part(compass(), tmp_path)
    return tmp_path


def metadata(folder: Path) -> Path:
    return folder / "gallery" / "metadata.csv"


def embeddings(folder: Path) -> Path:
    return folder / "gallery" / "embeddings.safetensors"


# --- searching


def test_cosines_by_hand() -> None:
    scores, indices = compass().search(np.array([[2.0, 0.0]]), top_k=5)
    np.testing.assert_allclose(scores, [[1, 0.6, 0, 0, -1]], atol=1e-6)
    assert indices[0, :2].tolist() == [0, 1]
    assert set(indices[0, 2:4].tolist()) == {2, 4}
    assert indices[0, 4] == 3
    assert (scores.dtype, indices.dtype) == (np.float32, np.int64)


def test_each_query_has_its_own_answer() -> None:
    scores, indices = compass().search(np.array([[1.0, 0], [0, 1], [-5, 0], [1, 1]]), top_k=1)
    assert indices[:, 0].tolist() == [0, 2, 3, 1]
    np.testing.assert_allclose(scores[:, 0], [1, 1, 1, 7 / (5 * math.sqrt(2))], atol=1e-6)


@pytest.mark.parametrize("top_k", [1, 3, 4, 5, 7, 8])
def test_of_equal_scores_the_lower_row_comes_first(top_k: int) -> None:
    near, far = [1.0, 0.0], [0.0, 1.0]
    gallery = Gallery([f"{n}.jpg" for n in range(8)], ["x"] * 8, np.array([far, near, far, near, near, far, near, far]))
    scores, indices = gallery.search(np.array([near, far]), top_k=top_k)
    assert indices.tolist() == [[1, 3, 4, 6, 0, 2, 5, 7][:top_k], [0, 2, 5, 7, 1, 3, 4, 6][:top_k]]
    assert scores.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0][:top_k]] * 2


def test_copies_come_in_order_wherever_they_stand() -> None:
    """A matrix product rounds a row as its index in the matrix wants it."""
    rows = np.random.default_rng(0).standard_normal((1500, 514)).astype(np.float32)
    copies = [3, 7, 10, 501, 777, 1498, 1499]
    rows[copies] = rows[3]
    gallery = Gallery([f"{n}.jpg" for n in range(1500)], ["x"] * 1500, rows)
    queries = np.random.default_rng(1).standard_normal((70, 514)).astype(np.float32) + 3 * rows[3]
    for found in (gallery.search(queries, top_k=7), gallery.search(queries[:1], top_k=7)):
        assert found[1].tolist() == [copies] * len(found[1])
        assert (found[0] == found[0][:, :1]).all()
    assert gallery.search(queries, top_k=3)[1].tolist() == [copies[:3]] * 70


def test_scores_never_leave_their_range() -> None:
    rows = np.random.default_rng(0).uniform(0, 1000, (200, 7)).astype(np.float32)
    gallery = Gallery([f"{n}.jpg" for n in range(200)], ["x"] * 200, rows)
    scores, indices = gallery.search(rows, top_k=1)
    assert scores.max() <= 1
    assert indices[:, 0].tolist() == list(range(200))
    np.testing.assert_allclose(scores, 1, atol=1e-6)


@pytest.mark.parametrize(("count", "queries", "top_k"), [(700, 600, 10), (50, 1, 50), (3, 257, 1)])
def test_exact_as_brute_force(count: int, queries: int, top_k: int) -> None:
    rng = np.random.default_rng(count)
    rows, wanted = rng.normal(size=(count, 16)), rng.normal(size=(queries, 16))
    gallery = Gallery([f"{n}.jpg" for n in range(count)], ["x"] * count, rows)
    scores, indices = gallery.search(wanted, top_k=top_k)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = wanted / np.linalg.norm(wanted, axis=1, keepdims=True) @ unit.T
    np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :top_k], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(cosines, indices, axis=1), scores, atol=1e-5)


@pytest.mark.parametrize("top_k", [0, -1, True, 1.5, 2.0, "2", None, float("nan")])
def test_a_top_k_that_does_not_fit(top_k: Any) -> None:
    with pytest.raises(QueryError, match="a whole number from 1 on"):
        compass().search(np.ones((1, 2)), top_k=top_k)


@pytest.mark.parametrize(("top_k", "count"), [(np.int64(3), 3), (5, 5), (6, 5), (10**30, 5)])
def test_a_top_k_is_clamped_to_the_gallery(top_k: int, count: int) -> None:
    scores, _ = compass().search(np.ones((1, 2)), top_k=top_k)
    assert scores.shape == (1, count)


@pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 1), (1, 1, 2), ()])
def test_queries_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(QueryError, match=r"\(Q, 2\)"):
        compass().search(np.ones(shape), top_k=1)


def test_a_query_that_is_not_finite_is_refused() -> None:
    with pytest.raises(QueryError, match="finite"):
        compass().search(np.array([[np.nan, 1.0]]), top_k=1)


def test_no_second_copy_of_the_matrix() -> None:
    rows = np.random.default_rng(0).random((50, 8), np.float32)
    gallery = Gallery([f"{n}.jpg" for n in range(50)], ["x"] * 50, rows)
    assert gallery.embeddings.ctypes.data == rows.ctypes.data
    tensors = [value for value in vars(gallery).values() if isinstance(value, np.ndarray)]
    assert sum(tensor.nbytes for tensor in tensors) <= rows.nbytes * 1.2


def test_place_and_subset() -> None:
    gallery = compass()
    assert gallery.index_of("north.jpg") == 2
    with pytest.raises(QueryError, match="south"):
        gallery.index_of("south.jpg")
    part = gallery.subset([3, 1])
    assert (part.file_names, part.labels, len(part)) == (["west.jpg", "between.jpg"], ["b", "b"], 2)
    assert part.embeddings.tolist() == [[-1, 0], [3, 4]]
    assert (part.weights_sha256, part.processor_sha256, part.image_root) == ("w", "p", "hf://datasets/x")


# --- building


@pytest.mark.parametrize(
    "name",
    [
        "", "../a.jpg", "/etc/passwd", "a\nb.jpg",
    ],
)  # fmt: skip
def test_file_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(GalleryError, match="file name"):
        Gallery([name], ["x"], np.ones((1, 2)))


@pytest.mark.parametrize(
    ("names", "labels", "rows", "message"),
    [
        (["a", "b"], ["x"], np.ones((2, 2)), "one length"),
        (["a"], ["x"], np.ones((2, 2)), "one length"),
        (["a", "a"], ["x", "y"], np.ones((2, 2)), "twice"),
        ([], [], np.ones((0, 2)), "shape"),
        (["a"], ["x"], np.ones((1, 0)), "shape"),
        (["a"], ["x"], np.ones(1), "shape"),
        (["a"], ["x"], np.array([[1, np.nan]]), "finite"),
        (["a"], ["x"], np.array([[1, np.inf]]), "finite"),
    ],
)
def test_parts_that_do_not_fit(names: list[str], labels: list[str], rows: Any, message: str) -> None:
    with pytest.raises(GalleryError, match=message):
        Gallery(names, labels, rows)


# --- files


def test_round_trip(saved: Path, tmp_path: Path) -> None:
    gallery = Gallery.load(RepoFolder(saved), weights_sha256="w", processor_sha256="p")
    assert (gallery.file_names, gallery.labels) == (NAMES, LABELS)
    assert np.array_equal(gallery.embeddings, ROWS)
    assert gallery.embeddings.dtype == np.float32
    assert (gallery.weights_sha256, gallery.processor_sha256, gallery.image_root) == ("w", "p", "hf://datasets/x")
    before = metadata(saved).read_bytes(), embeddings(saved).read_bytes()
    write_part(gallery, tmp_path)
    assert (metadata(saved).read_bytes(), embeddings(saved).read_bytes()) == before


def test_float16_on_disk(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32)
    write_part(Gallery([f"{n}.jpg" for n in range(30)], ["x"] * 30, rows), tmp_path)
    assert formats.read_tensors(embeddings(tmp_path))["embeddings"].dtype == np.float16
    assert np.array_equal(Gallery.load(RepoFolder(tmp_path)).embeddings, rows.astype(np.float16).astype(np.float32))


def test_embeddings_beyond_float16(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="float16"):
        write_part(Gallery(["a"], ["x"], np.array([[1e6, 0]])), tmp_path)
    assert not embeddings(tmp_path).exists()


@pytest.mark.parametrize("key", ["weights_sha256", "processor_sha256"])
def test_a_gallery_of_other_files(key: str, saved: Path) -> None:
    expected = {"weights_sha256": "w", "processor_sha256": "p", key: "another"}
    with pytest.raises(GalleryMismatchError, match=f"{key}.*embed the gallery again"):
        Gallery.load(RepoFolder(saved), **expected)


def test_a_gallery_without_hashes_is_refused_where_they_are_asked_for(saved: Path) -> None:
    formats.write_tensors(embeddings(saved), {"embeddings": ROWS})
    with pytest.raises(GalleryMismatchError):
        Gallery.load(RepoFolder(saved), weights_sha256="w")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begin with the columns"),
        (b"file_name;label\n", "begin with the columns"),
        (b"name,label\na.jpg,x\n", "begin with the columns"),
        (b"file_name,label\n", "one length"),
        (b"file_name,label\na.jpg,x\n", "one length"),
        (b"file_name,label\n" + b"".join(b"%d.jpg,x\n" % n for n in range(6)), "one length"),
        (b"file_name,label\na.jpg\n", "row 2 has 1"),
        (b"file_name,label\na.jpg,x,y\n", "row 2 has 3"),
        (b"file_name,label\n\n", "row 2 has 0"),
        (b"file_name,label\n" + b"a.jpg,x\n" * 5, "twice"),
        (b"file_name,label\na,x\nb,x\n../c,x\nd,x\ne,x\n", "file name"),
        (b'file_name,label\n"a,x\n', "CSV"),
        (b'file_name,label\n"a"b,x\n', "CSV"),
        (b"file_name,label\n\xff\xfe,x\n", "CSV"),
        (b"file_name,label\n" + b"a" * 200_000 + b",x\n", "CSV"),
    ],
    ids=lambda part: repr(part)[:40],
)
def test_damaged_metadata(content: bytes, message: str, saved: Path) -> None:
    metadata(saved).write_bytes(content)
    with pytest.raises(GalleryError, match=message):
        Gallery.load(RepoFolder(saved))


@pytest.mark.parametrize("file", [metadata, embeddings])
def test_a_missing_file(file: Any, saved: Path) -> None:
    file(saved).unlink()
    with pytest.raises(GalleryError, match=f"has no {file(saved).name}"):
        Gallery.load(RepoFolder(saved))


@pytest.mark.parametrize(
    "tensors",
    [
        {"features": np.ones((5, 2))},
        {"embeddings": np.ones((5, 2)), "more": np.ones(1)},
        {"embeddings": np.ones((5, 2), np.int64)},
        {"embeddings": np.ones((5, 2), np.complex64)},
        {"embeddings": np.ones(10)},
        {"embeddings": np.full((5, 2), np.nan)},
        {"embeddings": np.full((5, 2), 1e300)},
        {"embeddings": np.ones((4, 2))},
    ],
    ids=lambda tensors: str({name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()}),
)
def test_embeddings_that_do_not_fit(tensors: dict[str, Any], saved: Path) -> None:
    formats.write_tensors(embeddings(saved), tensors)
    with pytest.raises(GalleryError):
        Gallery.load(RepoFolder(saved))


TEXT = st.text(max_size=6) | st.sampled_from(["a.jpg", "../x", "/x", '"', "a,b", "\r", "\0", "\ud800"])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rows=st.lists(st.lists(TEXT, min_size=1, max_size=3), max_size=6), tail=st.binary(max_size=4))
def test_fuzzed_metadata(rows: list[list[str]], tail: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed_gallery"
    write_part(compass(), folder)
    with metadata(folder).open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file, lineterminator="\n").writerows([["file_name", "label"], *rows])
    metadata(folder).write_bytes(metadata(folder).read_bytes() + tail)
    try:
        gallery = Gallery.load(RepoFolder(folder))
    except VisimError as error:
        assert "gallery" in str(error)  # noqa: PT017 (an error is one of two right outcomes)
    else:
        assert len(gallery) == 5
        assert not any(name.startswith(("/", "..")) for name in gallery.file_names)


# --- further columns


def test_metadata_that_is_a_pipe_is_not_waited_for(saved: Path) -> None:
    metadata(saved).unlink()
    os.mkfifo(metadata(saved))
    with pytest.raises(GalleryError, match="not a regular file"):
        Gallery.load(RepoFolder(saved))


def test_metadata_of_far_more_rows_than_embeddings_is_not_read(saved: Path) -> None:
    with metadata(saved).open("ab") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(GalleryError, match="larger than"):
        Gallery.load(RepoFolder(saved))
    metadata(saved).write_text("file_name,label\n" + "".join(f"{n}.jpg,a\n" for n in range(50_000)))
    with pytest.raises(GalleryError, match="6 or more rows for 5"):
        Gallery.load(RepoFolder(saved))


def test_embeddings_of_far_more_rows_than_metadata_are_not_read(saved: Path) -> None:
    rows, width = 2**23, 514
    size = rows * width * 2
    header = json.dumps({"embeddings": {"dtype": "F16", "shape": [rows, width], "data_offsets": [0, size]}}).encode()
    with embeddings(saved).open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)  # sparse
    start = time.process_time()
    with pytest.raises(GalleryError, match="8,388,608"):
        Gallery.load(RepoFolder(saved))
    assert time.process_time() - start < 2


def test_columns_are_kept(tmp_path: Path) -> None:
    columns = {"price": ["1", "2, or 3", ""], "url": ["https://a.example", 'a "b"', "x\ny"]}
    gallery = Gallery(["a.jpg", "b.jpg", "c.jpg"], ["x", "", "y"], np.eye(3), columns=columns)
    write_part(gallery, tmp_path)
    found = Gallery.load(RepoFolder(tmp_path))
    assert (found.columns, found.labels) == (columns, ["x", "", "y"])
    assert found.subset([2, 0]).columns == {"price": ["", "1"], "url": ["x\ny", "https://a.example"]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [({"price": ["1"]}, "price"), ({"label": ["a", "b", "c"]}, "label twice")],
)
def test_columns_that_do_not_fit(columns: dict[str, list[str]], message: str) -> None:
    with pytest.raises(GalleryError, match=message):
        Gallery(["a.jpg", "b.jpg", "c.jpg"], ["x"] * 3, np.eye(3), columns=columns)


@pytest.mark.parametrize("head", ["file_name,label,price,price", "file_name,label,", "label,file_name"])
def test_columns_of_a_file_that_cannot_be(head: str, saved: Path) -> None:
    metadata(saved).write_text(f"{head}\n", encoding="utf-8")
    with pytest.raises(GalleryError, match=r"metadata\.csv"):
        Gallery.load(RepoFolder(saved))
