"""What a tab searches: one gallery with the ways to compare its pictures, and what draws its tiles."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import hub
from demo.settings import Settings
from demo.tiles import Tiles
from visim_models import ImageSourceError, VisualSimilarity
from visim_models.image_source import ImageRoot

__all__ = ["Collection", "load_collections"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Collection:
    """One gallery, as a tab shows it.

    Attributes:
        key: in the names of endpoints and elements.
        title: of the tab.
        one: what the gallery holds, in the singular with its article.
        many: the same in the plural.
        ways: name -> how pictures are compared; the first is the usual one. All have the same file names.
        tiles: the pictures of the gallery.
        decoder: the autoencoder that shows what it keeps of an upload, or None.
    """

    key: str
    title: str
    one: str
    many: str
    ways: dict[str, VisualSimilarity]
    tiles: Tiles = field(repr=False)
    decoder: VisualSimilarity | None = None

    @property
    def default_way(self) -> str:
        """The name of the usual way to compare."""
        return next(iter(self.ways))


def load_collections(settings: Settings) -> list[Collection]:
    """The galleries of both tabs.

    Raises:
        VisimError: a repo cannot be had, or an image root that the host named cannot be used.
    """
    cifar10 = hub.load(settings.cifar10_repo)
    cars = hub.load(settings.car_repo)
    look = hub.load("car-autoencoder")
    # A host's own gallery of cars has other pictures than the bundled autoencoder, which then cannot draw or rank them.
    same = set(cars.gallery.file_names) == set(look.gallery.file_names)
    return [
        Collection(
            key="cifar10",
            title="CIFAR-10",
            one="a CIFAR-10 picture",
            many="CIFAR-10 pictures",
            ways={"by code": cifar10},
            tiles=Tiles(_image_root("cifar10", cifar10, settings.cifar10_repo, settings), cifar10),
            decoder=cifar10,
        ),
        Collection(
            key="cars",
            title="Cars",
            one="a car",
            many="cars",
            ways={"by body": cars, "by look": look} if same else {"by body": cars},
            tiles=Tiles(_image_root("cars", cars, settings.car_repo, settings), look if same else None),
            decoder=look,
        ),
    ]


def _image_root(key: str, similarity: VisualSimilarity, repo: str, settings: Settings) -> ImageRoot | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visim" / "images"
    if key in settings.images:
        return ImageRoot(settings.images[key], trusted=True, cache_dir=cache)
    if not similarity.gallery.image_root:
        return None
    try:
        return ImageRoot(similarity.gallery.image_root, trusted=Path(repo).is_dir(), cache_dir=cache)
    except ImageSourceError as error:
        _log.warning("the %s tab draws its tiles: %s", key, error)
        return None
