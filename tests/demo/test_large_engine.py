"""A gallery of 100,000 in the real server, asked by the demo's endpoint: the answers of the exact index in memory."""

import shutil
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image

import hub
from demo.collection import load_collections
from demo.page import build_demo
from demo.settings import Settings
from tests.builders import drawn_picture, write_part
from tests.demo.conftest import ask, png_bytes, served, upload
from tests.milvus_servers import need, running_real
from visim_models import VisualSimilarity
from visim_models.repo_folder import RepoDraft
from visim_models.search import ExactIndex, PictureTexts
from visim_models.search.engine import EngineAddress, IndexSettings, collection_name

COUNT, TOP, AT_ONCE = 100_000, 12, 10_000


def test_it_answers_as_the_exact_index_does(tmp_path: Path) -> None:
    need("pymilvus", "milvus", "pyarrow")
    many = shutil.copytree(hub.locate("car-extractor"), tmp_path / "many")
    memory = VisualSimilarity.from_pretrained(many)
    memory.gallery.image_root = ""  # no picture is fetched
    write_part(memory.gallery, many)
    matrix = repeated(torch.from_numpy(memory.gallery.embeddings), COUNT)  # (N, D)
    names = [f"{number:06d}.jpg" for number in range(COUNT)]
    queries = [Image.fromarray(drawn_picture(number)) for number in range(4)]
    exact = ExactIndex(matrix, PictureTexts(names, [""] * COUNT))
    with running_real(tmp_path / "server") as server:
        name_in_engine(many, filled(EngineAddress(server.uri), memory, matrix, names), matrix.shape[1])
        page = build_demo(load_collections(Settings(galleries=(str(many),), only=True, index_uri=server.uri)))
        with served(page) as address, httpx.Client(base_url=address, timeout=60) as http:
            for query in queries:
                event, answers = ask(http, "search_many", [upload(http, query), TOP])
                assert event == "complete", answers
                (answer,) = answers
                embedding = torch.from_numpy(memory.search(png_bytes(query)).embedding)[None]
                scores, indices = exact.search(embedding, top_k=TOP)
                assert [match["file_name"] for match in answer["matches"]] == [names[each] for each in indices[0]]
                found = [match["score"] for match in answer["matches"]]
                np.testing.assert_allclose(found, scores[0], atol=1e-5)


def repeated(real: torch.Tensor, count: int) -> torch.Tensor:
    """Return (count, D) rows: the real ones again and again, each with some noise, rounded as galleries store them."""
    generator = torch.Generator().manual_seed(0)
    rows = real[torch.arange(count) % len(real)]
    return (rows + 0.3 * real.std(dim=0) * torch.randn(rows.shape, generator=generator)).half().float()


def filled(address: EngineAddress, memory: VisualSimilarity, matrix: torch.Tensor, names: list[str]) -> str:
    """Fill a collection that is named as the gallery's; return the name."""
    from visim_models.search.milvus import MilvusIndex

    gallery = memory.gallery
    alias = collection_name("many", gallery.weights_sha256, gallery.processor_sha256)
    index = MilvusIndex.create(address, alias, width=matrix.shape[1], timeout=60)
    for start in range(0, len(matrix), AT_ONCE):
        part = names[start : start + AT_ONCE]
        index.add(matrix[start : start + AT_ONCE], PictureTexts(part, [""] * len(part)))
    index.publish(alias)
    index.close()
    return alias


def name_in_engine(repo: Path, collection: str, width: int) -> None:
    """Let a repo folder say that its gallery is in an engine."""
    IndexSettings(collection=collection, pictures=COUNT, width=width).write_files(RepoDraft(repo, repo))
