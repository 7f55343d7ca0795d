"""The page's texts: complete in each language, and in the language of who asks."""

import string

import pytest
from gradio.context import LocalContext

from demo.texts import LANGUAGES, PAGE_TEXTS, language, say, static, writing_in


@pytest.mark.parametrize("name", list(LANGUAGES))
def test_each_language_has_all_texts_with_the_same_values(name: str) -> None:
    def values(text: str) -> set[str | None]:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field}

    english, texts = LANGUAGES["en"], LANGUAGES[name]
    assert texts.keys() == english.keys()
    assert all(texts[key].strip() for key in texts)
    assert {key for key in english if values(texts[key]) != values(english[key])} == set()


class Asking:
    """A request, as far as its language goes."""

    def __init__(self, accepts: str) -> None:
        self.headers = {"accept-language": accepts}


@pytest.mark.parametrize(
    ("accepts", "expected"),
    [("de-AT,en;q=0.5", "de"), ("de", "de"), ("en-US,de", "en"), ("fr,de", "en"), ("", "en"), ("\x00;;,", "en")],
)
def test_an_answer_is_in_the_language_of_its_visitor(accepts: str, expected: str) -> None:
    token = LocalContext.request.set(Asking(accepts))  # type: ignore[arg-type]
    try:
        assert language() == expected
    finally:
        LocalContext.request.reset(token)


def test_a_static_text_is_entered_in_each_language() -> None:
    key = static(lambda: say("reveal")).key
    for name in LANGUAGES:
        with writing_in(name):
            assert PAGE_TEXTS.translations[name][key] == say("reveal")
