"""The Space of one gallery: its files, and that they start by themselves."""

import sys
from dataclasses import fields
from pathlib import Path

import pytest

from demo.settings import Settings
from hub.space import PROGRAM, check_space, read_front_matter, stage_gallery_space
from hub.space_check import probe_app
from tests.builders import tiny_repo
from tests.processes import ROOT
from visim_models import ConfigurationError, GalleryAbout

SHOWS_GALLERIES = {"galleries", "only"} <= {field.name for field in fields(Settings)}


def test_the_network_of_a_gallery_decides_what_is_installed(tmp_path: Path) -> None:
    for name, needs_timm in (("with", True), ("without", False)):
        (tmp_path / name).mkdir()
        stage_gallery_space(ROOT, tmp_path / name, gallery_id="a/b", about=GalleryAbout(), needs_timm=needs_timm)
        lines = (tmp_path / name / "requirements.txt").read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if line.startswith("timm")] == (["timm>=1.0.20,<2"] if needs_timm else [])
        ours = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        assert {line for line in ours if not line.startswith("torch")} <= set(lines)


def test_a_gallery_for_agents_is_tagged(tmp_path: Path) -> None:
    stage_gallery_space(ROOT, tmp_path, gallery_id="a/b", about=GalleryAbout(), mcp=True)
    assert "mcp-server" in read_front_matter(tmp_path)["tags"]


def test_a_gallery_cannot_write_into_the_front_matter(tmp_path: Path) -> None:
    about = GalleryAbout(title='x"\nsdk: docker', description="<script>\n---\n# y")
    stage_gallery_space(ROOT, tmp_path, gallery_id="a/b", about=about)
    front, project = read_front_matter(tmp_path), read_front_matter(ROOT)
    assert front["title"] == 'x" sdk: docker'
    assert {key: front[key] for key in ("sdk", "sdk_version", "python_version")} == {
        key: project[key] for key in ("sdk", "sdk_version", "python_version")
    }
    assert front["app_file"] == PROGRAM
    assert len(front["short_description"]) <= 60
    assert "<script>" not in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_project_that_is_no_space_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="front matter"):
        stage_gallery_space(tmp_path, tmp_path / "space", gallery_id="a/b", about=GalleryAbout())
    check_space(ROOT)


@pytest.mark.skipif(not SHOWS_GALLERIES, reason="demo/settings.py has no --gallery and --only yet")
def test_the_files_start_by_themselves(tmp_path: Path) -> None:
    gallery, space = tiny_repo(tmp_path / "oak-chairs"), tmp_path / "space"
    space.mkdir()
    stage_gallery_space(ROOT, space, gallery_id=str(gallery), about=GalleryAbout(title="Chairs"))
    assert not (space / "hub" / "pretrained").exists()
    probe = probe_app(Path(sys.executable), space, PROGRAM, endpoints=None, timeout=240)
    assert set(probe.query_seconds) == {"/search_oak_chairs"}
