"""The pictures that a gallery is built from: opened, listed and hashed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tqdm import tqdm

from visim_models.errors import DataError, ImageHostError, VisimError
from visim_models.galleries.skipped import Skipped
from visim_models.images.decode_ahead import decode_ahead
from visim_models.sources.store import ImageStore

__all__ = [
    "checked_root",
    "hash_pictures",
    "image_root_of",
    "list_pictures",
    "local_inputs",
    "open_store",
    "unreadable_in",
]

_SECONDS_A_FILE: Final = 30.0
_FILES_AT_ONCE: Final = 64


def local_inputs(*pictures: str | os.PathLike[str] | None) -> list[Path]:
    """Return those of some sources of pictures that are on this machine: an output must not be in or around them."""
    return [Path(source) for source in pictures if source is not None and "://" not in os.fspath(source)]


def open_store(pictures: str | os.PathLike[str]) -> ImageStore:
    """Open a source of pictures that the person who builds the gallery has named.

    Raises:
        ImageSourceError: it is neither a folder, a zip, a list of addresses nor an address, or cannot be opened.
    """
    return ImageStore(pictures, trusted=True, timeout=_SECONDS_A_FILE)


def image_root_of(store: ImageStore) -> str:
    """Return the image root under which others on this machine find the pictures of a store.

    Raises:
        DataError: no gallery can store it.
    """
    root = store.location
    try:
        root.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"The path {root!a} is not UTF-8: rename the folder, or name an --image-root.") from error
    return root


def checked_root(image_root: str) -> str:
    """Return an image root as a gallery can store it; that of a path is found from every folder.

    Raises:
        DataError: it is not UTF-8.
        ImageSourceError: it is neither a folder, a zip, a list of addresses nor an address.
    """
    return image_root_of(open_store(image_root)) if image_root else ""


def list_pictures(store: ImageStore) -> list[str]:
    """List the picture files of a store; those that could not be listed are then in `unreadable_in`.

    Raises:
        DataError: it has none.
        ImageSourceError: it cannot be listed.
    """
    names = store.list()
    if not names:
        reasons = [f"{item.file_name}: {item.reason}" for item in unreadable_in(store)[:1]]
        raise DataError(
            f"{store.root} has no picture files that can be read{f' ({reasons[0]})' if reasons else ''}: their names "
            "must end in .jpg, .jpeg, .png, .webp, .avif, .bmp, .gif, .tif or .tiff.",
            path=store.root,
        )
    return names


def unreadable_in(store: ImageStore) -> list[Skipped]:
    """Return the files and folders that the last listing of a store left out."""
    return [Skipped(name, reason) for name, reason in sorted(store.unreadable.items())]


def hash_pictures(
    store: ImageStore, file_names: Sequence[str], *, progress: bool = False
) -> tuple[dict[str, str], list[Skipped]]:
    """Hash the content of pictures.

    Returns:
        found: file name -> SHA-256, in hexadecimal.
        skipped: files that cannot be read.

    Raises:
        ImageHostError: the host of the pictures does not answer.
    """
    found: dict[str, str] = {}
    skipped = []
    with tqdm(total=len(file_names), desc="comparing", unit="picture", disable=not progress) as bar:
        for batch in decode_ahead(file_names, store.hash, at_once=_FILES_AT_ONCE):
            for name, result in batch:
                if isinstance(result, ImageHostError):
                    raise result
                if isinstance(result, VisimError):
                    skipped.append(Skipped.of_error(name, result))
                else:
                    found[name] = result
            bar.update(len(batch))
    return found, skipped
