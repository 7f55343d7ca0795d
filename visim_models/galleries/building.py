"""Build a gallery of pictures or change one, in memory or in an engine: this is the one module that knows all steps.

    pictures -> changes -> embed what is missing -> gallery -> calibration -> repo folder

Only new and changed pictures are embedded, found by content. What is embedded is kept on disk part by part, so that a
killed build goes on where it stopped: in a hidden folder beside the repo folder, which goes when the build is done, or,
for a gallery in an engine, in a folder of Parquet that stays.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from visim_models.errors import DataError, OutputError, RepositoryError
from visim_models.galleries.built_gallery import (
    BuildReport,
    BuildSteps,
    BuiltGallery,
    OldGallery,
    check_in_memory,
    write_match_probability,
)
from visim_models.galleries.calibration import leave_one_out, match_probability
from visim_models.galleries.description import Description
from visim_models.galleries.embed import Embedder
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.sources import (
    Changes,
    Skipped,
    checked_root,
    hash_pictures,
    image_root_of,
    list_pictures,
    local_inputs,
    open_store,
    plan,
    unreadable_in,
)
from visim_models.galleries.vectors import EngineOptions, about_of, build_in_engine, check_reachable
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder import RepoFolder, Version, check_output, drafting, is_repo, version_of
from visim_models.repo_folder.formats import listed
from visim_models.repo_folder.manifest import EMBEDDINGS, MEASUREMENTS
from visim_models.sources.store import ImageStore

__all__ = ["DEFAULT_MODEL", "BuiltGallery", "build", "embed_gallery", "update"]

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
    engine: EngineOptions | None = None,
    backend: str = "torch",
    progress: bool = True,
) -> BuildReport:
    """Write a repo folder with a gallery of pictures, or bring the gallery of a repo folder up to date.

    A gallery that the folder has already gets new pictures, and those whose content has changed are embedded again;
    everything else in it stays. A gallery in an engine then has exactly these pictures: its index is made again in a
    new collection, which takes the old one's place when it is whole. A killed build goes on where it stopped.

    Args:
        pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/namespace/name or s3://bucket/folder.
            The folder path of each picture is its label.
        out: the repo folder: new, empty, or one with a gallery of the same network.
        model: the repo of the network: a folder, "namespace/repo", a short name such as "car-extractor", or "timm:NAME"
            for a network of timm; by default that of `out`, if it has a gallery, else "general-extractor".
        image_root: where the pictures can be fetched from later: a folder, a zip, a list of addresses, or an https,
            hf:// or s3:// address; by default `pictures`, or the root that the gallery has already.
        description: labels, further columns and how the gallery describes itself.
        remove_missing: remove pictures from an old gallery in memory that `pictures` does not have.
        engine: put the index in an engine, for galleries that memory does not hold.
        backend: what computes the network: "torch", or "onnx" for ONNX Runtime, which needs no torch.
        progress: show progress bars.

    Raises:
        OutputError: files could be lost in `out`, it is of another network, another build is at work in it, or it has
            pictures that would have to be removed.
        EngineError: the engine cannot be reached, or refuses; what it had is unchanged.
        DataError: there are no two pictures that are not near-duplicates.
        VisimError: the repo, the pictures or the output cannot be used; `out` is then unchanged.

    Example:
        >>> report = build("photos/", "my-gallery")
        >>> print("\\n".join(report.lines()))
    """
    inputs = local_inputs(pictures)
    target = check_output(out, inputs=inputs)
    description = Description() if description is None else description
    version = version_of(target)
    has_gallery = is_repo(target) and RepoFolder(target).has(EMBEDDINGS)
    if engine:
        description.check(about=about_of(target))
        check_reachable(engine.address)
    elif not has_gallery:
        description.check()
    embedder = Embedder.load(model or (target if has_gallery else DEFAULT_MODEL), backend=backend)
    old = OldGallery()
    if is_repo(target):
        embedder.check_same(RepoFolder(target))
        if has_gallery and not engine:
            old = OldGallery.load(RepoFolder(target), embedder)
    store = open_store(pictures)
    root = _root(image_root, old, store)
    job = BuildSteps(embedder, root, description, progress, target, version, inputs, old, store)
    if engine:
        return build_in_engine(job, store, target, engine)
    if has_gallery:
        return _sync(job, store, target, remove_missing=remove_missing)
    changes = job.first_changes()
    return _change(job, target, changes, unreadable_in(store))


def embed_gallery(
    pictures: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | RepoFolder = DEFAULT_MODEL,
    image_root: str | None = None,
    description: Description | None = None,
    backend: str = "torch",
    progress: bool = True,
) -> BuiltGallery:
    """Build a gallery of pictures in memory.

    Args:
        pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/namespace/name or s3://bucket/folder.
            The folder path of each picture is its label.
        model: the repo of the network, as `build` takes it.
        image_root: where the pictures can be fetched from later; by default `pictures`.
        description: labels, further columns and how the gallery describes itself.
        backend: what computes the network: "torch", or "onnx" for ONNX Runtime.
        progress: show progress bars.

    Raises:
        DataError: there are no two pictures that are not near-duplicates.
        VisimError: the repo or the pictures cannot be used.
    """
    description = Description() if description is None else description
    description.check()
    embedder, store = Embedder.load(model, backend=backend), open_store(pictures)
    job = BuildSteps(embedder, _root(image_root, OldGallery(), store), description, progress, store=store)
    changes, fresh = job.embedded(job.first_changes())
    return job.next_gallery(changes, fresh.pictures, [*unreadable_in(store), *fresh.skipped])


def update(
    repo: str | os.PathLike[str],
    *,
    pictures: str | os.PathLike[str] | None = None,
    add: str | os.PathLike[str] | None = None,
    remove: Iterable[str] = (),
    image_root: str | None = None,
    description: Description | None = None,
    backend: str = "torch",
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
        backend: what computes the network: "torch", or "onnx" for ONNX Runtime.
        progress: show progress bars.

    Raises:
        OutputError: the repo is, holds or is in `pictures` or `add`.
        GalleryError: something else than `build` made the gallery.
        DataError: `pictures` is given together with `add` or `remove`, or no two pictures would be left.
        VisimError: the repo or the pictures cannot be used; the repo is then unchanged.

    Example:
        >>> update("my-gallery", add="more-photos/", remove=["chairs/oak_2.jpg"])
    """
    removed = set(remove)
    description = Description() if description is None else description
    if pictures is not None and (add is not None or removed):
        raise DataError("Give either all pictures, or pictures to add and to remove.")
    inputs = local_inputs(pictures, add)
    target = check_output(repo, inputs=inputs)
    if not is_repo(target):
        raise RepositoryError(f"{repo} is no visim repo: build a gallery first.", path=target)
    opened, version = RepoFolder(target), version_of(target)
    check_in_memory(opened)
    if pictures is None and add is None and not removed:
        return _describe(opened, version, image_root, description)
    embedder = Embedder.load(opened, backend=backend)
    old = OldGallery.load(opened, embedder)
    source = add if pictures is None else pictures
    store = None if source is None else open_store(source)
    root = _root(image_root, old, None if pictures is None else store)
    job = BuildSteps(embedder, root, description, progress, target, version, inputs, old, store)
    if store and pictures is not None:
        return _sync(job, store, target, remove_missing=True)
    found, skipped = hash_pictures(store, list_pictures(store), progress=progress) if store else ({}, [])
    skipped += unreadable_in(store) if store else []
    changes = plan(old.sha256, found, removed=removed & old.sha256.keys())
    return _change(job, target, changes, skipped, earlier=old.skipped, unknown=sorted(removed - old.sha256.keys()))


def _sync(job: BuildSteps, store: ImageStore, target: Path, *, remove_missing: bool) -> BuildReport:
    """Bring a gallery up to date with the pictures of a store."""
    _check_description(job)
    old = job.old.sha256
    found, skipped = hash_pictures(store, list_pictures(store), progress=job.progress)
    skipped += unreadable_in(store)
    left_alone = [item.file_name for item in skipped]
    missing = [name for name in old if name not in found and not _is_in(name, left_alone)]
    changes = plan(old, found, removed=missing, replaces=True)
    if changes.removed and not remove_missing:
        raise OutputError(
            f"{target} has {len(changes.removed):,} pictures that {store.root} does not have "
            f"({listed(changes.removed)}): nothing was changed. Use --sync to remove them, or --add to keep them.",
            path=target,
        )
    return _change(job, target, changes, skipped)


def _change(
    job: BuildSteps,
    target: Path,
    changes: Changes,
    skipped: Sequence[Skipped],
    *,
    earlier: Sequence[Skipped] = (),
    unknown: Sequence[str] = (),
) -> BuildReport:
    """Embed what is missing, and write the next gallery in memory.

    Args:
        job: the build.
        target: the repo folder.
        changes: the next gallery.
        skipped: files that were left out so far.
        earlier: files that an earlier run left out, and that stay in skipped.csv.
        unknown: names to remove that the gallery does not have; they are reported.
    """
    _check_description(job)
    if not changes.rows:
        raise DataError(f"That would remove all pictures of {target}: delete the folder instead.", path=target)
    old, built = job.old, None
    with job.keeping_work():
        changes, fresh = job.embedded(changes)
        skipped = [*skipped, *fresh.skipped]
        listed_now = {*skipped, *(item for item in earlier if item.file_name not in changes.rows)}
        is_same = old.gallery and job.image_root == old.gallery.image_root and listed_now == set(old.skipped)
        if not (is_same and changes.is_nothing and not job.description):
            built = job.next_gallery(changes, fresh.pictures, sorted(listed_now))
            with job.writing(built):
                pass
    put_aside = job.store.left_out if job.store else ""
    if built:
        return replace(built.report(target, changes), skipped=skipped, unknown=unknown, put_aside=put_aside)
    assert old.gallery
    assert old.detector
    return BuildReport(
        repo=target,
        gallery=old.gallery,
        detector=old.detector,
        changes=changes,
        skipped=skipped,
        unknown=unknown,
        put_aside=put_aside,
    )


def _describe(repo: RepoFolder, version: Version, image_root: str | None, description: Description) -> BuildReport:
    """Change what a gallery says of itself and its pictures, and its image root; nothing is embedded."""
    gallery, detector = Gallery.load(repo), OutOfDistributionDetector.load(repo)
    labels, probability = list(gallery.labels), None
    root = gallery.image_root if image_root is None else checked_root(image_root)
    notes = description.apply(gallery)
    if description or root != gallery.image_root:
        gallery.image_root = root
        with drafting(repo.path, version=version) as draft:
            gallery.write_files(draft)
            if gallery.labels != labels:
                if repo.has(MEASUREMENTS):
                    pictures = PictureTable.load(repo, gallery)
                    probability = match_probability(leave_one_out(pictures, labels=gallery.labels))
                write_match_probability(draft, probability)
    return BuildReport(repo=repo.path, gallery=gallery, detector=detector, match_probability=probability, notes=notes)


def _root(image_root: str | None, old: OldGallery, store: ImageStore | None) -> str:
    """Return the image root of the next gallery: the one that is given, else the old one, else that of the pictures.

    Args:
        image_root: as given.
        old: the gallery so far. Where its root was on this machine and is gone, the pictures have moved.
        store: has all pictures, if it is given.
    """
    if image_root is not None:
        return checked_root(image_root)
    root = old.gallery.image_root if old.gallery else ""
    is_gone = root and "://" not in root and not os.path.exists(root)
    return image_root_of(store) if store and (old.gallery is None or is_gone) else root


def _check_description(job: BuildSteps) -> None:
    """Check all that can be checked of a description before any picture is hashed or embedded."""
    if job.old.gallery:
        job.description.check(job.old.gallery.columns, job.old.gallery.about)


def _is_in(name: str, paths: Sequence[str]) -> bool:
    """Return whether a file is one of these files, or in one of these folders."""
    return any(name == path or name.startswith(f"{path}/") for path in paths)
