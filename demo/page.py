"""The whole page: a heading, a tab for each collection, the endpoints, and how it looks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from demo.api import add_endpoint
from demo.collection import Collection
from demo.files import VisitorFiles
from demo.tab import SearchTab

__all__ = ["build_demo", "look"]

_HEADING = """# visim: visual similarity
Give it a picture: it shows the pictures of a gallery that look most like it, with a percentage, and says so
when yours is not the kind of picture it knows."""

_KEEP_SECONDS = 3600
_STYLE = Path(__file__).with_name("style.css")
_SCRIPT = Path(__file__).with_name("page.js")


def build_demo(collections: Sequence[Collection]) -> gr.Blocks:
    """The page for these collections, one tab each; nothing is launched."""
    page: gr.Blocks
    with gr.Blocks(
        title="visim: visual similarity",
        analytics_enabled=False,
        delete_cache=(_KEEP_SECONDS // 4, _KEEP_SECONDS),  # uploads go after an hour
        fill_width=False,
    ) as page:
        gr.Markdown(_HEADING, elem_id="visim-heading")
        files = VisitorFiles(page)
        built = []
        with gr.Tabs() as tabs:
            for collection in collections:
                with gr.Tab(collection.title, id=collection.key):
                    built.append(SearchTab(collection, files))
        for tab in built:
            tab.follow_links(page, tabs)
        for collection in collections:
            add_endpoint(collection)
    return page


def look() -> dict[str, Any]:
    """How the page looks, for `launch()`. The fonts are the visitor's own: the page asks no other server for any."""
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
