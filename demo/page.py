"""The whole page: a heading, a tab for each collection, the endpoints, and its theme."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from demo.api import add_endpoint
from demo.collection import Collection
from demo.facts import shortened
from demo.files import VisitorFiles
from demo.heading import USUAL_HEADING, Heading
from demo.inputs import refuse_wrong_inputs
from demo.tab import SearchTab

__all__ = ["build_demo", "page_theme"]

_TAB_TITLE = 40
"""Most characters of a gallery's title on its tab; in the tab it is whole."""

_STYLE = Path(__file__).with_name("style.css")
_SCRIPT = Path(__file__).with_name("page.js")


def build_demo(
    collections: Sequence[Collection], *, heading: Heading = USUAL_HEADING, keep_seconds: int = 3600
) -> gr.Blocks:
    """Build the page for these collections, one tab each; nothing is launched.

    Args:
        collections: the galleries to show, at least one.
        heading: of the page.
        keep_seconds: how long a visitor's files are kept.
    """
    page: gr.Blocks
    with gr.Blocks(
        title=heading.title,
        analytics_enabled=False,
        delete_cache=(max(1, keep_seconds // 4), keep_seconds),
        fill_width=False,
    ) as page:
        gr.HTML(heading.to_html(), elem_id="visim-heading")
        files = VisitorFiles(page)
        built = []
        with gr.Tabs(elem_classes="visim-single" if len(collections) == 1 else None) as tabs:
            for collection in collections:
                with gr.Tab(shortened(collection.title, _TAB_TITLE), id=collection.key):
                    built.append(SearchTab(collection, files, introduces=not heading.is_of_gallery))
        for tab in built:
            tab.follow_links(page, tabs)
        for collection in collections:
            add_endpoint(collection)
    refuse_wrong_inputs(page)
    return page


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
        "footer_links": ["api", "gradio", "settings"],
    }
