"""Why two pictures match: colour on the parts of each that make them alike, on a scale that unrelated pictures fix."""

from dataclasses import dataclass
from html import escape
from typing import Any

from PIL import Image

from demo.collection import Collection
from demo.search import Found, Search
from demo.texts import say
from visim_models.search.feedback import relative_agreement_map

__all__ = ["Why", "explain_match", "highlighted"]

_SIDE = 480
_LEAST_LEVEL = 12
"""Level of 255 from which a part is coloured: a tenth above the least heat."""
_LOW, _HIGH = 1.0, 3.0
"""Heat from which a part is coloured, and from which its colour is the strongest."""
_WEAK, _STRONG = (245, 158, 11), (220, 38, 38)
_MOST = 0.62
"""Share of the strongest colour; the rest is the picture."""


@dataclass(frozen=True)
class Why:
    """The reasons of a match.

    Attributes:
        of_query: the query with colour where it is like the match; None where no part stands out.
        of_found: the match likewise.
        compared: how many pictures were looked at: nothing is shown on a tile that is drawn.
        possible: how many there are: of several uploads, none.
    """

    of_query: Image.Image | None
    of_found: Image.Image | None
    compared: int
    possible: int = 2

    def to_html(self, *, data: str = "") -> str:
        """Write the text above the pictures, with these attributes."""
        is_found = self.of_query is not None or self.of_found is not None
        said = [say("why_how" if is_found else "why_nothing")] if self.compared else []
        said += [say("why_not_photo")] if self.compared < self.possible else []
        text = "".join(f"<p>{escape(sentence)}</p>" for sentence in said)
        scale = _legend() if is_found else ""
        return f'<div class="visim-why" tabindex="-1"{data}><h3>{escape(say("why_head"))}</h3>{text}{scale}</div>'


def explain_match(collection: Collection, search: Search, found: Found, query: Image.Image | None) -> Why:
    """Find the parts of the query, and of a match that was found, that make them alike.

    The query is None where several pictures were searched with: then nothing is shown on them.

    Raises:
        VisimError: the gallery has no such picture.
    """
    similarity, match = collection.ways[search.options.way], found.match
    of_match = similarity.gallery.embedding(match.file_name)
    is_gallery = search.source == "gallery"
    names = [match.file_name, *([search.name] if is_gallery else [])]
    tiles = collection.tiles.make(names)  # again, if others have taken their room meanwhile
    sides = []
    if query is not None and (not is_gallery or tiles[-1].is_photo):
        sides.append((query, of_match))
    if tiles[0].is_photo:
        with Image.open(tiles[0].path) as tile:
            sides.append((tile.convert("RGB"), search.embedding))
    shown = [
        highlighted(picture, relative_agreement_map(similarity, picture, other, label=match.label))
        for picture, other in sides
    ]
    of_found = shown.pop() if tiles[0].is_photo else None
    return Why(shown[0] if shown else None, of_found, len(sides), 1 if query is None else 2)


def highlighted(picture: Image.Image, heat: Any) -> Image.Image | None:
    """Return a small copy of a picture with colour where its heat, (S, S), is well above 1; None if it nowhere is."""
    scale = 255 / (_HIGH - _LOW)
    levels = Image.fromarray(heat).point(lambda value: value * scale - _LOW * scale).convert("L")
    if not any(levels.histogram()[_LEAST_LEVEL + 1 :]):
        return None
    shown = picture.convert("RGB")
    if max(shown.size) < _SIDE:
        factor = _SIDE / max(shown.size)
        shown = shown.resize((round(shown.width * factor), round(shown.height * factor)), Image.Resampling.BICUBIC)
    shown.thumbnail((_SIDE, _SIDE))
    level = levels.resize(shown.size, Image.Resampling.BICUBIC)
    colour = Image.merge("RGB", [level.point(_ramp(*ends)) for ends in zip(_WEAK, _STRONG, strict=True)])
    # A part that is just above the limit is seen, too: the colour begins with 0.7 of its share.
    cover = level.point(
        [round(255 * _MOST * (value > _LEAST_LEVEL) * (0.7 + 0.3 * value / 255)) for value in range(256)]
    )
    return Image.composite(colour, shown, cover)


def _ramp(weak: int, strong: int) -> list[int]:
    return [round(weak + (strong - weak) * value / 255) for value in range(256)]


def _legend() -> str:
    """Write the legend of the colours as HTML."""
    weak, strong = (f"rgb({red},{green},{blue})" for red, green, blue in (_WEAK, _STRONG))
    return (
        f'<p class="visim-legend"><span>{escape(say("legend_low"))}</span>'
        f'<i style="background:linear-gradient(to right,transparent,{weak},{strong})"></i>'
        f"<span>{escape(say('legend_high'))}</span></p>"
    )
