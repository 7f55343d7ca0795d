"""report.html: one file that opens without a network and shows the groups of a plan and the reach of each threshold.

Whatever comes from file names is text: in the page it is escaped, in the data JSON without "<", and the script of the
page puts it into text nodes alone. A policy in the page allows its own script and style, by their hashes, and pictures
that are in the file itself; nothing can be fetched or sent.
"""

import base64
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

from PIL import Image
from tqdm import tqdm

from visim_models.cleaning.plan import PlanRow
from visim_models.errors import VisimError
from visim_models.images.decode_ahead import decode_ahead
from visim_models.sources.store import ImageStore

__all__ = ["FindTexts", "ReportedFind", "shown_rows", "thumbnails_for", "write_report"]

_GROUPS_A_PAGE: Final = 40
_MOST_OF_A_GROUP: Final = 24
"""Pictures of a group that are shown; how many more there are is said."""
_SIDE: Final = 152
_SMALL_SIDE: Final = 84
_MANY: Final = 3_000
"""Pictures from which on they are smaller, so that the report of 10,000 groups stays below 100 MB."""
_MOST: Final = 40_000
"""Pictures that are shown at most; the plan lists all files."""
_AT_ONCE: Final = 64
_STYLE: Final = Path(__file__).with_name("report.css")
_SCRIPT: Final = Path(__file__).with_name("report.js")

Thumbnail: TypeAlias = Callable[[PlanRow], str]
"""Returns the address (data:) of a small picture of a file, "" where there is none."""


@dataclass(frozen=True)
class FindTexts:
    """What the report says of a find.

    Attributes:
        title: heading.
        one: what one group is called.
        about: one sentence.
    """

    title: str
    one: str
    about: str


@dataclass(frozen=True)
class ReportedFind:
    """A find in the report.

    Attributes:
        name: as the plan and the command call it.
        texts: what is said of it.
        rows: of the plan, in the order of their groups.
        at: the threshold of the plan; None for a find without one.
    """

    name: str
    texts: FindTexts
    rows: Sequence[PlanRow]
    at: float | None = None

    @property
    def removed(self) -> list[PlanRow]:
        """Return the rows that this find itself removes: not those that another one removes anyway."""
        return [row for row in self.rows if row.action == "remove" and not row.is_removed_elsewhere]

    def groups(self) -> list[list[PlanRow]]:
        """Return the groups, those with the best scores first; files without a group are one each."""
        found: dict[int, list[PlanRow]] = {}
        for number, row in enumerate(self.rows):
            found.setdefault(row.group or -1 - number, []).append(row)
        return sorted(found.values(), key=lambda group: -_best(group))


def shown_rows(finds: Sequence[ReportedFind]) -> list[PlanRow]:
    """Return the rows whose pictures a report shows, in the order in which it asks for them."""
    return [row for find in finds for group in find.groups() for row in group[:_MOST_OF_A_GROUP]]


def write_report(
    file: TextIO,
    finds: Sequence[ReportedFind],
    *,
    title: str,
    summary: Sequence[str],
    command: str,
    apply_command: str,
    thumbnail: Thumbnail,
) -> None:
    """Write the report.

    Args:
        file: to write into, in UTF-8.
        finds: what was found.
        title: heading.
        summary: lines below it.
        command: that made the plan, quoted for a shell: another threshold is added to it.
        apply_command: that shows what the plan would do, quoted for a shell.
        thumbnail: called once for each file that is shown, in order.
    """
    style, script = _STYLE.read_text(encoding="utf-8"), _SCRIPT.read_text(encoding="utf-8")
    groups = [find.groups() for find in finds]
    data = {
        "page": _GROUPS_A_PAGE,
        "command": command,
        "finds": [_summary_of(find, each) for find, each in zip(finds, groups, strict=True)],
    }
    file.write(_head(title, style, script))
    file.write(_introduction(title, summary, apply_command))
    for index, find in enumerate(finds):
        file.write(_section(find, index, groups[index]))
    file.write("</main>\n")
    for index, each in enumerate(groups):
        for number, chunk in enumerate(_chunks(each, thumbnail)):
            file.write(_json_script(f"page-{index}-{number}", chunk))
    file.write(_json_script("data", data))
    file.write(f"<script>{script}</script>\n</body>\n</html>\n")


def _head(title: str, style: str, script: str) -> str:
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="referrer" content="no-referrer">\n<title>{escape(title)}</title>\n'
        f"<style>{style}</style>\n</head>\n"
    )


def _introduction(title: str, summary: Sequence[str], apply_command: str) -> str:
    lines = "".join(f"<p>{escape(line)}</p>\n" for line in summary)
    return (
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{lines}"
        "<noscript><p>The groups are drawn by a script of this page: allow it, or read plan.csv.</p></noscript>\n"
        "<p>This shows what the plan would do; with --yes behind it, files are moved into a quarantine folder, and a "
        f"journal brings them back. To disagree, edit the column action of plan.csv.</p>\n<code>{escape(apply_command)}"
        '</code>\n<div id="again" hidden>\n'
        "<p>You moved a threshold. This makes the plan again with it, in seconds:</p>\n"
        '<code id="again-command"></code>\n</div>\n'
    )


def _section(find: ReportedFind, index: int, groups: Sequence[Sequence[PlanRow]]) -> str:
    title = escape(find.texts.title)
    pages = _pages(title) if len(groups) > _GROUPS_A_PAGE else ""
    singles = "" if len(groups) < len(find.rows) else " singles"
    counts = f"{len(groups):,} {'group' if len(groups) == 1 else 'groups'}, {len(find.rows):,} files"
    return (
        f'<section id="find-{index}" aria-labelledby="title-{index}">\n<h2 id="title-{index}">{title}</h2>\n'
        f"<p>{escape(find.texts.about)} {counts}; it removes {len(find.removed):,}.</p>\n"
        f'{_slider(find, index)}{pages}<ol class="groups{singles}"></ol>\n{pages}</section>\n'
    )


def _slider(find: ReportedFind, index: int) -> str:
    """Return the slider of a find's threshold, over all its scores; "" where it has none."""
    if find.at is None:
        return ""
    scores = [row.score for row in find.rows if row.score is not None]
    low, high = min([find.at, *scores]), max([find.at, *scores])
    return (
        f'<div class="threshold"><label for="at-{index}">threshold</label>'
        f'<input id="at-{index}" type="range" min="{math.floor(low * 100) / 100:.2f}" '
        f'max="{min(math.ceil(high * 100) / 100, 1):.2f}" step="0.01" value="{find.at:.2f}">'
        '<span class="takes" role="status"></span></div>\n'
    )


def _pages(title: str) -> str:
    """Return the buttons that turn the pages of a find."""
    return (
        f'<div class="pages"><button type="button" class="previous" aria-label="previous page of {title}">previous'
        f'</button><span class="page"></span><button type="button" class="next" aria-label="next page of {title}">next'
        "</button></div>\n"
    )


def _summary_of(find: ReportedFind, groups: Sequence[Sequence[PlanRow]]) -> dict[str, Any]:
    """Return what the script needs of all groups at once: rounded as the slider compares them.

    The best of a group has no score, for it stays at every threshold; nor has a file that another find removes.
    """
    scores = sorted((row.score for row in find.rows if row.score is not None), reverse=True)
    return {
        "name": find.name,
        "one": find.texts.one,
        "at": None if find.at is None else round(find.at, 2),
        "scores": [_rounded(score) for score in scores] if find.at is not None else [],
        "best": [_rounded(_best(group)) for group in groups],
        "numbers": [group[0].group or number for number, group in enumerate(groups, start=1)],  # as in the plan
    }


def _chunks(groups: Sequence[Sequence[PlanRow]], thumbnail: Thumbnail) -> Iterator[list[list[list[Any]]]]:
    """Yield the groups page by page: of each file all that is shown."""
    for start in range(0, len(groups), _GROUPS_A_PAGE):
        yield [
            [_file(row, thumbnail) for row in group[:_MOST_OF_A_GROUP]] + _more(len(group) - _MOST_OF_A_GROUP)
            for group in groups[start : start + _GROUPS_A_PAGE]
        ]


def _file(row: PlanRow, thumbnail: Thumbnail) -> list[Any]:
    score = None if row.score is None else _rounded(row.score)
    return [row.file_name, row.size, score, row.action, row.reason, thumbnail(row)]


def _more(count: int) -> list[list[Any]]:
    return [[f"and {count:,} more in plan.csv", "", None, "keep", "", ""]] if count > 0 else []


def _best(group: Sequence[PlanRow]) -> float:
    return max((row.score for row in group if row.score is not None), default=0.0)


def _rounded(score: float) -> float:
    return round(score, 4)


def _json_script(name: str, values: object) -> str:
    """Return data as a script element that is never run; nothing in it can end the element."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>\n'


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# --- thumbnails


def thumbnails_for(
    rows: Sequence[PlanRow], stores: Mapping[str, ImageStore], *, progress: bool = False
) -> Callable[[PlanRow], str]:
    """Return a function that gives the address (data:) of each row's picture, "" where there is none.

    Args:
        rows: in the order in which the function will be called.
        stores: root -> its pictures.
        progress: show a progress bar.
    """
    side = _SIDE if len(rows) <= _MANY else _SMALL_SIDE

    def make(row: PlanRow) -> str:
        if row.find == "broken":
            return ""
        return _address(stores[row.root].decode(row.file_name), side)

    def made() -> Iterator[str]:
        with tqdm(total=len(rows), desc="drawing", unit="picture", disable=not progress) as bar:
            for batch in decode_ahead(rows[:_MOST], make, at_once=_AT_ONCE):
                yield from ("" if isinstance(result, VisimError) else result for _, result in batch)
                bar.update(len(batch))

    pictures = made()
    return lambda _: next(pictures, "")


def _address(image: Image.Image, side: int) -> str:
    image.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=55, method=0)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
