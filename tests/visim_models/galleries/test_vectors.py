"""Vectors of one's own become a gallery without a network, and those of a gallery a table for other programs."""

from pathlib import Path

import numpy as np
import pytest

from tests.builders import files_of
from tests.milvus_servers import need
from visim_models import DataError, MissingExtraError, OutputError, QueryError, VisualSimilarity
from visim_models.cli.__main__ import main
from visim_models.galleries import Description, MetadataTable, build, build_of_vectors, export_gallery
from visim_models.gallery import Gallery

NAMES = [f"{folder}/{number:02d}.jpg" for folder in ("cup", "ant") for number in range(30)]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """60 vectors of 8 numbers around two centres, and a table with their names."""
    rng = np.random.default_rng(0)
    matrix = np.repeat(np.eye(2, 8), 30, axis=0) + 0.05 * rng.standard_normal((60, 8))
    np.save(tmp_path / "clip.npy", matrix.astype(np.float32))
    rows = "".join(f"{name},{number}\n" for number, name in enumerate(NAMES))
    (tmp_path / "names.csv").write_text(f"file_name,price\n{rows}")
    return tmp_path / "clip.npy"


def table_beside(vectors: Path) -> MetadataTable:
    return MetadataTable.read(vectors.with_name("names.csv"))


def test_a_gallery_of_own_vectors_is_searched_by_its_own_pictures(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = str(tmp_path / "mine")
    names = str(vectors.with_name("names.csv"))
    assert main(["build", "--embeddings", str(vectors), "--metadata", names, "--out", mine]) == 0
    printed = capsys.readouterr().out
    assert "60 pictures (60 added)" in printed
    assert "no network" in printed
    assert "no network" in Path(mine, "README.md").read_text(encoding="utf-8")
    loaded = VisualSimilarity.from_pretrained(mine)
    assert loaded.gallery.labels[:1] + loaded.gallery.labels[-1:] == ["cup", "ant"]
    assert loaded.gallery.columns["price"][3] == "3"
    assert np.allclose(loaded.gallery.embeddings, np.load(vectors), atol=1e-3)
    assert main(["search", mine, "ant/03.jpg", "--top-k", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ant/03.jpg: a picture of the gallery"
    assert lines[1].split() == ["100", "%", "ant/03.jpg", "(ant)"]
    assert {line.split()[-1] for line in lines[2:]} == {"(ant)"}
    with pytest.raises(QueryError, match="search it with a file name of its own"):
        loaded.search(np.zeros((8, 8, 3), np.uint8))
    assert main(["info", mine]) == 0
    assert "own-vectors" in capsys.readouterr().out
    build_of_vectors(vectors, mine, description=Description(metadata=table_beside(vectors)), progress=False)


def test_vectors_go_out_and_come_in_again(
    vectors: Path, tmp_path: Path, model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need("pyarrow")
    build(pictures, tmp_path / "mine", model=model, progress=False)
    gallery = Gallery.from_pretrained(tmp_path / "mine")
    out = tmp_path / "table.parquet"
    assert main(["export", str(tmp_path / "mine"), "--out", str(out)]) == 0
    assert "16 vectors of" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "mine"), "--out", str(out)]) == 2
    assert "is there already, and stays" in capsys.readouterr().err
    from pyarrow import parquet

    table = parquet.read_table(out)
    assert table.column_names == ["file_name", "label", "embedding"]
    build_of_vectors(out, tmp_path / "again", progress=False)
    again = Gallery.from_pretrained(tmp_path / "again")
    assert (again.file_names, again.labels) == (gallery.file_names, gallery.labels)
    assert np.array_equal(again.embeddings, gallery.embeddings)
    before = files_of(tmp_path / "mine")
    with pytest.raises(OutputError, match="not of own vectors"):
        build_of_vectors(out, tmp_path / "mine", progress=False)
    assert files_of(tmp_path / "mine") == before


def test_lance(vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("pyarrow")
    mine = tmp_path / "mine"
    build_of_vectors(vectors, mine, description=Description(metadata=table_beside(vectors)), progress=False)
    gallery = Gallery.from_pretrained(mine)
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "lance", None)
        with pytest.raises(MissingExtraError, match=r"visim-models\[lance\]"):
            export_gallery(gallery, tmp_path / "t.lance", form="lance")
    need("lance")
    export_gallery(gallery, tmp_path / "t.lance", form="lance")
    build_of_vectors(tmp_path / "t.lance", tmp_path / "again", progress=False)
    again = Gallery.from_pretrained(tmp_path / "again")
    assert (again.file_names, again.columns) == (gallery.file_names, gallery.columns)
    assert np.array_equal(again.embeddings, gallery.embeddings)


def test_files_that_cannot_be_used_leave_nothing(vectors: Path, tmp_path: Path) -> None:
    need("pyarrow")
    import pyarrow
    from pyarrow import parquet

    names = Description(metadata=table_beside(vectors))
    bad = tmp_path / "bad.npy"
    for array, message in (
        (np.zeros((59, 8), np.float32), "59 rows, and .* 60 records"),
        (np.zeros((60, 8), np.int64), "floats of shape"),
        (np.full((60, 8), np.nan), "not finite"),
        (np.full((60, 8), 1e6), "beyond float16"),
        (np.ones((60, 8)), "at least two pictures"),
    ):
        np.save(bad, array)
        with pytest.raises(ValueError, match=message):
            build_of_vectors(bad, tmp_path / "mine", description=names, progress=False)
    np.save(bad, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not an array of numbers"):
        build_of_vectors(bad, tmp_path / "mine", description=names, progress=False)
    with pytest.raises(DataError, match="give --metadata"):
        build_of_vectors(vectors, tmp_path / "mine", progress=False)
    for columns, message in (
        ({"file_name": ["a"]}, "lacks the column embedding"),
        ({"file_name": ["a", "b"], "embedding": [[1.0], [1.0, 2.0]]}, "all of one length"),
        ({"file_name": ["a", "b"], "embedding": [[1.0], None]}, "in every row"),
        ({"file_name": ["a", "b"], "embedding": ["x", "y"]}, "list of floats"),
    ):
        parquet.write_table(pyarrow.table(columns), tmp_path / "bad.parquet")
        with pytest.raises(DataError, match=message):
            build_of_vectors(tmp_path / "bad.parquet", tmp_path / "mine", progress=False)
    assert not (tmp_path / "mine").exists()
