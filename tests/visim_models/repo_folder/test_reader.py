"""Repos are found by folder, short name or Hub id, and only files of visim are asked for."""

import os
import shutil
import socket
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.processes import ROOT, run_program
from visim_models import RepositoryError
from visim_models.models import MODEL_TYPES
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import MANIFEST, MODEL_TYPE_NAMES


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


def test_the_hub_is_asked_for_no_code_and_no_pickle() -> None:
    for name in ("model.py", "pytorch_model.bin", "model.pt", "gallery/features.pkl", "gallery/photo.jpg"):
        assert not any(fnmatchcase(name, pattern) for pattern in MANIFEST), name


def test_the_manifest_knows_every_network() -> None:
    assert set(MODEL_TYPES) <= MODEL_TYPE_NAMES
