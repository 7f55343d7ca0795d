"""Files made for one visitor: pictures and tables to show or to download, deleted in time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
from PIL import Image

from demo.tiles import enlarged, png_bytes

__all__ = ["VisitorFiles"]


class VisitorFiles:
    """Puts files where Gradio serves them from, and enters them in its list of what to delete after a while.

    Gradio enters files itself, but in a list of the component's; once an event has changed a component, it works with
    a copy whose list nobody reads.

    Args:
        page: whose `delete_cache` says how long files stay.
    """

    def __init__(self, page: gr.Blocks) -> None:
        self._folder = Path(page.GRADIO_CACHE)
        self._paths = _Paths()
        page.temp_file_sets.append(self._paths)

    def keep(self, content: bytes, name: str) -> str:
        """A file of this content; its path."""
        path = self._folder / hashlib.sha256(content).hexdigest() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._paths.add(str(path))
        return str(path)

    def keep_picture(self, picture: Image.Image) -> str:
        """A PNG file of a picture; its path."""
        return self.keep(png_bytes(picture), "picture.png")

    def keep_enlarged(self, picture: Image.Image) -> str:
        """A PNG file of a picture, its pixels repeated if they are few; its path."""
        return self.keep_picture(enlarged(picture))


class _Paths(set[str]):
    """Gradio goes through the list in one thread while visitors' files are entered in others, which a set forbids."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(super().__iter__()))
