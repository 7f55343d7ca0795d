"""Build a gallery of pictures: in memory, or as a repo folder."""

import os

from visim_models.build.built_gallery import BuiltGallery
from visim_models.build.changes import Changes
from visim_models.build.embed_store import embed_store
from visim_models.build.model_parts import ModelParts
from visim_models.build.report import BuildReport
from visim_models.build.sources import (
    checked_root,
    image_root_of,
    list_pictures,
    local_inputs,
    open_store,
    unreadable_in,
)
from visim_models.build.update import sync
from visim_models.build.work_folder import WorkFolder, keeping_work
from visim_models.errors import DataError
from visim_models.image_store import ImageStore
from visim_models.repo_folder import RepoFolder, check_output, drafting, is_repo, version_of
from visim_models.repo_folder.manifest import EMBEDDINGS

__all__ = ["build", "embed_gallery"]


def build(
    pictures: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | RepoFolder,
    image_root: str | None = None,
    remove_missing: bool = False,
    progress: bool = True,
) -> BuildReport:
    """Write a repo folder with a gallery of pictures, or bring the gallery of a repo folder up to date.

    A gallery that the folder has already gets new pictures, and those whose content has changed are embedded again;
    everything else in it stays. A killed build goes on where it stopped.

    Args:
        pictures: a folder, a zip, or hf://datasets/namespace/name. The folder path of each picture is its label.
        out: the repo folder: new, empty, or one with a gallery of the same network.
        model: the repo of the network: a folder, "namespace/repo", or a short name such as "car-extractor".
        image_root: where the pictures can be fetched from later: a folder, a zip, an https address or
            hf://datasets/namespace/name; by default `pictures`, or the root that the gallery has already.
        remove_missing: remove pictures from an old gallery that `pictures` does not have.
        progress: show progress bars.

    Raises:
        OutputError: files could be lost in `out`, it is of another network, or it has pictures that would have to be
            removed.
        DataError: there are no two pictures that are not near-duplicates.
        VisimError: the repo, the pictures or the output cannot be used; `out` is then unchanged.
    """
    target = check_output(out, inputs=local_inputs(pictures))
    version = version_of(target)
    parts = ModelParts.load(model)
    if is_repo(target):
        existing = RepoFolder(target)
        parts.check_same(existing)
        if existing.has(EMBEDDINGS):
            return sync(existing, pictures, image_root=image_root, remove_missing=remove_missing, progress=progress)
    store = open_store(pictures)
    work = WorkFolder(target, parts, store)
    with keeping_work(work):
        built = _embed_all(store, parts, image_root=image_root, work=work, progress=progress)
        with drafting(target, inputs=local_inputs(pictures), version=version) as draft:
            parts.write_files(draft)
            built.write_files(draft)
    return BuildReport.of_gallery(
        built.gallery,
        built.detector,
        repo=target,
        changes=Changes(added=built.gallery.file_names),
        skipped=built.skipped,
    )


def embed_gallery(
    pictures: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | RepoFolder,
    image_root: str | None = None,
    progress: bool = True,
) -> BuiltGallery:
    """Build a gallery of pictures in memory.

    Args:
        pictures: a folder, a zip, or hf://datasets/namespace/name. The folder path of each picture is its label.
        model: the repo of the network: a folder, "namespace/repo", or a short name such as "car-extractor".
        image_root: where the pictures can be fetched from later; by default `pictures`.
        progress: show progress bars.

    Raises:
        DataError: there are no two pictures that are not near-duplicates.
        VisimError: the repo or the pictures cannot be used.
    """
    return _embed_all(open_store(pictures), ModelParts.load(model), image_root=image_root, progress=progress)


def _embed_all(
    store: ImageStore,
    parts: ModelParts,
    *,
    image_root: str | None,
    work: WorkFolder | None = None,
    progress: bool,
) -> BuiltGallery:
    root = image_root_of(store) if image_root is None else checked_root(image_root)
    names = list_pictures(store)
    if len(names) == 1:
        raise DataError(f"{store.root} has one picture file, {names[0]!r}: a gallery needs at least two.")
    pictures, skipped = embed_store(store, names, parts, work=work, progress=progress)
    if pictures is None:
        raise DataError(f"None of the {len(names):,} files in {store.root} is a picture: {skipped[0].reason}")
    return BuiltGallery.of_pictures(
        pictures,
        parts,
        image_root=root,
        skipped=[*unreadable_in(store), *skipped],
        progress=progress,
    )
