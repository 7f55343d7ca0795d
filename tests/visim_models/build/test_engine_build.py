"""A gallery in an engine is the same gallery; a build that is killed goes on, and never shows half of its work."""

import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.builders import files_of, write_pictures
from tests.milvus_servers import Server, need, running_lite
from tests.processes import run_module, run_program
from visim_models import (
    DataError,
    EngineError,
    GalleryMismatchError,
    MissingExtraError,
    OutputError,
    RepositoryError,
    VisualSimilarity,
)
from visim_models.build import BuildReport, build
from visim_models.build.engine_build import EngineOptions, build_in_engine
from visim_models.cli import main
from visim_models.repo_folder.manifest import INDEX
from visim_models.search.engine import EngineAddress
from visim_models.search.milvus import MilvusIndex


@pytest.fixture(autouse=True)
def _needs_the_extra() -> None:
    need("pymilvus", "milvus_lite", "pyarrow")


def engine_build(pictures: Path, out: Path, uri: str, model: Path, *, runner: str | None = None) -> BuildReport:
    options = EngineOptions(address=EngineAddress(uri), runner=runner)
    return build_in_engine(pictures, out, options, model=str(model), progress=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_lite(tmp_path / "server") as running:
        yield running


def collections(uri: str) -> list[str]:
    import pymilvus

    client = pymilvus.MilvusClient(uri=uri, timeout=5, dedicated=True)
    found = list(client.list_collections())
    client.close()
    return found


def queries(pictures: Path) -> list[Path]:
    return sorted(pictures.rglob("*.png"))


def test_it_is_the_same_gallery_as_in_memory(pictures: Path, model: Path, tmp_path: Path) -> None:
    """The same embeddings to the bit of float16, the same matches and the same verdict."""
    (pictures / "suv" / "broken.png").write_text("no picture")
    build(pictures, tmp_path / "memory", model=model, progress=False)
    uri = str(tmp_path / "index.db")
    report = engine_build(pictures, tmp_path / "engine", uri, model)
    assert (report.pictures, len(report.added), report.calibration_size) == (16, 16, 16)
    assert [item.file_name for item in report.skipped] == ["suv/broken.png"]
    first = VisualSimilarity.from_pretrained(tmp_path / "memory")
    second = VisualSimilarity.from_pretrained(tmp_path / "engine", index_uri=uri)
    assert len(second.gallery) == 16
    whole = second.gallery.whole()
    order = np.argsort(whole.file_names)
    assert [whole.file_names[index] for index in order] == first.gallery.file_names
    np.testing.assert_array_equal(whole.embeddings[order], first.gallery.embeddings)
    for ours, theirs in zip(
        *(each.search_batch(queries(pictures)[:5], top_k=4) for each in (second, first)), strict=False
    ):
        assert [(match.file_name, match.label, match.percent) for match in ours.matches] == [
            (match.file_name, match.label, match.percent) for match in theirs.matches
        ]
        assert ours.ood.p_value == theirs.ood.p_value
    found = second.search(queries(pictures)[0], top_k=4, label="truck")
    assert {match.label for match in found.matches} == {"truck"}
    assert found.ood == second.search(queries(pictures)[0]).ood  # the verdict is by all pictures
    assert second.nearest(second.gallery.embedding("suv/0001.png"), top_k=1)[0].file_name == "suv/0001.png"
    stored = json.loads((tmp_path / "engine" / INDEX).read_text(encoding="utf-8"))
    assert uri not in json.dumps(stored)
    assert b"index.db" not in b"".join(files_of(tmp_path / "engine").values())


def test_building_again_embeds_what_is_new_and_an_open_gallery_follows(
    pictures: Path, model: Path, tmp_path: Path, server: Server, embedded: list[str]
) -> None:
    out = tmp_path / "engine"
    engine_build(pictures, out, server.uri, model)
    opened = VisualSimilarity.from_pretrained(out, index_uri=server.uri)
    before = collections(server.uri)
    assert opened.search(queries(pictures)[0]).matches[0].file_name == "coupe/0000.png"
    (pictures / "coupe" / "0000.png").rename(pictures / "coupe" / "new.png")
    embedded.clear()
    report = engine_build(pictures, out, server.uri, model)
    assert embedded == ["coupe/new.png"]
    assert report.added == ["coupe/new.png"]
    after = collections(server.uri)
    assert len(before) == len(after) == 1
    assert before != after
    assert opened.search(pictures / "coupe" / "new.png").matches[0].file_name == "coupe/new.png"
    assert len(list((tmp_path / "engine-vectors").glob("part-*.parquet"))) == 2


@pytest.mark.parametrize("runner", [None, "native"])
def test_a_killed_build_goes_on(model: Path, tmp_path: Path, runner: str | None, embedded: list[str]) -> None:
    if runner:
        need("daft")
    pictures = write_pictures(tmp_path / "many", 70, size=12)
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from visim_models.build import vectors\n"
        "from visim_models.build.engine_build import EngineOptions, build_in_engine\n"
        "from visim_models.build import runners\n"
        "from visim_models.search.engine import EngineAddress\n"
        "keep = vectors.VectorFolder.keep\n"
        "runners._FILES_A_PART = 256\n"
        "def killed(self, content):\n"
        "    keep(self, content)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "vectors.VectorFolder.keep = killed\n"
        "if __name__ == '__main__':\n"
        "    options = EngineOptions(address=EngineAddress(sys.argv[4]), runner=sys.argv[5] or None)\n"
        "    build_in_engine(sys.argv[1], sys.argv[2], options, model=sys.argv[3], progress=False)\n"
    )
    out, uri = tmp_path / "engine", str(tmp_path / "index.db")
    killed = run_program(program, pictures, out, model, uri, runner or "")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    parts = list((tmp_path / "engine-vectors").glob("part-*"))
    assert len(parts) == 1
    report = engine_build(pictures, out, uri, model)
    assert len(embedded) == 280 - 256
    assert report.pictures == 280
    assert len(report.added) == 280 - 256
    assert parts[0].exists()
    assert not [path for path in (tmp_path / "engine-vectors").iterdir() if path.suffix not in (".parquet", ".json")]


def test_a_runner_gives_the_same_bits(pictures: Path, model: Path, tmp_path: Path) -> None:
    need("daft")
    uri = str(tmp_path / "index.db")
    (pictures / "suv" / "broken.png").write_text("no picture")
    arguments = ["build", pictures, "--out", tmp_path / "a", "--model", model, "--engine", "milvus", "--index-uri", uri]
    done = run_module("visim_models.cli", *arguments, "--runner", "native")
    assert done.returncode == 0, done.stderr
    engine_build(pictures, tmp_path / "b", uri, model)
    first, second = (
        VisualSimilarity.from_pretrained(tmp_path / name, index_uri=uri).gallery.embeddings for name in ("a", "b")
    )
    np.testing.assert_array_equal(first, second)
    assert (tmp_path / "a" / "skipped.csv").read_bytes() == (tmp_path / "b" / "skipped.csv").read_bytes()
    names = [[path.name for path in (tmp_path / f"{name}-vectors").iterdir()] for name in ("a", "b")]
    assert sorted(names[0]) == sorted(names[1])  # named by their content


def test_an_index_is_made_again_from_the_vectors(
    pictures: Path, model: Path, tmp_path: Path, embedded: list[str]
) -> None:
    engine_build(pictures, tmp_path / "engine", str(tmp_path / "one.db"), model)
    embedded.clear()
    engine_build(pictures, tmp_path / "engine", str(tmp_path / "two.db"), model)
    assert embedded == []
    opened = VisualSimilarity.from_pretrained(tmp_path / "engine", index_uri=str(tmp_path / "two.db"))
    assert opened.search(queries(pictures)[0]).matches[0].file_name == "coupe/0000.png"


# --- faults


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
    import torch

    from visim_models.search import PictureTexts

    other.add(torch.ones(2, 8), PictureTexts(["a.png", "b.png"], ["", ""]))
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


# --- options


def test_folders_of_others_are_refused(pictures: Path, model: Path, tmp_path: Path) -> None:
    uri = str(tmp_path / "index.db")
    (tmp_path / "mine-vectors").mkdir()
    (tmp_path / "mine-vectors" / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="files that visim did not write"):
        engine_build(pictures, tmp_path / "mine", uri, model)
    assert (tmp_path / "mine-vectors" / "letter.txt").read_text() == "mine"
    engine_build(pictures, tmp_path / "engine", uri, model)
    mark = tmp_path / "engine-vectors" / "visim-vectors.json"
    mark.write_text(mark.read_text().replace("0", "1"), encoding="utf-8")
    with pytest.raises(OutputError, match="embeddings of another network"):
        engine_build(pictures, tmp_path / "engine", uri, model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PICTURES", "--runner", "native"], "--runner goes with --engine"),
        (["--engine", "milvus"], "--engine goes with PICTURES"),
        (["PICTURES", "--engine", "milvus"], "say where with --index-uri"),
        (["PICTURES", "--engine", "milvus", "--index-uri", "URI", "--index", "HNSW:M"], "must be like HNSW:M=16"),
        (["PICTURES", "--engine", "milvus", "--index-uri", "URI", "--index", "IVF"], "kind is 'IVF'"),
        (["PICTURES", "--engine", "milvus", "--index-uri", "URI", "--runner", "spark"], "must be native or ray://"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    pictures: Path, model: Path, tmp_path: Path, arguments: list[str], message: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("VISIM_INDEX_URI", raising=False)
    filled = [{"PICTURES": str(pictures), "URI": str(tmp_path / "i.db")}.get(word, word) for word in arguments]
    model_option = ["--model", str(model)] if "PICTURES" in arguments else []
    assert main(["build", *filled, "--out", str(tmp_path / "out"), *model_option]) == 2
    assert message in capsys.readouterr().err.strip().split("\n")[-1]
    assert not (tmp_path / "out").exists()


def test_a_missing_runner_names_the_extra(
    pictures: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "daft", None)
    with pytest.raises(MissingExtraError, match=r"needs daft: pip install 'visim-models\[scale\]'"):
        engine_build(pictures, tmp_path / "engine", str(tmp_path / "index.db"), model, runner="native")


def test_a_gallery_in_an_engine_is_not_changed_in_place(
    pictures: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = str(tmp_path / "index.db")
    engine_build(pictures, tmp_path / "engine", uri, model)
    before = files_of(tmp_path / "engine")
    for arguments in ([str(pictures)], ["--title", "Chairs"], ["--remove", "suv/0000.png"]):
        assert main(["build", *arguments, "--out", str(tmp_path / "engine"), "--index-uri", uri]) == 2
        assert "is in an engine: change it by building it again" in capsys.readouterr().err
    assert files_of(tmp_path / "engine") == before


def test_the_commands_search_and_clean_it(
    pictures: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, out = str(tmp_path / "index.db"), str(tmp_path / "engine")
    shutil.copy(pictures / "suv" / "0000.png", pictures / "suv" / "copy.png")
    engine_build(pictures, Path(out), uri, model)
    query = str(pictures / "suv" / "0001.png")
    assert main(["search", out, query, "--label", "truck", "--index-uri", uri]) == 0
    assert capsys.readouterr().out.count("(truck)") == 4
    assert main(["info", out]) == 0
    assert "FLAT in milvus, collection visim_engine_" in capsys.readouterr().out
    monkeypatch.setenv("VISIM_INDEX_URI", uri)
    assert main(["check", out]) == 0
    assert main(["clean", out, "--duplicates", "--out", str(tmp_path / "clean")]) == 0
    plan = (tmp_path / "clean" / "plan.csv").read_text(encoding="utf-8")
    assert "suv/copy.png" in plan or "suv/0000.png" in plan
    assert os.environ["VISIM_INDEX_URI"] == uri


def test_data_without_pictures_is_an_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.png").write_text("no picture")
    uri = str(tmp_path / "index.db")
    with pytest.raises(DataError, match="None of the 1 files is a picture"):
        engine_build(tmp_path / "none", tmp_path / "engine", uri, model)
    assert not (tmp_path / "engine").exists()
