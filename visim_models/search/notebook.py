"""Show matches in a notebook: a strip of small pictures as HTML that needs no network and no file."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from visim_models.errors import VisimError
from visim_models.images.decode import decode_image
from visim_models.sources.store import ImageStore

if TYPE_CHECKING:
    from visim_models.search.results import Match

__all__ = ["picture_strip"]

_SIDE: Final = 128
_MOST: Final = 12


def picture_strip(matches: Sequence["Match"], *, image_root: str, trusted: bool, verdict: str) -> str:
    """Return the matches as HTML; a match whose picture cannot be had is a frame with its name.

    Args:
        matches: nearest first; the first twelve are shown.
        image_root: where the pictures are.
        trusted: the root may be on this machine.
        verdict: a sentence on the query.
    """
    shown = matches[:_MOST]
    found = _fetch([match.file_name for match in shown], image_root, trusted=trusted)
    tiles = "".join(_tile(match, found.get(match.file_name)) for match in shown)
    return f'<div><p>{escape(verdict)}</p><div style="display:flex;flex-wrap:wrap;gap:8px">{tiles}</div></div>'


def _fetch(file_names: Sequence[str], image_root: str, *, trusted: bool) -> dict[str, bytes]:
    if not image_root:
        return {}
    try:
        return ImageStore(image_root, trusted=trusted).read_many(file_names)
    except VisimError:
        return {}


def _tile(match: "Match", content: bytes | None) -> str:
    caption = f"{match.percent} %" + (f" {match.label}" if match.label else "")
    picture = _thumbnail(content) if content else None
    image = (
        f'<img src="data:image/png;base64,{picture}" alt="{escape(match.file_name)}">'
        if picture
        else f'<div style="width:{_SIDE}px;height:{_SIDE}px;border:1px solid #999;overflow:hidden">'
        f"{escape(match.file_name)}</div>"
    )
    return f'<figure style="margin:0;width:{_SIDE}px">{image}<figcaption>{escape(caption)}</figcaption></figure>'


def _thumbnail(content: bytes) -> str | None:
    try:
        picture = decode_image(content)
    except VisimError:
        return None
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
