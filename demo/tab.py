"""One tab of the page: the functions that run when a visitor uses its components."""

from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from demo.answer import Answers, Moves, Updates, signal
from demo.cards import chosen_card
from demo.collection import Collection
from demo.examples import make_examples
from demo.fetching import fetch_slot
from demo.files import VisitorFiles, page_folder
from demo.inputs import read_index, read_label, read_top_k
from demo.kept import KeptUploads
from demo.links import Asked
from demo.parts import Parts
from demo.search import QUERIES, Search, search_gallery, search_picture, with_top_k
from demo.texts import say
from demo.upload import fetch_picture, open_upload, sentence
from demo.why import explain_match
from visim_models import ImageDecodeError, VisimError

__all__ = ["SearchTab"]

_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_HIDDEN: dict[str, Any] = {**_PRIVATE, "show_progress": "minimal", "concurrency_id": QUERIES}
_SLOW: dict[str, Any] = {**_PRIVATE, "show_progress": "full"}


class SearchTab:
    """Builds the tab of a collection into the `gr.Blocks` that is open.

    Args:
        collection: the gallery that the tab searches.
        files: for the files that are made for one visitor.
        introduces: show the title and the description of a host's own gallery.
        kept: keeps uploads for links; None where the host does not want that.
    """

    def __init__(
        self, collection: Collection, files: VisitorFiles, *, introduces: bool = True, kept: KeptUploads | None = None
    ) -> None:
        self._collection, self._files, self._kept = collection, files, kept
        self._examples = make_examples(collection, page_folder(self, "examples"))
        self._parts = Parts(collection, self._examples, introduces=introduces, keep_hours=kept.hours if kept else 0)
        self._answers = Answers(collection, self._parts, files)
        self._wire()

    @property
    def key(self) -> str:
        """Key of the gallery."""
        return self._collection.key

    @property
    def followed(self) -> list[Any]:
        """The components that following an address may change."""
        parts = self._parts
        return [*parts.answers, parts.way, parts.top_k, parts.label, parts.address]

    def start(self) -> Updates:
        """Return what the start of a visit changes: the texts in the visitor's language."""
        return {self._parts.state: None, **self._parts.translated()}

    def nothing(self) -> Updates:
        """Return an answer that changes nothing."""
        return {self._parts.detail: gr.skip()}

    def clear(self) -> Updates:
        """Show no search, as at the start of a visit."""
        return {**self._answers.no_search(self._parts.invitation), self._parts.upload: None}

    def refuse(self, text: str) -> Updates:
        """Show why there is no search; plain text."""
        return self._answers.refusal(text)

    def follow(self, asked: Asked) -> Updates:
        """Show the search that an address, or an entry of the browser's history, asks for."""
        parts = self._parts
        way = asked.way if asked.way in self._collection.ways else self._collection.default_way
        top_k = int(parts.top_k.value) if asked.top_k is None else min(max(1, asked.top_k), parts.most)
        shown = self._answers.attempt(lambda: self._search_asked(asked, way, top_k))
        return {**shown, parts.way: way, parts.top_k: top_k, parts.label: ""}

    def _search_asked(self, asked: Asked, way: str, top_k: int) -> Updates:
        if asked.source == "gallery":
            return self._search_gallery(asked.name, way, top_k, moves="restore")
        gone = ImageDecodeError(say("gone"))
        shown: str
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
        elif self._files.has(asked.name):
            picture, shown = open_upload(asked.name), asked.name
        else:
            raise gone
        return self._search_picture(picture, way, top_k, asked=asked, shown=shown, moves="restore")

    def _wire(self) -> None:
        parts = self._parts
        query = [parts.upload, parts.way, parts.label, parts.top_k]
        options = query[1:]
        outputs = parts.answers
        parts.upload.input(self._on_upload, [parts.state, *query], outputs, **_HIDDEN)
        # Not in Gradio's queue, whose length is limited for all functions together: fetching has a queue of its own.
        parts.address.submit(
            self._on_address, [parts.address, *options], outputs, show_progress_on=parts.upload, queue=False, **_SLOW
        )
        for number, trial in enumerate(parts.trials, start=1):
            trial.click(partial(self._on_example, number), options, outputs, **_HIDDEN)
        for option in (parts.way, parts.label):
            option.input(self._on_option, [parts.state, *query], outputs, **_HIDDEN)
        parts.top_k.input(self._on_top_k, [parts.state, parts.top_k], outputs, trigger_mode="always_last", **_HIDDEN)
        parts.reveal.click(self._on_reveal, [parts.state], outputs, **_HIDDEN)
        parts.gallery.select(self._on_select, [parts.state], parts.details, **_HIDDEN)
        parts.again.click(self._on_again, [parts.chosen, *options], outputs, **_HIDDEN)
        explained = [parts.state, parts.upload, parts.chosen]
        parts.why.click(
            self._on_why, explained, parts.explanation, show_progress_on=parts.why, concurrency_id=QUERIES, **_SLOW
        )

    def _on_upload(
        self, state: Search | None, upload: str | bytes | None, way: str, label: str, top_k: float
    ) -> Updates:
        # Where the page has put the picture there, Gradio's button that removes it still sends it.
        if upload is None or (state is not None and upload == state.shown):
            return self.clear()

        def search() -> Updates:
            picture = open_upload(upload)
            asked = self._asked(upload if isinstance(upload, str) else "", picture)
            return self._search_picture(picture, way, top_k, label=label, asked=asked)

        return self._answers.attempt(search)

    def _asked(self, path: str, picture: Image.Image) -> Asked | None:
        """Return what finds an upload again: a token where uploads are kept, else its path, for this visit."""
        if self._kept is not None:
            return Asked(name=self._kept.keep(picture), source="upload")
        return Asked(name=path, source="visit") if path else None

    def _on_address(self, address: str | None, way: str, label: str, top_k: float) -> Updates:
        def search() -> Updates:
            with fetch_slot():
                picture = fetch_picture(address)
                kept = self._files.keep_picture(picture)
                asked = self._asked(kept, picture)
                return self._search_picture(picture, way, top_k, label=label, asked=asked, shown=kept)

        return self._answers.attempt(search)

    def _on_example(self, number: int, way: str, label: str, top_k: float) -> Updates:
        path = self._examples[number - 1].path

        def search() -> Updates:
            asked = Asked(name=str(number), source="example")
            return self._search_picture(open_upload(path), way, top_k, label=label, asked=asked, shown=path)

        return self._answers.attempt(search)

    def _on_option(
        self, state: Search | None, upload: str | bytes | None, way: str, label: str, top_k: float
    ) -> Updates:
        if state is not None and state.source == "gallery":
            return self._answers.attempt(
                lambda: self._search_gallery(state.name, way, top_k, label=label, moves="scroll")
            )
        if state is None or upload is None:
            return {self._parts.state: None}  # nothing to search with yet

        def search() -> Updates:
            picture = open_upload(upload)
            return self._search_picture(
                picture, way, top_k, label=label, asked=state.asked, shown=state.shown, moves="scroll"
            )

        return self._answers.attempt(search)

    def _on_top_k(self, state: Search | None, top_k: float) -> Updates:
        if state is None:
            return {self._parts.state: None}  # nothing to search with yet

        def search() -> Updates:
            most = read_top_k(top_k, most=self._parts.most)
            return self._answers.search(with_top_k(self._collection, state, most), moves="scroll")

        return self._answers.attempt(search)

    def _on_reveal(self, state: Search | None) -> Updates:
        return {self._parts.state: None} if state is None else self._answers.search(replace(state, is_revealed=True))

    def _on_again(self, file_name: str, way: str, label: str, top_k: float) -> Updates:
        return self._answers.attempt(lambda: self._search_gallery(file_name, way, top_k, label=label))

    def _on_select(self, state: Search | None, event: gr.EventData) -> Updates:
        try:
            index = read_index(event)
        except VisimError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        if state is None or index >= len(state.found):
            return {self._parts.detail: gr.update(visible=False)}
        found = state.found[index]
        return {
            self._parts.chosen: found.match.file_name,
            self._parts.detail: gr.update(visible=True),
            self._parts.card: chosen_card(found, self._collection, data=signal(moves="focus")),
            self._parts.reasons: gr.update(visible=False),
        }

    def _on_why(self, state: Search | None, upload: str | bytes | None, file_name: str) -> Updates:
        found = {each.match.file_name: each for each in state.found}.get(file_name) if state else None
        if state is None or upload is None or found is None:
            return {self._parts.reasons: gr.update(visible=False)}
        try:
            shown = explain_match(self._collection, state, found, open_upload(upload))
        except VisimError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        pictures = {
            self._parts.why_query: (shown.of_query, say("why_query")),
            self._parts.why_found: (shown.of_found, say("why_found")),
        }
        return {
            self._parts.reasons: gr.update(visible=True),
            self._parts.why_text: shown.to_html(data=signal(moves="focus")),
            **{
                part: gr.update(
                    value=self._files.keep_picture(picture) if picture else None, visible=bool(picture), alt_text=said
                )
                for part, (picture, said) in pictures.items()
            },
        }

    def _search_picture(
        self,
        picture: Image.Image,
        way: str,
        top_k: float,
        *,
        label: str = "",
        asked: Asked | None,
        shown: str = "",
        moves: Moves = "focus",
    ) -> Updates:
        most, label = read_top_k(top_k, most=self._parts.most), read_label(label)
        search = search_picture(self._collection, picture, way=way, top_k=most, label=label, classifies=True)
        search = replace(search, shown=shown)
        if asked:
            search = replace(search, name=asked.name, source=asked.source)
        upload = {self._parts.upload: shown} if shown else {}
        return {**upload, **self._answers.search(search, picture=picture, moves=moves), **self._answers.inside(picture)}

    def _search_gallery(
        self, file_name: str, way: str, top_k: float, *, label: str = "", moves: Moves = "focus"
    ) -> Updates:
        most, label = read_top_k(top_k, most=self._parts.most), read_label(label)
        search = search_gallery(self._collection, file_name, way=way, top_k=most, label=label)
        tile = self._collection.tiles.make([file_name])[0]
        search = replace(search, shown=tile.path)
        hidden = {self._parts.inside: gr.update(visible=False)}
        return {**self._answers.search(search, moves=moves), self._parts.upload: tile.path, **hidden}
