"""The collection of a tab: one gallery with the ways to compare its pictures, and the source of its tiles."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import hub
from demo.percent import PercentTable, read_percent_table
from demo.settings import Settings
from demo.tiles import Tiles
from visim_models import ImageSourceError, ImageStore, VisualSimilarity

__all__ = ["Collection", "load_collections"]

_log = logging.getLogger(__name__)

_LOOK_REPO = "car-autoencoder"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """One gallery, as a tab shows it.

    Attributes:
        key: in the names of endpoints and elements.
        title: of the tab.
        one: a word for a picture of the gallery, in the singular with its article.
        many: the same in the plural.
        ways: name -> how pictures are compared; the first is the usual one. All have the same file names.
        tiles: the pictures of the gallery.
        decoder: the autoencoder that reconstructs an upload, or None.
        percents: name of a way -> how often each percent was a true match, where that was measured.
    """

    key: str
    title: str
    one: str
    many: str
    ways: dict[str, VisualSimilarity]
    tiles: Tiles = field(repr=False)
    decoder: VisualSimilarity | None = None
    percents: Mapping[str, PercentTable] = field(default_factory=dict, repr=False)

    @property
    def default_way(self) -> str:
        """Name of the usual way to compare."""
        return next(iter(self.ways))


def load_collections(settings: Settings) -> list[Collection]:
    """Load the galleries of both tabs.

    Raises:
        VisimError: a repo cannot be had, or an image root that the host named cannot be used.
    """
    cifar10, cars, look = (hub.load(repo) for repo in (settings.cifar10_repo, settings.car_repo, _LOOK_REPO))
    # A host's own gallery of cars has other pictures than the bundled autoencoder, which then cannot draw or rank them.
    same = set(cars.gallery.file_names) == set(look.gallery.file_names)
    return [
        Collection(
            key="cifar10",
            title="CIFAR-10",
            one="a CIFAR-10 picture",
            many="CIFAR-10 pictures",
            ways={"by code": cifar10},
            percents=_percents({"by code": settings.cifar10_repo}),
            tiles=Tiles(_image_store("cifar10", cifar10, settings.cifar10_repo, settings), cifar10),
            decoder=cifar10,
        ),
        Collection(
            key="cars",
            title="Cars",
            one="a car",
            many="cars",
            ways={"by body": cars, "by look": look} if same else {"by body": cars},
            percents=_percents({"by body": settings.car_repo, "by look": _LOOK_REPO}),
            tiles=Tiles(_image_store("cars", cars, settings.car_repo, settings), look if same else None),
            decoder=look,
        ),
    ]


def _percents(repos: Mapping[str, str]) -> dict[str, PercentTable]:
    found = {way: read_percent_table(hub.locate(repo)) for way, repo in repos.items()}
    return {way: table for way, table in found.items() if table}


def _image_store(key: str, similarity: VisualSimilarity, repo: str, settings: Settings) -> ImageStore | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visim" / "images"
    if key in settings.images:
        return ImageStore(settings.images[key], trusted=True, cache_dir=cache)
    if not similarity.gallery.image_root:
        return None
    try:
        return ImageStore(similarity.gallery.image_root, trusted=Path(repo).is_dir(), cache_dir=cache)
    except ImageSourceError as error:
        _log.warning("the %s tab draws its tiles: %s", key, error)
        return None
