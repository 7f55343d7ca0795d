"""A gallery is built and changed with labels, columns and words of its owner's."""

from pathlib import Path

import pytest

from tests.builders import files_of
from visim_models import ConfigurationError, DataError, GalleryAbout, VisualSimilarity
from visim_models.galleries import Description, MetadataTable, build, update
from visim_models.gallery import Gallery

HEAD = "file_name,price,url,kind\n"


def table(folder: Path, pictures: Path, **changes: str) -> MetadataTable:
    """A record for each picture; `changes` replaces the link of all."""
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    link = changes.get("link", "https://example.org/{}")
    rows = "".join(f"{name},{number},{link.format(number)},kind {number % 2}\n" for number, name in enumerate(names))
    (folder / "prices.csv").write_text(HEAD + rows)
    return MetadataTable.read(folder / "prices.csv")


def gallery_of(repo: Path) -> Gallery:
    return VisualSimilarity.from_pretrained(repo).gallery


def test_a_described_gallery(model: Path, pictures: Path, tmp_path: Path) -> None:
    description = Description(
        metadata=table(tmp_path, pictures), label="kind", about={"one": "a chair", "columns": ("price",), "link": "url"}
    )
    report = build(pictures, tmp_path / "mine", model=model, description=description, progress=False)
    assert report.notes == []
    found = gallery_of(tmp_path / "mine")
    assert found.about == GalleryAbout(one="a chair", columns=("price",), link="url")
    assert set(found.columns) == {"price", "url"}
    assert set(found.labels) == {"kind 0", "kind 1"}
    match = (
        VisualSimilarity.from_pretrained(tmp_path / "mine").search(pictures / found.file_names[3], top_k=1).matches[0]
    )
    assert match.columns == {"price": "3", "url": "https://example.org/3"}


def test_words_and_columns_change_without_embedding_anything(
    model: Path, pictures: Path, tmp_path: Path, embedded: list[str]
) -> None:
    mine = tmp_path / "mine"
    build(pictures, mine, model=model, description=Description(about={"title": "Oak"}), progress=False)
    embedded.clear()
    before = files_of(mine)
    update(mine, description=Description(metadata=table(tmp_path, pictures), about={"many": "chairs"}), progress=False)
    assert embedded == []
    assert gallery_of(mine).about == GalleryAbout(title="Oak", many="chairs")
    assert gallery_of(mine).columns["price"][:3] == ["0", "1", "2"]
    changed = {name for name, content in files_of(mine).items() if before.get(name) != content}
    assert changed == {"gallery/about.json", "gallery/metadata.csv"}


def test_a_later_build_keeps_words_labels_and_columns(model: Path, pictures: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    description = Description(metadata=table(tmp_path, pictures), about={"title": "Oak", "link": "url"})
    build(pictures, mine, model=model, description=description, progress=False)
    first = sorted(pictures.rglob("*.png"))[0]
    first.with_name("another.png").write_bytes(sorted(pictures.rglob("*.png"))[-1].read_bytes()[:-1] + b"x")
    (first.parent / "broken.png").write_bytes(b"no picture")
    build(pictures, mine, progress=False)
    assert gallery_of(mine).about == GalleryAbout(title="Oak", link="url")
    assert "https://example.org/0" in gallery_of(mine).columns["url"]


def test_records_and_pictures_that_do_not_belong_together_are_said(model: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file_name,price\nnobody.jpg,3\n")
    description = Description(metadata=MetadataTable.read(tmp_path / "t.csv"))
    report = build(pictures, tmp_path / "mine", model=model, description=description, progress=False)
    assert len(report.notes) == 2
    assert "nobody.jpg" in report.notes[0]


def test_descriptions_that_do_not_fit_leave_nothing(model: Path, pictures: Path, tmp_path: Path) -> None:
    good = table(tmp_path, pictures)
    bad = {
        "a link that is none": Description(
            metadata=table(tmp_path, pictures, link="javascript:x"), about={"link": "url"}
        ),
        "no such column": Description(metadata=good, about={"columns": ("size",)}),
        "labels of no column": Description(metadata=good, label="size"),
        "labels without a table": Description(label="kind"),
        "an unknown key": Description(about={"titel": "x"}),
    }
    for description in bad.values():
        with pytest.raises((DataError, ConfigurationError)):
            build(pictures, tmp_path / "mine", model=model, description=description, progress=False)
        assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("about", "link"),
    [({"columns": ("colour",)}, "https://example.org/{}"), ({"link": "url"}, "javascript:{}"), ({"link": "site"}, "")],
)
@pytest.mark.parametrize("is_new", [True, False])
def test_faults_are_told_before_anything_is_embedded(
    model: Path, pictures: Path, tmp_path: Path, embedded: list[str], about: dict[str, object], link: str, is_new: bool
) -> None:
    mine = tmp_path / "mine"
    if not is_new:
        build(pictures, mine, model=model, progress=False)
        embedded.clear()
        (pictures / "new.png").write_bytes(next(pictures.rglob("*.png")).read_bytes() + b"more")
    description = Description(metadata=table(tmp_path, pictures, link=link), about=about)
    with pytest.raises((ConfigurationError, DataError)):
        build(pictures, mine, model=model, description=description, progress=False)
    assert embedded == []
