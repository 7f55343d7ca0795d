"""The components of one tab, and their layout. The functions that they call are in `demo.tab`."""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from demo.cards import CHOOSE
from demo.collection import Collection
from demo.crop import CROP
from demo.examples import Example
from demo.matches_table import table_headers, table_types
from demo.texts import LANGUAGES, language, say, static
from demo.upload import picture_input, pictures_input
from demo.verdict import message

__all__ = ["Parts"]

_MAX_TOP_K = 12
_FIRST_TOP_K = 4
_MOST_LABELS = 200
"""A gallery of more labels has no list to choose one from."""


class Parts:
    """Builds the components of a tab into the `gr.Blocks` that is open.

    Args:
        collection: the gallery that the tab searches.
        examples: pictures to try.
        introduces: show the title and the description of a host's own gallery.
        keep_hours: how long uploads are kept for links; 0 where they are not.
    """

    def __init__(
        self, collection: Collection, examples: Sequence[Example], *, introduces: bool, keep_hours: float = 0
    ) -> None:
        self._collection = collection
        self._examples = examples
        self._keep_hours = keep_hours
        self.state = gr.State(None, time_to_live=3600)
        self.chosen = gr.State("", time_to_live=3600)
        if collection.is_own and introduces:
            gr.HTML(_introduction(collection), elem_id=f"{collection.key}-about", elem_classes="visim-about")
        with gr.Row(elem_classes="visim-tab"):
            with gr.Column(min_width=280, elem_classes="visim-query"):
                self._build_query()
            with gr.Column(min_width=280, elem_classes="visim-answer"):
                self._build_results()
            with gr.Column(min_width=280, elem_classes="visim-options"):
                self._build_options()

    @property
    def answers(self) -> list[Any]:
        """The components that an answer may change."""
        return [
            self.state, self.upload, self.several, self.crop, self.frame,
            self.verdict, self.reveal, self.all_again, self.results, self.gallery, self.detail, self.reasons,
            self.table, self.csv, self.table_fold, self.inside,
            self.seen, self.kept, self.sure_fold, self.sure,
        ]  # fmt: skip

    @property
    def details(self) -> list[Any]:
        """The components that choosing a tile may change."""
        return [self.chosen, self.detail, self.card, self.reasons]

    @property
    def explanation(self) -> list[Any]:
        """The components that asking why may change."""
        return [self.reasons, self.why_text, self.why_query, self.why_found]

    def _build_query(self) -> None:
        key = self._collection.key
        self.upload = picture_input(
            label=static(lambda: say("your_picture")),
            alt_text=say("your_picture"),
            sources=["upload", "webcam", "clipboard"],
            height=290,
            buttons=[],
            elem_id=f"{key}-upload",
            elem_classes="visim-upload",
            placeholder=static(lambda: say("drop")),
        )
        self.crop = gr.Button(static(lambda: say("crop")), visible=False, size="md", elem_id=f"{key}-crop")
        self.frame = gr.HTML(
            "", visible=False, js_on_load=CROP, elem_id=f"{key}-frame", elem_classes="visim-frame-part"
        )
        if self._keep_hours:
            hours = f"{self._keep_hours:g}"
            gr.Markdown(static(lambda: say("kept", hours=hours)), elem_id=f"{key}-kept-note")
        gr.Markdown(static(lambda: say("examples")), visible=bool(self._examples))
        with gr.Row(elem_classes="visim-examples", elem_id=f"{key}-examples"):
            self.trials = [
                gr.Button(_caption(example), icon=example.path, size="sm", min_width=56, scale=1)
                for example in self._examples
            ]

    def _build_options(self) -> None:
        key, ways = self._collection.key, list(self._collection.ways)
        self.address = gr.Textbox(
            label=static(lambda: say("address")),
            placeholder="https://…",
            max_lines=1,
            max_length=2000,
            submit_btn=say("fetch"),
            elem_id=f"{key}-address",
            elem_classes="visim-address",
        )
        self.way = gr.Radio(
            self._way_choices(),
            value=ways[0],
            label=static(lambda: say("compare")),
            info=static(lambda: " ".join(say(f"info_{way}") for way in ways if f"info_{way}" in LANGUAGES["en"])),
            visible=len(ways) > 1,
            elem_id=f"{key}-way",
        )
        self._labels = sorted(set(self._collection.ways[ways[0]].gallery.labels) - {""})
        self.label = gr.Dropdown(
            self._label_choices(),
            value="",
            label=static(lambda: say("only_label")),
            visible=1 < len(self._labels) <= _MOST_LABELS,
            elem_id=f"{key}-label",
        )
        self.most = min(_MAX_TOP_K, *(len(way.gallery) for way in self._collection.ways.values()))
        first = min(_FIRST_TOP_K, self.most)
        self.top_k = gr.Slider(
            1, self.most, first, step=1, label=static(lambda: say("top_k")), elem_id=f"{key}-top-k", buttons=[]
        )
        with gr.Accordion(static(lambda: say("several")), open=False, elem_id=f"{key}-several-fold"):
            gr.Markdown(static(lambda: say("several_how")))
            self.several = pictures_input(
                label=static(lambda: say("several")),
                show_label=False,
                columns=4,
                height=220,
                allow_preview=False,
                buttons=[],
                elem_id=f"{key}-several",
                elem_classes="visim-several",
            )

    def _build_results(self) -> None:
        key = self._collection.key
        self.verdict = gr.HTML(static(lambda: self.invitation), elem_id=f"{key}-verdict", elem_classes="visim-verdict")
        self.reveal = gr.Button(
            static(lambda: say("reveal")), visible=False, variant="primary", elem_id=f"{key}-reveal"
        )
        self.all_again = gr.Button(static(lambda: say("all_again")), visible=False, elem_id=f"{key}-all-again")
        with gr.Column(visible=False) as self.results:
            self.gallery = gr.HTML("", js_on_load=CHOOSE, elem_id=f"{key}-gallery", elem_classes="visim-gallery")
            self._build_detail()
        with gr.Accordion(static(lambda: say("sure")), open=False, visible=False, elem_id=f"{key}-sure-fold") as fold:
            self.sure = gr.HTML(elem_id=f"{key}-sure", elem_classes="visim-sure")
        self.sure_fold = fold
        self._build_table()
        self._build_inside()

    def _build_table(self) -> None:
        key, about = self._collection.key, self._collection.about
        with gr.Accordion(static(lambda: say("table")), open=False, visible=False, elem_id=f"{key}-table-fold") as fold:
            self.table = gr.Dataframe(
                headers=table_headers(about),
                datatype=table_types(about),
                interactive=False,
                label=static(lambda: say("matches")),
                show_label=False,
                wrap=True,
                elem_id=f"{key}-table",
            )
            self.csv = gr.DownloadButton(str(static(lambda: say("csv"))), elem_id=f"{key}-csv")
        self.table_fold = fold

    def _build_detail(self) -> None:
        key = self._collection.key
        with gr.Column(visible=False, elem_classes="visim-detail", elem_id=f"{key}-detail") as self.detail:
            self.card = gr.HTML(elem_id=f"{key}-card")
            with gr.Row(elem_classes="visim-actions"):
                self.again = gr.Button(
                    static(lambda: say("again")), variant="primary", size="md", min_width=130, elem_id=f"{key}-again"
                )
                self.why = gr.Button(static(lambda: say("why")), size="md", min_width=130, elem_id=f"{key}-why")
                self.less = gr.Button(static(lambda: say("less")), size="md", min_width=130, elem_id=f"{key}-less")
        with gr.Column(visible=False, elem_classes="visim-reasons", elem_id=f"{key}-reasons") as self.reasons:
            self.why_text = gr.HTML(elem_id=f"{key}-why-text")
            with gr.Row():
                self.why_query = _picture("why_query", f"{key}-why-query")
                self.why_found = _picture("why_found", f"{key}-why-found")

    def _build_inside(self) -> None:
        key, decoder = self._collection.key, self._collection.decoder
        numbers = decoder.gallery.embeddings.shape[1] if decoder else 0
        with gr.Accordion(static(lambda: say("inside")), open=False, visible=False, elem_id=f"{key}-inside") as fold:
            gr.Markdown(static(lambda: say("inside_how", n=f"{numbers:,}")))
            with gr.Row():
                self.seen = _picture("seen", f"{key}-seen")
                self.kept = _picture("code_keeps", f"{key}-kept")
        self.inside = fold

    def translated(self) -> dict[Any, Any]:
        """Return what `gr.I18n` does not reach, in the visitor's language."""
        if language() == "en":
            return {}
        return {
            self.way: gr.update(choices=self._way_choices()),
            self.label: gr.update(choices=self._label_choices()),
            self.address: gr.update(submit_btn=say("fetch")),
            self.upload: gr.update(alt_text=say("your_picture")),
            self.seen: gr.update(alt_text=say("seen")),
            self.kept: gr.update(alt_text=say("code_keeps")),
        }

    def _way_choices(self) -> list[tuple[str, str]]:
        return [(say(f"way_{way}") if f"way_{way}" in LANGUAGES["en"] else way, way) for way in self._collection.ways]

    def _label_choices(self) -> list[tuple[str, str]]:
        return [(say("all_labels"), ""), *((label, label) for label in self._labels[:_MOST_LABELS])]

    @property
    def invitation(self) -> str:
        """The message in place of the verdict before the first search, as HTML."""
        size = len(self._collection.ways[self._collection.default_way].gallery)
        key = f"about_{self._collection.key}"
        about = say(key) if not self._collection.is_own and key in LANGUAGES["en"] else ""
        appear = say("appear", size=f"{size:,}", many=self._collection.words.many)
        return message("plain", say("choose"), f"{appear} {about}".strip())


def _caption(example: Example) -> Any:
    """Return the word below an example: a label as it is, else a text of the page."""
    key = f"example_{example.caption}"
    return static(lambda: say(key)) if key in LANGUAGES["en"] else example.caption


def _introduction(collection: Collection) -> str:
    """Write the title and the description of a gallery as HTML."""
    text = collection.about.description
    return f'<h2 dir="auto">{escape(collection.title)}</h2>' + (f'<p dir="auto">{escape(text)}</p>' if text else "")


def _picture(key: str, elem_id: str, *, height: int = 240) -> gr.Image:
    return gr.Image(
        label=static(lambda: say(key)),
        alt_text=say(key),
        format="png",
        interactive=False,
        buttons=[],
        height=height,
        min_width=140,
        elem_id=elem_id,
        elem_classes="visim-picture",
    )
