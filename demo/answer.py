"""From a search to the page: fills the components of a tab."""

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any, Literal

import gradio as gr
from PIL import Image

from demo.cards import file_address, meaning, tile_grid
from demo.collection import Collection
from demo.copies import find_distinct
from demo.crop import crop_frame
from demo.files import VisitorFiles
from demo.links import Asked
from demo.matches_table import matches_rows, table_headers
from demo.parts import Parts
from demo.percent import explain_percents
from demo.search import Search, matches_csv, nearest
from demo.texts import say
from demo.upload import sentence
from demo.verdict import explain_basis, explain_classes, explain_verdict, message
from visim_models import VisimError

__all__ = ["Answers", "Moves", "Updates", "signal"]

_FRAME = 800
"""Longer side of the picture that the frame is drawn on; the crop itself is of the upload."""

Updates = dict[Any, Any]
"""Component -> its new value or settings."""

Moves = Literal["focus", "scroll", "restore"]
"""What the page does with an answer: it comes into view with the focus, as a new entry of the history; or without the
focus, which stays on the control that asked for it; or as the entry of the history that is already there."""


def signal(*, moves: Moves, key: str = "", asked: Asked | None = None, tiles: int = 0, status: str = "") -> str:
    """Write the attributes by which `page.js` finds a new answer and knows what to do with it.

    Args:
        moves: how it comes into view.
        key: of the gallery, for the history.
        asked: what finds the search again.
        tiles: how many tiles belong to it.
        status: what is announced of an answer that does not take the focus.
    """
    values = {"answer": secrets.token_hex(4), "moves": moves, "tiles": tiles, "status": status}
    if asked:
        state = {key: asked.name, "of": asked.source, "way": asked.way, "top_k": asked.top_k}
        state |= {"less": "\n".join(asked.less)} if asked.less else {}
        values |= {"address": asked.address(key), "state": json.dumps(state)}
    return "".join(f' data-{name}="{escape(str(value))}"' for name, value in values.items())


class Answers:
    """Fills the components of a tab.

    Args:
        collection: the gallery that the tab searches.
        parts: its components.
        files: for the files that are made for one visitor.
    """

    def __init__(self, collection: Collection, parts: Parts, files: VisitorFiles) -> None:
        self._collection, self._parts, self._files = collection, parts, files

    def attempt(self, answer: Callable[[], Updates]) -> Updates:
        """Return an answer, or a message that says why there is none."""
        try:
            return answer()
        except VisimError as error:
            return self.refusal(sentence(error))

    def search(self, search: Search, *, picture: Image.Image | None = None, moves: Moves = "focus") -> Updates:
        """Show a search: its verdict and, if they do not wait behind a warning, its matches.

        Args:
            search: the search.
            picture: the upload, to find it in the gallery.
            moves: how the answer comes into view.
        """
        if not search.is_hidden:
            search = self._with_tiles(search, picture)
        updates = {
            self._parts.state: search,
            self._parts.verdict: self._explain(search, moves),
            self._parts.reveal: gr.update(visible=search.is_hidden),
            self._parts.all_again: gr.update(visible=bool(search.less) and not search.is_hidden),
            self._parts.crop: gr.update(visible=search.source != "gallery" and not search.files),
            self._parts.frame: gr.update(visible=False),
            self._parts.results: gr.update(visible=not search.is_hidden),
            self._parts.detail: gr.update(visible=False),
            self._parts.reasons: gr.update(visible=False),
            self._parts.table_fold: gr.update(visible=not search.is_hidden),
            self._parts.sure_fold: gr.update(visible=True),
            self._parts.sure: self._reasons(search),
        }
        return updates if search.is_hidden else {**updates, **self._matches(search)}

    def inside(self, picture: Image.Image) -> Updates:
        """Show a picture beside its reconstruction from the autoencoder's code, where there is an autoencoder."""
        decoder = self._collection.decoder
        if decoder is None:
            return {}
        seen = decoder.processor.resize(picture).transpose(1, 2, 0)  # (S, S, 3)
        return {
            self._parts.inside: gr.update(visible=True),
            self._parts.seen: self._files.keep_enlarged(Image.fromarray(seen)),
            self._parts.kept: self._files.keep_enlarged(Image.fromarray(decoder.reconstruct(picture))),
        }

    def frame(self, picture: Image.Image) -> Updates:
        """Show a copy of the upload with a frame on it, to search with a part."""
        factor = _FRAME / max(picture.size)
        size = (max(1, round(factor * picture.width)), max(1, round(factor * picture.height)))
        shown = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
        content = crop_frame(file_address(self._files.keep_picture(shown)), data=signal(moves="focus"))
        return {self._parts.crop: gr.update(visible=False), self._parts.frame: gr.update(value=content, visible=True)}

    def refusal(self, text: str) -> Updates:
        """Show no search, and why there is none; plain text."""
        return self.no_search(message("error", text, data=signal(moves="focus")))

    def no_search(self, text: str) -> Updates:
        """Show no search, and a text in place of the verdict.

        Args:
            text: HTML, as `demo.verdict.message` makes it.
        """
        parts = self._parts
        hidden = [
            parts.crop,
            parts.frame,
            parts.reveal,
            parts.all_again,
            parts.results,
            parts.detail,
            parts.reasons,
            parts.table_fold,
            parts.inside,
            parts.sure_fold,
        ]
        return {parts.state: None, parts.verdict: text, **{part: gr.update(visible=False) for part in hidden}}

    def _with_tiles(self, search: Search, picture: Image.Image | None) -> Search:
        similarity = self._collection.ways[search.way]
        size = len(similarity.gallery)
        found = find_distinct(
            search.matches,
            self._collection.tiles,
            more=lambda number: nearest(
                similarity, search.embedding, top_k=min(number, size), label=search.label, less=search.less
            ),
            query=picture,
        )
        is_in_gallery = search.is_in_gallery or any(each.is_query for each in found)
        return replace(search, found=found, is_in_gallery=is_in_gallery)

    def _matches(self, search: Search) -> Updates:
        about = self._collection.about
        words = self._collection.words
        said = meaning(search.matches[0], words) if search.matches and search.is_usual else ""
        if search.verdict is not None and search.verdict.is_ood:
            said = say("means_little", many=words.many)
        above = f'<p class="visim-means">{escape(said)}</p>' if said else ""
        table = {"headers": table_headers(about), "data": matches_rows(search.matches, about)}
        content = matches_csv(search.matches, about.columns).encode()
        return {
            self._parts.gallery: tile_grid(search.found, self._collection, said=above),
            self._parts.table: table,
            self._parts.csv: self._files.keep(content, "visim-matches.csv"),
        }

    def _explain(self, search: Search, moves: Moves) -> str:
        words = self._collection.words
        data = signal(
            moves=moves,
            key=self._collection.key,
            asked=search.asked,
            tiles=len(search.found),
            status=say("shown", n=len(search.found)),
        )
        more = explain_classes(search.classes, words) if search.classes else ""
        more += f"<p>{escape(say('in_gallery'))}</p>" if search.is_in_gallery else ""
        more += f"<p>{escape(say('average', n=len(search.files)))}</p>" if search.files else ""
        more += f"<p>{escape(say('less_like', n=len(search.less)))}</p>" if search.less else ""
        more += self._link(search)
        if search.verdict is None:
            return message("plain", say("from_gallery"), say("itself"), more=more, data=data)
        return explain_verdict(search.verdict, words, basis=self._collection.basis, more=more, data=data)

    def _reasons(self, search: Search) -> str:
        """Write what is in the fold behind the verdict: its statistics, and the scores that were measured."""
        said = explain_basis(search.verdict, self._collection.words, self._collection.basis)
        table = self._collection.percents.get(search.way)
        if table and search.matches and search.is_usual:
            said += explain_percents([match.percent for match in search.matches], table)
        return said

    def _link(self, search: Search) -> str:
        """Link to this page with this search, where others can find it, too."""
        address = search.asked.address(self._collection.key) if search.asked else ""
        if not address:
            return ""
        return f'<p><a class="visim-link" href="{escape(address)}">{escape(say("link"))}</a></p>'
