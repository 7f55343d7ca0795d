"""The keys of galleries, made from the names of their folders and repos."""

import pytest

from demo.keys import gallery_keys, gallery_name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("photos", "photos"),
        ("some/where/My Photos.ZIP", "My Photos"),
        ("photos/", "photos"),
        ("hf://datasets/someone/chairs", "chairs"),
        ("hf://datasets/someone/chairs@main", "chairs"),
        ("someone/my-gallery", "my-gallery"),
        ("shop.2020", "shop.2020"),
    ],
)
def test_the_name_of_a_gallery(source: str, name: str) -> None:
    assert gallery_name(source) == name


def test_a_key_is_of_letters_digits_and_underscores_and_each_once() -> None:
    sources = ["My Photos.zip", "my-photos", "a/my_photos", "2020", "Stühle", "写真", "x" * 99, "\"><img src='x'>"]
    keys = gallery_keys(sources)
    assert keys[:6] == ["my_photos", "my_photos_2", "my_photos_3", "gallery_2020", "st_hle", "gallery"]
    assert keys[6:] == ["x" * 40, "img_src_x"]


def test_no_key_is_one_of_a_bundled_gallery_or_of_another_part_of_an_address() -> None:
    assert gallery_keys(["cars", "CIFAR10", "way", "top-k"]) == ["cars_2", "cifar10_2", "way_2", "top_k_2"]


def test_the_current_folder_has_a_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("chairs", numbered=False))
    assert gallery_name(".") == "chairs"
