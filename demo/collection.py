"""The collection of a tab: one gallery, the ways to compare its pictures, and the source of its tiles."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import hub
from demo.files import Tiles
from demo.settings import Settings, gallery_keys, gallery_name
from demo.texts import Words
from visim_models import (
    GalleryAbout,
    ImageSourceError,
    ImageStore,
    MissingExtraError,
    VisimError,
    VisualSimilarity,
)
from visim_models.galleries import build
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import MEASUREMENTS, METRICS
from visim_models.repo_folder.metrics import Figure, Metrics
from visim_models.sources.cache import cache_folder

__all__ = ["Collection", "default_out", "load_collections"]

_log = logging.getLogger(__name__)

_CAR_LOOK_REPO = "car-autoencoder"
_CIFAR10_KIND_REPO = "cifar10-extractor"
_OUT = Path(".visim") / "galleries"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """One gallery, as a tab shows it.

    Attributes:
        key: in the names of endpoints and elements.
        title: of the tab.
        words: what its pictures are called.
        ways: name -> how pictures are compared; the first is the usual one. All have the same file names.
        tiles: the pictures of the gallery.
        judge: gives the verdict on an upload, in whatever way its matches are compared; None for that way itself.
        decoder: the autoencoder that reconstructs an upload, or None.
        about: how the gallery describes itself. Its texts are anyone's.
        figures: name -> what was measured of the verdict.
        is_self_calibrated: the verdict is calibrated on the gallery's own pictures, and not on others of their kind.
        is_own: it is a gallery of the host's, in a tab of its own.
    """

    key: str
    title: str
    words: Words
    ways: dict[str, VisualSimilarity]
    tiles: Tiles = field(repr=False)
    judge: VisualSimilarity | None = None
    decoder: VisualSimilarity | None = None
    about: GalleryAbout = field(default_factory=GalleryAbout, repr=False)
    figures: Mapping[str, Figure] = field(default_factory=dict, repr=False)
    is_self_calibrated: bool = False
    is_own: bool = False

    @property
    def usual(self) -> VisualSimilarity:
        """The usual way to compare."""
        return next(iter(self.ways.values()))

    @property
    def usual_judge(self) -> VisualSimilarity:
        """What gives the verdict where pictures are compared in the usual way."""
        return self.judge or self.usual


def load_collections(settings: Settings) -> list[Collection]:
    """Load the galleries of all tabs: the host's own first, then the bundled ones unless the host wants none of them.

    The gallery of the pictures that the host named, if any, is built or brought up to date.

    Raises:
        VisimError: a repo or the pictures cannot be had, or an image root that the host named cannot be used.
    """
    own = _load_own(settings)
    return own if settings.only else [*own, *_load_bundled(settings)]


def default_out(pictures: str) -> Path:
    """Return the folder of the gallery of some pictures, below the current folder: another one for each source.

    Two sources of one name must not share it: the pictures and the descriptions of the first would go.
    """
    source = pictures if "://" in pictures else str(Path(pictures).resolve())
    digest = hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()
    return _OUT / f"{gallery_keys([pictures])[0]}-{digest[:8]}"


def _load_own(settings: Settings) -> list[Collection]:
    repos, images = list(settings.galleries), dict(settings.images)
    keys = gallery_keys(settings.sources)
    if settings.pictures:
        out = Path(settings.out) if settings.out else default_out(settings.pictures)
        print("\n".join(build(settings.pictures, out, remove_missing=True, backend=settings.backend).lines()))
        repos.insert(0, str(out))
        images.setdefault(keys[0], settings.pictures)
    return [
        _load(key, repo, gallery_name(source), images.get(key), settings)
        for key, repo, source in zip(keys, repos, settings.sources, strict=True)
    ]


def _load(key: str, repo: str, name: str, image_root: str | None, settings: Settings) -> Collection:
    similarity = hub.load(repo, backend=settings.backend, index_uri=settings.index_uri or None)
    about = similarity.gallery.about
    many = "pictures" if about.many == GalleryAbout.many else " ".join(about.many.split())
    decoder = similarity if similarity.network.can_decode else None
    folder = RepoFolder(hub.locate(repo))
    return Collection(
        key=key,
        title=" ".join(about.title.split()) or name,
        words=Words(key, " ".join(about.one.split()), many),
        ways={"by features": similarity},
        tiles=Tiles(_open_images(similarity, repo, image_root), decoder),
        decoder=decoder,
        about=about,
        figures=_read_figures(folder),
        is_self_calibrated=not similarity.ood.can_reject or folder.has(MEASUREMENTS),  # `visim build` made it
        is_own=True,
    )


def _load_bundled(settings: Settings) -> list[Collection]:
    cars = {"by body": settings.car_repo, "by look": _CAR_LOOK_REPO}
    cifar10 = {"by look": settings.cifar10_repo, "by kind": _CIFAR10_KIND_REPO}
    words = Words("cifar10", "a CIFAR-10 picture", "CIFAR-10 pictures", is_own=False)
    return [
        _bundled("cars", "Cars", Words("cars", "a car", "cars", is_own=False), cars, settings, judge="by body"),
        _bundled("cifar10", "CIFAR-10", words, cifar10, settings, judge="by kind"),
    ]


def _bundled(
    key: str, title: str, words: Words, repos: Mapping[str, str], settings: Settings, *, judge: str
) -> Collection:
    """Load a bundled gallery with the ways of these repos: the first is the usual one, "by look" also draws."""
    loaded = {way: hub.load(repo, backend=settings.backend) for way, repo in repos.items()}
    first = next(iter(loaded))
    names = set(loaded[first].gallery.file_names)
    # A host's own gallery has other pictures than the bundled network beside it, which then cannot draw or rank them.
    ways = {way: each for way, each in loaded.items() if set(each.gallery.file_names) == names}
    folder = RepoFolder(hub.locate(repos[judge if judge in ways else first]))
    return Collection(
        key=key,
        title=title,
        words=words,
        ways=ways,
        judge=ways.get(judge),
        tiles=Tiles(_open_images(loaded[first], repos[first], settings.images.get(key)), ways.get("by look")),
        decoder=loaded["by look"],
        figures=_read_figures(folder),
        is_self_calibrated=folder.has(MEASUREMENTS),
    )


def _read_figures(folder: RepoFolder) -> dict[str, Figure]:
    """Read what was measured of a gallery's verdict; {} where nothing was, or it cannot be read."""
    if not folder.has(METRICS):
        return {}
    try:
        return {figure.name: figure for figure in Metrics.read(folder).figures}
    except VisimError as error:
        _log.warning("the page does not say what the verdict finds: %s", error)
        return {}


def _open_images(similarity: VisualSimilarity, repo: str, image_root: str | None) -> ImageStore | None:
    """Open the pictures of a gallery, under a root that the host named or the gallery's own; None if not at hand.

    Raises:
        ImageSourceError: the image root that the host named cannot be used.
    """
    cache = cache_folder("images")
    if image_root:
        return ImageStore(image_root, trusted=True, cache_dir=cache)
    if not similarity.gallery.image_root:
        return None
    try:
        return ImageStore(similarity.gallery.image_root, trusted=Path(repo).is_dir(), cache_dir=cache)
    except (ImageSourceError, MissingExtraError) as error:
        _log.warning("%s: its pictures are not at hand: %s", repo, error)
        return None
