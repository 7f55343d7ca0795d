"""The searches of a tab: with an upload, with several, with a picture of the gallery, or as an address asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from demo.answer import Answers, Moves, Updates
from demo.collection import Collection
from demo.examples import Example
from demo.files import VisitorFiles
from demo.inputs import read_label, read_top_k
from demo.kept import KeptUploads
from demo.links import LONGEST, Asked
from demo.parts import Parts
from demo.search import Search, search_gallery, search_pictures
from demo.texts import say
from demo.upload import open_upload
from visim_models import ImageDecodeError

__all__ = ["MOST_FILES", "Finder", "Options"]

MOST_FILES = 8
"""Most pictures whose average is searched with."""


class Options(NamedTuple):
    """How to search, as the tab's components send it: the values may come from anyone."""

    way: str
    label: Any
    top_k: Any
    less: Sequence[str] = ()


class Finder:
    """Makes the searches of a tab, and the answers to them.

    Args:
        collection: the gallery.
        parts: the components of the tab.
        answers: fills them.
        examples: pictures to try.
        files: for the files that are made for one visitor.
        kept: keeps uploads for links; None where the host does not want that.
    """

    def __init__(
        self,
        collection: Collection,
        parts: Parts,
        answers: Answers,
        *,
        examples: Sequence[Example],
        files: VisitorFiles,
        kept: KeptUploads | None,
    ) -> None:
        self._collection, self._parts, self._answers = collection, parts, answers
        self._examples, self._files, self._kept = examples, files, kept

    def new_upload(self, picture: Image.Image, options: Options, *, path: str, is_shown: bool) -> Updates:
        """Search with a new upload.

        Args:
            picture: the upload.
            options: how to search.
            path: of its file; "" where it has none.
            is_shown: the page must put it into the upload.
        """
        if self._kept is not None:
            asked: Asked | None = Asked(name=self._kept.keep(picture), source="upload")
        else:
            asked = Asked(name=path, source="visit") if path else None
        return self.picture(picture, options, asked=asked, shown=path if is_shown else "")

    def example(self, number: int, options: Options) -> Updates:
        """Search with an example, by its number from 1 on."""
        path = self._examples[number - 1].path
        asked = Asked(name=str(number), source="example")
        return self.picture(open_upload(path), options, asked=asked, shown=path)

    def picture(
        self, picture: Image.Image, options: Options, *, asked: Asked | None, shown: str = "", moves: Moves = "focus"
    ) -> Updates:
        """Search with one picture.

        Args:
            picture: the upload.
            options: how to search.
            asked: what finds it again.
            shown: path of the picture, where the page must put it into the upload.
            moves: how the answer comes into view.
        """
        search = replace(self._search([picture], options), shown=shown)
        if asked:
            search = replace(search, name=asked.name, source=asked.source)
        upload = {self._parts.upload: shown} if shown else {}
        answer = self._answers.search(search, picture=picture, moves=moves)
        return {**upload, **answer, **self._answers.inside(picture), self._parts.several: None}

    def several(self, files: Sequence[str], options: Options, *, moves: Moves = "focus") -> Updates:
        """Search with the average of several uploads.

        Raises:
            ImageDecodeError: they are too many, or one is no picture.
        """
        if len(files) > MOST_FILES:
            raise ImageDecodeError(say("too_many", most=MOST_FILES))
        name = "\n".join(files)
        search = self._search((open_upload(file) for file in files), options)
        search = replace(search, files=tuple(files), name=name if len(name) <= LONGEST else "")
        parts = self._parts
        answer = self._answers.search(search, moves=moves)
        return {**answer, parts.upload: None, parts.inside: gr.update(visible=False), parts.several: list(files)}

    def gallery(self, file_name: str, options: Options, *, moves: Moves = "focus") -> Updates:
        """Search with a picture of the gallery."""
        most, label = read_top_k(options.top_k, most=self._parts.most), read_label(options.label)
        search = search_gallery(
            self._collection, file_name, way=options.way, top_k=most, label=label, less=options.less
        )
        tile = self._collection.tiles.make([file_name])[0]
        answer = self._answers.search(replace(search, shown=tile.path), moves=moves)
        hidden = {self._parts.inside: gr.update(visible=False), self._parts.several: None}
        return {**answer, **hidden, self._parts.upload: tile.path}

    def asked(self, asked: Asked, options: Options) -> Updates:
        """Repeat the search that an address or an entry of the browser's history asks for.

        Raises:
            ImageDecodeError: its picture is gone.
        """
        if asked.source == "gallery":
            return self.gallery(asked.name, options, moves="restore")
        gone = ImageDecodeError(say("gone"))
        if asked.source == "example":
            number = int(asked.name) if asked.name.isdecimal() and len(asked.name) < 4 else 0
            if not 1 <= number <= len(self._examples):
                raise gone
            shown = self._examples[number - 1].path
            picture = open_upload(shown)
        elif asked.source == "upload":
            if self._kept is None:
                raise gone
            picture = self._kept.open(asked.name)
            shown = self._files.keep_picture(picture)
        else:
            files = asked.name.split("\n")
            if not all(self._files.has(file) for file in files):
                raise gone
            if len(files) > 1:
                return self.several(files, options, moves="restore")
            shown, picture = files[0], open_upload(files[0])
        return self.picture(picture, options, asked=asked, shown=shown, moves="restore")

    def again(self, state: Search, upload: str | bytes | None, options: Options) -> Updates | None:
        """Repeat a search in another way; None where its upload is gone."""
        if state.source == "gallery":
            return self.gallery(state.name, options, moves="scroll")
        if state.files:
            return self.several(state.files, options, moves="scroll")
        if upload is None:
            return None
        return self.picture(open_upload(upload), options, asked=state.asked, shown=state.shown, moves="scroll")

    def _search(self, pictures: Iterable[Image.Image], options: Options) -> Search:
        most, label = read_top_k(options.top_k, most=self._parts.most), read_label(options.label)
        return search_pictures(
            self._collection,
            pictures,
            way=options.way,
            top_k=most,
            label=label,
            less=options.less,
            classifies=True,
        )
