"""Finished tiles for the page: a gallery's picture as a small file, from the image root, else drawn by the decoder."""

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from PIL import Image, ImageDraw

from demo.files import page_folder
from demo.pixels import enlarged, png_bytes
from visim_models import ImageDecodeError, QueryError, VisualSimilarity, decode_image

__all__ = ["Source", "Tile", "Tiles"]

_SIDE = 320
"""Longest side of a tile, in pixels: a phone shows two of them beside each other, and the car photographs have it."""
_MAX_BYTES = 64 * 2**20
"""All tiles of a gallery together: some 600 photographs, or all 10,000 drawings of CIFAR-10."""


class Source(Protocol):
    """The part of `visim_models.ImageStore` that tiles need."""

    def read_many(self, file_names: Sequence[str]) -> dict[str, bytes]:
        """Return file name -> content, of those that can be had now."""


class Tile(NamedTuple):
    """A finished tile.

    Attributes:
        path: of a PNG or JPEG file.
        is_drawn: it was drawn from the code of the picture, which is not at hand.
        is_missing: it is a placeholder, for the picture is not at hand and nothing can draw it.
    """

    path: str
    is_drawn: bool = False
    is_missing: bool = False

    @property
    def is_photo(self) -> bool:
        """Whether it shows the picture itself."""
        return not (self.is_drawn or self.is_missing)


class Tiles:
    """The tiles of one gallery: made when they are first asked for, and kept in a folder of bounded size.

    Args:
        source: the pictures, or None where there are none.
        decoder: an autoencoder with the same file names in its gallery, or None.
        max_bytes: largest size of the folder; the tiles that were not used for longest go first.
    """

    def __init__(self, source: Source | None, decoder: VisualSimilarity | None, *, max_bytes: int = _MAX_BYTES) -> None:
        self._source = source
        self._decoder = decoder
        self._folder = page_folder(self, "tiles")
        self._max_bytes = max_bytes
        self._sizes: dict[Path, int] = {}  # the least recently used first
        self._lock = threading.Lock()

    def make(self, file_names: Sequence[str]) -> list[Tile]:
        """Make a tile for each file name, in the same order. All pictures are fetched together, with one wait."""
        photos = {name: self._path(name, "photo") for name in file_names}
        self._use(photos.values())  # before others' tiles push these out
        wanted = [name for name, path in photos.items() if not path.exists()]
        fetched = self._source.read_many(wanted) if self._source and wanted else {}
        for name, content in fetched.items():
            try:
                self._save(decode_image(content), photos[name])
            except ImageDecodeError:
                continue  # a damaged file in the host's own folder: its tile is drawn
        tiles = [Tile(str(photos[name])) if photos[name].exists() else self._drawn(name) for name in file_names]
        self._use(Path(tile.path) for tile in tiles)
        self._delete_unused({Path(tile.path) for tile in tiles})
        return tiles

    def _use(self, paths: Iterable[Path]) -> None:
        with self._lock:
            for path in paths:
                if path.exists():
                    self._sizes.pop(path, None)
                    self._sizes[path] = path.stat().st_size

    def _delete_unused(self, shown: set[Path]) -> None:
        """Delete the least recently used tiles until the folder is within its bound; those that are shown now stay."""
        with self._lock:
            total = sum(self._sizes.values())
            for path in [path for path in self._sizes if path not in shown]:
                if total <= self._max_bytes:
                    return
                total -= self._sizes.pop(path)
                path.unlink(missing_ok=True)

    def _drawn(self, file_name: str) -> Tile:
        path = self._path(file_name, "drawn")
        if path.exists():
            return Tile(str(path), is_drawn=True)
        try:
            if self._decoder is None:
                raise QueryError("There is no autoencoder to draw with.")
            self._save(Image.fromarray(self._decoder.decode_gallery(file_name)), path)
        except QueryError:
            blank = self._path(file_name, "blank")
            if not blank.exists():
                self._save(_blank(), blank)
            return Tile(str(blank), is_missing=True)
        return Tile(str(path), is_drawn=True)

    def _path(self, file_name: str, kind: str) -> Path:
        name = hashlib.sha256(file_name.encode()).hexdigest()[:32]
        return self._folder / f"{kind}-{name}.png"

    def _save(self, picture: Image.Image, path: Path) -> None:
        tile = enlarged(picture)
        tile.thumbnail((_SIDE, _SIDE))
        descriptor, staged = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(png_bytes(tile))
        os.replace(staged, path)  # another visitor may be reading it


def _blank() -> Image.Image:
    """Draw the placeholder of a picture that is not at hand, of a gallery whose codes nothing can draw."""
    picture = Image.new("RGB", (_SIDE, _SIDE * 3 // 4), "#d4d4d8")
    ImageDraw.Draw(picture).text(
        (_SIDE / 2, _SIDE * 3 / 8), "picture not at hand", fill="#3f3f46", font_size=24, anchor="mm"
    )
    return picture
