"""A gallery's description is checked when it is loaded, whoever wrote it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import tiny_repo, tiny_similarity
from visim_models import ConfigurationError, GalleryAbout, GalleryError, VisualSimilarity
from visim_models.gallery import is_link
from visim_models.repo_folder import RepoFolder

MINE = GalleryAbout(title="Oak", one="a chair", many="chairs", description="From\n1960.", columns=("price",), link="x")


def with_about(repo: Path, content: str) -> Path:
    (repo / "gallery" / "about.json").write_text(content, encoding="utf-8")
    return repo


def test_a_gallery_without_one_has_the_usual_words(tmp_path: Path) -> None:
    repo = tiny_repo(tmp_path / "repo")
    assert VisualSimilarity.from_pretrained(repo).gallery.about == GalleryAbout()
    assert GalleryAbout().one == "a picture like these"
    VisualSimilarity.from_pretrained(repo).save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy" / "gallery" / "about.json").exists()


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    similarity = tiny_similarity()
    similarity.gallery.columns = {name: ["x"] * len(similarity.gallery) for name in ("price", "x")}
    similarity.gallery.about = MINE
    similarity.save_pretrained(tmp_path / "repo")
    again = VisualSimilarity.from_pretrained(tmp_path / "repo").gallery
    assert again.about == MINE
    assert again.subset([0, 1]).about == MINE


def test_keys_may_be_left_out(tmp_path: Path) -> None:
    repo = with_about(tiny_repo(tmp_path / "repo"), '{"title": "Oak"}')
    assert GalleryAbout.load(RepoFolder(repo)) == GalleryAbout(title="Oak")


@pytest.mark.parametrize(
    "values",
    [
        {"titel": "Oak"}, {"title": 3}, {"title": "x" * 500}, {"title": "a\u202eb"}, {"one": ""}, {"columns": "price"},
        {"columns": ["price", "price"]}, {"columns": [3]}, {"columns": [str(n) for n in range(99)]}, {"link": None},
        {"description": "x" * 3000}, {"columns": ["price"]}, {"link": "url"},
    ],
    ids=lambda values: json.dumps(values)[:40],
)  # fmt: skip
def test_values_that_do_not_fit(values: dict[str, Any], tmp_path: Path) -> None:
    repo = with_about(tiny_repo(tmp_path / "repo"), json.dumps(values))
    with pytest.raises((ConfigurationError, GalleryError)):
        VisualSimilarity.from_pretrained(repo)


def test_links() -> None:
    assert is_link("https://example.org/a?b=c")
    for text in (
        "javascript:alert(1)",
        "//example.org",
        "https://a b",
        "ftp://a",
        "",
        "https://a\n",
        "https://" + "a" * 3000,
    ):
        assert not is_link(text)
