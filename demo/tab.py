"""One tab of the page: its components, and what happens when a visitor uses them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec

import gradio as gr
from PIL import Image

from demo import answer, uploads
from demo.answer import Moves, message, signal
from demo.collection import Collection
from demo.examples import make_examples
from demo.files import VisitorFiles, enlarged, page_folder
from demo.search import QUERIES, Asked, Options, Search, refined, search_gallery, search_pictures, with_tiles
from demo.texts import has_text, language, say, static
from demo.uploads import FETCHES, KeptUploads, crop, event_field, fetch, open_upload, sentence
from demo.why import explain_match
from visim_models import ImageDecodeError, VisimError

__all__ = ["SearchTab", "Updates"]

_MAX_TOP_K = 12
_MOST_LABELS = 200
"""A gallery of more labels has no list to choose one from."""
_FRAME = 800
"""Longer side of the picture that the frame is drawn on; the crop itself is of the upload."""

_HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "concurrency_id": QUERIES}
_SLOW: dict[str, Any] = {"api_visibility": "private", "show_progress": "full"}

Updates = dict[Any, Any]
"""Component -> its new value or settings."""

P = ParamSpec("P")


def _answered(
    handler: Callable[Concatenate["SearchTab", P], Updates],
) -> Callable[Concatenate["SearchTab", P], Updates]:
    """Let a handler show, where it fails, why there is no answer."""

    @wraps(handler)
    def answered(tab: "SearchTab", /, *inputs: P.args, **more: P.kwargs) -> Updates:
        try:
            return handler(tab, *inputs, **more)
        except VisimError as error:
            return tab.refuse(sentence(error))

    return answered


class SearchTab:
    """Builds the tab of a collection into the `gr.Blocks` that is open.

    It shows the title and the description of a host's own gallery if it `introduces` it, and has links to uploads where
    they are `kept`.
    """

    def __init__(
        self, collection: Collection, files: VisitorFiles, *, introduces: bool = True, kept: KeptUploads | None = None
    ) -> None:
        self.collection, self._files, self._kept = collection, files, kept
        self._examples = make_examples(collection, page_folder(self, "examples"))
        self._labels = sorted(set(collection.usual.gallery.labels) - {""})
        self._most = min(_MAX_TOP_K, *(len(way.gallery) for way in collection.ways.values()))
        self.state, self.chosen = gr.State(None, time_to_live=3600), gr.State("", time_to_live=3600)
        if collection.is_own and introduces:
            gr.HTML(answer.introduction(collection), elem_id=self._id("about"), elem_classes="visim-about")
        with gr.Row(elem_classes="visim-tab"):
            with gr.Column(min_width=280, elem_classes="visim-query"):
                self._build_query()
            with gr.Column(min_width=280, elem_classes="visim-answer"):
                self._build_answer()
            with gr.Column(min_width=280, elem_classes="visim-options"):
                self._build_options()
        self._connect()

    def _id(self, part: str) -> str:
        return f"{self.collection.key}-{part}"

    # The components.

    def _build_query(self) -> None:
        self.upload = uploads.upload_area("your_picture", self._id("upload"))
        self.crop = gr.Button(static(lambda: say("crop")), visible=False, size="md", elem_id=self._id("crop"))
        self.frame = gr.HTML(
            "", visible=False, js_on_load=answer.CROP, elem_id=self._id("frame"), elem_classes="visim-frame-part"
        )
        if kept := self._kept:
            gr.Markdown(static(lambda: say("kept", hours=f"{kept.hours:g}")), elem_id=self._id("kept-note"))
        gr.Markdown(static(lambda: say("examples")), visible=bool(self._examples))
        with gr.Row(elem_classes="visim-examples", elem_id=self._id("examples")):
            self.trials = [
                gr.Button(_caption(example.caption), icon=example.path, size="sm", min_width=56, scale=1)
                for example in self._examples
            ]

    def _build_answer(self) -> None:
        invitation = static(lambda: answer.invitation(self.collection))
        self.verdict = gr.HTML(invitation, elem_id=self._id("verdict"), elem_classes="visim-verdict")
        self.reveal = _button("reveal", self._id("reveal"), visible=False, variant="primary")
        self.all_again = _button("all_again", self._id("all-again"), visible=False)
        with gr.Column(visible=False) as self.results:
            self.gallery = gr.HTML(
                "", js_on_load=answer.CHOOSE, elem_id=self._id("gallery"), elem_classes="visim-gallery"
            )
            self._build_chosen()
        with _fold("sure", self._id("sure-fold")) as self.sure_fold:
            self.sure = gr.HTML(elem_id=self._id("sure"), elem_classes="visim-sure")
        with _fold("table", self._id("table-fold")) as self.table_fold:
            self.table = gr.Dataframe(
                headers=answer.table_headers(self.collection.about),
                datatype=answer.table_types(self.collection.about),
                interactive=False,
                label=static(lambda: say("matches")),
                show_label=False,
                wrap=True,
                elem_id=self._id("table"),
            )
            self.csv = gr.DownloadButton(str(static(lambda: say("csv"))), elem_id=self._id("csv"))
        decoder = self.collection.decoder
        numbers = decoder.gallery.embeddings.shape[1] if decoder else 0
        with _fold("inside", self._id("inside")) as self.inside:
            gr.Markdown(static(lambda: say("inside_how", n=f"{numbers:,}")))
            with gr.Row():
                self.seen = uploads.shown_picture("seen", self._id("seen"))
                self.kept = uploads.shown_picture("code_keeps", self._id("kept"))

    def _build_chosen(self) -> None:
        with gr.Column(visible=False, elem_classes="visim-detail", elem_id=self._id("detail")) as self.detail:
            self.card = gr.HTML(elem_id=self._id("card"))
            with gr.Row(elem_classes="visim-actions"):
                self.again, self.why, self.less = (
                    _button(key, self._id(key), variant=variant, size="md", min_width=130)
                    for key, variant in (("again", "primary"), ("why", "secondary"), ("less", "secondary"))
                )
        with gr.Column(visible=False, elem_classes="visim-reasons", elem_id=self._id("reasons")) as self.reasons:
            self.why_text = gr.HTML(elem_id=self._id("why-text"))
            with gr.Row():
                self.why_query = uploads.shown_picture("why_query", self._id("why-query"))
                self.why_found = uploads.shown_picture("why_found", self._id("why-found"))

    def _build_options(self) -> None:
        ways = list(self.collection.ways)
        self.address = gr.Textbox(
            label=static(lambda: say("address")),
            placeholder="https://…",
            max_lines=1,
            max_length=2000,
            submit_btn=say("fetch"),
            elem_id=self._id("address"),
            elem_classes="visim-address",
        )
        self.way = gr.Radio(
            self._way_choices(),
            value=ways[0],
            label=static(lambda: say("compare")),
            info=static(lambda: " ".join(say(f"info_{way}") for way in ways if has_text(f"info_{way}"))),
            visible=len(ways) > 1,
            elem_id=self._id("way"),
        )
        self.label = gr.Dropdown(
            self._label_choices(),
            value="",
            label=static(lambda: say("only_label")),
            visible=1 < len(self._labels) <= _MOST_LABELS,
            elem_id=self._id("label"),
        )
        most, label = self._most, static(lambda: say("top_k"))
        self.top_k = gr.Slider(1, most, min(4, most), step=1, label=label, elem_id=self._id("top-k"), buttons=[])
        with gr.Accordion(static(lambda: say("several")), open=False, elem_id=self._id("several-fold")):
            gr.Markdown(static(lambda: say("several_how")))
            self.several = uploads.upload_many("several", self._id("several"))

    def _way_choices(self) -> list[tuple[str, str]]:
        return [(say(f"way_{way}") if has_text(f"way_{way}") else way, way) for way in self.collection.ways]

    def _label_choices(self) -> list[tuple[str, str]]:
        return [(say("all_labels"), ""), *((label, label) for label in self._labels[:_MOST_LABELS])]

    def _connect(self) -> None:
        """Say which handler answers to which component."""
        options = [self.way, self.label, self.top_k]
        query = [self.upload, *options]
        shown = [
            self.state, self.upload, self.several, self.crop, self.frame,
            self.verdict, self.reveal, self.all_again, self.results, self.gallery, self.detail, self.reasons,
            self.table, self.csv, self.table_fold, self.inside, self.sure_fold, self.sure,
        ]  # fmt: skip
        self.followed = [*shown, self.seen, self.kept, self.way, self.top_k, self.label, self.address]
        """The components that following an address may change."""
        self.upload.input(self._on_upload, [self.state, *query], shown, **_HIDDEN)
        self.several.upload(self._on_several, [self.several, *options], shown, **_HIDDEN)
        self.several.delete(self._on_several, [self.several, *options], shown, **_HIDDEN)
        self.crop.click(self._on_frame, [self.state, self.upload], shown, **_HIDDEN)
        self.frame.crop(self._on_crop, query, shown, **_HIDDEN)
        # Not in Gradio's queue, whose length is limited for all functions together: fetching has a queue of its own.
        self.address.submit(
            self._on_address, [self.address, *options], shown, show_progress_on=self.upload, queue=False, **_SLOW
        )
        for number, trial in enumerate(self.trials, start=1):
            trial.click(partial(self._on_example, number), options, shown, **_HIDDEN)
        for option in (self.way, self.label):
            option.input(self._on_option, [self.state, *query], shown, **_HIDDEN)
        self.top_k.input(self._on_top_k, [self.state, self.top_k], shown, trigger_mode="always_last", **_HIDDEN)
        self.reveal.click(self._on_reveal, [self.state], shown, **_HIDDEN)
        chosen = [self.chosen, self.detail, self.card, self.reasons]
        self.gallery.select(self._on_select, [self.state], chosen, **_HIDDEN)
        self.again.click(self._on_again, [self.chosen, *options], shown, **_HIDDEN)
        self.less.click(self._on_less, [self.state, self.top_k, self.chosen], shown, **_HIDDEN)
        self.all_again.click(self._on_less, [self.state, self.top_k], shown, **_HIDDEN)
        reasons = [self.reasons, self.why_text, self.why_query, self.why_found]
        self.why.click(
            self._on_why, [self.state, self.upload, self.chosen], reasons,
            show_progress_on=self.why, concurrency_id=QUERIES, **_SLOW,
        )  # fmt: skip
        self.inside.expand(self._on_inside, [self.upload], [self.seen, self.kept], **_HIDDEN)

    # What the page asks of a tab: the start of a visit, and searches that an address or the history asks for.

    def start(self) -> Updates:
        """Return what the start of a visit changes: what `gr.I18n` does not reach, in the visitor's language."""
        if language() == "en":
            return self.nothing()
        return {
            self.way: gr.update(choices=self._way_choices()),
            self.label: gr.update(choices=self._label_choices()),
            self.address: gr.update(submit_btn=say("fetch")),
            self.upload: gr.update(alt_text=say("your_picture")),
            self.seen: gr.update(alt_text=say("seen")),
            self.kept: gr.update(alt_text=say("code_keeps")),
        }

    def nothing(self) -> Updates:
        """Return an answer that changes nothing."""
        return {self.detail: gr.skip()}

    def clear(self) -> Updates:
        """Show no search, as at the start of a visit."""
        return {**self._no_search(answer.invitation(self.collection)), self.upload: None, self.several: None}

    def refuse(self, text: str) -> Updates:
        """Show no search, and why there is none; plain text."""
        return self._no_search(message("error", text, data=signal(moves="focus")))

    def follow(self, asked: Asked) -> Updates:
        """Show the search that an address, or an entry of the browser's history, asks for."""
        way = asked.way if asked.way in self.collection.ways else next(iter(self.collection.ways))
        top_k = int(self.top_k.value) if asked.top_k is None else min(max(1, asked.top_k), self._most)
        shown = self._repeat(asked, Options(way=way, top_k=top_k, less=asked.less))
        return {**shown, self.way: way, self.top_k: top_k, self.label: ""}

    # The handlers. Each value may come from anyone.

    @_answered
    def _on_upload(self, state: Search | None, upload: str | bytes | None, *options: Any) -> Updates:
        # Where the page has put the picture there, Gradio's button that removes it still sends it.
        if upload is None or (state is not None and upload == state.shown):
            return self.clear()
        picture, path = open_upload(upload), upload if isinstance(upload, str) else ""
        is_whole = uploads.is_shown_by_browsers(path)
        return self._search_upload(picture, self._options(*options), path=path if is_whole else "")

    @_answered
    def _on_several(self, files: list[str], *options: Any) -> Updates:
        return self._search_several(files, self._options(*options)) if files else self.clear()

    @_answered
    def _on_address(self, address: str | None, *options: Any) -> Updates:
        with FETCHES.slot():
            return self._search_upload(open_upload(fetch(address)), self._options(*options))

    @_answered
    def _on_example(self, number: int, *options: Any) -> Updates:
        path, asked = self._examples[number - 1].path, Asked(name=str(number), source="example")
        return self._search_picture(open_upload(path), self._options(*options), asked=asked, shown=path)

    @_answered
    def _on_frame(self, state: Search | None, upload: str | bytes | None) -> Updates:
        if state is None or upload is None:
            return self.nothing()
        picture = open_upload(upload)
        factor = _FRAME / max(picture.size)
        size = (max(1, round(factor * picture.width)), max(1, round(factor * picture.height)))
        shown = self._files.keep_picture(picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2))
        content = answer.crop_frame(answer.file_address(shown), data=signal(moves="focus"))
        return {**_visible(False, self.crop), self.frame: gr.update(value=content, visible=True)}

    @_answered
    def _on_crop(self, event: gr.EventData, upload: str | bytes | None, *options: Any) -> Updates:
        part = crop(open_upload(upload or b""), event_field(event, "box"))
        return self._search_upload(part, self._options(*options))

    @_answered
    def _on_option(self, state: Search | None, upload: str | bytes | None, *options: Any) -> Updates:
        if state is None:
            return self.nothing()  # nothing to search with yet
        chosen = replace(self._options(*options), less=state.options.less)
        if state.source == "gallery":
            return self._search_gallery(state.name, chosen, moves="scroll")
        if state.files:
            return self._search_several(state.files, chosen, moves="scroll")
        if upload is None:
            return {self.state: None}
        return self._search_picture(open_upload(upload), chosen, asked=state.asked, shown=state.shown, moves="scroll")

    @_answered
    def _on_top_k(self, state: Search | None, top_k: float) -> Updates:
        if state is None:
            return self.nothing()
        return self._show(refined(self.collection, state, top_k=top_k, most=self._most), moves="scroll")

    def _on_reveal(self, state: Search | None) -> Updates:
        return self.nothing() if state is None else self._show(replace(state, is_revealed=True))

    @_answered
    def _on_again(self, file_name: str, *options: Any) -> Updates:
        return self._search_gallery(file_name, self._options(*options))

    @_answered
    def _on_less(self, state: Search | None, top_k: float, file_name: str | None = None) -> Updates:
        if state is None or file_name == "":
            return self.nothing()
        less = (*state.options.less, file_name) if file_name else ()
        return self._show(refined(self.collection, state, top_k=top_k, most=self._most, less=less))

    def _on_select(self, state: Search | None, event: gr.EventData) -> Updates:
        index = event_field(event, "index")
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise gr.Error("No tile was chosen: the event must hold the index of one.", print_exception=False)
        if state is None or index >= len(state.found):
            return _visible(False, self.detail)
        found, means = state.found[index], state.is_usual
        return {
            self.chosen: found.match.file_name,
            self.card: answer.chosen_card(found, self.collection, states_meaning=means, data=signal(moves="focus")),
            **_visible(True, self.detail),
            **_visible(False, self.reasons),
        }

    def _on_why(self, state: Search | None, upload: str | bytes | None, file_name: str) -> Updates:
        found = {each.match.file_name: each for each in state.found}.get(file_name) if state else None
        if state is None or found is None or (upload is None and not state.files):
            return _visible(False, self.reasons)
        try:
            query = None if state.files or upload is None else open_upload(upload)
            shown = explain_match(self.collection, state, found, query)
        except VisimError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        sides = {self.why_query: ("why_query", shown.of_query), self.why_found: ("why_found", shown.of_found)}
        return {
            **_visible(True, self.reasons),
            self.why_text: shown.to_html(data=signal(moves="focus")),
            **{
                part: gr.update(
                    value=picture and self._files.keep_picture(picture), visible=bool(picture), alt_text=say(key)
                )
                for part, (key, picture) in sides.items()
            },
        }

    def _on_inside(self, upload: str | bytes | None) -> Updates:
        """Show the upload beside its reconstruction from the autoencoder's code."""
        decoder = self.collection.decoder
        if decoder is None or upload is None:
            return {self.seen: None, self.kept: None}
        try:
            picture = open_upload(upload)
        except VisimError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        seen = decoder.processor.resize(picture).transpose(1, 2, 0)  # (S, S, 3)
        pictures = {self.seen: seen, self.kept: decoder.reconstruct(picture)}
        return {part: self._files.keep_picture(enlarged(Image.fromarray(each))) for part, each in pictures.items()}

    # The searches.

    def _options(self, way: object, label: object, top_k: object) -> Options:
        return Options.read(self.collection, way=way, label=label, top_k=top_k, most=self._most)

    def _search_upload(self, picture: Image.Image, options: Options, *, path: str = "") -> Updates:
        """Search with a new upload at a path; without one, the page puts the picture into the upload."""
        shown = "" if path else self._files.keep_picture(picture)
        asked = Asked(name=path or shown, source="visit")
        if self._kept is not None:
            asked = Asked(name=self._kept.keep(picture), source="upload")
        return self._search_picture(picture, options, asked=asked, shown=shown)

    def _search_picture(
        self, picture: Image.Image, options: Options, *, asked: Asked | None, shown: str = "", moves: Moves = "focus"
    ) -> Updates:
        """Search with one picture, which `asked` finds again; the page puts the file `shown` into the upload."""
        search = replace(search_pictures(self.collection, [picture], options, classifies=True), shown=shown)
        if asked:
            search = replace(search, name=asked.name, source=asked.source)
        return self._show_new(search, picture=picture, moves=moves)

    def _search_several(self, files: Sequence[str], options: Options, *, moves: Moves = "focus") -> Updates:
        """Search with the average of several uploads."""
        if len(files) > uploads.MOST_FILES:
            raise ImageDecodeError(say("too_many", most=uploads.MOST_FILES))
        search = search_pictures(self.collection, (open_upload(file) for file in files), options)
        return self._show_new(replace(search, files=tuple(files), name="\n".join(files)), moves=moves)

    def _search_gallery(self, file_name: str, options: Options, *, moves: Moves = "focus") -> Updates:
        """Search with a picture of the gallery."""
        search = search_gallery(self.collection, file_name, options)
        return self._show_new(replace(search, shown=self.collection.tiles.make([file_name])[0].path), moves=moves)

    @_answered
    def _repeat(self, asked: Asked, options: Options) -> Updates:
        """Repeat the search that an address or an entry of the browser's history asks for."""
        if asked.source == "gallery":
            return self._search_gallery(asked.name, options, moves="restore")
        files = asked.name.split("\n")
        if asked.source == "visit" and len(files) > 1 and all(map(self._files.has, files)):
            return self._search_several(files, options, moves="restore")
        shown, number = "", int(asked.name) if asked.name.isdecimal() and len(asked.name) < 4 else 0
        if asked.source == "example" and 1 <= number <= len(self._examples):
            shown = self._examples[number - 1].path
        elif asked.source == "upload" and self._kept is not None:
            shown = self._files.keep_picture(self._kept.open(asked.name))
        elif asked.source == "visit" and self._files.has(asked.name):
            shown = asked.name
        if not shown:
            raise ImageDecodeError(say("gone"))
        return self._search_picture(open_upload(shown), options, asked=asked, shown=shown, moves="restore")

    # The answer.

    def _show(self, search: Search, *, picture: Image.Image | None = None, moves: Moves = "focus") -> Updates:
        """Show a search: its verdict and, if they do not wait behind a warning, its matches."""
        is_shown = not search.is_hidden
        if is_shown:
            search = with_tiles(self.collection, search, query=picture)
        updates: Updates = {
            self.state: search,
            self.verdict: answer.explain_search(search, self.collection, moves=moves),
            self.sure: answer.explain_basis(search, self.collection),
            **_visible(True, self.sure_fold),
            **_visible(search.is_hidden, self.reveal),
            **_visible(is_shown, self.results, self.table_fold),
            **_visible(is_shown and bool(search.options.less), self.all_again),
            **_visible(search.source != "gallery" and not search.files, self.crop),
            **_visible(False, self.frame, self.detail, self.reasons),
        }
        if not is_shown:
            return updates
        about = self.collection.about
        return {
            **updates,
            self.gallery: answer.tile_grid(search, self.collection),
            self.table: {"headers": answer.table_headers(about), "data": answer.matches_rows(search.matches, about)},
            self.csv: self._files.keep(answer.matches_csv(search.matches, about.columns).encode(), "visim-matches.csv"),
        }

    def _show_new(self, search: Search, *, picture: Image.Image | None = None, moves: Moves) -> Updates:
        """Show a search with another picture, or with several."""
        updates = self._show(search, picture=picture, moves=moves)
        if search.shown or search.files:
            updates[self.upload] = search.shown or None
        has_inside = picture is not None and self.collection.decoder is not None
        inside = gr.update(visible=has_inside, open=False)
        return {**updates, self.inside: inside, self.several: list(search.files) or None}

    def _no_search(self, text: str) -> Updates:
        """Show no search, and a message in place of the verdict."""
        shown = (self.crop, self.frame, self.reveal, self.all_again, self.results, self.detail, self.reasons)
        folds = (self.table_fold, self.inside, self.sure_fold)
        return {self.state: None, self.verdict: text, **_visible(False, *shown, *folds)}


def _visible(is_visible: bool, *parts: Any) -> Updates:
    return {part: gr.update(visible=is_visible) for part in parts}


def _caption(caption: str) -> Any:
    """Return the word below an example: a label as it is, else a text of the page."""
    key = f"example_{caption}"
    return static(lambda: say(key)) if has_text(key) else caption


def _button(key: str, elem_id: str, **options: Any) -> gr.Button:
    return gr.Button(static(lambda: say(key)), elem_id=elem_id, **options)


def _fold(key: str, elem_id: str) -> gr.Accordion:
    return gr.Accordion(static(lambda: say(key)), open=False, visible=False, elem_id=elem_id)
