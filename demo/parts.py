"""The components of one tab, and their layout. The functions that they call are in `demo.tab`."""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from demo.collection import Collection
from demo.examples import Example
from demo.upload import picture_input
from demo.verdict import message

__all__ = ["Parts"]

_MAX_TOP_K = 12
_WAYS = {
    "by body": "By body: the features that differ between body types.",
    "by kind": "By kind: what is in the picture.",
    "by look": "By look: colour, background and direction.",
}
"""Way to compare -> what it is."""
_FIRST_TOP_K = 4


class Parts:
    """Builds the components of a tab into the `gr.Blocks` that is open.

    Args:
        collection: the gallery that the tab searches.
        examples: pictures to try.
        introduces: show the title and the description of a host's own gallery.
    """

    def __init__(self, collection: Collection, examples: Sequence[Example], *, introduces: bool) -> None:
        self._collection = collection
        self._examples = examples
        self.state = gr.State(None, time_to_live=3600)
        if collection.is_own and introduces:
            gr.HTML(_introduction(collection), elem_id=f"{collection.key}-about", elem_classes="visim-about")
        with gr.Row(elem_classes="visim-tab"):
            with gr.Column(scale=2, min_width=280):
                self._build_query()
            with gr.Column(scale=3, min_width=280):
                self._build_results()

    @property
    def answers(self) -> list[Any]:
        """The components that an answer may change."""
        return [
            self.state, self.upload, self.verdict, self.link, self.reveal, self.results, self.gallery, self.note,
            self.percent, self.detail, self.reasons, self.table, self.csv, self.inside, self.seen, self.kept,
        ]  # fmt: skip

    @property
    def details(self) -> list[Any]:
        """The components that choosing a tile may change."""
        return [self.detail, self.large, self.name, self.facts, self.reasons]

    @property
    def explanation(self) -> list[Any]:
        """The components that asking why may change."""
        return [self.reasons, self.why_query, self.why_found]

    def _build_query(self) -> None:
        key, ways = self._collection.key, list(self._collection.ways)
        self.upload = picture_input(
            label="Your picture",
            sources=["upload", "webcam", "clipboard"],
            height=260,
            buttons=[],
            elem_id=f"{key}-upload",
            placeholder="Drop a picture here, or click to choose one",
            alt_text="The picture that is searched with",
        )
        self.address = gr.Textbox(
            label="Or its address on the web",
            placeholder="https://…",
            max_lines=1,
            max_length=2000,
            submit_btn="Fetch",
            elem_id=f"{key}-address",
        )
        gr.Markdown("Or try one of these:", visible=bool(self._examples))
        with gr.Row(elem_classes="visim-examples", elem_id=f"{key}-examples"):
            self.trials = [
                gr.Button(example.caption, icon=example.path, size="sm", min_width=56, scale=1)
                for example in self._examples
            ]
        self.way = gr.Radio(
            ways,
            value=ways[0],
            label="Compare",
            info=" ".join(_WAYS[way] for way in ways if way in _WAYS),
            visible=len(ways) > 1,
            elem_id=f"{key}-way",
        )
        self.most = min(_MAX_TOP_K, *(len(way.gallery) for way in self._collection.ways.values()))
        first = min(_FIRST_TOP_K, self.most)
        self.top_k = gr.Slider(
            1, self.most, first, step=1, label="How many to show", elem_id=f"{key}-top-k", buttons=[]
        )

    def _build_results(self) -> None:
        key, further = self._collection.key, self._collection.about.columns
        kinds: list[Any] = ["number", "str", "str", "number", *("str" for _ in further)]
        self.verdict = gr.HTML(self.invitation, elem_id=f"{key}-verdict", elem_classes="visim-verdict")
        self._build_basis()
        self.link = gr.HTML(elem_id=f"{key}-link", elem_classes="visim-verdict")
        self.reveal = gr.Button("Show me the nearest anyway", visible=False, elem_id=f"{key}-reveal")
        with gr.Column(visible=False) as self.results:
            self.gallery = gr.Gallery(
                label="Most similar",
                columns=4,
                height="auto",
                object_fit="contain",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id=f"{key}-gallery",
                elem_classes="visim-gallery",
            )
            self.note = gr.Markdown(elem_id=f"{key}-note")
            self._build_detail()
            self.percent = gr.HTML(elem_id=f"{key}-percent")
            with gr.Accordion("The matches as a table", open=False):
                self.table = gr.Dataframe(
                    headers=["rank", "name", "label", "score", *further],
                    datatype=kinds,
                    interactive=False,
                    label="Matches",
                    show_label=False,
                    wrap=True,
                    elem_id=f"{key}-table",
                )
                self.csv = gr.DownloadButton("Download as CSV", elem_id=f"{key}-csv")
        with gr.Column(visible=False) as self.inside:
            self._build_inside()

    def _build_basis(self) -> None:
        """Say what the verdict was found to find, where that was measured, or that it cannot tell."""
        basis = self._collection.basis
        said = basis.finds or basis.cannot_tell
        gr.HTML(
            f'<p class="visim-basis">{escape(said)}</p>',
            visible=bool(said),
            elem_id=f"{self._collection.key}-basis",
            elem_classes="visim-verdict",
        )

    def _build_detail(self) -> None:
        key = self._collection.key
        with gr.Row(visible=False, elem_classes="visim-detail") as self.detail:
            self.large = _picture("Chosen tile", f"{key}-large", height=280)
            with gr.Column(min_width=200):
                self.name = gr.Textbox(label="Name in the gallery", interactive=False, elem_id=f"{key}-name")
                self.facts = gr.HTML(elem_id=f"{key}-facts", elem_classes="visim-facts")
                self.again = gr.Button("Search with this one", variant="primary", elem_id=f"{key}-again")
                self.why = gr.Button("Why do these match?", elem_id=f"{key}-why")
        with gr.Column(visible=False) as self.reasons:
            gr.Markdown(
                "**Why these match.** Each picture is covered piece by piece, and lit where that makes them less alike."
            )
            with gr.Row():
                self.why_query = _picture("Your picture, where it is like the tile", f"{key}-why-query")
                self.why_found = _picture("The tile, where it is like your picture", f"{key}-why-found")

    def _build_inside(self) -> None:
        key, decoder = self._collection.key, self._collection.decoder
        numbers = decoder.gallery.embeddings.shape[1] if decoder else 0
        gr.Markdown(f"### How it looks inside\nAn autoencoder keeps {numbers:,} numbers of a picture, its code.")
        with gr.Row():
            self.seen = _picture("What the autoencoder sees", f"{key}-seen")
            self.kept = _picture("What its code keeps", f"{key}-kept")

    @property
    def invitation(self) -> str:
        """The message in place of the verdict before the first search, as HTML."""
        size = len(self._collection.ways[self._collection.default_way].gallery)
        return message(
            "plain", "Choose a picture.", f"The most similar of {size:,} {self._collection.many} appear here."
        )


def _introduction(collection: Collection) -> str:
    """Write the title and the description of a gallery as HTML."""
    text = collection.about.description
    return f'<h2 dir="auto">{escape(collection.title)}</h2>' + (f'<p dir="auto">{escape(text)}</p>' if text else "")


def _picture(label: str, elem_id: str, *, height: int = 240) -> gr.Image:
    return gr.Image(
        label=label,
        format="png",
        interactive=False,
        buttons=[],
        height=height,
        min_width=140,
        elem_id=elem_id,
        elem_classes="visim-picture",
        alt_text=label,
    )
