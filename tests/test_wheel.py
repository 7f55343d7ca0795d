"""The wheel: what it holds, that a package index would take it, and that it works without the checkout."""

import email
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.builders import write_pictures
from tests.processes import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as `python -m build` does, without the network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *map(str, folder.iterdir())],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_it_holds_the_library_and_its_network_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (points,) = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith("METADATA")]
    assert {name.partition("/")[0] for name in names} == {"visim_models", names[-1].partition("/")[0]}
    assert points.split() == ["[console_scripts]", "visim", "=", "visim_models.cli.__main__:main"]
    assert {name.split("/")[2] for name in names if "/bundled/" in name} == {"visim-general-extractor"}
    assert not email.message_from_string(metadata).get_payload().startswith("---")  # the settings of a Space


def test_it_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """The three lines of its page, and the two commands."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    write_pictures(tmp_path / "photos", 3, classes=["red", "blue"])
    (tmp_path / "photo.jpg").write_bytes((tmp_path / "photos" / "red" / "0001.png").read_bytes())
    page = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HF_HUB_OFFLINE": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = run("-c", f"import visim_models; print(visim_models.__file__)\n{code}")
    assert str(tmp_path / "site") in printed
    assert "red/0001.png" in printed
    program = ["-m", "visim_models.cli"]
    run(*program, "build", "photos", "--out", "my-gallery")
    assert "red/0001.png" in run(*program, "search", "my-gallery", "photo.jpg")
