"""From an answer to HTML: the verdict in words, the tiles, the chosen one, and the matches as a table.

Labels, columns and links are anyone's: every text is escaped, and a link is written only for an http or https address.
"""

import csv
import io
import json
import secrets
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from demo.collection import Collection
from demo.search import Asked, Found, Search
from demo.texts import Words, has_text, say
from visim_models import GalleryAbout, Match, OODVerdict
from visim_models.gallery import is_link
from visim_models.repo_folder.metrics import Figure

__all__ = [
    "CHOOSE",
    "CROP",
    "Moves",
    "chosen_card",
    "crop_frame",
    "explain_basis",
    "explain_classes",
    "explain_search",
    "explain_verdict",
    "file_address",
    "introduction",
    "invitation",
    "matches_csv",
    "matches_rows",
    "meaning",
    "message",
    "mood_of",
    "shortened",
    "signal",
    "table_headers",
    "table_types",
    "tile_grid",
]

Mood = Literal["known", "unsure", "strange", "plain"]

Moves = Literal["focus", "scroll", "restore"]
"""What the page does with an answer: it comes into view with the focus, as a new entry of the history; or without the
focus, which stays on the control that asked for it; or as the entry of the history that is already there."""

CROP = Path(__file__).with_name("crop.js").read_text(encoding="utf-8")
"""The script of the frame's component: a drag draws the frame, arrow keys move it, and with Shift they size it."""

CHOOSE = """
element.addEventListener("click", event => {
  const button = event.target.closest("button[data-index]");
  if (!button) return;
  for (const each of element.querySelectorAll("button[data-index]")) each.ariaPressed = String(each === button);
  trigger("select", { index: Number(button.dataset.index) });
});
"""
"""The script of the tiles' component: a click, or the Enter key, chooses a tile."""

_SURE = 5
"""A picture that would be called strange at a fifth of the rate of false alarms, too, is surely strange: at the usual
5 %, one right picture in twenty gets a warning, and one in a hundred the firm one."""
_NUMBERS = ((1000, 500), (200, 100), (50, 10), (10, 5))
"""From so many on, "one in so many" is rounded down to a multiple of the second, so as not to seem exact."""
_MOST = 500
_ABBREVIATIONS = {"suv": "SUV"}
"""Labels of the bundled galleries that are written in capitals."""
_SIGNS = {"known": "✓", "unsure": "?", "strange": "!", "error": "✕", "plain": "i"}
_NEARLY_ALL = 98
"""Of 100: a share from which on none is stated. It is fitted on some hundreds of queries, and is two points off."""
_LABEL, _LINE, _NAME, _VALUE = 40, 60, 120, 600
"""Most characters of a label or a column below a tile, and of a name or a column beside the chosen tile."""
_BELOW_A_TILE = 2
"""Most columns below a tile."""


def message(mood: Mood | Literal["error"], headline: str, detail: str = "", *, more: str = "", data: str = "") -> str:
    """Write a message of the page as HTML: headline and detail are plain text, what follows and its attributes HTML."""
    return (
        f'<div class="visim-message visim-{mood}" tabindex="-1"{data}>'
        f'<span class="visim-sign" aria-hidden="true">{_SIGNS[mood]}</span>'
        f"<div><strong>{escape(headline)}</strong> {escape(detail)}{more}</div></div>"
    )


def signal(*, moves: Moves, key: str = "", asked: Asked | None = None, tiles: int = 0, status: str = "") -> str:
    """Write the attributes by which `page.js` finds a new answer and knows what to do with it.

    `key` and `asked` are for the history; it waits for so many tiles; the status is announced where the focus stays.
    """
    values = {"answer": secrets.token_hex(4), "moves": moves, "tiles": tiles, "status": status}
    if asked:
        state = {key: asked.name, "of": asked.source, "way": asked.way, "top_k": asked.top_k}
        state |= {"less": "\n".join(asked.less)} if asked.less else {}
        values |= {"address": asked.address(key), "state": json.dumps(state)}
    return "".join(f' data-{name}="{escape(str(value))}"' for name, value in values.items())


def shortened(text: str, most: int) -> str:
    """Return a text on one line, of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def file_address(path: str) -> str:
    """Return the address of a file that Gradio serves, relative to the page."""
    return escape(f"gradio_api/file={quote(path)}")


def introduction(collection: Collection) -> str:
    """Write the title and the description of a gallery as HTML."""
    text = collection.about.description
    return f'<h2 dir="auto">{escape(collection.title)}</h2>' + (f'<p dir="auto">{escape(text)}</p>' if text else "")


def invitation(collection: Collection) -> str:
    """Write the message in place of the verdict before the first search as HTML."""
    key = f"about_{collection.key}"
    about = say(key) if not collection.is_own and has_text(key) else ""
    appear = say("appear", size=f"{len(collection.usual.gallery):,}", many=collection.words.many)
    return message("plain", say("choose"), f"{appear} {about}".strip())


# The verdict.


def explain_search(search: Search, collection: Collection, *, moves: Moves) -> str:
    """Write the message above the tiles: the verdict, and what else there is to say of the search."""
    words, key = collection.words, collection.key
    count = len(search.found)
    data = signal(moves=moves, key=key, asked=search.asked, tiles=count, status=say("shown", n=count))
    said = [
        say("in_gallery") if search.is_in_gallery else "",
        say("average", n=len(search.files)) if search.files else "",
        say("less_like", n=len(search.options.less)) if search.options.less else "",
    ]
    more = explain_classes(search.classes, words) if search.classes else ""
    more += "".join(f"<p>{escape(sentence)}</p>" for sentence in said if sentence)
    if search.asked and (address := search.asked.address(key)):  # where others can find it, too
        more += f'<p><a class="visim-link" href="{escape(address)}">{escape(say("link"))}</a></p>'
    if search.verdict is None:
        return message("plain", say("from_gallery"), say("itself"), more=more, data=data)
    return explain_verdict(search.verdict, collection, more=more, data=data)


def mood_of(verdict: OODVerdict) -> Mood:
    """Return the colour of a verdict's word; one that is not one of these is firm or mild."""
    if verdict.word == "cannot tell":
        return "plain"
    if verdict.word == "one of these":
        return "known"
    is_sure = not verdict.calibration_size or verdict.p_value <= verdict.false_alarm_rate / _SURE
    return "strange" if is_sure else "unsure"


def explain_verdict(verdict: OODVerdict, collection: Collection, *, more: str = "", data: str = "") -> str:
    """Write the verdict as HTML: in one sentence, and how often a right picture gets it; `more` follows."""
    words, mood = collection.words, mood_of(verdict)
    if mood == "plain":
        reason = say("misses" if collection.usual_judge.ood.can_reject else "too_few")
        return message(mood, say("cannot_tell", one=words.one), reason, more=more, data=data)
    # A picture that is only probably of another kind is compared by the word for one: "probably not a car".
    claim = say(mood, one=words.one if mood == "unsure" else words.like)
    return message(mood, claim, _alarm(verdict, collection), more=more, data=data)


def _alarm(verdict: OODVerdict, collection: Collection) -> str:
    """Say how many right pictures get the warning, by what was measured; else, by what it is set for."""
    mood = mood_of(verdict)
    if mood == "known":
        return ""
    if not verdict.calibration_size:
        return say("not_calibrated")
    rate = verdict.false_alarm_rate / (_SURE if mood == "strange" else 1)
    measured = _measured_alarms(collection.figures, rate)
    share = measured.value / 100 if measured else rate
    real = collection.words.of("real")
    if share * _MOST < 1:
        return say("alarm_less", n=min(_MOST, measured.n) if measured else _MOST, real=real)
    number = 1 / share
    step = next((step for least, step in _NUMBERS if number >= least), 1)
    return say("alarm", n=max(1, round(number / step) * step), real=real)


def _measured_alarms(figures: Mapping[str, Figure], rate: float) -> Figure | None:
    """Return the measured share of right pictures that are called strange at a rate, other people's if measured."""
    names = [f"{kind}_false_alarms_at_{100 * rate:.0f}" for kind in ("wild", "ood")]
    return next((figures[name] for name in names if name in figures), None)


def explain_classes(shares: Mapping[str, float], words: Words) -> str:
    """Write the label that a classifier gives an upload, and its other labels, as HTML."""

    def percent(share: float) -> str:
        return "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"

    (first, share), *others = shares.items()
    name = _ABBREVIATIONS.get(first, first)
    said = say("class", noun=words.of("class"), first=name[:1].upper() + name[1:], share=percent(share))
    rest = " · ".join(
        say("class_other", label=_ABBREVIATIONS.get(label, label), share=percent(other)) for label, other in others[:3]
    )
    return f'<p class="visim-classes"><strong>{escape(said)}</strong> <span>{escape(rest)}</span></p>'


def explain_basis(search: Search, collection: Collection) -> str:
    """Write what is in the fold behind the verdict as HTML: its statistics, and what the percentages rest on."""
    verdict, words, figures = search.verdict, collection.words, collection.figures
    is_own = collection.is_self_calibrated
    said = []
    rate = verdict.false_alarm_rate if verdict else collection.usual_judge.ood.false_alarm_rate
    if verdict and verdict.calibration_size and verdict.can_tell:
        size = verdict.calibration_size
        as_strange = round(verdict.p_value * (size + 1)) - 1  # the count that the p-value is made from
        others = say("own_pictures") if is_own else say("held_out", many=words.many)
        share = f"{100 * (size - as_strange) / size:.1f}"
        said.append(say("stranger", share=share, size=f"{size:,}", others=others, rate=f"{100 * rate:g}"))
    if measured := _measured_alarms(figures, rate):
        said.append(say("measured", n=f"{measured.n:,}", many=words.many, share=f"{measured.value:.1f}"))
    prefix = f"ood_found_at_{100 * rate:.0f}_"
    kinds = {name.removeprefix(prefix): figure for name, figure in figures.items() if name.startswith(prefix)}
    if kinds := {kind: figure for kind, figure in kinds.items() if has_text(f"kind_{kind}")}:
        shares = [say("found", share=f"{each.value:.0f}", kind=say(f"kind_{kind}")) for kind, each in kinds.items()]
        number = next(iter(kinds.values())).n
        said.append(say("finds" if is_own else "passes", n=number, found=", ".join(shares)))
    probability = collection.ways[search.options.way].match_probability
    if probability and search.is_usual:
        said.append(say("means_measured", n=f"{probability.queries:,}", same=words.of("same")))
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in said)


# The tiles.


def tile_grid(search: Search, collection: Collection) -> str:
    """Write the tiles of a search, below what their percentages mean."""
    found, words = search.found, collection.words
    said = meaning(search.matches[0], words) if search.matches and search.is_usual else ""
    if search.is_refused:
        said = say("means_little", many=words.many)
    above = f'<p class="visim-means">{escape(said)}</p>' if said else ""
    tiles = "".join(_tile(index, each, collection.about) for index, each in enumerate(found))
    drawn = sum(each.tile.is_drawn for each in found)
    notes = [say("all_drawn" if drawn == len(found) else "some_drawn")] if drawn else []
    notes += [say("some_missing")] if any(each.tile.is_missing for each in found) else []
    note = f'<p class="visim-note">{escape(" ".join(notes))}</p>' if notes else ""
    return f'{above}<ul class="visim-tiles" aria-label="{escape(say("matches"))}">{tiles}</ul>{note}'


def _tile(index: int, each: Found, about: GalleryAbout) -> str:
    percent = escape(say("similarity", percent=each.match.percent))
    label = f"<span> · </span><bdi>{escape(shortened(each.match.label, _LABEL))}</bdi>" if each.match.label else ""
    marks = [
        say("copies", n=each.copies) if each.copies > 1 else "",
        say("drawn") if each.tile.is_drawn else say("missing") if each.tile.is_missing else "",
    ]
    badges = "".join(f'<span class="visim-badge">{escape(mark)}</span>' for mark in marks if mark)
    columns = _filled_columns(each.match, about)[:_BELOW_A_TILE]
    line = " · ".join(shortened(f"{name}: {value}", _LINE) for name, value in columns)
    below = (f"<bdi>{escape(line)}</bdi>" if line else "") + _link(each.match, about)
    return (
        f'<li><button type="button" aria-pressed="false" data-index="{index}">'
        f'<span class="visim-frame"><img src="{file_address(each.tile.path)}" alt="">{badges}</span>'
        f'<span class="visim-caption"><strong>{percent}</strong>{label}</span></button>'
        + (f'<p class="visim-facts-line">{below}</p>' if below else "")
        + "</li>"
    )


def meaning(match: Match, words: Words, *, key: str = "means_first") -> str:
    """Say in words what the percent of a match means, where that was measured; plain text."""
    if match.probability is None:
        return ""
    number = round(100 * match.probability)
    values = {"percent": match.percent, "same": words.of("same")}
    if not _NEARLY_ALL > number > 100 - _NEARLY_ALL:
        return say("means_most" if number >= _NEARLY_ALL else "means_least", **values)
    return say(key, n=number, **values)


def chosen_card(each: Found, collection: Collection, *, states_meaning: bool, data: str) -> str:
    """Write the card of the chosen tile, and what its percent means if that shall be said."""
    match = each.match
    said = meaning(match, collection.words, key="means") if states_meaning else ""
    rows = "".join(
        f"<dt><bdi>{escape(name)}</bdi></dt><dd><bdi>{escape(value[:_VALUE])}{'…' * (len(value) > _VALUE)}</bdi></dd>"
        for name, value in _filled_columns(match, collection.about)
    )
    columns = (f"<dl>{rows}</dl>" if rows else "") + _link(match, collection.about)
    return (
        f'<div class="visim-chosen" tabindex="-1" role="group" aria-label="{escape(say("chosen"))}"{data}>'
        f'<img src="{file_address(each.tile.path)}" alt=""><div>'
        f"<p><strong>{escape(say('similarity', percent=match.percent))}</strong> · "
        f"<bdi>{escape(shortened(match.label, 2 * _LABEL))}</bdi></p>"
        + (f"<p>{escape(said)}</p>" if said else "")
        + f'<p class="visim-file">{escape(say("name"))}: <bdi>{escape(shortened(match.file_name, _NAME))}</bdi></p>'
        f'<div class="visim-facts">{columns}</div></div></div>'
    )


def _filled_columns(match: Match, about: GalleryAbout) -> list[tuple[str, str]]:
    """Return the columns of a match that are shown as text and are not empty, with their values."""
    columns = [(name, match.columns.get(name, "").strip()) for name in about.columns if name != about.link]
    return [(name, value) for name, value in columns if value]


def _link(match: Match, about: GalleryAbout) -> str:
    """Write the link to the page of a match as HTML; "" where it has none."""
    address = match.columns.get(about.link, "").strip()
    if not is_link(address):
        return ""
    try:
        host = urlsplit(address).hostname or address  # without what could pass for another host before an "@"
    except ValueError:  # a broken IPv6 address
        host = address
    return (
        f'<a href="{escape(address)}" target="_blank" rel="noopener nofollow">{escape(say("open_link"))}'
        f"<span> {escape(say('at'))} <bdi>{escape(shortened(host, _LINE))}</bdi></span> ↗</a>"
    )


# The table.


def table_headers(about: GalleryAbout) -> list[str]:
    """Return the names of the columns: the last one has the links, where the gallery names a column for them."""
    headers = [say("rank"), say("name_column"), say("label"), say("score"), *about.columns]
    return [*headers, say("page_column")] if about.link else headers


def table_types(about: GalleryAbout) -> list[Any]:
    """Return the types of the columns."""
    types = ["number", "str", "str", "number", *("str" for _ in about.columns)]
    return [*types, "html"] if about.link else types


def matches_rows(matches: Sequence[Match], about: GalleryAbout) -> list[list[Any]]:
    """Return a row for each match. Its cells are shown as text, but for the links."""
    return [
        [
            rank, match.file_name, match.label, round(match.score, 4),
            *(match.columns.get(name, "") for name in about.columns),
            *([_link(match, about)] if about.link else []),
        ]
        for rank, match in enumerate(matches, start=1)
    ]  # fmt: skip


def matches_csv(matches: Sequence[Match], columns: Sequence[str] = ()) -> str:
    """Write the matches as a CSV table: rank, file_name, label, score, and these further columns."""

    def as_text(value: str) -> str:
        # A name that begins like a formula would be run by a spreadsheet.
        return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value

    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["rank", "file_name", "label", "score", *map(as_text, columns)])
    for rank, match in enumerate(matches, start=1):
        further = [as_text(match.columns.get(name, "")) for name in columns]
        writer.writerow([rank, as_text(match.file_name), as_text(match.label), f"{match.score:.6f}", *further])
    return file.getvalue()


# The frame for a part.


def crop_frame(address: str, *, data: str) -> str:
    """Write a picture with a frame to draw on it, and the button that searches with what is in it.

    Gradio's ImageEditor has the tool, too. But it sends what it draws to a route that keeps every visitor's bytes in
    memory without a limit (`accept_blobs`), which the guard closes; here only the frame is sent.
    """
    return (
        f'<div class="visim-crop" tabindex="-1"{data}><p>{escape(say("crop_how"))}</p>'
        f'<div class="visim-crop-stage"><img src="{address}" alt="" draggable="false">'
        f'<div class="visim-crop-box" tabindex="0" role="application" aria-label="{escape(say("crop_box"))}"></div>'
        f'</div><button type="button" class="visim-crop-go">{escape(say("crop_go"))}</button></div>'
    )
