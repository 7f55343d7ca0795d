"""Every row of the benchmarks runs and compares equal results. How fast anything is, no test says."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import hub
from benchmarks.__main__ import ROWS, main
from benchmarks.article_work import ArticleWork
from benchmarks.exact_search import check_same, search_rows
from benchmarks.folder import folder_rows
from benchmarks.pictures import jpegs, upload
from benchmarks.queries import first_tab_rows, second_tab_rows
from benchmarks.scale import Scale
from benchmarks.serving import Crowd, serving_rows, user_rows
from benchmarks.startup import startup_rows
from benchmarks.table import Row, as_text, write_json
from benchmarks.timing import interleaved, percentile
from benchmarks.visitor import RefusedError, Visitor
from visim_models import decode_image


def assert_whole(rows: list[Row], count: int) -> None:
    assert len(rows) == count
    for row in rows:
        assert row.what
        assert row.baseline_name
        assert all(math.isfinite(value) for value in (row.measured, row.baseline, row.ratio))
        assert (row.met is None) == (row.target == "")
    assert len(as_text(rows).splitlines()) == count + 4


def test_one_query(scale: Scale) -> None:
    assert_whole([*second_tab_rows(scale), *first_tab_rows(scale)], 2)


def test_the_articles_work_finds_what_the_library_finds(scale: Scale, tmp_path: Path) -> None:
    similarity = hub.load(dict(scale.repos)["cifar10"])
    picture = tmp_path / "a.jpg"
    picture.write_bytes(upload("cifar10", data=scale.data))
    found = ArticleWork(similarity, tmp_path).search(picture, top_k=7)
    expected = similarity.search(picture, top_k=7).matches
    assert [name for name, _ in found] == [match.file_name for match in expected]
    np.testing.assert_allclose([score for _, score in found], [match.score for match in expected], atol=1e-5)


def test_embedding_a_folder(scale: Scale) -> None:
    assert_whole(list(folder_rows(scale)), 4)


def test_exact_search(scale: Scale) -> None:
    pytest.importorskip("faiss", reason="faiss-cpu is not installed: it is in the extra 'dev'")
    assert_whole(list(search_rows(scale)), 10)


def test_other_results_are_seen() -> None:
    matrix, queries = np.eye(4, dtype=np.float32), np.array([[1, 0.9, 0, 0]], np.float32)
    right = np.array([[1, 0.9]], np.float32), np.array([[0, 1]])
    check_same(right, right, matrix, queries)
    check_same(right, (right[0] + 1e-7, right[1]), matrix, queries)
    for wrong in (np.array([[1, 0]]), np.array([[0, 2]])):
        with pytest.raises(RuntimeError, match="differ"):
            check_same(right, (right[0], wrong), matrix, queries)


def test_queries_through_the_demo(served: Scale) -> None:
    assert_whole(list(serving_rows(served)), 2)


def test_many_users(served: Scale) -> None:
    rows = list(user_rows(served))
    assert_whole(rows, 3)
    assert all(", 0 errors" in row.note for row in rows)


def test_a_start(served: Scale) -> None:
    assert_whole(list(startup_rows(served)), 2)


def test_a_visitor_is_told_why(address: str) -> None:
    with Visitor(address) as visitor:
        with pytest.raises(RefusedError, match="not a JPEG"):
            visitor.search(b"no picture", tab="cars")
        with pytest.raises(RefusedError, match="from 1 to 100"):
            visitor.search(jpegs("cars", 1)[0], tab="cars", top_k=0)
        assert len(visitor.search(jpegs("cars", 1)[0], tab="cars", top_k=3)["matches"]) == 3


def test_a_crowds_errors_are_kept(address: str) -> None:
    crowd = Crowd(address, lambda visitor, _: visitor.search(b"", tab="cars")).use(3, duration=0.1)
    assert len(crowd.errors) == len(crowd.seconds) >= 3
    assert "empty" in crowd.errors[0]


def test_turns_are_taken_and_the_first_is_not_timed() -> None:
    calls: list[str] = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, each={"a": 2})
    assert "".join(calls) == "aab" * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 2}


def test_percentiles_by_hand() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(range(100)), 0.95) == 95
    assert percentile([7], 0.95) == 7


@pytest.mark.parametrize("tab", ["cars", "cifar10"])
def test_the_pictures(tab: str, tmp_path: Path) -> None:
    drawn = jpegs(tab, 5, data=tmp_path)
    assert len(set(drawn)) == 5
    assert len({decode_image(picture).size for picture in drawn}) == 1
    assert decode_image(upload(tab, data=tmp_path)).size == (640, 480)


def test_the_command_line_names_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    said = capsys.readouterr().err
    assert all(name in said for name in ROWS)


def test_json(tmp_path: Path) -> None:
    row = Row(what="a", measured=1.0, unit="ms", baseline_name="b", baseline=2.0, ratio=2.0, target="c", met=False)
    write_json([row], tmp_path / "rows.json")
    written = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert written["rows"] == [vars(row)]
    assert written["cores"] >= 1
    assert "| no" in as_text([row])


def test_no_row_changes_the_number_of_threads(scale: Scale) -> None:
    before = torch.get_num_threads()
    list(first_tab_rows(scale))
    assert torch.get_num_threads() == before
