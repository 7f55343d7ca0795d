"""The collection of a tab: one gallery with the ways to compare its pictures, and the source of its tiles."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import hub
from demo.basis import VerdictBasis, read_basis
from demo.keys import gallery_keys, gallery_name
from demo.own_gallery import build_pictures, default_out
from demo.percent import PercentTable, read_percent_table
from demo.settings import Settings
from demo.tiles import Tiles
from demo.verdict import Words
from visim_models import (
    ConvolutionalAutoencoder,
    GalleryAbout,
    ImageSourceError,
    ImageStore,
    MissingExtraError,
    VisualSimilarity,
)

__all__ = ["Collection", "load_collections"]

_log = logging.getLogger(__name__)

_CAR_LOOK_REPO = "car-autoencoder"
_CIFAR10_KIND_REPO = "cifar10-extractor"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """One gallery, as a tab shows it.

    Attributes:
        key: in the names of endpoints and elements.
        title: of the tab.
        one: a word for a picture of the gallery, in the singular with its article.
        many: the same in the plural.
        ways: name -> how pictures are compared; the first is the usual one. All have the same file names.
        judge: gives the verdict on an upload, in whatever way its matches are compared; None for that way itself.
        tiles: the pictures of the gallery.
        decoder: the autoencoder that reconstructs an upload, or None.
        percents: name of a way -> how often each percent was a true match, where that was measured.
        about: how the gallery describes itself. Its texts are anyone's.
        basis: the ground that its verdict has.
        is_own: it is a gallery of the host's, in a tab of its own.
    """

    key: str
    title: str
    one: str
    many: str
    ways: dict[str, VisualSimilarity]
    tiles: Tiles = field(repr=False)
    judge: VisualSimilarity | None = None
    decoder: VisualSimilarity | None = None
    percents: Mapping[str, PercentTable] = field(default_factory=dict, repr=False)
    about: GalleryAbout = field(default_factory=GalleryAbout, repr=False)
    basis: VerdictBasis = field(default_factory=VerdictBasis)
    is_own: bool = False

    @property
    def words(self) -> Words:
        """What the gallery's pictures are called."""
        return Words(self.key, self.one, self.many, is_own=self.is_own)

    @property
    def default_way(self) -> str:
        """Name of the usual way to compare."""
        return next(iter(self.ways))


def load_collections(settings: Settings) -> list[Collection]:
    """Load the galleries of all tabs: the host's own first, then the bundled ones unless the host wants none of them.

    The gallery of the pictures that the host named, if any, is built or brought up to date.

    Raises:
        VisimError: a repo or the pictures cannot be had, or an image root that the host named cannot be used.
    """
    own = _load_own(settings)
    return own if settings.only else [*own, *_load_bundled(settings)]


def _load_own(settings: Settings) -> list[Collection]:
    repos, images = list(settings.galleries), dict(settings.images)
    keys = gallery_keys(settings.sources)
    if settings.pictures:
        out = Path(settings.out) if settings.out else default_out(settings.pictures)
        build_pictures(settings.pictures, out)
        repos.insert(0, str(out))
        images.setdefault(keys[0], settings.pictures)
    return [
        _load(key, repo, gallery_name(source), images.get(key), settings.index_uri)
        for key, repo, source in zip(keys, repos, settings.sources, strict=True)
    ]


def _load(key: str, repo: str, name: str, image_root: str | None, index_uri: str) -> Collection:
    similarity = hub.load(repo, index_uri=index_uri or None)
    about = similarity.gallery.about
    decoder = similarity if isinstance(similarity.model, ConvolutionalAutoencoder) else None
    return Collection(
        key=key,
        title=" ".join(about.title.split()) or name,
        one=" ".join(about.one.split()),
        many="pictures" if about.many == GalleryAbout.many else " ".join(about.many.split()),
        ways={"by features": similarity},
        tiles=Tiles(_open_images(similarity, repo, image_root), decoder),
        decoder=decoder,
        about=about,
        basis=read_basis(hub.locate(repo), similarity),
        is_own=True,
    )


def _load_bundled(settings: Settings) -> list[Collection]:
    cifar10, kind, cars, look = (
        hub.load(repo) for repo in (settings.cifar10_repo, _CIFAR10_KIND_REPO, settings.car_repo, _CAR_LOOK_REPO)
    )
    # A host's own gallery has other pictures than the bundled network beside it, which then cannot draw or rank them.
    same = set(cars.gallery.file_names) == set(look.gallery.file_names)
    same_cifar10 = set(cifar10.gallery.file_names) == set(kind.gallery.file_names)
    return [
        Collection(
            key="cars",
            title="Cars",
            one="a car",
            many="cars",
            ways={"by body": cars, "by look": look} if same else {"by body": cars},
            judge=cars,
            percents=_percents({"by body": settings.car_repo, "by look": _CAR_LOOK_REPO}),
            tiles=Tiles(_open_images(cars, settings.car_repo, settings.images.get("cars")), look if same else None),
            decoder=look,
            basis=read_basis(hub.locate(settings.car_repo), cars),
        ),
        Collection(
            key="cifar10",
            title="CIFAR-10",
            one="a CIFAR-10 picture",
            many="CIFAR-10 pictures",
            ways={"by look": cifar10, "by kind": kind} if same_cifar10 else {"by look": cifar10},
            judge=kind if same_cifar10 else None,
            percents=_percents({"by look": settings.cifar10_repo, "by kind": _CIFAR10_KIND_REPO}),
            tiles=Tiles(_open_images(cifar10, settings.cifar10_repo, settings.images.get("cifar10")), cifar10),
            decoder=cifar10,
            basis=_read_cifar10_basis(settings, kind if same_cifar10 else cifar10, same=same_cifar10),
        ),
    ]


def _read_cifar10_basis(settings: Settings, judge: VisualSimilarity, *, same: bool) -> VerdictBasis:
    return read_basis(hub.locate(_CIFAR10_KIND_REPO if same else settings.cifar10_repo), judge)


def _percents(repos: Mapping[str, str]) -> dict[str, PercentTable]:
    found = {way: read_percent_table(hub.locate(repo)) for way, repo in repos.items()}
    return {way: table for way, table in found.items() if table}


def _open_images(similarity: VisualSimilarity, repo: str, image_root: str | None) -> ImageStore | None:
    """Open the pictures of a gallery; None where they are not at hand.

    Args:
        similarity: has the gallery.
        repo: as the host named it: a gallery in a folder here may name an image root on this machine.
        image_root: the one that the host named instead of the gallery's own.

    Raises:
        ImageSourceError: the image root that the host named cannot be used.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visim" / "images"
    if image_root:
        return ImageStore(image_root, trusted=True, cache_dir=cache)
    if not similarity.gallery.image_root:
        return None
    try:
        return ImageStore(similarity.gallery.image_root, trusted=Path(repo).is_dir(), cache_dir=cache)
    except (ImageSourceError, MissingExtraError) as error:
        _log.warning("%s: its pictures are not at hand: %s", repo, error)
        return None
