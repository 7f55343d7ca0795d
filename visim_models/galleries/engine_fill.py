"""Fill a new collection of an engine from the vectors on disk, and take a sample of the pictures along."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from tqdm import tqdm

from visim_models.errors import DataError, EngineError, VisimError
from visim_models.galleries.built_gallery import label_of
from visim_models.galleries.description import Description
from visim_models.galleries.embedded import EmbeddedPictures
from visim_models.galleries.self_calibration import LARGEST_CALIBRATION, evenly_spaced
from visim_models.galleries.skipped import Skipped
from visim_models.galleries.vectors import VectorFolder
from visim_models.gallery import Gallery
from visim_models.search.engine import EngineAddress, IndexSettings
from visim_models.search.milvus import MilvusIndex
from visim_models.search.milvus_client import MilvusConnection

__all__ = ["Filled", "check_reachable", "fill", "new_index"]

_SECONDS_A_SEARCH: Final = 60.0
"""Nobody waits for the searches of a build, which are of many pictures at once."""


@dataclass(frozen=True)
class Filled:
    """What went into a collection.

    Attributes:
        file_names: of the pictures, sorted.
        sample: at most `LARGEST_CALIBRATION` of them, evenly spaced by name.
        skipped: files that were left out.
    """

    file_names: Sequence[str]
    sample: EmbeddedPictures
    skipped: Sequence[Skipped]


def check_reachable(address: EngineAddress) -> None:
    """Check that an engine answers, before hours are spent on embeddings for it.

    Raises:
        EngineError: it cannot be reached, or refuses the token.
    """
    connection = MilvusConnection(address)
    connection.call("list_collections")
    connection.close()


@contextmanager
def new_index(address: EngineAddress, settings: IndexSettings) -> Iterator[MilvusIndex]:
    """Make a new collection; where the block fails, it is dropped.

    Raises:
        EngineError: the engine cannot be reached, or refuses it.
    """
    index = MilvusIndex.create(
        address,
        settings.collection,
        width=settings.width,
        kind=settings.kind,
        parameters=settings.parameters,
        timeout=_SECONDS_A_SEARCH,
    )
    try:
        yield index
    except BaseException:
        with suppress(VisimError):
            index.drop()
        raise
    finally:
        index.close()


def fill(
    index: MilvusIndex,
    vectors: VectorFolder,
    fingerprints: Mapping[str, str],
    description: Description,
    *,
    progress: bool = False,
) -> Filled:
    """Add all pictures to an empty index.

    Args:
        index: of a new collection.
        vectors: has all files.
        fingerprints: file name -> fingerprint, of all files.
        description: labels and further columns.
        progress: show a progress bar.

    Raises:
        DataError: none of the files is a picture.
        EngineError: the engine cannot be reached, refuses, or has another number of pictures than it was given.
    """
    names = sorted(fingerprints)
    chosen = {names[number] for number in evenly_spaced(len(names), LARGEST_CALIBRATION)}
    added: list[str] = []
    sample: list[EmbeddedPictures] = []
    skipped: list[Skipped] = []
    with tqdm(total=len(names), desc="indexing", unit="picture", disable=not progress) as bar:
        for part in vectors.read(fingerprints):
            skipped += part.skipped
            if part.pictures:
                index.add(part.pictures.embeddings.numpy(), _described(part.pictures, description).texts)
                added += part.pictures.file_names
                wanted = [number for number, name in enumerate(part.pictures.file_names) if name in chosen]
                sample += [part.pictures.subset(wanted)] if wanted else []
            bar.update(len(part.file_names))
    if not sample:
        raise DataError(
            f"None of the {len(names):,} files is a picture: {skipped[0].reason if skipped else 'no files'}"
        )
    if len(index) != len(added):
        raise EngineError(
            f"The engine has {len(index):,} pictures, but was given {len(added):,}: the same command tries again."
        )
    pictures = EmbeddedPictures.concatenate(sample)
    order = sorted(range(len(pictures)), key=pictures.file_names.__getitem__)
    return Filled(sorted(added), pictures.subset(order), sorted(skipped))


def _described(pictures: EmbeddedPictures, description: Description) -> Gallery:
    """Return pictures as a gallery in memory, with their labels and further columns."""
    gallery = Gallery(pictures.file_names, [label_of(name) for name in pictures.file_names], pictures.embeddings)
    description.apply(gallery)
    return gallery
