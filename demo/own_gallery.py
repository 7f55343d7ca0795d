"""The gallery of pictures that the host names: built, or brought up to date, before the page is served."""

import hashlib
from pathlib import Path
from typing import Final

from demo.keys import gallery_keys
from visim_models.build import BuildReport, build
from visim_models.repo_folder.manifest import SKIPPED

__all__ = ["build_pictures", "default_out"]

_FOLDER: Final = Path(".visim") / "galleries"


def build_pictures(pictures: str, out: Path) -> BuildReport:
    """Build the gallery of pictures, or bring it up to date, and print what was done.

    Args:
        pictures: a folder, a zip or hf://datasets/namespace/name.
        out: folder of the gallery; a build that was interrupted goes on there.

    Raises:
        VisimError: the pictures or the folder cannot be used.
    """
    report = build(pictures, out, remove_missing=True)
    counts = {
        "added": len(report.added),
        "embedded again": len(report.changed),
        "renamed": len(report.renamed),
        "removed": len(report.removed),
    }
    made = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing changed"
    print(f"{out} is the gallery of {pictures}: {report.pictures:,} pictures ({made}).")
    if report.skipped:
        print(f"{len(report.skipped):,} files were left out: {out / SKIPPED} has the reasons.")
    return report


def default_out(pictures: str) -> Path:
    """Return the folder of the gallery of some pictures, below the current folder: another one for each source.

    Two sources of one name must not share it: the pictures and the descriptions of the first would go.
    """
    source = pictures if "://" in pictures else str(Path(pictures).resolve())
    digest = hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()
    return _FOLDER / f"{gallery_keys([pictures])[0]}-{digest[:8]}"
