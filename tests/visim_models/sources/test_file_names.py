"""File names: one plain relative path each."""

import pytest

from visim_models import ImageSourceError
from visim_models.sources.file_names import check_file_name, is_picture_name, shown_name


@pytest.mark.parametrize(
    "name",
    [
        "a.jpg", "car/a 1.jpg", "a..b.jpg", "größe/ü.png", "...jpg", "a/b/c/d.jpg", "12:30:45.jpg", ".hidden/a.jpg",
        "4.42.48\u202fPM.jpg", "a\u00a0b.jpg", "写真\u3000 1.jpg", "\u0645\u06cc\u200c\u0631.jpg",
        "क्\u200dष.jpg", "👨\u200d👩\u200d👧.jpg",
        "Fuß\u00adball.jpg", "\ufeffa.jpg", "\ue000.jpg", "a\\b.jpg", "C:a.jpg", "zero\u200bwidth.jpg",
    ],
)  # fmt: skip
def test_plain_names_pass(name: str) -> None:
    check_file_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "/", "/a.jpg", "a/", "a//b.jpg", "./a.jpg", "a/./b.jpg", "../a.jpg", "a/../b.jpg", "a/..",
        "http://host/a.jpg", "a\0.jpg", "a\nb.jpg", "a\x7f.jpg", "a\x85.jpg", "a\u2028b.jpg", "a\u2029b.jpg",
        "\u202egpj.a", "a\u2067b.jpg", "a\udcff.jpg",
    ],
)  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ImageSourceError, match="file name") as caught:
        check_file_name(name)
    assert caught.value.path == name
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["C:/a.jpg", "a\\b.jpg", "12:30.jpg"])
def test_windows_has_names_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visim_models.sources.file_names.os.name", "nt")
    with pytest.raises(ImageSourceError, match="Windows"):
        check_file_name(name)


def test_a_name_is_escaped_where_it_is_shown() -> None:
    assert shown_name("4.42\u202fPM 👨\u200d👩 ü.jpg") == "4.42\u202fPM 👨\u200d👩 ü.jpg"
    assert shown_name("a\n\u202eb\x1b[2J\udcff\u200b\u00ad") == "a\\n\\u202eb\\x1b[2J\\udcff\\u200b\\xad"


@pytest.mark.parametrize(
    ("name", "is_picture"), [("a.JPG", True), ("b/a.webp", True), ("a.txt", False), ("x/jpg", False)]
)
def test_pictures_are_known_by_their_suffix(name: str, is_picture: bool) -> None:
    assert is_picture_name(name) is is_picture
