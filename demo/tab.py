"""One tab of the page: the functions that run when a visitor uses its components."""

from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from demo.answer import Answers, Updates
from demo.collection import Collection
from demo.examples import make_examples
from demo.facts import explain_facts
from demo.fetching import fetch_slot
from demo.files import VisitorFiles, page_folder
from demo.highlight import highlighted
from demo.inputs import read_index, read_top_k
from demo.parts import Parts
from demo.search import QUERIES, Search, agreement, search_gallery, search_picture, with_top_k
from demo.upload import fetch_picture, open_upload, sentence
from visim_models import VisimError

__all__ = ["SearchTab"]


class SearchTab:
    """Builds the tab of a collection into the `gr.Blocks` that is open.

    Args:
        collection: the gallery that the tab searches.
        files: for the files that are made for one visitor.
        introduces: show the title and the description of a host's own gallery.
    """

    def __init__(self, collection: Collection, files: VisitorFiles, *, introduces: bool = True) -> None:
        self._collection, self._files = collection, files
        self._examples = make_examples(collection, page_folder(self, "examples"))
        self._parts = Parts(collection, self._examples, introduces=introduces)
        self._answers = Answers(collection, self._parts, files)
        self._wire()

    def follow_links(self, page: gr.Blocks, tabs: gr.Tabs) -> None:
        """Open the page with the search that its address asks for: `?cars=sedan/sedan_1.jpg&way=by+look&top_k=6`."""
        parts = self._parts

        def follow(request: gr.Request) -> Updates:
            asked = dict(request.query_params)
            if not (file_name := asked.get(self._collection.key)):
                return {parts.state: None}
            way = asked["way"] if asked.get("way") in self._collection.ways else self._collection.default_way
            number = asked.get("top_k", "")
            is_number = number.isdecimal() and len(number) < 4  # Python refuses to read thousands of digits
            top_k = min(max(1, int(number)), parts.most) if is_number else int(parts.top_k.value)
            shown = self._answers.attempt(lambda: self._search_gallery(file_name, way, top_k))
            return {**shown, tabs: gr.Tabs(selected=self._collection.key), parts.way: way, parts.top_k: top_k}

        outputs = [*parts.answers, tabs, parts.way, parts.top_k]
        page.load(follow, None, outputs, api_visibility="private", show_progress="hidden", concurrency_id=QUERIES)

    def _wire(self) -> None:
        parts = self._parts
        query = [parts.upload, parts.way, parts.top_k]
        outputs = parts.answers
        private: dict[str, Any] = {"api_visibility": "private"}
        hidden: dict[str, Any] = {**private, "show_progress": "minimal", "concurrency_id": QUERIES}
        parts.upload.input(self._on_upload, query, outputs, **hidden)
        slow: dict[str, Any] = {**private, "show_progress": "full"}
        fetched = [parts.address, parts.way, parts.top_k]
        # Not in Gradio's queue, whose length is limited for all functions together: fetching has a queue of its own.
        parts.address.submit(self._on_address, fetched, outputs, show_progress_on=parts.upload, queue=False, **slow)
        for trial, example in zip(parts.trials, self._examples, strict=True):
            trial.click(partial(self._on_example, example.path), [parts.way, parts.top_k], outputs, **hidden)
        parts.way.input(self._on_way, [parts.state, *query], outputs, **hidden)
        parts.top_k.input(self._on_top_k, [parts.state, parts.top_k], outputs, trigger_mode="always_last", **hidden)
        parts.reveal.click(self._on_reveal, [parts.state], outputs, **hidden)
        parts.gallery.select(self._on_select, [parts.state], parts.details, **hidden)
        parts.again.click(self._on_again, [parts.name, parts.way, parts.top_k], outputs, **hidden)
        explained = [parts.state, parts.upload, parts.name]
        parts.why.click(
            self._on_why, explained, parts.explanation, show_progress_on=parts.why, concurrency_id=QUERIES, **slow
        )

    def _on_upload(self, upload: str | bytes | None, way: str, top_k: float) -> Updates:
        if upload is None:
            return self._answers.no_search(self._parts.invitation)
        return self._answers.attempt(lambda: self._search_picture(open_upload(upload), way, top_k))

    def _on_address(self, address: str | None, way: str, top_k: float) -> Updates:
        def search() -> Updates:
            with fetch_slot():
                picture = fetch_picture(address)
                kept = self._files.keep_picture(picture)
                return {**self._search_picture(picture, way, top_k), self._parts.upload: kept}

        return self._answers.attempt(search)

    def _on_example(self, path: str, way: str, top_k: float) -> Updates:
        return {**self._on_upload(path, way, top_k), self._parts.upload: path}

    def _on_way(self, state: Search | None, upload: str | bytes | None, way: str, top_k: float) -> Updates:
        if state is not None and state.file_name:
            return self._answers.attempt(lambda: self._search_gallery(state.file_name, way, top_k))
        return self._on_upload(upload, way, top_k)

    def _on_top_k(self, state: Search | None, top_k: float) -> Updates:
        if state is None:
            return {self._parts.state: None}  # nothing to search with yet

        def search() -> Updates:
            most = read_top_k(top_k, most=self._parts.most)
            return self._answers.search(with_top_k(self._collection, state, most))

        return self._answers.attempt(search)

    def _on_reveal(self, state: Search | None) -> Updates:
        return {self._parts.state: None} if state is None else self._answers.search(replace(state, is_revealed=True))

    def _on_again(self, file_name: str, way: str, top_k: float) -> Updates:
        return self._answers.attempt(lambda: self._search_gallery(file_name, way, top_k))

    def _on_select(self, state: Search | None, event: gr.EventData) -> Updates:
        try:
            index = read_index(event)
        except VisimError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        if state is None or index >= len(state.matches):
            return {self._parts.detail: gr.update(visible=False)}
        match = state.matches[index]
        return {
            self._parts.detail: gr.update(visible=True),
            self._parts.large: self._collection.tiles.make([match.file_name])[0].path,
            self._parts.name: match.file_name,
            self._parts.facts: explain_facts(match, self._collection.about),
            self._parts.reasons: gr.update(visible=False),
        }

    def _on_why(self, state: Search | None, upload: str | bytes | None, file_name: str) -> Updates:
        # The name comes from the visitor's side: only a picture that was found is looked up.
        if state is None or upload is None or file_name not in {match.file_name for match in state.matches}:
            return {self._parts.reasons: gr.update(visible=False)}
        try:
            query = open_upload(upload)
            with Image.open(self._collection.tiles.make([file_name])[0].path) as tile:
                found = tile.convert("RGB")
            of_query, of_found = agreement(self._collection, state, file_name, query=query, found=found)
        except VisimError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        return {
            self._parts.reasons: gr.update(visible=True),
            self._parts.why_query: self._files.keep_picture(highlighted(query, of_query)),
            self._parts.why_found: self._files.keep_picture(highlighted(found, of_found)),
        }

    def _search_picture(self, picture: Image.Image, way: str, top_k: float) -> Updates:
        most = read_top_k(top_k, most=self._parts.most)
        search = search_picture(self._collection, picture, way=way, top_k=most)
        return {**self._answers.search(search), **self._answers.inside(picture)}

    def _search_gallery(self, file_name: str, way: str, top_k: float) -> Updates:
        most = read_top_k(top_k, most=self._parts.most)
        search = search_gallery(self._collection, file_name, way=way, top_k=most)
        tile = self._collection.tiles.make([file_name])[0]
        hidden = {self._parts.inside: gr.update(visible=False)}
        return {**self._answers.search(search), self._parts.upload: tile.path, **hidden}
