"""Build a gallery of pictures: in memory, or as a repo folder."""

import os
from typing import Final

from visim_models.errors import DataError
from visim_models.galleries.built_gallery import BuiltGallery
from visim_models.galleries.changes import Changes
from visim_models.galleries.description import Description
from visim_models.galleries.embed_store import embed_store
from visim_models.galleries.model_parts import ModelParts
from visim_models.galleries.report import BuildReport
from visim_models.galleries.sources import (
    checked_root,
    image_root_of,
    list_pictures,
    local_inputs,
    open_store,
    unreadable_in,
)
from visim_models.galleries.update import sync
from visim_models.galleries.work_folder import WorkFolder, keeping_work
from visim_models.repo_folder import RepoFolder, check_output, drafting, is_repo, version_of
from visim_models.repo_folder.manifest import EMBEDDINGS
from visim_models.sources.store import ImageStore

__all__ = ["DEFAULT_MODEL", "build", "embed_gallery"]

DEFAULT_MODEL: Final = "general-extractor"
"""The network for pictures of anything."""


def build(
    pictures: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | RepoFolder | None = None,
    image_root: str | None = None,
    description: Description | None = None,
    remove_missing: bool = False,
    progress: bool = True,
) -> BuildReport:
    """Write a repo folder with a gallery of pictures, or bring the gallery of a repo folder up to date.

    A gallery that the folder has already gets new pictures, and those whose content has changed are embedded again;
    everything else in it stays. A killed build goes on where it stopped.

    Args:
        pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/namespace/name or s3://bucket/folder.
            The folder path of each picture is its label.
        out: the repo folder: new, empty, or one with a gallery of the same network.
        model: the repo of the network: a folder, "namespace/repo", a short name such as "car-extractor", or "timm:NAME"
            for a network of timm; by default that of `out`, if it has a gallery, else "general-extractor".
        image_root: where the pictures can be fetched from later: a folder, a zip, a list of addresses, or an https,
            hf:// or s3:// address; by default `pictures`, or the root that the gallery has already.
        description: labels, further columns and how the gallery describes itself.
        remove_missing: remove pictures from an old gallery that `pictures` does not have.
        progress: show progress bars.

    Raises:
        OutputError: files could be lost in `out`, it is of another network, or it has pictures that would have to be
            removed.
        DataError: there are no two pictures that are not near-duplicates.
        VisimError: the repo, the pictures or the output cannot be used; `out` is then unchanged.
    """
    target = check_output(out, inputs=local_inputs(pictures))
    description = Description() if description is None else description
    version = version_of(target)
    has_gallery = is_repo(target) and RepoFolder(target).has(EMBEDDINGS)
    if not has_gallery:
        description.check()
    parts = ModelParts.load(model or (target if has_gallery else DEFAULT_MODEL))
    if is_repo(target):
        existing = RepoFolder(target)
        parts.check_same(existing)
        if has_gallery:
            return sync(
                existing,
                pictures,
                image_root=image_root,
                description=description,
                remove_missing=remove_missing,
                progress=progress,
            )
    store = open_store(pictures)
    work = WorkFolder(target, parts, store)
    with keeping_work(work):
        built = _embed_all(store, parts, image_root=image_root, description=description, work=work, progress=progress)
        with drafting(target, inputs=local_inputs(pictures), version=version) as draft:
            parts.write_files(draft)
            built.write_files(draft)
    return BuildReport.of_gallery(
        built.gallery,
        built.detector,
        repo=target,
        changes=Changes(added=built.gallery.file_names),
        skipped=built.skipped,
        notes=built.notes,
        check=built.check,
    )


def embed_gallery(
    pictures: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | RepoFolder = DEFAULT_MODEL,
    image_root: str | None = None,
    description: Description | None = None,
    progress: bool = True,
) -> BuiltGallery:
    """Build a gallery of pictures in memory.

    Args:
        pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/namespace/name or s3://bucket/folder.
            The folder path of each picture is its label.
        model: the repo of the network: a folder, "namespace/repo", a short name such as "car-extractor", or "timm:NAME"
            for a network of timm.
        image_root: where the pictures can be fetched from later; by default `pictures`.
        description: labels, further columns and how the gallery describes itself.
        progress: show progress bars.

    Raises:
        DataError: there are no two pictures that are not near-duplicates.
        VisimError: the repo or the pictures cannot be used.
    """
    description = Description() if description is None else description
    description.check()
    parts = ModelParts.load(model)
    return _embed_all(open_store(pictures), parts, image_root=image_root, description=description, progress=progress)


def _embed_all(
    store: ImageStore,
    parts: ModelParts,
    *,
    image_root: str | None,
    description: Description,
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
        description=description,
        skipped=[*unreadable_in(store), *skipped],
        progress=progress,
    )
