"""Repos are found by folder, short name or Hub id, and only files of visim are asked for."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.builders import edit_json, files_of, tiny_repo
from tests.processes import ROOT, run_program
from visim_models import GalleryMismatchError, RepositoryError, VisualSimilarity
from visim_models.models import MODEL_TYPES
from visim_models.repo_folder import RepoFolder, drafting
from visim_models.repo_folder.formats import read_header
from visim_models.repo_folder.manifest import EMBEDDINGS, MANIFEST, MODEL_TYPE_NAMES, PROCESSOR


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert RepoFolder.find(tmp_path).path == tmp_path
    assert RepoFolder.find(str(tmp_path)).path == tmp_path


@pytest.mark.parametrize("source", ["", "a/b/c", "no such folder", "../nowhere/repo", "bad?name", "a\0b"])
def test_what_is_neither_folder_nor_repo_id(source: str) -> None:
    with pytest.raises(RepositoryError, match="neither a folder here nor"):
        RepoFolder.find(source)


RESOLVE = """
import sys
from visim_models import VisimError
from visim_models.repo_folder import RepoFolder
try:
    RepoFolder.find(sys.argv[1], cache_dir=sys.argv[2])
except VisimError as error:
    print(type(error).__name__, error)
"""


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("way", ["switched off", "no network"])
def test_a_repo_that_cannot_be_had_says_what_to_do(way: str, tmp_path: Path) -> None:
    environment = {"HF_HUB_OFFLINE": "1" if way == "switched off" else "0"}
    environment["HF_ENDPOINT"] = f"http://127.0.0.1:{closed_port()}"
    environment["HF_HOME"] = str(tmp_path / "home")
    process = run_program(RESOLVE, "someone/visim-car-extractor", tmp_path, environment={**os.environ, **environment})
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("RepositoryError 'someone/visim-car-extractor'")
    assert "give a folder" in process.stdout


NO_HOME = """
import pwd, sys
def nobody(number):
    raise KeyError(number)
pwd.getpwuid = nobody  # as in a container that runs as any number
from visim_models import VisimError, VisualSimilarity
from visim_models.sources.cache import cache_folder
print(cache_folder("images"))
print(len(VisualSimilarity.from_pretrained(sys.argv[1]).gallery))
try:
    VisualSimilarity.from_pretrained("someone/cars")
except VisimError as error:
    print(error)
"""


def test_a_user_without_a_home_folder(tmp_path: Path) -> None:
    leave_out = ("HOME", "HF_", "XDG_", "HUGGING")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(leave_out)}
    program = [sys.executable, "-c", NO_HOME, str(tiny_repo(tmp_path / "repo"))]
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder, count, error = done.stdout.splitlines()
    assert folder.startswith(str(tmp_path))
    assert count == "12"
    assert "set HF_HOME to a folder" in error
    assert [path.name for path in tmp_path.iterdir()] == ["repo"]


def test_a_repo_that_is_not_cached(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="give a folder"):
        RepoFolder.find("someone/visim-car-extractor", cache_dir=tmp_path, local_files_only=True)


def test_a_short_name_without_a_bundle_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISIM_NAMESPACE", raising=False)
    with pytest.raises(RepositoryError, match=r"VISIM_NAMESPACE .* visim-fish-extractor"):
        RepoFolder.find("fish-extractor")


def test_a_short_name_is_a_bundled_repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "visim-tiny").mkdir()
    monkeypatch.setattr(RepoFolder, "bundles", [tmp_path / "nowhere", tmp_path])
    assert RepoFolder.find("tiny").path == tmp_path / "visim-tiny"


WITHOUT_HUB = """
import sys
from visim_models import VisimError, VisualSimilarity
from visim_models.repo_folder import RepoFolder
try:
    print(RepoFolder.find("car-extractor").path.name, "hub" in sys.modules)
except VisimError as error:
    print(type(error).__name__)
"""


def test_a_checkout_declares_its_repos_and_nothing_is_imported_from_there(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "visim_models", tmp_path / "visim_models", ignore=shutil.ignore_patterns("__pycache__"))
    answers = []
    for place in (ROOT, tmp_path):
        program = [sys.executable, "-c", WITHOUT_HUB]
        environment = {**os.environ, "PYTHONPATH": str(place)}
        done = subprocess.run(program, cwd=tmp_path / "..", env=environment, capture_output=True, text=True, check=True)
        answers.append(done.stdout.split())
    assert answers == [["visim-car-extractor", "False"], ["RepositoryError"]]


@pytest.mark.parametrize("name", ["config.json", "gallery/metadata.csv"])
def test_a_link_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("precious")
    (tmp_path / "repo" / "gallery").mkdir(parents=True)
    (tmp_path / "repo" / name).symlink_to(tmp_path / "secret")
    with pytest.raises(RepositoryError, match="leads out of the repo"):
        RepoFolder.find(tmp_path / "repo")


def test_a_link_to_a_cached_snapshot_is_read(tmp_path: Path) -> None:
    cache = tmp_path / "models--someone--cars"
    snapshot = cache / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    for name, content in files_of(tiny_repo(tmp_path / "repo")).items():
        blob = cache / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / name).parent.mkdir(exist_ok=True)
        (snapshot / name).symlink_to(blob)
    (tmp_path / "current").symlink_to(snapshot)
    assert len(VisualSimilarity.from_pretrained(tmp_path / "current").gallery) == 12


@pytest.mark.parametrize("spelling", ["v1", "v1/", "./v1", ".//v1", "v1/../v1"])
def test_subfolders_are_found_however_they_are_spelled(spelling: str, tmp_path: Path) -> None:
    tiny_repo(tmp_path / "v1")
    assert RepoFolder.find(tmp_path, subfolder=spelling).has("config.json")
    assert not RepoFolder.find(tmp_path, subfolder=None).has("config.json")
    with pytest.raises(RepositoryError, match="has no folder"):
        RepoFolder.find(tmp_path / "v1", subfolder="../..")


def test_the_hub_is_asked_for_no_code_and_no_pickle() -> None:
    for name in ("model.py", "pytorch_model.bin", "model.pt", "gallery/features.pkl", "gallery/photo.jpg"):
        assert not any(fnmatchcase(name, pattern) for pattern in MANIFEST), name


def test_the_manifest_knows_every_network() -> None:
    assert set(MODEL_TYPES) <= MODEL_TYPE_NAMES


# --- what git and editors do to text


TEXTS = (".json", ".csv", ".md")


def with_crlf(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.suffix in TEXTS:
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def indented(folder: Path) -> None:
    for path in folder.rglob("*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(values, indent=4), encoding="utf-8")


def with_byte_order_marks(folder: Path) -> None:
    for path in folder.rglob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@pytest.mark.parametrize("edit", [with_crlf, indented, with_byte_order_marks])
def test_a_gallery_is_tied_to_what_its_processor_says(edit: Callable[[Path], None], tmp_path: Path) -> None:
    repo = tiny_repo(tmp_path / "repo")
    (repo / "gallery" / "about.json").write_text('{\n "title": "Chairs"\n}\n', encoding="utf-8")
    with drafting(repo) as draft:
        draft.write_card("# Chairs")
    header = read_header(repo / EMBEDDINGS)
    edit(repo)
    similarity = VisualSimilarity.from_pretrained(repo)
    assert similarity.gallery.about.title == "Chairs"
    similarity.save_pretrained(repo)
    assert read_header(repo / EMBEDDINGS) == header
    with drafting(repo) as draft:
        assert draft.write_card("# Stools")  # nobody has edited the one before


def test_a_gallery_of_another_processor_is_refused(tmp_path: Path) -> None:
    repo = tiny_repo(tmp_path / "repo")
    edit_json(repo / PROCESSOR, resample=3)
    with pytest.raises(GalleryMismatchError, match="processor_sha256"):
        VisualSimilarity.from_pretrained(repo)


def test_a_shipped_gallery_loads_from_a_clone_of_git_for_windows(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True)

    shutil.copytree(ROOT / "hub" / "pretrained" / "visim-car-autoencoder", tmp_path / "origin" / "repo")
    for name, attributes in (("without", False), ("with", True)):
        if attributes:
            shutil.copy(ROOT / ".gitattributes", tmp_path / "origin")
        git("init", "-q", "origin")
        git("-C", "origin", "-c", "core.autocrlf=false", "add", ".")
        git("-C", "origin", "commit", "-q", "-m", name)
        git("clone", "-q", "-c", "core.autocrlf=true", "origin", name)
        assert (b"\r\n" in (tmp_path / name / "repo" / PROCESSOR).read_bytes()) is not attributes
        assert len(VisualSimilarity.from_pretrained(tmp_path / name / "repo").gallery) > 0
