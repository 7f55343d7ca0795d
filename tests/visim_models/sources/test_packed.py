"""Data sets of the Hub whose pictures are in Parquet files or zips are built, their columns of classes as labels."""

import io
import json
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image

from tests.builders import drawn_pictures, tiny_repo
from tests.milvus_servers import need
from visim_models import ImageSourceError, ImageStore, VisualSimilarity
from visim_models.galleries import build
from visim_models.sources.file_names import is_picture_name

COMMIT = "3" * 40
ROOT = "hf://datasets/someone/cars"


class Hub(ThreadingHTTPServer):
    """Serves the files of a data set as the Hub does: a listing, HEAD with the commit and the ETag, and the files."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.fetched: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        name = (
            path.partition(f"/datasets/someone/cars/resolve/{'main'}/")[2] or path.partition(f"/resolve/{COMMIT}/")[2]
        )
        if path.startswith("/api/datasets/someone/cars/tree/"):
            rows = [{"type": "file", "path": each, "size": 9, "oid": "5" * 40} for each in self.server.files]
            content: bytes | None = json.dumps(rows).encode()
        else:
            content = self.server.files.get(name)
            if with_body and content is not None:
                self.server.fetched.append(name)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{len(content or b""):040d}"')
        self.end_headers()
        if with_body:
            self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("visim_models.sources.readers.get_token", lambda: None)
    yield server
    server.shutdown()
    server.server_close()


def encoded(count: int, *, seed: int = 0) -> list[bytes]:
    found = []
    for picture in drawn_pictures(count, seed=seed):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def table(pictures: list[bytes | None], labels: list[Any], *, stated: bool = True) -> bytes:
    """A Parquet file as `datasets` writes it: groups of 3 rows, and its features in the metadata of the schema."""
    import pyarrow
    from pyarrow import parquet

    cells = [None if each is None else {"bytes": each, "path": f"{number}.png"} for number, each in enumerate(pictures)]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    made = pyarrow.table({"image": pyarrow.array(cells, kind), "label": labels})
    if stated:
        features = {
            "image": {"_type": "Image"},
            "label": {"names": ["suv", "a/b"], "_type": "ClassLabel"},
        }
        info = json.dumps({"info": {"features": features}})
        made = made.replace_schema_metadata({"huggingface": info})
    buffer = io.BytesIO()
    parquet.write_table(made, buffer, row_group_size=3)
    return buffer.getvalue()


def test_parquet_with_classes(hub: Hub, tmp_path: Path) -> None:
    need("pyarrow")
    pictures: list[bytes | None] = [*encoded(8)]
    hub.files = {
        "README.md": b"# cars",
        "data/train-00000-of-00002.parquet": table(pictures[:5], [0, 1, 0, -1, None]),
        "data/train-00001-of-00002.parquet": table([*pictures[5:], None, b"no picture"], [1, 0, 1, 0, 0]),
    }
    report = build(ROOT, tmp_path / "mine", model=tiny_repo(tmp_path / "model"), progress=False)
    assert report.pictures == 8
    assert [item.file_name for item in report.skipped] == [
        f"data/train-00001-of-00002/00000{row}.jpg" for row in (3, 4)
    ]
    assert "that row of the data set has no picture" in report.skipped[0].reason
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    labels = dict(zip(mine.gallery.file_names, mine.gallery.labels, strict=True))
    first = "data/train-00000-of-00002"
    assert [labels[f"{first}/00000{row}.jpg"] for row in range(5)] == ["suv", "a/b", "suv", first, first]
    assert (
        mine.search(Image.open(io.BytesIO(pictures[6] or b"")))
        .matches[0]
        .file_name.endswith("00001-of-00002/000001.jpg")
    )
    assert sorted(hub.fetched) == [name for name in hub.files if name != "README.md"]  # each once
    store = ImageStore(ROOT, trusted=True, timeout=30)  # as a page opens it: nothing is listed, all is in the cache
    assert store.read(f"{first}/000001.jpg") == pictures[1]
    assert len(hub.fetched) == 2
    assert not build(ROOT, tmp_path / "mine", progress=False).changes.added
    with pytest.raises(ImageSourceError):
        ImageStore(ROOT, trusted=False).read(f"{first}/000001.jpg")  # a gallery from elsewhere downloads no package


def test_parquet_of_others_and_a_column_that_is_called_label(hub: Hub, tmp_path: Path) -> None:
    need("pyarrow")
    hub.files = {"all.parquet": table([*encoded(4)], ["x", "y", "x", None], stated=False)}
    store = ImageStore(ROOT)
    assert store.list() == [f"all/00000{row}.jpg" for row in range(4)]
    assert store.labels == {"all/000000.jpg": "x", "all/000001.jpg": "y", "all/000002.jpg": "x"}
    hub.files = {"damaged.parquet": b"damaged"}
    with pytest.raises(ImageSourceError, match="no Parquet file that can be read"):
        ImageStore(ROOT).list()


def test_zips(hub: Hub, tmp_path: Path) -> None:
    def packed(*names: str, seed: int) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in zip(names, encoded(len(names), seed=seed), strict=True):
                archive.writestr(name, content)
        return buffer.getvalue()

    hub.files = {"photos.zip": packed("suv/1.png", "suv/2.png", "van/3.png", seed=1)}
    build(ROOT, tmp_path / "mine", model=tiny_repo(tmp_path / "model"), progress=False)
    gallery = VisualSimilarity.from_pretrained(tmp_path / "mine").gallery
    assert (gallery.file_names, gallery.labels) == (["suv/1.png", "suv/2.png", "van/3.png"], ["suv", "suv", "van"])
    hub.files = {"a.zip": packed("1.png", seed=1), "b.zip": packed("1.png", "notes.txt", seed=2)}
    store = ImageStore(ROOT)
    assert store.list() == ["a/1.png", "b/1.png"]
    assert all(map(is_picture_name, store.list()))
    assert store.read("b/1.png") == encoded(1, seed=2)[0]


def test_a_data_set_with_files_is_read_as_before(hub: Hub) -> None:
    hub.files = {"suv/1.png": encoded(1)[0], "data/other.parquet": b"not read"}
    store = ImageStore(ROOT)
    assert store.list() == ["suv/1.png"]
    assert hub.fetched == []
