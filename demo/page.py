"""The whole page: a heading, a tab for each collection, the endpoints, and its theme."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from demo.answer import shortened
from demo.api import add_endpoints
from demo.collection import Collection
from demo.files import VisitorFiles
from demo.guard import refuse_wrong_inputs
from demo.heading import USUAL_HEADING, Heading
from demo.search import QUERIES, Asked
from demo.tab import SearchTab
from demo.texts import PAGE_TEXTS, has_text, say, static
from demo.uploads import KeptUploads, event_field

__all__ = ["build_demo", "page_theme"]

_TAB_TITLE = 40
"""Most characters of a gallery's title on its tab; in the tab it is whole."""

_STYLE = Path(__file__).with_name("style.css")
_SCRIPT = Path(__file__).with_name("page.js")
_REFUSALS = ("no_picture", "one_file", "too_large")

# What `page.js` reports: an entry of the history that a visitor went back to, and a file that is no picture.
_REPORTS = """
window.visimReport = (name, data) => name === "asked" ? trigger("asked", data) : trigger("refused", data);
"""


def build_demo(
    collections: Sequence[Collection],
    *,
    heading: Heading = USUAL_HEADING,
    keep_seconds: int = 3600,
    kept: KeptUploads | None = None,
) -> gr.Blocks:
    """Build the page for these collections, one tab each; nothing is launched.

    Visitors' files are kept for so many seconds; `kept` keeps uploads, so that the link to a search works for others.
    """
    page: gr.Blocks
    with gr.Blocks(
        title=heading.title,
        analytics_enabled=False,
        delete_cache=(max(1, keep_seconds // 4), keep_seconds),
        fill_width=False,
    ) as page:
        gr.HTML(static(heading.to_html), elem_id="visim-heading")
        reports = gr.HTML("", js_on_load=_REPORTS, elem_id="visim-reports")
        files = VisitorFiles(page)
        built = []
        with gr.Tabs(elem_classes="visim-single" if len(collections) == 1 else None) as tabs:
            for collection in collections:
                with gr.Tab(_tab_title(collection), id=collection.key):
                    built.append(SearchTab(collection, files, introduces=not heading.is_of_gallery, kept=kept))
        for tab in built:
            _follow_links(page, reports, tab, tabs)
        for collection in collections:
            add_endpoints(collection)
    refuse_wrong_inputs(page)
    return page


def _tab_title(collection: Collection) -> Any:
    key = f"title_{collection.key}"
    if not collection.is_own and has_text(key):
        return static(lambda: say(key))
    return shortened(collection.title, _TAB_TITLE)


def _follow_links(page: gr.Blocks, reports: gr.HTML, tab: SearchTab, tabs: gr.Tabs) -> None:
    """Open a tab with the search that the page's address asks for, or the browser's history: `?cars=a.jpg&top_k=6`."""
    outputs, key = [*tab.followed, tabs], tab.collection.key
    settings: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_id": QUERIES}

    def load(request: gr.Request) -> dict[Any, Any]:
        asked = Asked.read(key, dict(request.query_params))
        if asked is None:
            return tab.start()
        # An address holds no path of this visit: one that does is no link of ours.
        asked = replace(asked, source="gallery") if asked.source == "visit" else asked
        return {**tab.start(), **tab.follow(asked), tabs: gr.Tabs(selected=key)}

    def go_back(event: gr.EventData) -> dict[Any, Any]:
        values = event_field(event, "values")
        asked = Asked.read(key, values) if isinstance(values, Mapping) else None
        return tab.clear() if asked is None else {**tab.follow(asked), tabs: gr.Tabs(selected=key)}

    def refuse(event: gr.EventData) -> dict[Any, Any]:
        reason = event_field(event, "reason")
        is_mine = event_field(event, "key") == key and isinstance(reason, str) and reason in _REFUSALS
        most = (page.max_file_size or 0) // 2**20
        return tab.refuse(say(reason, most=most)) if is_mine else tab.nothing()

    page.load(load, None, outputs, **settings)
    # Going back twice, quickly, ends at the last entry.
    reports.asked(go_back, None, outputs, trigger_mode="always_last", **settings)
    reports.refused(refuse, None, outputs, **settings)


def page_theme() -> dict[str, Any]:
    """Return the arguments of `launch()` that say how the page looks.

    The fonts are the visitor's own: the page asks no other server for any.
    """
    theme = gr.themes.Default(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        # Gradio's own shades of the hue are too light to read text on, or beside.
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color="white",
        block_label_text_color="*neutral_700",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        checkbox_label_background_fill_selected="*primary_100",
        checkbox_label_background_fill_selected_dark="*primary_800",
    )
    return {
        "theme": theme,
        "css": _STYLE.read_text(encoding="utf-8"),
        "head": f"<script>{_SCRIPT.read_text(encoding='utf-8')}</script>",
        "i18n": PAGE_TEXTS,
        "footer_links": ["api", "gradio", "settings"],
    }
