"""The result of a query: the matches, and the verdict on the picture that was searched with."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from visim_models.errors import VisimError
from visim_models.images.decode import decode_image
from visim_models.ood import OODVerdict
from visim_models.sources.store import ImageStore

__all__ = ["Match", "SimilarityResult"]

_SIDE: Final = 128
_MOST: Final = 12


@dataclass(frozen=True)
class Match:
    """A picture of the gallery that was found.

    Attributes:
        file_name: its name under the gallery's image root.
        label: its label.
        score: cosine similarity with the query, in [-1, 1].
        columns: name -> value of the gallery's further columns.
        probability: share of the matches with this score that have the label of their query, measured on held-out
            pictures; None where it was not measured.
    """

    file_name: str
    label: str
    score: float
    columns: Mapping[str, str] = field(default_factory=dict)
    probability: float | None = None

    @property
    def percent(self) -> int:
        """Return the score in whole percent."""
        return round(100 * self.score)

    def to_dict(self) -> dict[str, Any]:
        """Return the match in plain JSON types."""
        return {
            "file_name": self.file_name,
            "label": self.label,
            "score": self.score,
            "percent": self.percent,
            "probability": self.probability,
            "columns": dict(self.columns),
        }

    def __repr__(self) -> str:
        return f"Match({self.file_name!r}, {self.label!r}, {self.percent} %)"


@dataclass(frozen=True)
class SimilarityResult:
    """The answer to one query. Two results are equal where their matches and verdicts are.

    Attributes:
        matches: nearest first.
        ood: whether the query is the kind of picture that the gallery knows.
        embedding: (D,) float32 of the query.
        image_root: where the pictures of the gallery are, for notebooks; "" if unknown.
        trusts_root: the root may be on this machine.
    """

    matches: list[Match]
    ood: OODVerdict
    embedding: npt.NDArray[np.float32] = field(compare=False, repr=False)
    image_root: str = field(default="", compare=False, repr=False)
    trusts_root: bool = field(default=False, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the matches and the verdict in plain JSON types."""
        return {"matches": [match.to_dict() for match in self.matches], "ood": self.ood.to_dict()}

    def _repr_html_(self) -> str:
        return _picture_strip(
            self.matches,
            image_root=self.image_root,
            trusted=self.trusts_root,
            verdict=f"The picture against this gallery: {self.ood.word} (p = {self.ood.p_value:.3f}).",
        )

    def __repr__(self) -> str:
        return f"SimilarityResult({self.matches!r}, {self.ood.word}, p = {self.ood.p_value:.3f})"


def _picture_strip(matches: Sequence[Match], *, image_root: str, trusted: bool, verdict: str) -> str:
    """Return the matches as HTML that needs no network and no file; a picture that is not on this machine is a frame.

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
    try:
        store = ImageStore(image_root, trusted=trusted) if image_root else None
        return store.read_many(file_names) if store and not store.is_remote else {}
    except VisimError:
        return {}


def _tile(match: Match, content: bytes | None) -> str:
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
