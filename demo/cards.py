"""The answer's tiles as HTML: buttons with one line below each, one note for all, and the card of the chosen one.

Labels, columns and links are anyone's: every text is escaped, and a link is written only for an http or https address.
"""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from demo.collection import Collection
from demo.copies import Found
from demo.facts import explain_facts, fact_line, link_to, shortened
from demo.texts import say
from demo.verdict import Words
from visim_models import Match

__all__ = ["CHOOSE", "chosen_card", "meaning", "tile_grid"]

_LABEL = 40
"""Most characters of a label below a tile. The table of the matches has it whole."""

_SURE = 98
"""Of 100: a share from which on none is stated. It is fitted on some hundreds of queries, and is two points off."""

CHOOSE = """
element.addEventListener("click", event => {
  const button = event.target.closest("button[data-index]");
  if (!button) return;
  for (const each of element.querySelectorAll("button[data-index]")) each.ariaPressed = String(each === button);
  trigger("select", { index: Number(button.dataset.index) });
});
"""
"""The script of the tiles' component: a click, or the Enter key, chooses a tile."""


def tile_grid(found: Sequence[Found], collection: Collection, *, said: str = "") -> str:
    """Write the tiles of an answer.

    Args:
        found: the tiles, nearest first.
        collection: of the gallery.
        said: HTML above them.
    """
    tiles = "".join(_tile(index, each, collection) for index, each in enumerate(found))
    return f'{said}<ul class="visim-tiles" aria-label="{escape(say("matches"))}">{tiles}</ul>{_note(found)}'


def _tile(index: int, each: Found, collection: Collection) -> str:
    percent = escape(say("similarity", percent=each.match.percent))
    label = f"<span> · </span><bdi>{escape(shortened(each.match.label, _LABEL))}</bdi>" if each.match.label else ""
    marks = [
        say("copies", n=each.copies) if each.copies > 1 else "",
        say("drawn") if each.tile.is_drawn else say("missing") if each.tile.is_missing else "",
    ]
    badges = "".join(f'<span class="visim-badge">{escape(mark)}</span>' for mark in marks if mark)
    facts = fact_line(each.match, collection.about)
    below = (f"<bdi>{escape(facts)}</bdi>" if facts else "") + link_to(each.match, collection.about)
    return (
        f'<li><button type="button" aria-pressed="false" data-index="{index}">'
        f'<span class="visim-frame"><img src="{file_address(each.tile.path)}" alt="">{badges}</span>'
        f'<span class="visim-caption"><strong>{percent}</strong>{label}</span></button>'
        + (f'<p class="visim-facts-line">{below}</p>' if below else "")
        + "</li>"
    )


def file_address(path: str) -> str:
    """Return the address of a file that Gradio serves, relative to the page."""
    return escape(f"gradio_api/file={quote(path)}")


def _note(found: Sequence[Found]) -> str:
    """Say once of all tiles what they are where they are no photographs."""
    drawn = sum(each.tile.is_drawn for each in found)
    said = [say("all_drawn" if drawn == len(found) else "some_drawn")] if drawn else []
    said += [say("some_missing")] if any(each.tile.is_missing for each in found) else []
    return f'<p class="visim-note">{escape(" ".join(said))}</p>' if said else ""


def meaning(match: Match, words: Words, *, key: str = "means_first") -> str:
    """Say in words what the percent of a match means, where that was measured; plain text."""
    if match.probability is None:
        return ""
    number = round(100 * match.probability)
    values = {"percent": match.percent, "same": words.of("same")}
    if not _SURE > number > 100 - _SURE:
        return say("means_most" if number >= _SURE else "means_least", **values)
    return say(key, n=number, **values)


def chosen_card(each: Found, collection: Collection, *, states_meaning: bool, data: str) -> str:
    """Write the card of the chosen tile.

    Args:
        each: the tile.
        collection: of the gallery.
        states_meaning: say in words what its percent means.
        data: attributes of the card, as HTML.
    """
    match = each.match
    said = meaning(match, collection.words, key="means") if states_meaning else ""
    return (
        f'<div class="visim-chosen" tabindex="-1" role="group" aria-label="{escape(say("chosen"))}"{data}>'
        f'<img src="{file_address(each.tile.path)}" alt=""><div>'
        f"<p><strong>{escape(say('similarity', percent=match.percent))}</strong> · "
        f"<bdi>{escape(shortened(match.label, 2 * _LABEL))}</bdi></p>"
        + (f"<p>{escape(said)}</p>" if said else "")
        + f'<p class="visim-file">{escape(say("name"))}: <bdi>{escape(shortened(match.file_name, 120))}</bdi></p>'
        f'<div class="visim-facts">{explain_facts(match, collection.about)}</div></div></div>'
    )
