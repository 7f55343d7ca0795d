"""Finished tiles for the page: a gallery's picture as a small file, from the image root, else drawn by the decoder."""

import hashlib
import io
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from PIL import Image, ImageDraw

from visim_models import ImageDecodeError, QueryError, VisualSimilarity, decode_image

__all__ = ["Source", "Tile", "Tiles", "enlarged", "png_bytes", "private_folder"]

_SIDE = 320
"""Longest side of a tile, in pixels: what a phone shows of two beside each other, and what the car photographs have."""


class Source(Protocol):
    """The part of `visim_models.ImageStore` that tiles need."""

    def read_many(self, file_names: Sequence[str]) -> dict[str, bytes]:
        """Return file name -> content, of those that can be had now."""


class Tile(NamedTuple):
    """A finished tile.

    Attributes:
        path: of a PNG or JPEG file.
        is_drawn: it was drawn from the code of the picture, which is not at hand.
    """

    path: str
    is_drawn: bool


class Tiles:
    """The tiles of one gallery, made when they are first asked for and kept until the program ends.

    Args:
        source: the pictures, or None where there are none.
        decoder: an autoencoder with the same file names in its gallery, or None.
    """

    def __init__(self, source: Source | None, decoder: VisualSimilarity | None) -> None:
        self._source = source
        self._decoder = decoder
        self._folder = private_folder(self, "tiles")

    def make(self, file_names: Sequence[str]) -> list[Tile]:
        """A tile for each file name, in the same order. All pictures are fetched at once, with one wait for all."""
        photos = {name: self._path(name, "photo") for name in file_names}
        wanted = [name for name, path in photos.items() if not path.exists()]
        fetched = self._source.read_many(wanted) if self._source and wanted else {}
        for name, content in fetched.items():
            try:
                self._save(decode_image(content), photos[name])
            except ImageDecodeError:
                continue  # a damaged file in the host's own folder: its tile is drawn
        return [
            Tile(str(photos[name]), False) if photos[name].exists() else Tile(str(self._drawn(name)), True)
            for name in file_names
        ]

    def _drawn(self, file_name: str) -> Path:
        path = self._path(file_name, "drawn")
        if not path.exists():
            try:
                if self._decoder is None:
                    raise QueryError("There is no autoencoder to draw with.")
                picture = Image.fromarray(self._decoder.decode_gallery(file_name))
            except QueryError:
                picture = _blank()
            self._save(picture, path)
        return path

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


def private_folder(owner: object, name: str) -> Path:
    """A new folder for temporary files, readable by this user only, that goes when its owner does."""
    folder = Path(tempfile.mkdtemp(prefix=f"visim-{name}-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as a PNG file, quick to write rather than small."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def enlarged(picture: Image.Image, *, side: int = 192) -> Image.Image:
    """A tiny picture with its pixels repeated to at least about `side`, so that they stay crisp; others unchanged."""
    factor = side // max(picture.size)
    if factor < 2:
        return picture
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _blank() -> Image.Image:
    """Stands for a picture that is not at hand, of a gallery whose codes nothing can draw."""
    picture = Image.new("RGB", (_SIDE, _SIDE * 3 // 4), "#d4d4d8")
    ImageDraw.Draw(picture).text(
        (_SIDE / 2, _SIDE * 3 / 8), "picture not at hand", fill="#3f3f46", font_size=24, anchor="mm"
    )
    return picture
