"""What goes wrong with an engine is one line in time, loses nothing, and is over when the engine is back."""

import json
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.builders import files_of, write_pictures
from tests.milvus_servers import Server, need, running_lite
from tests.processes import run_program
from tests.visim_models.galleries.engine_builds import engine_build, queries
from visim_models import (
    EngineError,
    GalleryMismatchError,
    OutputError,
    RepositoryError,
    VisualSimilarity,
)
from visim_models.repo_folder.manifest import INDEX
from visim_models.search import PictureTexts
from visim_models.search.engine import EngineAddress
from visim_models.search.milvus import MilvusIndex


@pytest.fixture(autouse=True)
def _needs_the_extra() -> None:
    need("pymilvus", "milvus_lite", "pyarrow")


def test_an_engine_that_is_down_is_an_error_in_time_and_comes_back(
    pictures: Path, model: Path, tmp_path: Path, server: Server
) -> None:
    out = tmp_path / "engine"
    engine_build(pictures, out, server.uri, model)
    server.kill()
    opened = VisualSimilarity.from_pretrained(out, index_uri=server.uri)  # a page can start without its engine
    assert len(opened.gallery) == 16
    for _ in range(2):
        start = time.monotonic()
        with pytest.raises(EngineError, match=f"{server.uri} cannot be reached within 5 seconds: start it"):
            opened.search(queries(pictures)[0])
        assert time.monotonic() - start < 7
    server.start()
    expected = opened.search(queries(pictures)[0])
    server.signal(signal.SIGSTOP)  # it takes the query and says nothing
    start = time.monotonic()
    with pytest.raises(EngineError, match="cannot be reached within 5 seconds"):
        opened.search(queries(pictures)[0])
    assert time.monotonic() - start < 7
    server.signal(signal.SIGCONT)
    assert opened.search(queries(pictures)[0]) == expected
    server.kill()
    server.start()
    assert opened.search(queries(pictures)[0]) == expected


def test_an_engine_is_asked_before_anything_is_embedded(
    pictures: Path, model: Path, tmp_path: Path, embedded: list[str]
) -> None:
    with pytest.raises(EngineError, match="cannot be reached within 5 seconds"):
        engine_build(pictures, tmp_path / "engine", "http://127.0.0.1:9", model)
    assert embedded == []
    assert not (tmp_path / "engine-vectors").exists()


def test_a_server_killed_during_an_insert_is_noticed_at_once(
    pictures: Path, model: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = MilvusIndex.add

    def killed(self: MilvusIndex, *arguments: object) -> object:
        server.kill()
        return add(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(MilvusIndex, "add", killed)
    start = time.monotonic()
    with pytest.raises(EngineError, match="cannot be reached"):
        engine_build(pictures, tmp_path / "engine", server.uri, model)
    assert time.monotonic() - start < 100


def test_a_server_killed_while_it_is_filled_leaves_the_old_gallery(
    pictures: Path, model: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "engine"
    engine_build(pictures, out, server.uri, model)
    before = files_of(out)
    opened = VisualSimilarity.from_pretrained(out, index_uri=server.uri)
    expected = opened.search(queries(pictures)[0])
    write_pictures(pictures / "more", 4, seed=3)
    add = MilvusIndex.add

    def killing(self: MilvusIndex, *arguments: object) -> object:
        found = add(self, *arguments)  # type: ignore[arg-type]
        server.kill()
        return found

    monkeypatch.setattr(MilvusIndex, "add", killing)
    with pytest.raises(EngineError, match="cannot be reached"):
        engine_build(pictures, out, server.uri, model)
    monkeypatch.undo()
    assert files_of(out) == before
    server.start()
    assert opened.search(queries(pictures)[0]) == expected
    assert engine_build(pictures, out, server.uri, model).pictures == 32


def test_a_full_disk_of_the_engine_is_an_error(pictures: Path, model: Path, tmp_path: Path) -> None:
    """A limit on the size of each file stands in for the disk: writing fails just so."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    with running_lite(tmp_path / "server", prepare=limited) as full:
        with pytest.raises(EngineError, match=r"127\.0\.0\.1"):
            engine_build(pictures, tmp_path / "engine", full.uri, model)
        assert not (tmp_path / "engine").exists()


def test_a_full_disk_here_is_an_error_and_the_build_goes_on(pictures: Path, model: Path, tmp_path: Path) -> None:
    uri = str(tmp_path / "index.db")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(RepositoryError, match="make room, then run the same command again"):
            engine_build(pictures, tmp_path / "engine", uri, model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert engine_build(pictures, tmp_path / "engine", uri, model).pictures == 16


def test_two_builds_at_once_are_refused(
    pictures: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "index.db")
    seen: list[str] = []
    add = MilvusIndex.add

    def meeting(self: MilvusIndex, *arguments: object) -> object:
        with pytest.raises(OutputError, match="Another build is at work in") as caught:
            engine_build(pictures, tmp_path / "engine", uri, model)
        seen.append(str(caught.value))
        return add(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(MilvusIndex, "add", meeting)
    assert engine_build(pictures, tmp_path / "engine", uri, model).pictures == 16
    assert len(seen) == 1


def test_a_collection_of_another_width_is_refused(pictures: Path, model: Path, tmp_path: Path) -> None:
    uri = str(tmp_path / "index.db")
    engine_build(pictures, tmp_path / "engine", uri, model)
    name = json.loads((tmp_path / "engine" / INDEX).read_text(encoding="utf-8"))["collection"]
    other = MilvusIndex.create(EngineAddress(uri), name, width=8)
    other.add(np.ones((2, 8), np.float32), PictureTexts(["a.png", "b.png"], ["", ""]))
    other.publish(name)
    opened = VisualSimilarity.from_pretrained(tmp_path / "engine", index_uri=uri)
    with pytest.raises(GalleryMismatchError, match=r"\[8\] numbers, the gallery's have 32"):
        opened.search(queries(pictures)[0])


def test_one_process_at_a_time_opens_a_local_file(pictures: Path, model: Path, tmp_path: Path) -> None:
    uri = str(tmp_path / "index.db")
    engine_build(pictures, tmp_path / "engine", uri, model)
    code = (
        "import sys\n"
        "from visim_models import EngineError, VisualSimilarity\n"
        "similarity = VisualSimilarity.from_pretrained(sys.argv[1], index_uri=sys.argv[2])\n"
        "try:\n"
        "    similarity.search(sys.argv[3])\n"
        "except EngineError as error:\n"
        "    print(error)\n"
    )
    found = run_program(code, tmp_path / "engine", uri, queries(pictures)[0])
    assert "one process at a time can use it" in found.stdout, found.stderr
