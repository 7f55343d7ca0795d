"""Publish the static page of a gallery to the recording Hub, through the real client."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import HfApi, RepoCard

from hub.__main__ import main
from hub.static_space import publish_static
from tests.builders import files_of, tiny_repo, write_pictures
from tests.hub.recording_hub import TOKEN, RecordingHub
from visim_models import RepositoryError
from visim_models.galleries import Description, build

# As in test_publish.py.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SPACE = "spaces/someone/chairs"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery; its pictures are in the folder `photos` beside it."""
    if shutil.which("npm") is None:
        pytest.skip("no npm here: onnxruntime-web cannot be fetched")
    parent = tmp_path_factory.mktemp("static")
    write_pictures(parent / "photos", 10, classes=["oak", "pine"])
    about = Description(about={"title": "Oak & Sons", "description": "Chairs."})
    build(parent / "photos", parent / "chairs", model=tiny_repo(parent / "network"), description=about, progress=False)
    return parent / "chairs"


def test_the_page_of_a_gallery_is_a_static_space(server: RecordingHub, gallery: Path) -> None:
    before = files_of(gallery)
    api = HfApi(endpoint=server.address, token=TOKEN)
    (address,) = publish_static("someone", gallery, pictures=gallery.parent / "photos", api=api)
    assert address.endswith("/spaces/someone/chairs")
    assert files_of(gallery) == before
    repo = server.repos[SPACE]
    assert repo.settings["sdk"] == "static"
    assert "hardware" not in repo.settings
    assert {"index.html", "page.js", "site.json", "ort/ort-wasm-simd-threaded.wasm"} <= set(repo.files)
    assert len([name for name in repo.files if name.startswith("gallery-0/pictures/")]) == 20
    assert str(gallery.parent) not in "".join(
        content.decode(errors="ignore") for name, content in repo.files.items() if name.endswith((".json", ".html"))
    )
    card = RepoCard(repo.files["README.md"].decode())
    assert (card.data["sdk"], card.data["app_file"], card.data["title"]) == ("static", "index.html", "Oak & Sons")
    assert card.data["custom_headers"]["cross-origin-opener-policy"] == "same-origin"

    commits = len(repo.commits)
    publish_static("someone", gallery, pictures=gallery.parent / "photos", api=api)
    assert len(repo.commits) == commits
    publish_static("someone", gallery, api=api)  # without copies: those of before go
    assert not [name for name in repo.files if name.startswith("gallery-0/pictures/")]


def test_a_dry_run_shows_every_file_and_asks_nobody(
    gallery: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it asked the network"))
    assert main(["publish", "--namespace", "someone", "--static", "--gallery", str(gallery), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "space someone/chairs: " in printed
    assert "  index.html\n" in printed
    assert "nothing was sent" in printed


def test_what_does_not_go_together_is_refused(
    server: RecordingHub, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["publish", "--namespace", "someone", "--static"]
    assert main(command) == 2
    assert main([*command, "--gallery", str(gallery), "--hardware", "cpu-basic"]) == 2
    assert "has no hardware" in capsys.readouterr().err
    api = HfApi(endpoint=server.address, token=TOKEN)
    with pytest.raises(RepositoryError, match="has no gallery"):
        publish_static("someone", tmp_path, api=api)
    api.create_repo("someone/chairs", repo_type="space", space_sdk="static")
    api.upload_file(path_or_fileobj=b"mine", path_in_repo="index.html", repo_id="someone/chairs", repo_type="space")
    with pytest.raises(RepositoryError, match="visim did not publish"):
        publish_static("someone", gallery, api=api)
    assert server.repos[SPACE].files["index.html"] == b"mine"
