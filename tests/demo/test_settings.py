"""The command line and its environment, and the keys of galleries."""

import pytest

from demo.app import launch_options
from demo.settings import Settings, gallery_keys, gallery_name, keep_proxies_away, parse_settings


def test_the_defaults_listen_on_loopback_only() -> None:
    assert parse_settings([], {}) == Settings()
    assert (Settings().host, Settings().port) == ("127.0.0.1", 7860)


def test_a_space_is_reached_from_outside() -> None:
    assert parse_settings([], {"SPACE_ID": "someone/visim"}).host == "0.0.0.0"


def test_every_option_has_a_variable_and_the_command_line_wins() -> None:
    environment = {
        "VISIM_HOST": "::1",
        "VISIM_PORT": "1234",
        "VISIM_ROOT_PATH": "/visim",
        "VISIM_SHARE": "1",
        "VISIM_CAR_REPO": "cars",
        "VISIM_CIFAR10_REPO": "cifar",
        "VISIM_MAX_SIZE": "5",
        "VISIM_CONCURRENCY": "2",
        "VISIM_KEEP": "60",
        "VISIM_KEEP_UPLOADS": "24",
        "VISIM_AUTH": "name:pass:word",
        "VISIM_IMAGES_CARS": "photos.zip",
        "VISIM_IMAGES_CIFAR10": "folder",
    }
    settings = parse_settings([], environment)
    assert settings == Settings(
        host="::1",
        port=1234,
        root_path="/visim",
        share=True,
        car_repo="cars",
        cifar10_repo="cifar",
        max_size=5,
        concurrency=2,
        keep=60,
        keep_uploads=24,
        auth=("name", "pass:word"),
        images={"cars": "photos.zip", "cifar10": "folder"},
    )
    chosen = parse_settings(["--port", "99", "--images", "cars=a=b"], environment)
    assert (chosen.port, chosen.images) == (99, {"cars": "a=b", "cifar10": "folder"})


def test_galleries_of_ones_own() -> None:
    environment = {
        "VISIM_GALLERIES": "chairs someone/lamps",
        "VISIM_ONLY": "true",
        "VISIM_TITLE": "Mine",
        "VISIM_DESCRIPTION": "All of it.",
        "VISIM_LOGO": "logo.png",
        "VISIM_IMAGES_LAMPS": "lamps.zip",
        "VISIM_IMAGES_CARS": "unused",
    }
    settings = parse_settings([], environment)
    assert settings == Settings(
        galleries=("chairs", "someone/lamps"),
        only=True,
        title="Mine",
        description="All of it.",
        logo="logo.png",
        images={"lamps": "lamps.zip"},
    )
    chosen = parse_settings(["--gallery", "a b", "--pictures", "photos", "--images", "photos=p"], environment)
    assert (chosen.galleries, chosen.sources) == (("a b",), ["photos", "a b"])
    assert chosen.images == {"photos": "p"}
    built = parse_settings([], {"VISIM_PICTURES": "photos", "VISIM_OUT": "my-gallery"})
    assert (built.pictures, built.out, built.only) == ("photos", "my-gallery", False)


def test_gradios_own_variables_are_honoured_where_nothing_else_is_said() -> None:
    gradio = {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "4321", "GRADIO_ROOT_PATH": "/below"}
    settings = parse_settings([], gradio)
    assert (settings.host, settings.port, settings.root_path) == ("0.0.0.0", 4321, "/below")
    settings = parse_settings([], {**gradio, "VISIM_HOST": "::1", "VISIM_PORT": "99", "VISIM_ROOT_PATH": "/v"})
    assert (settings.host, settings.port, settings.root_path) == ("::1", 99, "/v")
    settings = parse_settings(["--host", "1.2.3.4", "--port", "7", "--root-path", ""], {**gradio, "VISIM_PORT": "99"})
    assert (settings.host, settings.port, settings.root_path) == ("1.2.3.4", 7, "")
    assert launch_options(settings)["root_path"] == ""  # None would have Gradio read its variable again
    assert parse_settings([], {"SPACE_ID": "a/b", "GRADIO_SERVER_NAME": "::"}).host == "::"
    assert parse_settings([], dict.fromkeys(gradio, "")) == Settings()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("visim", "/visim"), ("/visim/", "/visim"), ("/", ""), ("", ""),
        ("https://a.example/visim/", "https://a.example/visim"),
    ],
)  # fmt: skip
def test_a_root_path_is_one_however_it_is_written(given: str, expected: str) -> None:
    assert parse_settings(["--root-path", given], {}).root_path == expected


def test_an_address_of_six_parts_is_written_as_in_an_address() -> None:
    names = [launch_options(Settings(host=host))["server_name"] for host in ("::1", "[::1]", "0.0.0.0")]
    assert names == ["[::1]", "[::1]", "0.0.0.0"]


def test_no_request_to_this_machine_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio asks its own server whether it is up, by httpx, which would ask the proxy."""
    environment = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "host.example", "ALL_PROXY": "socks5://127.0.0.1:9"}
    monkeypatch.setattr("demo.settings.find_spec", lambda _: None)
    assert keep_proxies_away(environment, "10.0.0.1") == ["ALL_PROXY"]
    assert environment["no_proxy"] == "host.example,localhost,127.0.0.1,::1,10.0.0.1"
    assert environment["NO_PROXY"] == environment["no_proxy"]
    assert environment["http_proxy"] == "http://127.0.0.1:9"
    assert "ALL_PROXY" not in environment
    monkeypatch.setattr("demo.settings.find_spec", lambda _: object())
    assert keep_proxies_away({"all_proxy": "socks5://127.0.0.1:9"}) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "0"], "whole number from 1 to 65535"),
        (["--port", "http"], "whole number"),
        (["--max-size", "-1"], "whole number"),
        (["--images", "boats=here"], "cars=PATH or cifar10=PATH"),
        (["--images", "cars="], "cars=PATH"),
        (["--auth", "name"], "NAME:PASSWORD"),
        (["--only"], "--pictures PATH or --gallery REPO"),
        (["--out", "folder"], "name the pictures, too"),
        (["--only", "--gallery", "chairs", "--images", "cars=here"], "chairs=PATH"),
    ],
)
def test_an_option_that_does_not_fit_is_explained(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_settings(arguments, {})
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("variable", ["VISIM_PORT", "GRADIO_SERVER_PORT", "VISIM_KEEP", "VISIM_KEEP_UPLOADS"])
def test_a_variable_that_does_not_fit_is_explained(variable: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings([], {variable: "many"})
    assert "whole number" in capsys.readouterr().err


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
