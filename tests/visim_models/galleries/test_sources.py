"""Galleries of a bucket and of a list of addresses are those of the folder that has the same pictures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import FileServer, running
from tests.milvus_servers import need
from tests.s3_server import KEY, SECRET, S3Server, serving_s3, use_s3
from tests.visim_models.galleries.engine_builds import engine_build
from visim_models import EngineError, ImageHostError, ImageStore, VisualSimilarity
from visim_models.cleaning.survey import local_squares
from visim_models.cli.__main__ import main
from visim_models.galleries import build
from visim_models.galleries.part_store import FILES_A_PART
from visim_models.galleries.sources import read_skipped
from visim_models.gallery import Gallery
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.hub_repo import root_warning
from visim_models.search.milvus import MilvusIndex


@pytest.fixture
def bucket(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    need("pyarrow")
    with serving_s3() as server:
        use_s3(server, monkeypatch)
        server.buckets["photos"] = {f"cars/{name}": content for name, content in contents(pictures).items()}
        yield server


@pytest.fixture
def web(pictures: Path) -> Iterator[FileServer]:
    with running(FileServer()) as server:
        server.files = {f"/{name}": content for name, content in contents(pictures).items()}
        yield server


def contents(pictures: Path) -> dict[str, bytes]:
    return {path.relative_to(pictures).as_posix(): path.read_bytes() for path in sorted(pictures.rglob("*.png"))}


def written_list(path: Path, server: FileServer, *further: str) -> Path:
    path.write_text("\n".join([*(server.address + name for name in server.files), *further]), encoding="utf-8")
    return path


def rows(gallery: Gallery, *, folder: str = "") -> dict[str, list[float]]:
    """File name -> embedding, without the folder that all names begin with."""
    pairs = zip(gallery.file_names, gallery.embeddings.tolist(), strict=True)
    return {name.removeprefix(folder): embedding for name, embedding in pairs}


def galleries(*repos: Path) -> list[Gallery]:
    return [VisualSimilarity.from_pretrained(repo).gallery for repo in repos]


def test_a_bucket(bucket: S3Server, pictures: Path, model: Path, tmp_path: Path) -> None:
    bucket.buckets["photos"]["cars/suv/broken.png"] = b"no picture"
    build(pictures, tmp_path / "local", model=model, progress=False)
    report = build("s3://photos/cars", tmp_path / "mine", model=model, progress=False)
    assert report.gallery.image_root == "s3://photos/cars"
    assert "only those with keys of that bucket" in root_warning(report.gallery.image_root)
    assert [item.file_name for item in read_skipped(RepoFolder(tmp_path / "mine"))] == ["suv/broken.png"]
    local, mine = galleries(tmp_path / "local", tmp_path / "mine")
    assert rows(mine) == rows(local)
    bucket.buckets["photos"]["cars/suv/new.png"] = bucket.buckets["photos"].pop("cars/suv/0000.png")
    report = build("s3://photos/cars", tmp_path / "mine", model=model, remove_missing=True, progress=False)
    assert (report.pictures, [*report.changes.removed]) == (16, [])


def test_a_command_with_keys_that_are_refused(
    bucket: S3Server, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_s3(bucket, monkeypatch, key="AKIAWRONGWRONGWRONG1")
    assert main(["build", "s3://photos/cars", "--out", str(tmp_path / "mine"), "--model", str(model)]) == 2
    shown = capsys.readouterr().err
    assert "check AWS_ACCESS_KEY_ID" in shown
    assert not [secret for secret in (KEY, SECRET, "AKIAWRONG") if secret in shown]
    assert not (tmp_path / "mine").exists()


def test_a_list_of_addresses(web: FileServer, pictures: Path, model: Path, tmp_path: Path) -> None:
    address = web.address
    addresses = written_list(
        tmp_path / "photos.txt", web, "hello", f"{address}/none.png", f"{address}/page.png", f"{address}/suv/0000.png?a"
    )
    web.files["/page.png"] = b"<html>"
    build(pictures, tmp_path / "local", model=model, progress=False)
    report = build(addresses, tmp_path / "mine", model=model, progress=False)
    host = address.removeprefix("http://").replace(":", "_")
    assert report.gallery.image_root == str(addresses)
    skipped = [item.file_name for item in read_skipped(RepoFolder(tmp_path / "mine"))]
    assert skipped == [f"{host}/none.png", f"{host}/page.png", "line 17", "line 20"]
    local, mine = galleries(tmp_path / "local", tmp_path / "mine")
    assert rows(mine, folder=f"{host}/") == rows(local)
    assert set(mine.labels) == {f"{host}/{label}" for label in local.labels}
    name = mine.file_names[0]
    assert ImageStore(mine.image_root).read(name) == contents(pictures)[name.removeprefix(f"{host}/")]
    web.asked.clear()
    assert local_squares(mine) is None
    assert web.asked == []  # a clean-up fetches nothing
    report = build(addresses, tmp_path / "mine", model=model, image_root="https://example.org", progress=False)
    assert report.gallery.image_root == "https://example.org"


@pytest.mark.parametrize("source", ["bucket", "list"])
def test_a_build_in_an_engine_goes_on(
    source: str,
    bucket: S3Server,
    web: FileServer,
    model: Path,
    pictures: Path,
    tmp_path: Path,
    embedded: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need("pymilvus", "milvus_lite")
    root = "s3://photos/cars" if source == "bucket" else str(written_list(tmp_path / "photos.txt", web))
    uri, out = str(tmp_path / "index.db"), tmp_path / "engine"

    def failing(self: MilvusIndex, *arguments: object) -> None:
        raise EngineError("The engine is gone.")

    monkeypatch.setitem(FILES_A_PART, "parquet", 8)
    with monkeypatch.context() as patch:
        patch.setattr(MilvusIndex, "add", failing)
        with pytest.raises(EngineError, match="gone"):
            engine_build(root, out, uri, model)
    assert len(embedded) == 16
    embedded.clear()
    assert engine_build(root, out, uri, model).pictures == 16
    assert embedded == []


def test_a_server_that_goes_down_stops_a_build_that_then_goes_on(
    web: FileServer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = written_list(tmp_path / "photos.txt", web)
    web.delay = 5.0
    with monkeypatch.context() as patch:
        patch.setattr("visim_models.galleries.sources._SECONDS_A_FILE", 0.3)
        with pytest.raises(ImageHostError, match="too slow"):
            build(addresses, tmp_path / "mine", model=model, progress=False)
    web.delay = 0.0
    assert build(addresses, tmp_path / "mine", model=model, progress=False).pictures == 16


def test_what_was_left_out_is_tried_again(web: FileServer, model: Path, tmp_path: Path, embedded: list[str]) -> None:
    need("pymilvus", "milvus_lite")
    uri, out = str(tmp_path / "index.db"), tmp_path / "engine"
    addresses = written_list(tmp_path / "photos.txt", web)
    names = [f"/suv/000{number}.png" for number in range(2)]
    gone = {name: web.files.pop(name) for name in names}
    report = engine_build(str(addresses), out, uri, model)
    assert report.pictures == 14
    assert [item.file_name.partition("/suv")[2] for item in report.skipped] == ["/0000.png", "/0001.png"]
    web.files |= {names[0]: gone[names[0]], names[1]: b"<html>"}
    embedded.clear()
    report = engine_build(str(addresses), out, uri, model)
    assert report.pictures == 15
    assert [(item.file_name.endswith(names[1]), "not a picture" in item.reason) for item in report.skipped] == [
        (True, True)
    ]
    assert len(embedded) == 2
    web.files.clear()
    assert engine_build(str(addresses), out, uri, model).pictures == 15
