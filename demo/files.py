"""Files that Gradio serves: those made for one visitor, deleted in time, and those of the page itself, which stay."""

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
from gradio.utils import is_in_or_equal
from PIL import Image

from demo.pixels import enlarged, png_bytes

__all__ = ["VisitorFiles", "page_folder"]


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

    def keep_enlarged(self, picture: Image.Image) -> str:
        """Write a picture as a PNG file, its pixels repeated if they are few, and return its path."""
        return self.keep_picture(enlarged(picture))


class _Paths(set[str]):
    """A set that one thread, Gradio's, can go through while others add to it."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(super().__iter__()))


def page_folder(owner: object, name: str) -> Path:
    """Make a folder whose files Gradio serves from where they are; it is deleted with its owner.

    Gradio copies every other file that it serves into its cache, and deletes the copy after a while or when a demo with
    the same cache stops (`Block.serve_static_file`, `delete_files_created_by_app`).

    Args:
        owner: the object that uses the files.
        name: a word for the name of the folder.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"visim-{name}-")).resolve()
    gr.set_static_paths([folder])
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder
