"""One tab of the page: the functions that run when a visitor uses its components."""

from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr

from demo.answer import Answers, Updates, signal
from demo.cards import chosen_card
from demo.collection import Collection
from demo.crop import cropped
from demo.examples import make_examples
from demo.fetching import fetch_slot
from demo.files import VisitorFiles, page_folder
from demo.finder import Finder, Options
from demo.inputs import read_index, read_top_k
from demo.kept import KeptUploads
from demo.links import MOST_LESS, Asked
from demo.parts import Parts
from demo.search import QUERIES, Search, refined
from demo.texts import say
from demo.upload import fetch_picture, open_upload, sentence
from demo.why import explain_match
from visim_models import VisimError

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
        self._finder = Finder(collection, self._parts, self._answers, examples=self._examples, files=files, kept=kept)
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
        parts = self._parts
        return {**self._answers.no_search(parts.invitation), parts.upload: None, parts.several: None}

    def refuse(self, text: str) -> Updates:
        """Show why there is no search; plain text."""
        return self._answers.refusal(text)

    def follow(self, asked: Asked) -> Updates:
        """Show the search that an address, or an entry of the browser's history, asks for."""
        parts = self._parts
        way = asked.way if asked.way in self._collection.ways else self._collection.default_way
        top_k = int(parts.top_k.value) if asked.top_k is None else min(max(1, asked.top_k), parts.most)
        options = Options(way, "", top_k, asked.less)
        shown = self._answers.attempt(lambda: self._finder.asked(asked, options))
        return {**shown, parts.way: way, parts.top_k: top_k, parts.label: ""}

    def _wire(self) -> None:
        parts = self._parts
        query = [parts.upload, parts.way, parts.label, parts.top_k]
        options = query[1:]
        outputs = parts.answers
        parts.upload.input(self._on_upload, [parts.state, *query], outputs, **_HIDDEN)
        parts.several.upload(self._on_several, [parts.several, *options], outputs, **_HIDDEN)
        parts.several.delete(self._on_several, [parts.several, *options], outputs, **_HIDDEN)
        parts.crop.click(self._on_frame, [parts.state, parts.upload], outputs, **_HIDDEN)
        parts.frame.crop(self._on_crop, query, outputs, **_HIDDEN)
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
        parts.less.click(self._on_less, [parts.state, parts.chosen, parts.top_k], outputs, **_HIDDEN)
        parts.all_again.click(self._on_all_again, [parts.state, parts.top_k], outputs, **_HIDDEN)
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
        path, options = upload if isinstance(upload, str) else "", Options(way, label, top_k)
        return self._answers.attempt(
            lambda: self._finder.new_upload(open_upload(upload), options, path=path, is_shown=False)
        )

    def _on_several(self, files: list[str], way: str, label: str, top_k: float) -> Updates:
        if not files:
            return self.clear()
        return self._answers.attempt(lambda: self._finder.several(files, Options(way, label, top_k)))

    def _on_address(self, address: str | None, way: str, label: str, top_k: float) -> Updates:
        def search() -> Updates:
            with fetch_slot():
                picture = fetch_picture(address)
                path = self._files.keep_picture(picture)
                return self._finder.new_upload(picture, Options(way, label, top_k), path=path, is_shown=True)

        return self._answers.attempt(search)

    def _on_example(self, number: int, way: str, label: str, top_k: float) -> Updates:
        return self._answers.attempt(lambda: self._finder.example(number, Options(way, label, top_k)))

    def _on_frame(self, state: Search | None, upload: str | bytes | None) -> Updates:
        if state is None or upload is None:
            return self.nothing()
        return self._answers.attempt(lambda: self._answers.frame(open_upload(upload)))

    def _on_crop(self, upload: str | bytes | None, way: str, label: str, top_k: float, event: gr.EventData) -> Updates:
        def search() -> Updates:
            picture = cropped(open_upload(upload or b""), event)
            path = self._files.keep_picture(picture)
            return self._finder.new_upload(picture, Options(way, label, top_k), path=path, is_shown=True)

        return self._answers.attempt(search)

    def _on_option(
        self, state: Search | None, upload: str | bytes | None, way: str, label: str, top_k: float
    ) -> Updates:
        nothing: Updates = {self._parts.state: None}  # nothing to search with yet
        if state is None:
            return nothing
        options = Options(way, label, top_k, state.less)
        return self._answers.attempt(lambda: self._finder.again(state, upload, options) or nothing)

    def _on_top_k(self, state: Search | None, top_k: float) -> Updates:
        if state is None:
            return {self._parts.state: None}  # nothing to search with yet

        def search() -> Updates:
            most = read_top_k(top_k, most=self._parts.most)
            return self._answers.search(refined(self._collection, state, top_k=most), moves="scroll")

        return self._answers.attempt(search)

    def _on_reveal(self, state: Search | None) -> Updates:
        return {self._parts.state: None} if state is None else self._answers.search(replace(state, is_revealed=True))

    def _on_again(self, file_name: str, way: str, label: str, top_k: float) -> Updates:
        return self._answers.attempt(lambda: self._finder.gallery(file_name, Options(way, label, top_k)))

    def _on_less(self, state: Search | None, file_name: str, top_k: float) -> Updates:
        if state is None or not file_name:
            return self.nothing()
        less = tuple(dict.fromkeys((*state.less, file_name)))[-MOST_LESS:]
        return self._with_less(state, less, top_k)

    def _on_all_again(self, state: Search | None, top_k: float) -> Updates:
        return self.nothing() if state is None else self._with_less(state, (), top_k)

    def _with_less(self, state: Search, less: tuple[str, ...], top_k: float) -> Updates:
        def search() -> Updates:
            most = read_top_k(top_k, most=self._parts.most)
            return self._answers.search(refined(self._collection, state, top_k=most, less=less))

        return self._answers.attempt(search)

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
            self._parts.card: chosen_card(
                found, self._collection, states_meaning=state.is_usual, data=signal(moves="focus")
            ),
            self._parts.reasons: gr.update(visible=False),
        }

    def _on_why(self, state: Search | None, upload: str | bytes | None, file_name: str) -> Updates:
        found = {each.match.file_name: each for each in state.found}.get(file_name) if state else None
        if state is None or found is None or (upload is None and not state.files):
            return {self._parts.reasons: gr.update(visible=False)}
        try:
            query = None if state.files or upload is None else open_upload(upload)
            shown = explain_match(self._collection, state, found, query)
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
