"""Publish a gallery to the recording Hub: its pictures, the gallery and a Space, through the real client."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from huggingface_hub import HfApi
from PIL import Image

from hub.__main__ import main
from hub.gallery_pictures import LISTING
from hub.publish import plan_gallery, publish_gallery
from hub.space import PROGRAM
from tests.builders import drawn_picture, files_of, tiny_repo, write_pictures
from tests.hub.recording_hub import TOKEN, RecordingHub, Repo
from visim_models import VisimError, VisualSimilarity
from visim_models.galleries import Description, build
from visim_models.galleries.description import MetadataTable
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.hub_repo import ZERO_GPU
from visim_models.repo_folder.manifest import EMBEDDINGS, SKIPPED

# As in test_publish.py.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

PICTURES, MODEL, SPACE = "datasets/someone/chairs-pictures", "models/someone/chairs", "spaces/someone/chairs"
ROOT_ON_THE_HUB = "hf://datasets/someone/chairs-pictures"


class Made(NamedTuple):
    """A gallery, and the pictures that it is of."""

    gallery: Path
    pictures: Path


class Outcome(NamedTuple):
    """What a run printed, and its error or ""."""

    printed: str
    error: str


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    parent = tmp_path_factory.mktemp("original")
    pictures = write_pictures(parent / "photos", 6, classes=["oak", "[pine] 1"])
    (pictures / "oak" / "broken.png").write_bytes(b"no picture")
    description = Description(about={"title": "Oak & Sons", "one": "a chair", "many": "chairs"})
    build(pictures, parent / "chairs", model=tiny_repo(parent / "network"), description=description, progress=False)
    return Made(parent / "chairs", pictures)


@pytest.fixture
def made(original: Made, tmp_path: Path) -> Made:
    return Made(*(Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in original))


def publish_to(server: RecordingHub, gallery: Path, **options: Any) -> Outcome:
    """Publish as "someone" through the real client."""
    error = ""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            publish_gallery(
                options.pop("namespace", "someone"), gallery, api=HfApi(endpoint=server.address, token=TOKEN), **options
            )
        except VisimError as found:
            error = str(found)
    return Outcome(printed.getvalue(), error)


def root_of(server: RecordingHub, folder: Path) -> str:
    """The image root in the gallery that was published."""
    path = folder / EMBEDDINGS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(server.repos[MODEL].files[EMBEDDINGS])
    return RepoFolder(folder).header(EMBEDDINGS)["image_root"]


def test_a_gallery_is_published_with_its_pictures_and_a_space(server: RecordingHub, made: Made, tmp_path: Path) -> None:
    (made.pictures / "oak" / "not_in_the_gallery.png").write_bytes((made.pictures / "oak" / "0001.png").read_bytes())
    (made.pictures / "diary.txt").write_text("private")
    (made.gallery / "notes.txt").write_text("private")
    before = files_of(tmp_path)
    outcome = publish_to(server, made.gallery, pictures=made.pictures)
    assert outcome.error == ""
    assert files_of(tmp_path) == before
    assert set(server.repos) == {PICTURES, MODEL, SPACE}

    data = server.repos[PICTURES].files
    names = [name for name in before if name.startswith("photos/") and name.rpartition("/")[2][0] == "0"]
    assert len(names) == 12
    assert {name: data[name] for name in data if name.endswith(".png")} == {
        name.removeprefix("photos/"): before[name] for name in names
    }
    assert set(data) - {name.removeprefix("photos/") for name in names} == {
        ".gitattributes", LISTING, "README.md", "metadata.csv",
    }  # fmt: skip
    assert data["metadata.csv"] == before["chairs/gallery/metadata.csv"]
    assert data["metadata.csv"].startswith(b"file_name,label\n")

    model = server.repos[MODEL].files
    sent = {name.removeprefix("chairs/") for name in before if name.startswith("chairs/")} - {"notes.txt", SKIPPED}
    assert set(model) == {".gitattributes", *sent}
    assert {name for name in sent if model[name] != before[f"chairs/{name}"]} == {EMBEDDINGS}
    assert root_of(server, tmp_path / "downloaded") == ROOT_ON_THE_HUB
    assert b"photos" not in model[EMBEDDINGS]

    space = server.repos[SPACE].files
    assert {PROGRAM, "README.md", "requirements.txt", "demo/app.py", "hub/locate.py", "LICENSE"} <= set(space)
    assert [name for name in space if "pretrained" in name or name.startswith(("tests/", "docs/", "lab/"))] == []
    assert b"'someone/chairs'" in space[PROGRAM]
    front = space["README.md"].decode()
    assert "title: Oak & Sons\n" in front
    assert "models:\n- someone/chairs\ndatasets:\n- someone/chairs-pictures\n" in front
    assert server.repos[SPACE].settings["hardware"] == ZERO_GPU
    addresses = ["datasets/someone/chairs-pictures", "someone/chairs", "spaces/someone/chairs"]
    assert outcome.printed.splitlines()[-3:] == [f"{server.address}/{address}" for address in addresses]
    assert "warning:" not in outcome.printed
    assert TOKEN not in outcome.printed


def test_a_second_run_commits_nothing_and_a_change_is_sent_alone(server: RecordingHub, made: Made) -> None:
    assert publish_to(server, made.gallery, pictures=made.pictures).error == ""
    commits = server.commits
    assert publish_to(server, made.gallery, pictures=made.pictures).error == ""
    assert server.commits == commits
    data = server.repos[PICTURES]
    data.files["mine.png"] = b"put there by hand"
    (made.pictures / "oak" / "0000.png").unlink()
    Image.fromarray(drawn_picture(77)).save(made.pictures / "oak" / "new.png")
    build(made.pictures, made.gallery, remove_missing=True, progress=False)
    assert publish_to(server, made.gallery, pictures=made.pictures).error == ""
    assert data.files["mine.png"] == b"put there by hand"
    assert "oak/0000.png" not in data.files
    assert data.files["oak/new.png"] == (made.pictures / "oak" / "new.png").read_bytes()
    assert "oak/0000.png" not in data.files[LISTING].decode().splitlines()
    assert len(server.repos[MODEL].commits) == 2
    assert len(server.repos[SPACE].commits) == 1


def test_the_clients_own_pipeline_sends_the_same(
    server: RecordingHub, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hf_xet, `upload_folder` takes another way: here all of it but the transfer of large files."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(server, "takes_lfs", False)
    assert publish_to(server, made.gallery, pictures=made.pictures).error == ""
    commits = server.commits
    assert publish_to(server, made.gallery, pictures=made.pictures).error == ""
    assert server.commits == commits
    data = server.repos[PICTURES].files
    sent = {name: content for name, content in files_of(made.pictures).items() if not name.endswith("broken.png")}
    assert {name: data[name] for name in data if name.endswith(".png")} == sent


@pytest.mark.parametrize(("step", "number"), [("/repos/create", 2), ("/commit/main", 1), ("/commit/main", 3)])
def test_a_failure_halfway_is_completed_by_a_second_run(
    server: RecordingHub, made: Made, tmp_path: Path, step: str, number: int
) -> None:
    seen = []

    def fail(method: str, path: str) -> int | None:
        if method == "POST" and step in path:
            seen.append(path)
            return 500 if len(seen) == number else None
        return None

    server.fail = fail
    assert publish_to(server, made.gallery, pictures=made.pictures).error.startswith("Could not")
    server.fail = lambda method, path: None
    assert publish_to(server, made.gallery, pictures=made.pictures).error == ""
    assert len(server.repos[PICTURES].files) == 16
    assert root_of(server, tmp_path / "downloaded") == ROOT_ON_THE_HUB
    assert PROGRAM in server.repos[SPACE].files


def test_a_dry_run_lists_every_file_and_sends_nothing(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it asked the network"))
    command = ["publish", "--namespace", "someone", "--dry-run", "--gallery", str(made.gallery)]
    assert main([*command, "--pictures", str(made.pictures), "--name", "seats"]) == 0
    printed = capsys.readouterr().out
    for name in ("oak/0000.png", "[pine] 1/0005.png"):
        assert f"  {(made.pictures / name).stat().st_size:>12,}  {name}\n" in printed
    for repo in ("dataset someone/seats-pictures", "model someone/seats", "space someone/seats"):
        assert f"{repo}: " in printed
    assert f"  {PROGRAM}\n" in printed
    assert "nothing was sent" in printed


@pytest.mark.parametrize(("key", "file"), [(PICTURES, "metadata.csv"), (MODEL, "config.json"), (SPACE, "app.py")])
def test_a_repo_of_the_same_name_that_is_not_visims_stays(
    server: RecordingHub, made: Made, key: str, file: str
) -> None:
    server.repos[key] = Repo(key.partition("s/")[0], private=False)
    server.repos[key].files[file] = b"somebody else's"
    outcome = publish_to(server, made.gallery, pictures=made.pictures)
    assert f"has files that visim did not publish ({file})" in outcome.error
    assert server.repos[key].files == {".gitattributes": b"", file: b"somebody else's"}


def test_files_and_cards_of_others_stay(server: RecordingHub, made: Made) -> None:
    assert publish_to(server, made.gallery, pictures=made.pictures).error == ""
    data, space = server.repos[PICTURES], server.repos[SPACE]
    data.files["README.md"] = space.files["README.md"] = b"---\nlicense: cc-by-4.0\n---\nmine\n"
    data.files["oak/new.png"] = b"somebody else's"
    again = publish_to(server, made.gallery, pictures=made.pictures)
    assert again.error == ""
    assert again.printed.count("was edited on the Hub") == 2
    assert data.files["README.md"] == space.files["README.md"] == b"---\nlicense: cc-by-4.0\n---\nmine\n"
    Image.fromarray(drawn_picture(77)).save(made.pictures / "oak" / "new.png")
    build(made.pictures, made.gallery, progress=False)
    assert "oak/new.png" in publish_to(server, made.gallery, pictures=made.pictures).error
    assert data.files["oak/new.png"] == b"somebody else's"


def test_pictures_that_nobody_else_would_see_are_a_warning(server: RecordingHub, made: Made, tmp_path: Path) -> None:
    outcome = publish_to(server, made.gallery)
    assert outcome.error == ""
    assert set(server.repos) == {MODEL, SPACE}
    (warning,) = [line for line in outcome.printed.splitlines() if line.startswith("warning:")]
    assert root_of(server, tmp_path / "downloaded") in warning
    assert "placeholders" in warning
    assert "everyone can read that path" in warning
    assert "datasets:" not in server.repos[SPACE].files["README.md"].decode()


def test_without_pictures_a_second_run_keeps_those_on_the_hub(server: RecordingHub, made: Made, tmp_path: Path) -> None:
    assert publish_to(server, made.gallery, pictures=made.pictures).error == ""
    commits = server.commits
    again = publish_to(server, made.gallery)
    assert again.error == ""
    assert server.commits == commits
    assert root_of(server, tmp_path / "downloaded") == ROOT_ON_THE_HUB
    assert "datasets:\n- someone/chairs-pictures\n" in server.repos[SPACE].files["README.md"].decode()
    assert "warning:" not in again.printed
    assert "the pictures stay those of" in again.printed


def test_pictures_come_from_a_zip_too(server: RecordingHub, made: Made, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name, content in files_of(made.pictures).items():
            archive.writestr(name, content)
    assert publish_to(server, made.gallery, pictures=tmp_path / "photos.zip").error == ""
    assert server.repos[PICTURES].files["oak/0003.png"] == (made.pictures / "oak" / "0003.png").read_bytes()


def test_pictures_that_are_not_those_of_the_gallery_are_refused(server: RecordingHub, made: Made) -> None:
    (made.pictures / "oak" / "0003.png").unlink()
    shutil.copy(made.pictures / "oak" / "0001.png", made.pictures / "oak" / "0002.png")
    error = publish_to(server, made.gallery, pictures=made.pictures).error
    assert "2 of the gallery's 12 pictures cannot be published" in error
    assert "oak/0002.png, oak/0003.png" in error
    assert "--sync" in error
    assert server.repos == {}


def test_what_cannot_be_published_is_explained(
    server: RecordingHub, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "choose another with --name" in publish_to(server, made.gallery, name="my chairs").error
    assert "choose another --namespace" in publish_to(server, made.gallery, namespace="some one").error
    assert "one of visim's own repos" in publish_to(server, made.gallery, name="visim").error
    assert "visim build" in publish_to(server, tmp_path / "nowhere").error
    assert "--image-root" in publish_to(server, made.gallery, pictures="hf://datasets/a/b").error
    (made.gallery / "ood.json").unlink()
    assert "ood.json" in publish_to(server, made.gallery).error
    assert server.repos == {}
    assert main(["publish", "--namespace", "someone", "--pictures", "photos"]) == 2
    assert main(["publish", "--namespace", "someone", "--gallery", "chairs", "--only", "space"]) == 2
    assert "go with --gallery" in capsys.readouterr().err


def test_a_private_gallery_says_what_it_needs(server: RecordingHub, made: Made) -> None:
    outcome = publish_to(server, made.gallery, pictures=made.pictures, private=True)
    assert outcome.error == ""
    assert all(repo.private for repo in server.repos.values())
    assert "HF_TOKEN" in outcome.printed


def test_what_was_published_loads(server: RecordingHub, made: Made, tmp_path: Path) -> None:
    assert publish_to(server, made.gallery, pictures=made.pictures).error == ""
    for name, content in server.repos[MODEL].files.items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(content)
    similarity = VisualSimilarity.from_pretrained(tmp_path / "copy")
    assert similarity.gallery.image_root == ROOT_ON_THE_HUB
    assert similarity.search(made.pictures / "oak" / "0002.png").matches[0].file_name == "oak/0002.png"


READ = """
import json, sys
import datasets
found = datasets.load_dataset(sys.argv[1])
rows = [{key: value for key, value in row.items() if key != "image"} for row in found["train"]]
print(json.dumps({"splits": list(found), "rows": rows, "size": found["train"][0]["image"].size}))
"""


@pytest.mark.parametrize("labels", [["test", "train", "007"], ["dev/eval", "NA", "2023-08-01"]])
def test_datasets_reads_every_picture_with_its_label_as_text(tmp_path: Path, labels: list[str]) -> None:
    """Without the card's settings, a folder called test hides all others, 007 is 7, and NA is nothing."""
    pictures = write_pictures(tmp_path / "photos", 2, classes=labels)
    prices = "".join(f"{label}/{index:04d}.png,0{index}.50\n" for label in labels for index in range(2))
    (tmp_path / "prices.csv").write_text(f"file_name,price\n{prices}", encoding="utf-8")
    description = Description(metadata=MetadataTable.read(tmp_path / "prices.csv"))
    network = tiny_repo(tmp_path / "network")
    build(pictures, tmp_path / "chairs", model=network, description=description, progress=False)
    (tmp_path / "work").mkdir()
    dataset, _, _ = plan_gallery("someone/chairs", tmp_path / "chairs", tmp_path / "work", pictures=pictures)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    program = [sys.executable, "-c", READ, str(dataset.folder)]
    done = subprocess.run(program, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["splits"] == ["train"]
    expected = [{"label": label, "price": f"0{index}.50"} for label in labels for index in range(2)]
    assert sorted(answer["rows"], key=str) == sorted(expected, key=str)
    assert answer["size"][0] > 0
