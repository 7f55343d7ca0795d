"""The gallery of pictures that the host names: built, or brought up to date, before the page is served."""

import hashlib
from pathlib import Path
from typing import Final

from demo.keys import gallery_keys
from visim_models.galleries import BuildReport, build

__all__ = ["build_pictures", "default_out"]

_FOLDER: Final = Path(".visim") / "galleries"


def build_pictures(pictures: str, out: Path) -> BuildReport:
    """Build the gallery of pictures, or bring it up to date, and print what was done.

    Args:
        pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/namespace/name or s3://bucket/folder.
        out: folder of the gallery; a build that was interrupted goes on there.

    Raises:
        VisimError: the pictures or the folder cannot be used.
    """
    report = build(pictures, out, remove_missing=True)
    print("\n".join(report.lines()))
    return report


def default_out(pictures: str) -> Path:
    """Return the folder of the gallery of some pictures, below the current folder: another one for each source.

    Two sources of one name must not share it: the pictures and the descriptions of the first would go.
    """
    source = pictures if "://" in pictures else str(Path(pictures).resolve())
    digest = hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()
    return _FOLDER / f"{gallery_keys([pictures])[0]}-{digest[:8]}"
