"""Look at every picture of a folder, zip or gallery once: its embedding, thumbnail and quality, kept for next time."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from visim_models.cleaning.alignment import SQUARE
from visim_models.cleaning.quality import MEASURES, measure_quality
from visim_models.errors import ImageSourceError, VisimError
from visim_models.galleries.embed import Embedder
from visim_models.galleries.part_store import Part, PartStore
from visim_models.galleries.picture_table import PictureTable, hash_array
from visim_models.galleries.sources import Skipped, image_root_of, open_store, sort_out, unreadable_in
from visim_models.gallery import Gallery
from visim_models.images.decode import decode_image
from visim_models.images.decode_ahead import decode_ahead, pictures_at_once
from visim_models.processing import ImageProcessor
from visim_models.sources.store import ImageStore

__all__ = ["Survey", "local_squares", "survey_pictures", "thumbnail_square"]

_FILES_A_PART: Final = 512
_AT_ONCE: Final = 256
_FORM: Final = "3"
"""Changes when other things are measured: what older versions kept is then not used."""

_Seen: TypeAlias = tuple[npt.NDArray[np.uint8], str, npt.NDArray[np.uint8], dict[str, float]]
"""Pixels, (3, S, S) uint8; the SHA-256 of the file; the thumbnail, (3, 32, 32) uint8; the measures of quality."""


@dataclass(frozen=True)
class Survey:
    """All picture files of a folder, zip or gallery.

    Attributes:
        root: the folder, zip or address that they are in, as a plan names it.
        pictures: those that could be decoded, sorted by name; None where there is none. Its arrays are embeddings,
            sha256, squares, (N, 3, 32, 32) uint8, and those of `quality.MEASURES`.
        broken: the others, with the reasons.
        reused: how many of them were not looked at again.
        put_aside: a line about what programs keep beside pictures and was left out, or "".
    """

    root: str
    pictures: PictureTable | None
    broken: list[Skipped] = field(default_factory=list)
    reused: int = 0
    put_aside: str = ""

    def __len__(self) -> int:
        return len(self.broken) + (len(self.pictures) if self.pictures else 0)


def survey_pictures(
    pictures: str | os.PathLike[str],
    parts: Embedder,
    *,
    gallery: Gallery | None = None,
    kept: Path | None = None,
    cleaned: Sequence[str] = (),
    progress: bool = False,
) -> Survey:
    """Look at every picture file of a folder, a zip or a data set.

    Args:
        pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/namespace/name or s3://bucket/folder.
        parts: the network and the processor.
        gallery: look at its pictures alone, and take their embeddings from it: the network does nothing.
        kept: a folder that keeps what was seen, so that only new and changed files are looked at the next time.
        cleaned: other folders from which files may be moved away. A symbolic link into them, or into this one, is no
            copy of its target: it is not looked at.
        progress: show a progress bar.

    Raises:
        ImageSourceError: the source cannot be listed.
        ImageHostError: its host does not answer.
        RepositoryError: what was seen cannot be kept.
    """
    store = open_store(pictures)
    root = image_root_of(store)
    listed = store.list() if gallery is None else gallery.file_names
    links = _links_into(root, listed, [root, *cleaned])
    names = [name for name in listed if name not in links]
    fingerprints = {name: _fingerprint(store, name) for name in names}
    made_by = {"form": _FORM, "root": root, "weights": parts.weights_sha256, "processor": parts.processor_sha256}
    work = PartStore(kept, made_by) if kept else None
    known = work.finished(fingerprints) if work else set()
    done = [part.restricted(known) for part in work.read(fingerprints)] if work else []
    broken = unreadable_in(store) if gallery is None else []
    broken += [
        Skipped(name, "a symbolic link to another of the pictures: it is not compared") for name in sorted(links)
    ]
    bar = tqdm(total=len(names), initial=len(known), desc="looking", unit="picture", disable=not progress or not names)
    with bar:
        for part in _in_parts(store, [name for name in names if name not in known], parts, gallery):
            done.append(part)
            if work:
                work.keep(part, fingerprints)
            bar.update(len(part.file_names))
    found = Part.joined(done)
    return Survey(
        root, found.pictures and found.pictures.in_order(), [*broken, *found.skipped], len(known), store.left_out
    )


def local_squares(gallery: Gallery, *, progress: bool = False) -> npt.NDArray[np.uint8] | None:
    """Return the thumbnails of a gallery's pictures; None where they are not in a folder or zip on this machine.

    Nothing is fetched. A file that is missing gets a black thumbnail, which is like no other.

    Args:
        gallery: N pictures.
        progress: show a progress bar.

    Returns:
        (N, 3, 32, 32) uint8, or None.
    """
    if not gallery.image_root or "://" in gallery.image_root:
        return None
    try:
        store = ImageStore(gallery.image_root)
        if store.is_remote:  # a list of addresses
            return None
        store.read(gallery.file_names[0])
    except ImageSourceError:
        return None

    def decode(name: str) -> npt.NDArray[np.uint8]:
        return thumbnail_square(store.decode(name))

    found = []
    black = np.zeros((3, SQUARE, SQUARE), np.uint8)
    with tqdm(total=len(gallery), desc="looking", unit="picture", disable=not progress) as bar:
        for batch in decode_ahead(gallery.file_names, decode, at_once=_AT_ONCE):
            found += [black if isinstance(result, VisimError) else result for _, result in batch]
            bar.update(len(batch))
    return np.stack(found)


def thumbnail_square(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Reduce an RGB picture to (3, 32, 32) uint8, its sides scaled apart."""
    small = np.array(image.resize((SQUARE, SQUARE), Image.Resampling.BOX, reducing_gap=8.0))  # (32, 32, 3)
    return np.ascontiguousarray(small.transpose(2, 0, 1))


def _links_into(root: str, names: Sequence[str], folders: Sequence[str]) -> set[str]:
    """Return the names under a root that are symbolic links to files in some folders."""
    if not Path(root).is_dir():
        return set()
    inside = [Path(folder).resolve() for folder in folders]
    found = {name for name in names if Path(root, name).is_symlink()}
    return {name for name in found if any(Path(root, name).resolve().is_relative_to(folder) for folder in inside)}


def _fingerprint(store: ImageStore, name: str) -> str:
    try:
        return store.fingerprint(name)
    except VisimError:
        return ""


def _in_parts(store: ImageStore, names: Sequence[str], parts: Embedder, gallery: Gallery | None) -> Iterator[Part]:
    """Look at files, in groups that are worth keeping."""
    look = partial(_look, store=store, processor=parts.processor)
    batches = decode_ahead(names, look, at_once=pictures_at_once(parts.processor.size))
    group: list[Part] = []
    for part in parts.network.map_batches(partial(_embed, parts=parts, gallery=gallery), batches):
        group.append(part)
        if sum(len(each.file_names) for each in group) >= _FILES_A_PART:
            yield Part.joined(group)
            group = []
    if group:
        yield Part.joined(group)


def _look(name: str, *, store: ImageStore, processor: ImageProcessor) -> _Seen:
    content = store.read(name)
    image = decode_image(content, max_pixels=store.max_pixels)
    sha256 = hashlib.sha256(content).hexdigest()
    return processor.resize(image), sha256, thumbnail_square(image), measure_quality(image, content)


def _embed(batch: list[tuple[str, _Seen | VisimError]], parts: Embedder, gallery: Gallery | None) -> Part:
    found, skipped = sort_out(batch)
    if not found:
        return Part(None, skipped)
    squares, hashes, thumbnails, measures = zip(*found.values(), strict=True)
    if gallery is None:
        pixels = parts.processor.normalize(np.stack(squares))  # (N, 3, S, S)
        embeddings = parts.network.embed(pixels).astype(np.float16).astype(np.float32)  # (N, D)
    else:
        embeddings = gallery.embeddings[[gallery.index_of(name) for name in found]]  # (N, D)
    arrays: dict[str, npt.NDArray[Any]] = {
        "embeddings": embeddings,
        "sha256": hash_array(hashes),  # (N, 32)
        "squares": np.stack(thumbnails),  # (N, 3, 32, 32)
        **{name: np.array([each[name] for each in measures], kind) for name, kind in MEASURES.items()},  # (N,) each
    }
    return Part(PictureTable(list(found), arrays), skipped)
