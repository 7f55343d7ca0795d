"""One tab of the page: its components, and what happens when a visitor uses them."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from demo.collection import Collection
from demo.examples import make_examples
from demo.parts import Parts
from demo.search import Search, matches_csv, search_gallery, search_picture, with_top_k
from demo.tiles import enlarged, private_folder
from demo.upload import open_upload, sentence
from demo.verdict import explain_verdict, message
from visim_models import VisimError

__all__ = ["SearchTab"]

_DRAWN_NOTES = {
    "none": "",
    "all": "The tiles are **drawn from their codes** by the autoencoder, as the photographs are not at hand.",
    "some": "Tiles “drawn from its code” are the autoencoder's, as those photographs are not at hand.",
}

Updates = dict[Any, Any]


class SearchTab:
    """Builds the tab of a collection into the `gr.Blocks` that is open.

    Args:
        collection: what the tab searches.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._examples = make_examples(collection, private_folder(self, "examples"))
        self._parts = Parts(collection, self._examples)
        self._wire()

    def _wire(self) -> None:
        parts = self._parts
        query = [parts.upload, parts.way, parts.top_k]
        outputs = parts.answers
        hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
        parts.upload.input(self._on_upload, query, outputs, **hidden)
        for trial, example in zip(parts.trials, self._examples, strict=True):
            trial.click(partial(self._on_example, example.path), [parts.way, parts.top_k], outputs, **hidden)
        parts.way.input(self._on_way, [parts.state, *query], outputs, **hidden)
        parts.top_k.change(self._on_top_k, [parts.state, parts.top_k], outputs, trigger_mode="always_last", **hidden)
        parts.reveal.click(self._on_reveal, [parts.state], outputs, **hidden)
        detail = [parts.detail, parts.large, parts.name]
        parts.gallery.select(self._on_select, [parts.state], detail, **hidden)
        parts.again.click(self._on_again, [parts.name, parts.way, parts.top_k], outputs, **hidden)

    def _on_upload(self, upload: str | bytes | None, way: str, top_k: float) -> Updates:
        if upload is None:
            return self._show_nothing(self._parts.invitation)
        return self._attempt(lambda: self._search_picture(open_upload(upload), way, top_k))

    def _on_example(self, path: str, way: str, top_k: float) -> Updates:
        return {**self._on_upload(path, way, top_k), self._parts.upload: path}

    def _on_way(self, state: Search | None, upload: str | bytes | None, way: str, top_k: float) -> Updates:
        if state is not None and state.file_name:
            return self._attempt(lambda: self._search_gallery(state.file_name, way, top_k))
        return self._on_upload(upload, way, top_k)

    def _on_top_k(self, state: Search | None, top_k: float) -> Updates:
        if state is None:
            return {self._parts.state: None}  # nothing to search with yet
        return self._attempt(lambda: self._show(with_top_k(self._collection, state, int(top_k))))

    def _on_reveal(self, state: Search | None) -> Updates:
        return {self._parts.state: None} if state is None else self._show(replace(state, is_revealed=True))

    def _on_again(self, file_name: str, way: str, top_k: float) -> Updates:
        return self._attempt(lambda: self._search_gallery(file_name, way, top_k))

    def _on_select(self, state: Search | None, event: gr.SelectData) -> Updates:
        if state is None or not 0 <= event.index < len(state.matches):
            return {self._parts.detail: gr.update(visible=False)}
        match = state.matches[event.index]
        tile = self._collection.tiles.make([match.file_name])[0]
        return {
            self._parts.detail: gr.update(visible=True),
            self._parts.large: tile.path,
            self._parts.name: match.file_name,
        }

    # From a search to the page

    def _attempt(self, answer: Callable[[], Updates]) -> Updates:
        try:
            return answer()
        except VisimError as error:
            return self._show_nothing(message("error", sentence(error)))

    def _search_picture(self, picture: Image.Image, way: str, top_k: float) -> Updates:
        search = search_picture(self._collection, picture, way=way, top_k=int(top_k))
        decoder = self._collection.decoder
        if decoder is None:
            return self._show(search)
        seen = decoder.processor.resize(picture).permute(1, 2, 0).numpy()  # (S, S, 3)
        return {**self._show(search), **self._show_inside(seen, decoder.reconstruct(picture))}

    def _search_gallery(self, file_name: str, way: str, top_k: float) -> Updates:
        search = search_gallery(self._collection, file_name, way=way, top_k=int(top_k))
        tile = self._collection.tiles.make([file_name])[0]
        return {**self._show(search), self._parts.upload: tile.path, self._parts.inside: gr.update(visible=False)}

    def _show_inside(self, seen: Any, kept: Any) -> Updates:
        return {
            self._parts.inside: gr.update(visible=True),
            self._parts.seen: enlarged(Image.fromarray(seen)),
            self._parts.kept: enlarged(Image.fromarray(kept)),
        }

    def _show(self, search: Search) -> Updates:
        updates = {
            self._parts.state: search,
            self._parts.verdict: self._explain(search),
            self._parts.reveal: gr.update(visible=search.is_hidden),
            self._parts.results: gr.update(visible=not search.is_hidden),
            self._parts.detail: gr.update(visible=False),
        }
        return updates if search.is_hidden else {**updates, **self._show_matches(search)}

    def _show_matches(self, search: Search) -> Updates:
        tiles = self._collection.tiles.make([match.file_name for match in search.matches])
        captions = [
            f"similarity: {match.percent} %\n{match.label}" + (" · drawn from its code" if tile.is_drawn else "")
            for match, tile in zip(search.matches, tiles, strict=True)
        ]
        drawn = sum(tile.is_drawn for tile in tiles)
        rows = [[rank, m.file_name, m.label, round(m.score, 4)] for rank, m in enumerate(search.matches, start=1)]
        return {
            self._parts.gallery: gr.update(
                value=[(tile.path, caption) for tile, caption in zip(tiles, captions, strict=True)], selected_index=None
            ),
            self._parts.note: _DRAWN_NOTES["all" if drawn == len(tiles) else "some" if drawn else "none"],
            self._parts.table: rows,
            self._parts.csv: self._csv_file(search),
        }

    def _show_nothing(self, said: str) -> Updates:
        hidden = [self._parts.reveal, self._parts.results, self._parts.detail, self._parts.inside]
        return {
            self._parts.state: None,
            self._parts.verdict: said,
            **{part: gr.update(visible=False) for part in hidden},
        }

    def _explain(self, search: Search) -> str:
        if search.verdict is None:
            return message("plain", "Searching with a picture of the gallery.", "It finds itself first.")
        return explain_verdict(search.verdict, one=self._collection.one, many=self._collection.many)

    def _csv_file(self, search: Search) -> str:
        """A file for the download button, where Gradio keeps what it serves and deletes it in time."""
        table = matches_csv(search.matches).encode()
        path = Path(self._parts.csv.GRADIO_CACHE, hashlib.sha256(table).hexdigest(), "visim-matches.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(table)
        return str(path)
