"""A gallery in an engine on the page: the same answers, a clear message while it is down, and no address in it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.collection import load_collections
from demo.page import build_demo
from demo.settings import Settings, parse_settings
from tests.builders import drawn_picture as builders_picture
from tests.builders import tiny_repo, write_pictures
from tests.demo.conftest import ask, png_bytes, served, upload
from tests.milvus_servers import Server, need, running_lite
from visim_models import VisualSimilarity
from visim_models.galleries import EngineOptions, build
from visim_models.search.engine import EngineAddress


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    need("pyarrow")
    with running_lite(tmp_path / "server") as running:
        yield running


def test_the_endpoint_answers_from_the_engine_and_recovers(server: Server, tmp_path: Path) -> None:
    from PIL import Image

    pictures, model = write_pictures(tmp_path / "pictures", 8), tiny_repo(tmp_path / "model")
    build(pictures, tmp_path / "memory", model=model, progress=False)
    options = EngineOptions(address=EngineAddress(server.uri))
    build(pictures, tmp_path / "chairs", engine=options, model=model, progress=False)
    server.kill()
    settings = Settings(galleries=(str(tmp_path / "chairs"),), only=True, index_uri=server.uri)
    page = build_demo(load_collections(settings))  # starts without the engine
    query = Image.fromarray(builders_picture(77))
    expected = VisualSimilarity.from_pretrained(tmp_path / "memory").search(png_bytes(query), top_k=6)
    with served(page) as address, httpx.Client(base_url=address, timeout=60) as http:
        event, message = ask(http, "search_chairs", [upload(http, query), 6])
        assert (event, "cannot be reached at the moment" in str(message)) == ("error", True)
        assert "127.0.0.1" not in str(message)
        server.start()
        event, (answer,) = ask(http, "search_chairs", [upload(http, query), 6])
    assert event == "complete"
    assert [match["file_name"] for match in answer["matches"]] == [match.file_name for match in expected.matches]
    assert [match["percent"] for match in answer["matches"]] == [match.percent for match in expected.matches]
    assert answer["ood"]["p_value"] == expected.ood.p_value


def test_the_address_is_an_option_or_a_variable() -> None:
    assert parse_settings(["--index-uri", "http://host:1"], {}).index_uri == "http://host:1"
    assert parse_settings([], {"VISIM_INDEX_URI": "http://host:2"}).index_uri == "http://host:2"
    assert parse_settings([], {}).index_uri == ""
