"""The options of the demo: the command line, and environment variables of the same names; and the keys of galleries."""

import argparse
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from visim_models.models.loading import BACKENDS

__all__ = ["BUNDLED_KEYS", "Settings", "gallery_keys", "gallery_name", "keep_proxies_away", "parse_settings"]

BUNDLED_KEYS: Final = ("cars", "cifar10")

_RESERVED: Final = {*BUNDLED_KEYS, "of", "way", "top_k", "view", "less", "deep_link"}
"""Keys that no other gallery may have: those of the bundled ones, and what else an address of the page may ask for."""
_LONGEST_KEY: Final = 40
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options that a host chose, each as `python demo/app.py --help` explains it.

    `images` maps the key of a gallery to an image root; `root_path` has a slash in front alone, or is a whole address;
    "" and 0 stand for what was not chosen.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    root_path: str = ""
    share: bool = False
    images: Mapping[str, str] = field(default_factory=dict)
    car_repo: str = "car-extractor"
    cifar10_repo: str = "cifar10-autoencoder"
    max_size: int = 32
    concurrency: int = 4
    keep: int = 3600
    keep_uploads: int = 0
    auth: tuple[str, str] | None = None
    pictures: str = ""
    out: str = ""
    galleries: tuple[str, ...] = ()
    only: bool = False
    title: str = ""
    description: str = ""
    logo: str = ""
    index_uri: str = ""
    backend: str = "torch"

    @property
    def sources(self) -> list[str]:
        """Return what the tabs of the host's own galleries are named after: the pictures, then the repos."""
        return [*([self.pictures] if self.pictures else []), *self.galleries]


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read the settings from a command line and an environment.

    An option wins over its VISIM_ variable, and that over Gradio's own variable where there is one. An option that does
    not fit ends the program with a message, as argparse does.
    """
    parser = _parser(environment)
    chosen = parser.parse_args(arguments)
    own_repos = environment.get("VISIM_GALLERIES", "").split() if chosen.galleries is None else chosen.galleries
    if chosen.only and not (chosen.pictures or own_repos):
        parser.error("--only: name your gallery, too, with --pictures PATH or --gallery REPO")
    if chosen.out and not chosen.pictures:
        parser.error("--out is the folder of the gallery of --pictures: name the pictures, too")
    own = gallery_keys([*([chosen.pictures] if chosen.pictures else []), *own_repos])
    keys = own if chosen.only else [*own, *BUNDLED_KEYS]
    images = {key: root for key in keys if (root := environment.get(f"VISIM_IMAGES_{key.upper()}"))}
    for text in chosen.images:
        key, separator, root = text.partition("=")
        if key not in keys or not separator or not root:
            parser.error(f"--images {text}: write {' or '.join(f'{key}=PATH' for key in keys)}")
        images[key] = root
    name, separator, password = chosen.auth.partition(":")
    if chosen.auth and not (name and separator and password):
        parser.error("--auth: write NAME:PASSWORD")
    auth = (name, password) if chosen.auth else None
    root = chosen.root_path.rstrip("/")
    root = root if root.startswith(("http://", "https://", "/")) or not root else f"/{root}"
    return Settings(
        **{**vars(chosen), "root_path": root, "images": images, "auth": auth, "galleries": tuple(own_repos)}
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="demo/app.py", description="Serve the visim demo.")

    def add(option: str, default: str, explanation: str, *, also: str = "", **how: Any) -> None:
        # argparse passes a default that is a string through `type`, so a wrong variable is refused like a wrong option.
        variable = f"VISIM_{option.removeprefix('--').replace('-', '_').upper()}"
        value = environment.get(variable, environment.get(also) or default)
        names = f"{variable} or {also}" if also else variable
        parser.add_argument(option, default=value, help=f"{explanation} [{names}; {default or 'none'}]", **how)

    # A Space is reached through a proxy on another machine; everywhere else the page is for this one.
    host = "0.0.0.0" if "SPACE_ID" in environment else Settings.host
    add("--host", host, "address to listen on", also="GRADIO_SERVER_NAME")
    add("--port", str(Settings.port), "port to listen on", also="GRADIO_SERVER_PORT", type=_whole(1, 65535))
    add("--root-path", Settings.root_path, "path, or address, where a proxy shows the page", also="GRADIO_ROOT_PATH")
    add("--car-repo", Settings.car_repo, "repo of the car tab: a short name, a folder, or namespace/repo")
    add("--cifar10-repo", Settings.cifar10_repo, "repo of the CIFAR-10 tab, likewise")
    add("--max-size", str(Settings.max_size), "largest upload, in MiB", type=_whole(1, 32))
    add("--concurrency", str(Settings.concurrency), "queries worked on at once", type=_whole(1, 64))
    add("--keep", str(Settings.keep), "seconds that a visitor's files are kept", type=_whole(1, 7 * 86400))
    add(
        "--keep-uploads",
        str(Settings.keep_uploads),
        "hours that uploads are kept, so that links to a search with them work; the page says so; 0: not at all",
        type=_whole(0, 7 * 24),
        metavar="HOURS",
    )
    add("--auth", "", "ask visitors for this name and password", metavar="NAME:PASSWORD")
    add(
        "--pictures",
        "",
        "build a gallery of these pictures and show it first: folder, zip, list of addresses (.txt), hf://datasets/... "
        "or s3://...",
    )
    add("--out", "", "folder of that gallery, beside which an interrupted build is kept; default: below .visim")
    add("--title", "", "heading of the page")
    add("--description", "", "a few sentences below the heading")
    add("--logo", "", "picture beside the heading: PNG, JPEG, WebP, GIF or SVG", metavar="FILE")
    add("--index-uri", "", "engine of galleries in one: http://HOST:PORT, or a path that ends in .db", metavar="URI")
    add("--backend", Settings.backend, "what computes the networks; onnx needs no torch", choices=BACKENDS)
    _add_switch(parser, environment, "--only", "leave the two bundled tabs away")
    _add_switch(parser, environment, "--share", "also open a public gradio.live address")
    parser.add_argument(
        "--gallery",
        dest="galleries",
        action="append",
        metavar="REPO",
        help="show a gallery that `visim build` made in a tab of its own; may be repeated "
        "[VISIM_GALLERIES, separated by spaces; none]",
    )
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="KEY=PATH",
        help="pictures of a gallery (cars, cifar10, or one named like its folder): folder, zip, list "
        "of addresses (.txt), https address, hf://datasets/... or s3://... "
        "[VISIM_IMAGES_CARS, VISIM_IMAGES_CIFAR10, ...; where the gallery says]",
    )
    return parser


def _add_switch(parser: argparse.ArgumentParser, environment: Mapping[str, str], option: str, explanation: str) -> None:
    variable = f"VISIM_{option.removeprefix('--').upper()}"
    is_on = environment.get(variable, "").lower() in ("1", "true", "yes")
    parser.add_argument(option, action="store_true", default=is_on, help=f"{explanation} [{variable}; off]")


def _whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers within limits, for argparse."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def keep_proxies_away(environment: MutableMapping[str, str], *hosts: str) -> list[str]:
    """Let no request to this machine go through a proxy, and leave out proxies that httpx cannot use.

    Gradio asks its own server whether it is up, by httpx, which takes proxies from the environment, and ends where it
    meets a SOCKS proxy without the package socksio. The hosts are those that the server listens on, besides loopback;
    the variables that were left out are returned.
    """
    direct = [name for key in ("no_proxy", "NO_PROXY") for name in environment.get(key, "").split(",") if name.strip()]
    environment["no_proxy"] = environment["NO_PROXY"] = ",".join(dict.fromkeys([*direct, *_LOOPBACK, *hosts]))
    if find_spec("socksio"):
        return []
    names = [name for name in environment if name.lower().endswith("_proxy") and environment[name].startswith("socks")]
    for name in names:
        del environment[name]
    return names


def gallery_name(source: str) -> str:
    """Return the name of a source of pictures or of a repo: the last part of its path, without ".zip" or ".txt"."""
    if "://" in source:
        return source.rstrip("/").rpartition("/")[2].partition("@")[0]
    name = Path(source).name
    if name in ("", ".."):
        name = Path(source).resolve().name
    return name[:-4] if name.lower().endswith((".zip", ".txt")) else name


def gallery_keys(sources: Sequence[str]) -> list[str]:
    """Return a key for each source, none twice or of a bundled gallery: lower-case letters, digits, underscores."""
    keys: list[str] = []
    for source in sources:
        key = re.sub(r"[^a-z0-9]+", "_", gallery_name(source).lower())[:_LONGEST_KEY].strip("_") or "gallery"
        first = f"gallery_{key}" if key[0].isdigit() else key
        key, number = first, 1
        while key in _RESERVED or key in keys:
            number += 1
            key = f"{first}_{number}"
        keys.append(key)
    return keys
