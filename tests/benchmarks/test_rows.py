"""Every row of the benchmarks runs and compares equal results. No test judges how fast anything is."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import hub
from benchmarks import demo
from benchmarks.__main__ import ROWS, main
from benchmarks.backends import backend_build_rows, backend_demo_rows, backend_query_rows
from benchmarks.demo import Crowd, serving_rows, startup_rows, user_rows
from benchmarks.exact_search import check_same, search_rows
from benchmarks.measuring import Floor, Row, as_text
from benchmarks.processes import RefusedError, Visitor
from benchmarks.queries import build_rows, car_query_rows, cifar10_query_rows, network_alone, query_parts, time_floors
from benchmarks.scale import Scale, jpegs, upload
from tests.builders import tiny_repo
from tests.milvus_servers import need
from tests.processes import run_module
from visim_models import decode_image

QUERY_FLOORS = ["decoding", "one forward pass", "one pass over the matrix", "sum"]


def assert_whole(rows: list[Row], count: int, *, floors: list[str] | None = None) -> None:
    assert len(rows) == count
    for row in rows:
        assert row.what
        assert row.baseline_name
        assert row.ratio_unit
        assert all(math.isfinite(value) and value > 0 for value in (row.measured, row.baseline, row.ratio))
        assert (row.met is None) == (row.target == "")
        assert [floor.name for floor in row.floors] == (floors or [])
        assert all(math.isfinite(floor.value) and floor.value > 0 for floor in row.floors)
        assert row.ratio == pytest.approx(row.measured / row.baseline) or row.ratio == pytest.approx(
            row.baseline / row.measured
        )
    assert len(as_text(rows, {}).splitlines()) == count + 4


def test_one_query(scale: Scale) -> None:
    pytest.importorskip("cv2", reason="opencv-python-headless is not installed: it is in the extra 'dev'")
    threads = torch.get_num_threads()
    assert_whole([*car_query_rows(scale), *cifar10_query_rows(scale)], 2, floors=QUERY_FLOORS)
    assert torch.get_num_threads() == threads


def test_building_a_repo(scale: Scale) -> None:
    rows = list(build_rows(scale))
    assert_whole(rows, 2, floors=["decoding alone", "network alone", "sum"])
    assert rows[0].what == "40 drawn pictures, from files to a repo folder, car-extractor"
    assert rows[1].what == "8 drawn pictures, from files to a repo folder, visim-general-extractor"
    assert rows[0].met == (rows[0].ratio <= 1.25)


def test_onnx_runtime_in_place_of_torch(served: Scale, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: it is in the extra 'onnx'")
    scale = replace(served, general=str(tiny_repo(tmp_path / "general")))
    assert_whole(list(backend_query_rows(scale)), 3)
    assert_whole(list(backend_demo_rows(scale)), 3)
    first, second, *others = backend_build_rows(scale)
    assert_whole([first, others[0]], 2, floors=["its network alone"])
    assert_whole([second, others[1]], 2)
    assert first.target == "<= 0.45 of it"


def test_exact_search(scale: Scale) -> None:
    pytest.importorskip("faiss", reason="faiss-cpu is not installed: it is in the extra 'dev'")
    threads = torch.get_num_threads()
    *searches, memory = search_rows(scale)
    assert torch.get_num_threads() == threads
    assert_whole(searches, 6, floors=["one pass over the matrix"])
    assert_whole([memory], 1)
    assert memory.measured > memory.baseline == pytest.approx(1_000 * 514 * 4 / 1e6)


def test_other_results_are_seen() -> None:
    matrix, queries = np.eye(4, dtype=np.float32), np.array([[1, 0.9, 0, 0]], np.float32)
    right = np.array([[1, 0.9]], np.float32), np.array([[0, 1]])
    check_same(right, right, matrix, queries)
    check_same(right, (right[0] + 1e-7, right[1]), matrix, queries)
    for wrong in (np.array([[1, 0]]), np.array([[0, 2]])):
        with pytest.raises(RuntimeError, match="differ"):
            check_same(right, (right[0], wrong), matrix, queries)


def test_queries_through_the_demo(served: Scale) -> None:
    assert_whole(list(serving_rows(served)), 2, floors=QUERY_FLOORS)


def test_many_users(served: Scale) -> None:
    rows = list(user_rows(served))
    assert_whole(rows, 3)
    assert all(", 0 errors" in row.note for row in rows)


def test_a_start(served: Scale, monkeypatch: pytest.MonkeyPatch) -> None:
    lighter = demo._IMPORTS.replace("torch, gradio", "json")  # these take ten seconds
    monkeypatch.setattr(demo, "_IMPORTS", lighter)
    assert_whole(list(startup_rows(served)), 2)


def test_a_refused_visitor_gets_the_reason(address: str) -> None:
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


def test_a_crowds_rate_is_the_median_of_its_uses() -> None:
    crowd = Crowd("http://127.0.0.1:9/", lambda *_: None)
    crowd.rates = [40.0, 7.0, 41.0]
    assert crowd.throughput == 40.0


def test_the_command_line_names_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    refusal = capsys.readouterr().err
    assert all(name in refusal for name in ROWS)


def test_rows_of_engines_are_whole(tmp_path: Path) -> None:
    """In a process of its own: Daft leaves open files to the garbage collector."""
    need("pymilvus", "milvus_lite", "pyarrow")
    done = run_module("benchmarks", "--quick", "--only", "scale", "--json", tmp_path / "rows.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"]
    rows = [Row(**{**row, "floors": tuple(Floor(**floor) for floor in row["floors"])}) for row in found]
    searched = [row for row in rows if row.what.startswith("top 10 of 300 x 514")]
    assert_whole(searched, len(searched), floors=["one pass over the matrix"])
    assert searched[0].what.endswith("milvus-lite FLAT")
    assert all("recall at 10 1.0000" in row.note for row in searched if row.what.endswith("FLAT"))
    embedded = [row for row in rows if row not in searched]
    assert_whole(embedded, len(embedded))
    assert embedded[0].what.endswith("to Parquet, this process")


def test_the_sum_of_times() -> None:
    floors = time_floors({"a": 1.5, "b": 2.0, "other": 9.0}, ["a", "b"])
    assert [(floor.name, floor.value) for floor in floors] == [("a", 1.5), ("b", 2.0), ("sum", 3.5)]


def test_the_parts_of_a_query(scale: Scale) -> None:
    similarity, calls = hub.load(dict(scale.repos)["cars"]), []
    similarity.model.register_forward_pre_hook(lambda *_: calls.append("forward"))
    embed = similarity.model.embed
    similarity.model.embed = lambda pixels: calls.append(tuple(pixels.shape)) or embed(pixels)  # type: ignore
    parts = query_parts(similarity, upload("cars", data=scale.data))
    assert list(parts) == ["decoding", "one forward pass", "one pass over the matrix"]
    parts["decoding"]()
    assert calls == []
    parts["one forward pass"]()
    assert calls == [(1, 3, 100, 100)]
    total = parts["one pass over the matrix"]()
    assert calls == [(1, 3, 100, 100)]
    assert float(total) == pytest.approx(similarity.gallery.embeddings.sum(), rel=1e-4)  # type: ignore[arg-type]


def test_the_network_alone_embeds_as_a_folder_is_embedded(scale: Scale) -> None:
    similarity = hub.load(dict(scale.repos)["cifar10"])
    pictures = jpegs("cifar10", 5, data=scale.data)
    pixels = np.stack([similarity.processor(picture) for picture in pictures])
    found = network_alone(similarity.network, pixels)
    np.testing.assert_allclose(found, similarity.embed_batch(pictures), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tab", ["cars", "cifar10"])
def test_the_pictures(tab: str, tmp_path: Path) -> None:
    drawn = jpegs(tab, 5, data=tmp_path)
    assert len(set(drawn)) == 5
    assert len({decode_image(picture).size for picture in drawn}) == 1
    assert decode_image(upload(tab, data=tmp_path)).size == (640, 480)
