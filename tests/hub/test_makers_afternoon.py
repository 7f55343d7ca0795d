"""A maker's afternoon, as docs/hosting.md tells it: folder, page, changed folder, page again, publish, Space."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from huggingface_hub import HfApi

from benchmarks.processes import running_demo
from hub.publish import publish_gallery
from hub.space import PROGRAM
from hub.space_check import probe_app
from tests.builders import tiny_repo, write_pictures
from tests.hub.recording_hub import TOKEN, RecordingHub
from visim_models.cli.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def ask(folder: Path, gallery: Path, picture: Path) -> dict[str, Any]:
    """Serve the gallery alone, as `make demo GALLERY= ONLY=1` does, and search with a picture by the endpoint."""
    with running_demo(folder, options=["--gallery", str(gallery), "--only"]) as demo:
        client = Client(demo.url, verbose=False, httpx_kwargs={"timeout": 120})
        answer: dict[str, Any] = client.predict(handle_file(picture), 2, api_name="/search_my_gallery")
        return answer


def test_a_makers_afternoon(server: RecordingHub, tmp_path: Path) -> None:
    network = tiny_repo(tmp_path / "network")
    photos = write_pictures(tmp_path / "photos", 12, classes=["chairs", "tables"])
    gallery = tmp_path / "my-gallery"
    (tmp_path / "prices.csv").write_text("file_name,price\nchairs/0000.png,90\n", encoding="utf-8")
    assert main(["build", str(photos), "--out", str(gallery), "--model", str(network), "--title", "Oak & Sons"]) == 0
    assert main(["build", "--out", str(gallery), "--metadata", str(tmp_path / "prices.csv"), "--show", "price"]) == 0

    first = ask(tmp_path, gallery, photos / "chairs" / "0000.png")["matches"][0]
    assert (first["file_name"], first["percent"], first["columns"]["price"]) == ("chairs/0000.png", 100, "90")

    # The folder changes: a picture is new, one is gone, one has another name.
    new = write_pictures(tmp_path / "new", 1, classes=["lamps"], seed=5) / "lamps"
    new.rename(photos / "lamps")
    (photos / "tables" / "0001.png").unlink()
    (photos / "chairs" / "0000.png").rename(photos / "chairs" / "oak.png")
    assert main(["build", str(photos), "--out", str(gallery), "--sync"]) == 0
    found = {row["file_name"] for row in ask(tmp_path, gallery, next((photos / "lamps").iterdir()))["matches"]}
    assert any(name.startswith("lamps/") for name in found)
    renamed = ask(tmp_path, gallery, photos / "chairs" / "oak.png")["matches"][0]
    assert renamed["file_name"] == "chairs/oak.png"

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        publish_gallery("someone", gallery, pictures=photos, api=HfApi(endpoint=server.address, token=TOKEN))
    assert f"{server.address}/spaces/someone/my-gallery" in printed.getvalue()

    space = tmp_path / "space"
    for name, content in server.repos["spaces/someone/my-gallery"].files.items():
        (space / name).parent.mkdir(parents=True, exist_ok=True)
        (space / name).write_bytes(content)
    variables = {
        "HF_ENDPOINT": server.address,
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
        "PATH": os.environ["PATH"],
    }
    probe = probe_app(Path(sys.executable), space, PROGRAM, endpoints=None, variables=variables, timeout=240)
    assert set(probe.query_seconds) == {"/search_my_gallery"}
