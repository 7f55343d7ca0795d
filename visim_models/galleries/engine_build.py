"""Build a gallery in an engine: pictures -> vectors on disk -> a new collection -> calibration -> repo folder.

The pictures are never all in memory. The repo folder keeps a sample of them, on which the calibration rests and which
pages show as examples; the engine has them all.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from visim_models.errors import ImageSourceError
from visim_models.galleries.built_gallery import label_of, write_check
from visim_models.galleries.card import card_text
from visim_models.galleries.changes import Changes
from visim_models.galleries.description import Description
from visim_models.galleries.embedded import EmbeddedPictures
from visim_models.galleries.engine_calibration import measured_in
from visim_models.galleries.engine_fill import check_reachable, fill, new_index
from visim_models.galleries.model_parts import ModelParts
from visim_models.galleries.new_gallery import DEFAULT_MODEL
from visim_models.galleries.report import BuildReport
from visim_models.galleries.runners import EmbeddingJob, embed_parts
from visim_models.galleries.skipped import write_skipped
from visim_models.galleries.sources import (
    checked_root,
    image_root_of,
    list_pictures,
    local_inputs,
    open_store,
    unreadable_in,
)
from visim_models.galleries.vectors import VectorFolder
from visim_models.galleries.verdict_check import check_verdict
from visim_models.gallery import Gallery, GalleryAbout
from visim_models.pipeline import VisualSimilarity
from visim_models.repo_folder import RepoFolder, check_output, drafting, is_repo, version_of
from visim_models.repo_folder.manifest import EMBEDDINGS, MEASUREMENTS
from visim_models.search.engine import EngineAddress, IndexSettings, collection_name, is_name_of
from visim_models.search.engine_index import EngineIndex
from visim_models.sources.store import ImageStore

__all__ = ["EngineOptions", "build_in_engine"]


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


def build_in_engine(
    pictures: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: EngineOptions,
    *,
    model: str | None = None,
    image_root: str | None = None,
    description: Description | None = None,
    progress: bool = True,
) -> BuildReport:
    """Write a repo folder whose gallery is in an engine; the gallery then has exactly these pictures.

    Embeddings are kept: a killed build goes on where it stopped, and only new and changed files are embedded. The index
    is made again in a new collection, which takes the old one's place when it is whole.

    Args:
        pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/namespace/name or s3://bucket/folder.
            The folder path of each picture is its label.
        out: the repo folder: new, empty, or one with a gallery of the same network.
        options: the engine and the runner.
        model: the repo of the network; by default that of `out`, if it has a gallery, else "general-extractor".
        image_root: where the pictures can be fetched from later; by default `pictures`.
        description: labels, further columns and how the gallery describes itself.
        progress: show progress bars.

    Raises:
        EngineError: the engine cannot be reached, or refuses; what it had is unchanged.
        OutputError: files could be lost in `out` or in the folder of the vectors, or another build is at work in it.
        DataError: there are no two pictures that are not near-duplicates.
        VisimError: the repo, the pictures or the output cannot be used.
    """
    target = check_output(out, inputs=local_inputs(pictures))
    description = Description() if description is None else description
    description.check(about=_about(target))
    check_reachable(options.address)
    version = version_of(target)
    has_gallery = is_repo(target) and RepoFolder(target).has(EMBEDDINGS)
    source = model or (str(target) if has_gallery else DEFAULT_MODEL)
    parts = ModelParts.load(source)
    if is_repo(target):
        parts.check_same(RepoFolder(target))
    store = open_store(pictures)
    root = image_root_of(store) if image_root is None else checked_root(image_root)
    folder = options.vectors or target.with_name(f"{target.name}-vectors")
    vectors = VectorFolder(folder, parts, inputs=[*local_inputs(pictures), target])
    with vectors.locked():
        fingerprints = {name: _fingerprint(store, name) for name in list_pictures(store)}
        job = EmbeddingJob(os.fspath(pictures), source, parts.weights_sha256)
        settings = _settings(target, parts, options)  # a wrong one is told before hours are spent
        fresh = _embed(job, parts, fingerprints, vectors, options.runner, progress=progress)
        with new_index(options.address, settings) as index:
            filled = fill(index, vectors, fingerprints, description, progress=progress)
            skipped = [*unreadable_in(store), *filled.skipped]
            engine = EngineIndex(replace(settings, pictures=len(index)), index)
            gallery = _gallery(filled.sample, parts, root, engine, about=_about(target))
            notes = description.apply(gallery)
            measured = measured_in(index, filled.sample, vectors, progress=progress)
            detector = parts.detector.calibrated(parts.detector.score(measured.values, measured.embeddings.numpy()))
            similarity = VisualSimilarity(parts.network, parts.processor, gallery, detector)
            check = check_verdict(similarity, progress=progress)
            with drafting(target, inputs=local_inputs(pictures), version=version) as draft:
                for part in (parts, gallery, detector):
                    part.write_files(draft)
                draft.drop(MEASUREMENTS)
                write_check(draft, check, parts.weights_sha256)
                write_skipped(draft, skipped)
                draft.write_card(card_text(gallery, detector, parts.network, check))
                index.publish(settings.collection)  # last: a search sees the new pictures when all else went well
    return BuildReport.of_gallery(
        gallery,
        detector,
        repo=target,
        changes=Changes(added=sorted({*fresh}.intersection(filled.file_names))),
        skipped=skipped,
        notes=notes,
        check=check,
    )


def _embed(
    job: EmbeddingJob,
    parts: ModelParts,
    fingerprints: Mapping[str, str],
    vectors: VectorFolder,
    runner: str | None,
    *,
    progress: bool,
) -> list[str]:
    """Embed the files that no part has yet, and keep each part as soon as it is done; return their names."""
    known = vectors.finished(fingerprints)
    if known and progress:
        tqdm.write(f"going on: {len(known):,} of {len(fingerprints):,} files were done before", file=sys.stderr)
    waiting = sorted(fingerprints.keys() - known)
    with tqdm(
        total=len(fingerprints), initial=len(known), desc="embedding", unit="picture", disable=not progress
    ) as bar:
        for count, content in embed_parts(job, parts, waiting, fingerprints, runner=runner):
            vectors.keep(content)
            bar.update(count)
    return waiting


def _fingerprint(store: ImageStore, file_name: str) -> str:
    try:
        return store.fingerprint(file_name)
    except ImageSourceError:
        return ""


def _settings(target: Path, parts: ModelParts, options: EngineOptions) -> IndexSettings:
    """Return the settings of the next index: under the old one's name where the gallery has one."""
    of = (target.name, parts.weights_sha256, parts.processor_sha256)
    old = IndexSettings.load(RepoFolder(target)) if is_repo(target) else None
    if old and not is_name_of(old.collection, *of):  # a copy of a gallery that needs its index
        old = None
    return IndexSettings(
        collection=old.collection if old else collection_name(*of),
        kind=options.kind,
        parameters=options.parameters,
        pictures=1,  # until it is filled
        width=parts.network.embedding_dim,
    )


def _about(target: Path) -> GalleryAbout:
    return GalleryAbout.load(RepoFolder(target)) if is_repo(target) else GalleryAbout()


def _gallery(
    sample: EmbeddedPictures, parts: ModelParts, root: str, engine: EngineIndex, *, about: GalleryAbout
) -> Gallery:
    return Gallery(
        sample.file_names,
        [label_of(name) for name in sample.file_names],
        sample.embeddings,
        weights_sha256=parts.weights_sha256,
        processor_sha256=parts.processor_sha256,
        image_root=root,
        about=about,
        engine=engine,
    )
