"""Change the gallery of a repo folder: only new pictures are embedded, and the detector is calibrated again."""

import os
from collections.abc import Iterable, Sequence

from visim_models.errors import DataError, OutputError, RepositoryError
from visim_models.galleries.changes import Changes, plan
from visim_models.galleries.description import Description
from visim_models.galleries.embed_store import embed_store
from visim_models.galleries.existing_gallery import ExistingGallery, check_in_memory
from visim_models.galleries.report import BuildReport
from visim_models.galleries.skipped import Skipped, read_skipped
from visim_models.galleries.sources import (
    checked_root,
    hash_pictures,
    list_pictures,
    local_inputs,
    open_store,
    unreadable_in,
)
from visim_models.galleries.work_folder import WorkFolder, keeping_work
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder import RepoFolder, check_output, drafting, is_repo, version_of
from visim_models.repo_folder.formats import listed
from visim_models.sources.store import ImageStore

__all__ = ["sync", "update"]


def update(
    repo: str | os.PathLike[str],
    *,
    pictures: str | os.PathLike[str] | None = None,
    add: str | os.PathLike[str] | None = None,
    remove: Iterable[str] = (),
    image_root: str | None = None,
    description: Description | None = None,
    progress: bool = True,
) -> BuildReport:
    """Change the gallery of a repo folder that `build` made.

    Args:
        repo: the folder.
        pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/... or s3://..., that the gallery becomes:
            new pictures are added, those whose content has changed are embedded again, those that are gone are removed,
            and renamed ones keep their embedding. A file that cannot be read this time leaves its picture as it is.
        add: a folder, zip or data set whose new pictures are added; pictures whose names the gallery has stay.
        remove: file names to remove, before others are added. Unknown ones are reported.
        image_root: where the pictures can be fetched from; by default the gallery's own root stays.
        description: changes of labels, further columns and how the gallery describes itself.
        progress: show progress bars.

    Raises:
        OutputError: the repo is, holds or is in `pictures` or `add`.
        GalleryError: something else than `build` made the gallery.
        DataError: `pictures` is given together with `add` or `remove`, or no two pictures would be left.
        VisimError: the repo or the pictures cannot be used; the repo is then unchanged.
    """
    removed = list(remove)
    description = Description() if description is None else description
    if pictures is not None and (add is not None or removed):
        raise DataError("Give either all pictures, or pictures to add and to remove.")
    target = check_output(repo, inputs=local_inputs(pictures, add))
    if not is_repo(target):
        raise RepositoryError(f"{repo} is no visim repo: build a gallery first.", path=target)
    opened = RepoFolder(target)
    check_in_memory(opened)
    if pictures is not None:
        return sync(
            opened,
            pictures,
            image_root=image_root,
            description=description,
            remove_missing=True,
            progress=progress,
        )
    if add is None and not removed:
        return _describe(opened, image_root, description)
    existing = ExistingGallery.load(opened)
    description.check(existing.gallery.columns, existing.gallery.about)
    old = existing.pictures.sha256
    unknown = sorted(set(removed) - old.keys())
    store = None if add is None else open_store(add)
    names = list_pictures(store) if store else []
    found, skipped = hash_pictures(store, names, progress=progress) if store else ({}, [])
    changes = plan(old, found, removed=set(removed) & old.keys())
    skipped += unreadable_in(store) if store else []
    return _apply(
        existing,
        changes,
        store,
        skipped,
        earlier=read_skipped(opened),
        unknown=unknown,
        image_root=image_root,
        description=description,
        progress=progress,
    )


def sync(
    repo: RepoFolder,
    pictures: str | os.PathLike[str],
    *,
    image_root: str | None,
    description: Description,
    remove_missing: bool,
    progress: bool,
) -> BuildReport:
    """Bring the gallery of a repo up to date with pictures.

    Args:
        repo: the repo, whose gallery `build` made.
        pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/namespace/name or s3://bucket/folder.
        image_root: where the pictures can be fetched from; None for the gallery's own root.
        description: changes of labels, further columns and how the gallery describes itself.
        remove_missing: remove pictures that `pictures` does not have.
        progress: show progress bars.

    Raises:
        OutputError: it has pictures that would have to be removed, without `remove_missing`.
        VisimError: as `update` raises.
    """
    existing = ExistingGallery.load(repo)
    description.check(existing.gallery.columns, existing.gallery.about)
    old = existing.pictures.sha256
    store = open_store(pictures)
    found, skipped = hash_pictures(store, list_pictures(store), progress=progress)
    skipped += unreadable_in(store)
    left_alone = [item.file_name for item in skipped]
    missing = [name for name in old if name not in found and not _is_in(name, left_alone)]
    changes = plan(old, found, removed=missing, replaces=True)
    if changes.removed and not remove_missing:
        raise OutputError(
            f"{repo.path} has {len(changes.removed):,} pictures that {pictures} does not have "
            f"({listed(changes.removed)}): nothing was changed. Use --sync to remove them, or --add to keep them.",
            path=repo.path,
        )
    return _apply(existing, changes, store, skipped, image_root=image_root, description=description, progress=progress)


def _describe(repo: RepoFolder, image_root: str | None, description: Description) -> BuildReport:
    """Change what a gallery says of itself and its pictures, and its image root; nothing is embedded."""
    version = version_of(repo.path)
    gallery, detector = Gallery.load(repo), OutOfDistributionDetector.load(repo)
    root = None if image_root is None else checked_root(image_root)
    notes = description.apply(gallery)
    if description or (root is not None and root != gallery.image_root):
        gallery.image_root = gallery.image_root if root is None else root
        with drafting(repo.path, version=version) as draft:
            gallery.write_files(draft)
    return BuildReport.of_gallery(gallery, detector, repo=repo.path, notes=notes)


def _apply(
    existing: ExistingGallery,
    changes: Changes,
    store: ImageStore | None,
    skipped: Sequence[Skipped],
    *,
    earlier: Sequence[Skipped] = (),
    unknown: Sequence[str] = (),
    image_root: str | None,
    description: Description,
    progress: bool,
) -> BuildReport:
    """Embed new pictures, and write the next gallery.

    Args:
        existing: the gallery.
        changes: the next gallery.
        store: has the pictures that must be embedded, if any.
        skipped: files that were skipped so far.
        earlier: files that an earlier run skipped, and that stay in skipped.csv.
        unknown: names to remove that the gallery does not have; they are reported.
        image_root: replaces the gallery's own.
        description: changes of labels, further columns and how the gallery describes itself.
        progress: show progress bars.
    """
    repo = existing.repo
    if not changes.rows:
        raise DataError(f"That would remove all pictures of {repo.path}: delete the folder instead.", path=repo.path)
    root = existing.gallery.image_root if image_root is None else checked_root(image_root)
    work = WorkFolder(repo.path, existing.parts, store) if store else None
    with keeping_work(work):
        fresh = None
        if store:
            fresh, failed = embed_store(store, changes.to_embed, existing.parts, work=work, progress=progress)
            changes = changes.without([item.file_name for item in failed], existing.pictures.file_names)
            skipped = [*skipped, *failed]
        now_skipped = {*skipped, *(item for item in earlier if item.file_name not in changes.rows)}
        gallery, detector, notes, check = existing.gallery, existing.detector, [], []
        is_moved = root != gallery.image_root or now_skipped != set(read_skipped(repo))
        if not changes.is_nothing or is_moved or description:
            built = existing.next(
                changes,
                fresh,
                image_root=root,
                description=description,
                skipped=sorted(now_skipped),
                progress=progress,
            )
            with drafting(repo.path, version=existing.version) as draft:
                built.write_files(draft)
            gallery, detector, notes, check = built.gallery, built.detector, [*built.notes], [*built.check]
    return BuildReport.of_gallery(
        gallery,
        detector,
        repo=repo.path,
        changes=changes,
        skipped=skipped,
        unknown=unknown,
        notes=notes,
        check=check,
    )


def _is_in(name: str, paths: Sequence[str]) -> bool:
    """Return whether a file is one of these files, or in one of these folders."""
    return any(name == path or name.startswith(f"{path}/") for path in paths)
