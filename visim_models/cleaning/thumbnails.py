"""Small pictures for a report, made in threads in the order in which the report shows them."""

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from PIL import Image
from tqdm import tqdm

from visim_models.cleaning.plan import PlanRow
from visim_models.errors import VisimError
from visim_models.images.decode import decode_image
from visim_models.images.decode_ahead import decode_ahead
from visim_models.sources.store import ImageStore

__all__ = ["thumbnails_for"]

_SIDE: Final = 152
_SMALL_SIDE: Final = 84
_MANY: Final = 3_000
"""Pictures from which on they are smaller, so that the report of 10,000 groups stays below 100 MB."""
_MOST: Final = 40_000
"""Pictures that are shown at most; the plan lists all files."""
_AT_ONCE: Final = 64


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
        return _address(decode_image(stores[row.root].read(row.file_name)), side)

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
