"""A gallery in an engine is the same gallery; a build that is killed goes on, and never shows half of its work."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.builders import files_of, write_pictures
from tests.milvus_servers import Server, need
from tests.processes import run_module, run_program
from tests.visim_models.galleries.engine_builds import collections, engine_build, queries
from visim_models import (
    DataError,
    EngineError,
    MissingExtraError,
    OutputError,
    VisualSimilarity,
)
from visim_models.cli.__main__ import main
from visim_models.galleries import build
from visim_models.repo_folder.manifest import INDEX


@pytest.fixture(autouse=True)
def _needs_the_extra() -> None:
    need("pymilvus", "milvus_lite", "pyarrow")


def test_it_is_the_same_gallery_as_in_memory(pictures: Path, model: Path, tmp_path: Path) -> None:
    """The same embeddings to the bit of float16, the same matches and the same verdict."""
    (pictures / "suv" / "broken.png").write_text("no picture")
    build(pictures, tmp_path / "memory", model=model, progress=False)
    uri = str(tmp_path / "index.db")
    report = engine_build(pictures, tmp_path / "engine", uri, model)
    assert (report.pictures, len(report.changes.added), len(report.detector.calibration_scores)) == (16, 16, 16)
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
    assert report.changes.added == ["coupe/new.png"]
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
        "from visim_models.galleries import EngineOptions, build, part_store\n"
        "from visim_models.search.engine import EngineAddress\n"
        "keep = part_store.PartStore.keep_bytes\n"
        "part_store.FILES_A_PART['parquet'] = 256\n"
        "def killed(self, content):\n"
        "    keep(self, content)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "part_store.PartStore.keep_bytes = killed\n"
        "if __name__ == '__main__':\n"
        "    options = EngineOptions(address=EngineAddress(sys.argv[4]), runner=sys.argv[5] or None)\n"
        "    build(sys.argv[1], sys.argv[2], engine=options, model=sys.argv[3], progress=False)\n"
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
    assert len(report.changes.added) == 280 - 256
    assert parts[0].exists()
    assert not [path for path in (tmp_path / "engine-vectors").iterdir() if path.suffix not in (".parquet", ".json")]


def test_a_runner_gives_the_same_bits(pictures: Path, model: Path, tmp_path: Path) -> None:
    need("daft")
    uri = str(tmp_path / "index.db")
    (pictures / "suv" / "broken.png").write_text("no picture")
    arguments = ["build", pictures, "--out", tmp_path / "a", "--model", model, "--engine", "milvus", "--index-uri", uri]
    done = run_module("visim_models.cli.__main__", *arguments, "--runner", "native")
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


def test_a_copy_of_a_gallery_gets_an_index_of_its_own(pictures: Path, model: Path, tmp_path: Path) -> None:
    uri = str(tmp_path / "index.db")
    engine_build(pictures, tmp_path / "one", uri, model)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    write_pictures(tmp_path / "others", 4, size=12)
    engine_build(tmp_path / "others", tmp_path / "two", uri, model)
    opened = VisualSimilarity.from_pretrained(tmp_path / "one", index_uri=uri)
    match = opened.search(queries(pictures)[0], top_k=1).matches[0]
    assert (match.file_name, round(match.score, 3)) == ("coupe/0000.png", 1.0)


def test_a_damaged_part_is_embedded_again(pictures: Path, model: Path, tmp_path: Path, embedded: list[str]) -> None:
    uri = str(tmp_path / "index.db")
    engine_build(pictures, tmp_path / "engine", uri, model)
    count = len(embedded)
    for part in (tmp_path / "engine-vectors").glob("part-*"):
        part.write_bytes(part.read_bytes()[:500])
    assert engine_build(pictures, tmp_path / "engine", uri, model).pictures == 16
    assert len(embedded) == 2 * count


def test_a_wrong_file_is_told_and_not_made(pictures: Path, model: Path, tmp_path: Path) -> None:
    engine_build(pictures, tmp_path / "engine", str(tmp_path / "index.db"), model)
    with pytest.raises(EngineError, match="There is no index"):
        VisualSimilarity.from_pretrained(tmp_path / "engine", index_uri=str(tmp_path / "other.db"))
    assert not (tmp_path / "other.db").exists()


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
