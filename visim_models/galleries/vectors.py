"""Galleries by their vectors: those that an owner brings, those for other programs, and a build into an engine.

A table of vectors is Parquet or Lance with the columns

    file_name   string
    label       string; may be missing
    ...         further columns of text or numbers
    embedding   lists of D floats

A NumPy file (.npy) has an (N, D) array of floats; the names come from the metadata, a record for each row, in order.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from visim_models.errors import DataError, EngineError, MissingExtraError, OutputError, VisimError, WeightsError
from visim_models.galleries.built_gallery import BuildReport, BuildSteps, BuiltGallery
from visim_models.galleries.calibration import (
    LARGEST_CALIBRATION,
    distance_detector,
    evenly_spaced,
    leave_one_out,
    leave_one_out_in,
    match_probability,
)
from visim_models.galleries.description import Description, MetadataTable
from visim_models.galleries.embed import Embedder, embed_missing
from visim_models.galleries.part_store import PartStore
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.sources import Changes, Skipped, checked_root, label_of, list_pictures, unreadable_in
from visim_models.gallery import Gallery, GalleryAbout
from visim_models.models.loading import OwnVectors
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder, check_apart, check_output, drafting, is_repo, version_of
from visim_models.repo_folder.formats import one_line
from visim_models.repo_folder.manifest import CONFIG, OWN_VECTORS, PROCESSOR, WEIGHTS
from visim_models.search.engine import EngineAddress, IndexSettings, MilvusConnection, collection_name, is_name_of
from visim_models.search.milvus import EngineIndex, MilvusIndex
from visim_models.sources.store import ImageStore

__all__ = [
    "FORMS",
    "EngineOptions",
    "about_of",
    "build_in_engine",
    "build_of_vectors",
    "check_reachable",
    "export_gallery",
]

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


FORMS: Final = ("parquet", "lance")
_NAME: Final = "file_name"
_VECTOR: Final = "embedding"


@dataclass(frozen=True)
class _Vectors:
    """N vectors of a file, with what it says of each picture."""

    file_names: list[str]
    matrix: npt.NDArray[np.float32]
    labels: list[str] | None
    columns: dict[str, list[str]]


def build_of_vectors(
    vectors: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    image_root: str | None = None,
    description: Description | None = None,
    progress: bool = True,
) -> BuildReport:
    """Write a repo folder with a gallery of own vectors, which replaces one of own vectors of the same length.

    It is searched by its own pictures and cleaned; an upload cannot be embedded, for there is no network.

    Args:
        vectors: a Parquet or NumPy file.
        out: the repo folder: new, empty, or one with a gallery of own vectors.
        image_root: where the pictures can be fetched from, if anywhere.
        description: labels, further columns and how the gallery describes itself; with NumPy, its table has the names.
        progress: show a progress bar.

    Raises:
        DataError: the vectors cannot be used, or there are no two different ones.
        OutputError: files could be lost in `out`, or it is a repo of another network.
        GalleryError: a file name or a vector cannot be stored.

    Example:
        >>> build_of_vectors("clip.npy", "my-gallery", description=Description(metadata=MetadataTable.read("t.csv")))
    """
    path, description = Path(vectors), Description() if description is None else description
    target = check_output(out, inputs=[path])
    version = version_of(target)
    description.check()
    found = _read(path, description.metadata)
    network = OwnVectors(found.matrix.shape[1])
    if is_repo(target):
        _check_same(RepoFolder(target), network)
    gallery = Gallery(
        found.file_names,
        [label_of(name) for name in found.file_names] if found.labels is None else found.labels,
        found.matrix,
        columns=found.columns,
        image_root=checked_root(image_root) if image_root else "",
    )
    notes = [*description.apply(gallery), "There is no network: search it with file names of its own pictures."]
    pictures = PictureTable(gallery.file_names, {"embeddings": gallery.embeddings})
    measured = leave_one_out(pictures, labels=gallery.labels, progress=progress)
    with drafting(target, inputs=[path], version=version) as draft:
        network.write_files(draft)
        processor = ImageProcessor(size=network.image_size)
        processor.write_files(draft)
        gallery.weights_sha256, gallery.processor_sha256 = draft.sha256(WEIGHTS), draft.sha256(PROCESSOR)
        embedder = Embedder(
            repo=RepoFolder(target),
            source=str(target),
            network=network,
            processor=processor,
            backend="",
            weights_sha256=gallery.weights_sha256,
            processor_sha256=gallery.processor_sha256,
        )
        built = BuiltGallery(
            embedder=embedder,
            gallery=gallery,
            detector=distance_detector(measured),
            match_probability=match_probability(measured),
            pictures=None,
            skipped=(),
            notes=notes,
        )
        built.write_files(draft)
    return built.report(target, Changes(added=gallery.file_names))


def export_gallery(gallery: Gallery, out: str | os.PathLike[str], *, form: str) -> Path:
    """Write file names, labels, further columns and vectors of a gallery as a table for other programs.

    Args:
        gallery: its pictures; all of them, where it is in an engine.
        out: the file (Parquet) or folder (Lance); there is none yet.
        form: "parquet" or "lance".

    Raises:
        OutputError: `out` is there already, or cannot be written.
        MissingExtraError: pyarrow, or Lance, is not installed.

    Example:
        >>> export_gallery(Gallery.from_pretrained("my-gallery"), "my-gallery.parquet", form="parquet")
    """
    path = Path(out)
    if os.path.lexists(path):
        raise OutputError(f"{path} is there already, and stays: choose another name.", path=path)
    arrow, whole = _arrow("An export"), gallery.whole()
    vectors = arrow.FixedSizeListArray.from_arrays(whole.embeddings.ravel(), whole.embeddings.shape[1])
    table = arrow.table({_NAME: whole.file_names, "label": whole.labels, **whole.columns, _VECTOR: vectors})
    try:
        if form == "lance":
            _lance().write_dataset(table, str(path), mode="create")
        else:
            import pyarrow.parquet

            pyarrow.parquet.write_table(table, path, compression="zstd")
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({one_line(error)}).", path=path) from error
    return path


def _read(path: Path, table: MetadataTable | None) -> _Vectors:
    """Read a file of vectors.

    Raises:
        DataError: it cannot be used.
    """
    if not path.exists():
        raise DataError(f"There is no file {path}.", path=path)
    found = _read_numpy(path, table) if path.suffix.lower() == ".npy" else _read_table(path)
    if not np.isfinite(found.matrix).all():
        raise DataError(f"{path} has values that are not finite: leave these vectors out.", path=path)
    with np.errstate(over="ignore"):
        rounded = found.matrix.astype(np.float16).astype(np.float32)  # as the gallery stores them
    if not np.isfinite(rounded).all():
        raise WeightsError(f"{path} has values beyond float16, which no gallery can store: scale the vectors.")
    return _Vectors(found.file_names, rounded, found.labels, found.columns)


def _read_numpy(path: Path, table: MetadataTable | None) -> _Vectors:
    try:
        matrix = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not an array of numbers of NumPy ({one_line(error)}).", path=path) from error
    if matrix.ndim != 2 or matrix.dtype.kind != "f" or 0 in matrix.shape:
        raise DataError(f"{path} must hold floats of shape (N, D), but has {matrix.shape} {matrix.dtype}.", path=path)
    if table is None:
        raise DataError(f"{path} has no file names: give --metadata, a table with a record for each row.", path=path)
    if len(table.rows) != len(matrix):
        raise DataError(
            f"{path} has {len(matrix):,} rows, and {table.path} {len(table.rows):,} records: they must be of one "
            "length, in one order.",
            path=path,
        )
    return _Vectors(list(table.rows), np.asarray(matrix, np.float32), None, {})


def _read_table(path: Path) -> _Vectors:
    arrow = _arrow("A table of vectors")
    import pyarrow.parquet

    try:
        table = _lance().dataset(str(path)).to_table() if path.is_dir() else pyarrow.parquet.read_table(path)
    except (OSError, ValueError, arrow.ArrowInvalid) as error:
        raise DataError(f"{path} is neither Parquet nor Lance ({one_line(error)}).", path=path) from error
    if missing := {_NAME, _VECTOR} - set(table.column_names):
        raise DataError(f"{path} lacks the column {sorted(missing)[0]}: it has {table.column_names}.", path=path)
    lists = table[_VECTOR].combine_chunks()
    if not hasattr(lists, "flatten") or lists.null_count:
        raise DataError(f"{path}: {_VECTOR} must be a list of floats in every row.", path=path, key=_VECTOR)
    numbers = lists.flatten()
    if not len(lists) or not arrow.types.is_floating(numbers.type) or len(numbers) % len(lists):
        raise DataError(f"{path}: {_VECTOR} must be lists of floats, all of one length.", path=path, key=_VECTOR)
    matrix = numbers.to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(lists), -1)  # (N, D)
    if set(arrow.compute.list_value_length(lists).unique().to_pylist()) != {matrix.shape[1]}:
        raise DataError(f"{path}: {_VECTOR} must be lists of floats, all of one length.", path=path, key=_VECTOR)
    texts = {
        name: ["" if value is None else str(value) for value in table[name].to_pylist()]
        for name in table.column_names
        if name != _VECTOR
    }
    return _Vectors(texts.pop(_NAME), matrix, texts.pop("label", None), texts)


def _check_same(repo: RepoFolder, network: OwnVectors) -> None:
    """Refuse an output that is a repo of a network, or of vectors of another length."""
    values = repo.json(CONFIG)
    if values != {"model_type": OWN_VECTORS, **network.config}:
        raise OutputError(
            f"{repo.path} is a repo of {values.get('model_type')}, not of own vectors of {network.embedding_dim} "
            "numbers: nothing was changed. Choose a new folder.",
            path=repo.path,
        )


def _arrow(purpose: str) -> Any:
    try:
        import pyarrow.compute
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="milvus", purpose=purpose) from error
    return pyarrow


def _lance() -> Any:
    try:
        import lance
    except ImportError as error:
        raise MissingExtraError("pylance", extra="lance", purpose="Lance") from error
    return lance
