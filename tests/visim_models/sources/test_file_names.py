"""File names: one plain relative path each."""

import pytest

from visim_models import ImageSourceError
from visim_models.sources.file_names import check_file_name, is_picture_name


@pytest.mark.parametrize(
    "name", ["a.jpg", "car/a 1.jpg", "a..b.jpg", "größe/ü.png", "...jpg", "a/b/c/d.jpg", "a/c:1.jpg", ".hidden/a.jpg"]
)
def test_plain_names_pass(name: str) -> None:
    check_file_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "/", "/a.jpg", "a/", "a//b.jpg", "./a.jpg", "a/./b.jpg", "../a.jpg", "a/../b.jpg", "a/..",
        "C:/a.jpg", "C:a.jpg", "http://host/a.jpg", "a\\b.jpg", "\\\\host\\a.jpg", "a\0.jpg", "a\nb.jpg",
        "\u202egpj.a", "a\udcff.jpg",
    ],
)  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ImageSourceError, match="file name") as caught:
        check_file_name(name)
    assert caught.value.path == name


@pytest.mark.parametrize(
    ("name", "is_picture"), [("a.JPG", True), ("b/a.webp", True), ("a.txt", False), ("x/jpg", False)]
)
def test_pictures_are_known_by_their_suffix(name: str, is_picture: bool) -> None:
    assert is_picture_name(name) is is_picture
