"""The files that the page shows: tiles of the gallery's pictures, and what is made for one visitor, deleted in time."""

import hashlib
import io
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import gradio as gr
from gradio.utils import is_in_or_equal
from PIL import Image, ImageDraw

from visim_models import ImageDecodeError, QueryError, VisualSimilarity, decode_image

__all__ = ["PictureSource", "Tile", "Tiles", "VisitorFiles", "enlarged", "page_folder", "png_bytes"]

_SIDE = 320
"""Longest side of a tile, in pixels: a phone shows two of them beside each other, and the car photographs have it."""
_MAX_BYTES = 64 * 2**20
"""All tiles of a gallery together: some 600 photographs, or all 10,000 drawings of CIFAR-10."""


def png_bytes(picture: Image.Image) -> bytes:
    """Encode a picture as a PNG file, quick to write rather than small."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def enlarged(picture: Image.Image, *, side: int = 192) -> Image.Image:
    """Repeat the pixels of a tiny picture until it is about `side` wide, so that they stay crisp."""
    factor = side // max(picture.size)
    if factor < 2:
        return picture
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


class VisitorFiles:
    """Puts files where Gradio serves them from, and enters them in its list of files to delete after a while.

    Gradio enters files itself, but in a list of the component's; once an event has changed a component, it works with
    a copy whose list nobody reads.

    Args:
        page: the page whose `delete_cache` says how long files stay.
    """

    def __init__(self, page: gr.Blocks) -> None:
        self._folder = Path(page.GRADIO_CACHE)
        self._paths = _Paths()
        page.temp_file_sets.append(self._paths)

    def keep(self, content: bytes, name: str) -> str:
        """Write a file of this content and return its path."""
        path = self._folder / hashlib.sha256(content).hexdigest() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._paths.add(str(path))
        return str(path)

    def has(self, path: str) -> bool:
        """Say whether a path, which may come from anyone, is of a file that a visitor left and that is still there."""
        return "\0" not in path and is_in_or_equal(path, self._folder) and Path(path).is_file()

    def keep_picture(self, picture: Image.Image) -> str:
        """Write a picture as a PNG file and return its path."""
        return self.keep(png_bytes(picture), "picture.png")


class _Paths(set[str]):
    """A set that one thread, Gradio's, can go through while others add to it."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(super().__iter__()))


def page_folder(owner: object, name: str) -> Path:
    """Make a folder whose files Gradio serves from where they are; it is deleted with its owner.

    Gradio copies every other file that it serves into its cache, and deletes the copy after a while or when a demo with
    the same cache stops (`Block.serve_static_file`, `delete_files_created_by_app`).
    """
    folder = Path(tempfile.mkdtemp(prefix=f"visim-{name}-")).resolve()
    gr.set_static_paths([folder])
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


class PictureSource(Protocol):
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

    def __init__(
        self, source: PictureSource | None, decoder: VisualSimilarity | None, *, max_bytes: int = _MAX_BYTES
    ) -> None:
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
