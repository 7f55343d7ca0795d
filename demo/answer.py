"""From a search to the page: fills the components of a tab."""

from collections.abc import Callable
from html import escape
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from PIL import Image

from demo.collection import Collection
from demo.facts import fact_lines, shortened
from demo.files import VisitorFiles
from demo.parts import Parts
from demo.percent import explain_percents
from demo.search import Search, matches_csv
from demo.tiles import Tile
from demo.upload import sentence
from demo.verdict import explain_verdict, message
from visim_models import Match, VisimError

__all__ = ["Answers", "Updates"]

_ALL_DRAWN = "The tiles are **drawn from their codes** by the autoencoder, as the photographs are not at hand."
_SOME_DRAWN = "Tiles “drawn from its code” are the autoencoder's, as those photographs are not at hand."

_LABEL = 60
"""Most characters of a label below a tile. The table of the matches has it whole."""

Updates = dict[Any, Any]
"""Component -> its new value or settings."""


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
            return self.no_search(message("error", sentence(error)))

    def search(self, search: Search) -> Updates:
        """Show a search: its verdict and, if they do not wait behind a warning, its matches."""
        updates = {
            self._parts.state: search,
            self._parts.verdict: self._explain(search),
            self._parts.link: self._link(search),
            self._parts.reveal: gr.update(visible=search.is_hidden),
            self._parts.results: gr.update(visible=not search.is_hidden),
            self._parts.detail: gr.update(visible=False),
            self._parts.reasons: gr.update(visible=False),
        }
        return updates if search.is_hidden else {**updates, **self._matches(search)}

    def inside(self, picture: Image.Image) -> Updates:
        """Show a picture beside its reconstruction from the autoencoder's code, where there is an autoencoder."""
        decoder = self._collection.decoder
        if decoder is None:
            return {}
        seen = decoder.processor.resize(picture).permute(1, 2, 0).numpy()  # (S, S, 3)
        return {
            self._parts.inside: gr.update(visible=True),
            self._parts.seen: self._files.keep_enlarged(Image.fromarray(seen)),
            self._parts.kept: self._files.keep_enlarged(Image.fromarray(decoder.reconstruct(picture))),
        }

    def no_search(self, text: str) -> Updates:
        """Show no search, and a text in place of the verdict.

        Args:
            text: HTML, as `demo.verdict.message` makes it.
        """
        hidden = [self._parts.reveal, self._parts.results, self._parts.detail, self._parts.reasons, self._parts.inside]
        return {
            self._parts.state: None,
            self._parts.verdict: text,
            self._parts.link: "",
            **{part: gr.update(visible=False) for part in hidden},
        }

    def _matches(self, search: Search) -> Updates:
        tiles = self._collection.tiles.make([match.file_name for match in search.matches])
        captions = [self._caption(match, tile) for match, tile in zip(search.matches, tiles, strict=True)]
        drawn = sum(tile.is_drawn for tile in tiles)
        further = self._collection.about.columns
        rows = [
            [rank, m.file_name, m.label, round(m.score, 4), *(m.columns.get(name, "") for name in further)]
            for rank, m in enumerate(search.matches, start=1)
        ]
        table = self._collection.percents.get(search.way)
        percents = [match.percent for match in search.matches]
        return {
            self._parts.gallery: gr.update(
                value=[(tile.path, caption) for tile, caption in zip(tiles, captions, strict=True)], selected_index=None
            ),
            self._parts.note: _ALL_DRAWN if drawn == len(tiles) else _SOME_DRAWN if drawn else "",
            self._parts.percent: explain_percents(percents, table) if table else "",
            self._parts.table: rows,
            self._parts.csv: self._files.keep(matches_csv(search.matches, further).encode(), "visim-matches.csv"),
        }

    def _caption(self, match: Match, tile: Tile) -> str:
        """Write what is below a tile: plain text, in lines."""
        label = shortened(match.label, _LABEL)
        parts = [label, "drawn from its code" if tile.is_drawn else "", "not at hand" if tile.is_missing else ""]
        lines = [f"similarity: {match.percent} %", " · ".join(part for part in parts if part)]
        return "\n".join(line for line in [*lines, *fact_lines(match, self._collection.about)] if line)

    def _explain(self, search: Search) -> str:
        if search.verdict is None:
            return message("plain", "Searching with a picture of the gallery.", "It finds itself first.")
        return explain_verdict(
            search.verdict, one=self._collection.one, many=self._collection.many, basis=self._collection.basis
        )

    def _link(self, search: Search) -> str:
        """Link to this page with this search: possible for a picture of the gallery alone."""
        if not search.file_name:
            return ""
        asked = {self._collection.key: search.file_name, "way": search.way, "top_k": len(search.matches)}
        return f'<a class="visim-link" href="?{escape(urlencode(asked))}">Link to this search</a>'
