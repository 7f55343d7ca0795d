"""The pictures of a gallery as a data set of the Hub, in imagefolder form: the files, and metadata.csv beside them."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from huggingface_hub import DatasetCardData
from tqdm import tqdm

from visim_models.errors import DataError, VisimError
from visim_models.galleries.picture_table import PictureTable
from visim_models.gallery import Gallery
from visim_models.images.decode_ahead import decode_ahead
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.card import escaped, mark_card
from visim_models.repo_folder.formats import listed
from visim_models.repo_folder.manifest import CARD, MEASUREMENTS, METADATA
from visim_models.sources.file_names import is_picture_name
from visim_models.sources.store import ImageStore

__all__ = ["LISTING", "stage_pictures"]

LISTING: Final = ".visim-files.txt"
"""File of the data set that lists those that visim published in it; the Hub's imagefolder passes over hidden files."""

_TABLE: Final = "metadata.csv"
_TABLE_OF_ANY_TEXT: Final = "metadata.jsonl"
_READ_AS_NOTHING: Final = {
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip
"""Texts of a CSV that `datasets` reads as no value, by pandas: whoever has one as a label gets metadata.jsonl.

Source: https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html, `na_values`.
"""
_FILES_AT_ONCE: Final = 64
_CARD: Final = """\
---
{metadata}
---

# {title}: the pictures

The {count} pictures of the gallery [{gallery_id}](https://huggingface.co/{gallery_id}), under the names that it has for
them. `{table}` has a row for each: file name, label and further columns.

Say here whose pictures these are and how they may be used: visim leaves a card that was edited as it is.
"""


def stage_pictures(
    repo: RepoFolder, gallery: Gallery, pictures: Path, target: Path, *, gallery_id: str, progress: bool = True
) -> None:
    """Write the data set of a gallery's pictures into a new folder.

    Args:
        repo: the gallery's folder.
        gallery: the gallery in it.
        pictures: a folder or a zip that has every picture of the gallery; others in it are left out.
        target: the folder; it gets links to the pictures of a folder, and copies of those in a zip.
        gallery_id: of the gallery on the Hub.
        progress: show a progress bar.

    Raises:
        DataError: a picture is missing, cannot be read, or is not the one that the gallery was built from.
        VisimError: `pictures` cannot be opened.
    """
    if strange := [name for name in gallery.file_names if not is_picture_name(name)]:
        raise DataError(f"The gallery names files that are no pictures ({listed(strange)}): none is published.")
    store = ImageStore(pictures, trusted=True)
    known = PictureTable.load(repo, gallery).sha256 if repo.has(MEASUREMENTS) else {}
    put = partial(_put, store, known, target)
    failed: dict[str, str] = {}
    with tqdm(total=len(gallery), desc="gathering", unit="picture", disable=not progress) as bar:
        for batch in decode_ahead(gallery.file_names, put, at_once=_FILES_AT_ONCE):
            failed |= {name: str(result) for name, result in batch if isinstance(result, VisimError)}
            bar.update(len(batch))
    if failed:
        name, reason = next(iter(failed.items()))
        raise DataError(
            f"{len(failed):,} of the gallery's {len(gallery):,} pictures cannot be published from {pictures} "
            f"({listed(failed)}). {reason} Bring the gallery up to date first: visim build {pictures} --out "
            f"{repo.path} --sync",
            path=pictures,
            key=name,
        )
    table = _write_table(repo, gallery, target)
    card = _CARD.format(
        metadata=_metadata(gallery),
        title=escaped(gallery.about.title) or escaped(gallery_id),
        count=f"{len(gallery):,}",
        gallery_id=gallery_id,
        table=table,
    )
    (target / CARD).write_text(mark_card(card), encoding="utf-8", newline="\n")
    lines = "".join(f"{name}\n" for name in sorted([*gallery.file_names, table]))
    (target / LISTING).write_text(lines, encoding="utf-8", newline="\n")


def _write_table(repo: RepoFolder, gallery: Gallery, target: Path) -> str:
    """Write the table of the pictures in a form that keeps every text; return its name."""
    texts = (text for column in (gallery.labels, *gallery.columns.values()) for text in column)
    if _READ_AS_NOTHING.isdisjoint(texts):
        shutil.copyfile(repo / METADATA, target / _TABLE)
        return _TABLE
    columns = {"file_name": gallery.file_names, "label": gallery.labels, **gallery.columns}
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    (target / _TABLE_OF_ANY_TEXT).write_text(lines, encoding="utf-8", newline="\n")
    return _TABLE_OF_ANY_TEXT


def _metadata(gallery: Gallery) -> str:
    """Return the settings by which `datasets` takes every folder for one split, and every column for text."""
    texts = [{"name": name, "dtype": "string"} for name in ("label", *gallery.columns)]
    everything = {"config_name": "default", "data_files": [{"split": "train", "path": "**"}]}
    configs = [{**everything, "features": [{"name": "image", "dtype": "image"}, *texts]}]
    return DatasetCardData(tags=["visual-similarity", "image-retrieval", "visim"], configs=configs).to_yaml()


def _put(store: ImageStore, known: Mapping[str, str], target: Path, name: str) -> None:
    """Put one picture into the data set: a link to its file where it has one, else its content."""
    content = store.read(name)
    if known.get(name, "") not in ("", hashlib.sha256(content).hexdigest()):
        raise DataError(f"{name} has changed since the gallery was built.", path=name)
    path, source = target / name, Path(store.root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        try:
            path.symlink_to(source.resolve())
        except OSError:  # this system has no links
            path.write_bytes(content)
    else:
        path.write_bytes(content)
