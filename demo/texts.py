"""The words of the page in each language: those that stay, by `gr.I18n`, and those of an answer, for its visitor."""

import hashlib
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final, Literal

import gradio as gr
from gradio.context import LocalContext
from gradio.i18n import I18nData

from visim_models import GalleryAbout

__all__ = ["LANGUAGES", "PAGE_TEXTS", "Words", "has_text", "language", "say", "static", "writing_in"]

LANGUAGES: Final[dict[str, dict[str, str]]] = {
    name: tomllib.loads(Path(__file__).with_name(f"texts_{name}.toml").read_text(encoding="utf-8"))
    for name in ("en", "de")
}
"""Language -> key -> text, in which {name} is a value."""

PAGE_TEXTS: Final = gr.I18n(**{name: {} for name in LANGUAGES})
"""The texts that stay on the page, which the browser chooses by its language: for `launch(i18n=...)`."""

_chosen: ContextVar[str] = ContextVar("language", default="")


def say(key: str, **values: object) -> str:
    """Return a text in the language of `language()`: plain text, which who puts it into HTML escapes."""
    return LANGUAGES[language()][key].format(**values)


def has_text(key: str) -> bool:
    """Return whether there is a text of this key."""
    return key in LANGUAGES["en"]


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


class Words:
    """What the pictures of a gallery are called, in the language of the page.

    Args:
        key: of the gallery.
        one: a word for one of its pictures, in the singular with its article: "a car".
        many: the same in the plural.
        is_own: the gallery is a host's own, whose words are used as they are.
    """

    def __init__(self, key: str, one: str, many: str, *, is_own: bool = True) -> None:
        self._key = "own" if is_own or not has_text(f"real_{key}") else key
        self._one, self._many = one, many

    @property
    def one(self) -> str:
        """Return the word for one picture, with its article."""
        return self._one if self._key == "own" else say(f"one_{self._key}")

    @property
    def many(self) -> str:
        """Return the word for many pictures."""
        return self._many if self._key == "own" else say(f"many_{self._key}")

    @property
    def like(self) -> str:
        """Return what a picture of this kind looks like."""
        return say("these") if self._key == "own" and self._one == GalleryAbout.one else self.one

    def of(self, kind: Literal["real", "same", "class"]) -> str:
        """Return the words for right pictures, for two of one label, or for the label itself."""
        return say(f"{kind}_{self._key}")
