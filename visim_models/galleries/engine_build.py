"""Build a gallery in an engine: parts on disk, then a new collection that is filled from them, and a sample of it.

The pictures are never all in memory. The repo folder has the sample, on which the calibration rests and which pages
show as examples.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tqdm import tqdm

from visim_models.errors import DataError, EngineError, VisimError
from visim_models.galleries.built_gallery import BuildReport, BuildSteps
from visim_models.galleries.calibration import LARGEST_CALIBRATION, evenly_spaced, leave_one_out_in
from visim_models.galleries.embed import Embedder, embed_missing
from visim_models.galleries.part_store import PartStore
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.sources import Changes, Skipped, label_of, list_pictures, unreadable_in
from visim_models.gallery import GalleryAbout
from visim_models.repo_folder import RepoFolder, check_apart, is_repo
from visim_models.search.engine import EngineAddress, IndexSettings, MilvusConnection, collection_name, is_name_of
from visim_models.search.milvus import EngineIndex, MilvusIndex
from visim_models.sources.store import ImageStore

__all__ = ["EngineOptions", "about_of", "build_in_engine", "check_reachable"]

_SECONDS_A_SEARCH: Final = 60.0
"""Nobody waits for the searches of a build, which are of many pictures at once."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How a gallery in an engine is built.

    Attributes:
        address: where the engine is.
        kind: of the index: "FLAT", which is exact, "HNSW" or "DISKANN".
        parameters: of that kind.
        runner: what embeds: None for this process, "native" for processes of this machine, "ray://HOST:PORT".
        vectors: folder for the embeddings; by default beside the repo folder, with "-vectors" after its name.
    """

    address: EngineAddress
    kind: str = "FLAT"
    parameters: Mapping[str, int] = field(default_factory=dict)
    runner: str | None = None
    vectors: Path | None = None


def build_in_engine(job: BuildSteps, store: ImageStore, target: Path, engine: EngineOptions) -> BuildReport:
    """Embed what the Parquet folder lacks, fill a new collection from it, and write the repo folder of a sample."""
    folder = engine.vectors or target.with_name(f"{target.name}-vectors")
    apart = check_apart(folder, inputs=[*job.inputs, target])
    vectors = PartStore(apart, job.embedder.made_by, form="parquet")
    with vectors.locked():
        names = list_pictures(store)
        settings = _index_settings(target, job.embedder, engine)  # a wrong one is told before hours are spent
        fingerprints, looked_at = embed_missing(
            store, names, job.embedder, vectors, runner=engine.runner, progress=job.progress
        )
        with _new_index(engine.address, settings) as index:
            added, sample, skipped = _fill(index, vectors, fingerprints, job, store.labels)
            labels = [label_of(name, store.labels) for name in sample.file_names]
            searched = EngineIndex(replace(settings, pictures=len(index)), index)
            gallery, notes = job.described(sample, labels, about=about_of(target), engine=searched)
            measured = leave_one_out_in(index, sample, vectors.thumbnails, labels=gallery.labels, progress=job.progress)
            left_out = [*unreadable_in(store), *skipped]
            built = job.judged(gallery, measured, pictures=None, skipped=left_out, notes=notes)
            with job.writing(built):
                index.publish(settings.collection)  # last: a search sees the new pictures when all else went well
    changes = Changes(added=sorted({*looked_at}.intersection(added)))
    return replace(built.report(target, changes), put_aside=store.left_out)


def about_of(target: Path) -> GalleryAbout:
    """Return how the gallery in a folder describes itself; the usual way where there is none."""
    return GalleryAbout.load(RepoFolder(target)) if is_repo(target) else GalleryAbout()


def check_reachable(address: EngineAddress) -> None:
    """Check that an engine answers, by an EngineError, before hours are spent on embeddings for it."""
    connection = MilvusConnection(address)
    connection.call("list_collections")
    connection.close()


def _index_settings(target: Path, embedder: Embedder, options: EngineOptions) -> IndexSettings:
    """Return the settings of the next index: under the old one's name where the gallery in `target` has one."""
    of = (target.name, embedder.weights_sha256, embedder.processor_sha256)
    old = IndexSettings.load(RepoFolder(target)) if is_repo(target) else None
    if old and not is_name_of(old.collection, *of):  # a copy of a gallery that needs its index
        old = None
    return IndexSettings(
        collection=old.collection if old else collection_name(*of),
        kind=options.kind,
        parameters=options.parameters,
        pictures=1,  # until it is filled
        width=embedder.network.embedding_dim,
    )


@contextmanager
def _new_index(address: EngineAddress, settings: IndexSettings) -> Iterator[MilvusIndex]:
    """Make a new collection; where the block fails, it is dropped."""
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


def _fill(
    index: MilvusIndex, vectors: PartStore, fingerprints: Mapping[str, str], job: BuildSteps, stated: Mapping[str, str]
) -> tuple[list[str], PictureTable, list[Skipped]]:
    """Add all pictures of the parts to an empty index; `stated` are labels by file name.

    Returns:
        added: the names of the pictures.
        sample: at most `LARGEST_CALIBRATION` of them, evenly spaced by name.
        skipped: files that were left out.
    """
    names = sorted(fingerprints)
    chosen = {names[number] for number in evenly_spaced(len(names), LARGEST_CALIBRATION).tolist()}
    added: list[str] = []
    sample: list[PictureTable] = []
    skipped: list[Skipped] = []
    with tqdm(total=len(names), desc="indexing", unit="picture", disable=not job.progress) as bar:
        for part in vectors.read(fingerprints):
            skipped += part.skipped
            if found := part.pictures:
                gallery, _ = job.described(found, [label_of(name, stated) for name in found.file_names])
                index.add(found["embeddings"], gallery.texts)
                added += found.file_names
                wanted = [number for number, name in enumerate(found.file_names) if name in chosen]
                sample += [found.subset(wanted)] if wanted else []
            bar.update(len(part.file_names))
    if not sample:
        why = skipped[0].reason if skipped else "no files"
        raise DataError(f"None of the {len(names):,} files is a picture: {why}")
    if len(index) != len(added):
        raise EngineError(
            f"The engine has {len(index):,} pictures, but was given {len(added):,}: the same command tries again."
        )
    return added, PictureTable.concatenate(sample).in_order(), sorted(skipped)
