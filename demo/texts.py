"""The words of the page in each language: those that stay, by `gr.I18n`, and those of an answer, for its visitor."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import gradio as gr
from gradio.context import LocalContext
from gradio.i18n import I18nData

from demo.texts_de import GERMAN
from demo.texts_en import ENGLISH

__all__ = ["LANGUAGES", "PAGE_TEXTS", "language", "say", "static", "writing_in"]

LANGUAGES: Final = {"en": ENGLISH, "de": GERMAN}
"""Language -> key -> text, in which {name} is a value."""

PAGE_TEXTS: Final = gr.I18n(**{name: {} for name in LANGUAGES})
"""The texts that stay on the page, which the browser chooses by its language: for `launch(i18n=...)`."""

_chosen: ContextVar[str] = ContextVar("language", default="")


def say(key: str, **values: object) -> str:
    """Return a text in the language of `language()`: plain text, which who puts it into HTML escapes."""
    return LANGUAGES[language()][key].format(**values)


def language() -> str:
    """Return the language to write in: that of a `writing_in` block, else of the visitor whose request is answered."""
    if chosen := _chosen.get():
        return chosen
    request = LocalContext.request.get(None)
    headers = getattr(request, "headers", None)
    first = str(headers.get("accept-language", "") if headers else "").split(",")[0]
    name = first.strip()[:2].lower()
    return name if name in LANGUAGES else "en"


@contextmanager
def writing_in(name: str) -> Iterator[None]:
    """Let `say` write in a language inside the block."""
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def static(write: Callable[[], str]) -> I18nData:
    """Enter a text into `PAGE_TEXTS`, and return it as components take it.

    Args:
        write: writes the text with `say`; for a component that shows HTML, it writes HTML.
    """
    texts = {}
    for name in LANGUAGES:
        with writing_in(name):
            texts[name] = write()
    key = f"visim_{hashlib.sha256(repr(texts).encode()).hexdigest()[:16]}"
    for name, text in texts.items():
        PAGE_TEXTS.translations[name][key] = text
    return PAGE_TEXTS(key)
