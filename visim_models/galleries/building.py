"""Build a gallery of pictures or change one, in memory or in an engine: this is the one module that knows all steps.

    pictures -> changes -> embed what is missing -> gallery -> calibration -> repo folder

Only new and changed pictures are embedded, found by content. What is embedded is kept on disk part by part, so that a
killed build goes on where it stopped: in a hidden folder beside the repo folder, which goes when the build is done, or,
for a gallery in an engine, in a folder of Parquet that stays. The pictures of a gallery in an engine are never all in
memory: its repo folder has a sample, on which the calibration rests and which pages show as examples.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tqdm import tqdm

from visim_models.errors import DataError, ImageHostError, OutputError, RepositoryError
from visim_models.galleries.built_gallery import BuildReport, BuiltGallery, write_match_probability
from visim_models.galleries.calibration import (
    check_verdict,
    distance_detector,
    leave_one_out,
    leave_one_out_in,
    match_probability,
)
from visim_models.galleries.changes import Changes, OldGallery, check_in_memory, plan
from visim_models.galleries.description import Description
from visim_models.galleries.embed import Embedder, embed_missing, embed_store
from visim_models.galleries.engine_fill import EngineOptions, check_reachable, fill, index_settings, new_index
from visim_models.galleries.part_store import Part, PartStore
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.sources import (
    Skipped,
    checked_root,
    hash_pictures,
    image_root_of,
    label_of,
    list_pictures,
    local_inputs,
    open_store,
    unreadable_in,
)
from visim_models.gallery import Gallery, GalleryAbout
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder import (
    RepoFolder,
    Version,
    check_apart,
    check_output,
    drafting,
    is_repo,
    version_of,
)
from visim_models.repo_folder.formats import listed
from visim_models.repo_folder.manifest import EMBEDDINGS, MEASUREMENTS
from visim_models.search.milvus import EngineIndex
from visim_models.sources.store import ImageStore

__all__ = ["DEFAULT_MODEL", "BuiltGallery", "build", "embed_gallery", "update"]

DEFAULT_MODEL: Final = "general-extractor"
"""The network for pictures of anything."""


@dataclass(frozen=True, kw_only=True)
class _Build:
    """What one build is made of.

    Attributes:
        embedder: the network and the processor.
        image_root: of the next gallery.
        description: changes of labels, columns and how the gallery describes itself.
        progress: show progress bars.
        target: the repo folder; None for a gallery in memory alone.
        version: of the repo folder when the build began.
        inputs: folders and files on this machine that the pictures are in.
        old: the gallery that the repo folder has already.
        store: has the new pictures, if any.
    """

    embedder: Embedder
    image_root: str
    description: Description
    progress: bool
    target: Path | None = None
    version: Version | None = None
    inputs: Sequence[Path] = ()
    old: OldGallery = field(default_factory=OldGallery)
    store: ImageStore | None = None

    def first_changes(self) -> Changes:
        """Return the changes of a new gallery: all pictures of the store are added.

        Raises:
            DataError: there are less than two.
        """
        assert self.store is not None
        names = list_pictures(self.store)
        if len(names) == 1:
            raise DataError(f"{self.store.root} has one picture file, {names[0]!r}: a gallery needs at least two.")
        return plan({}, dict.fromkeys(names, ""))

    def embedded(self, changes: Changes) -> tuple[Changes, Part]:
        """Embed what is missing: the changes without files that are left out, and what was embedded.

        Raises:
            DataError: none of the files is a picture.
        """
        waiting = changes.to_embed
        fresh = self._embed(self.store, waiting) if self.store and waiting else Part(None, [])
        changes = changes.without([item.file_name for item in fresh.skipped], list(self.old.sha256))
        if not changes.rows and self.store:
            raise DataError(
                f"None of the {len(waiting):,} files in {self.store.root} is a picture: {fresh.skipped[0].reason}"
            )
        return changes, fresh

    def _embed(self, store: ImageStore, file_names: Sequence[str]) -> Part:
        if self.target is not None:
            work = self._work(self.target, store)
            with work.locked():
                fingerprints, _ = embed_missing(store, file_names, self.embedder, work, progress=self.progress)
                return Part.joined(list(work.read(fingerprints)))
        parts = []
        with tqdm(total=len(file_names), desc="embedding", unit="picture", disable=not self.progress) as bar:
            for part in embed_store(store, file_names, self.embedder):
                parts.append(part)
                bar.update(len(part.file_names))
        return Part.joined(parts)

    def _work(self, target: Path, store: ImageStore) -> PartStore:
        """Return the hidden folder of a build, named after the network: others never share embeddings."""
        key = hashlib.sha256("".join(self.embedder.made_by.values()).encode()).hexdigest()[:12]
        folder = target.with_name(f".{target.name}.work-{key}")
        return PartStore(folder, {**self.embedder.made_by, "root": store.location})

    @contextmanager
    def keeping_work(self) -> Iterator[None]:
        """Keep what was embedded only for a build that can go on: killed, interrupted, without host, on a full disk."""
        work = self._work(self.target, self.store) if self.target and self.store else None
        try:
            yield
        except (KeyboardInterrupt, SystemExit, ImageHostError, RepositoryError):
            raise
        except BaseException:
            if work:
                work.remove()
            raise
        if work:
            work.remove()

    def next_gallery(self, changes: Changes, fresh: PictureTable | None, skipped: Sequence[Skipped]) -> BuiltGallery:
        """Make the next gallery, sorted by name, from pictures of the old one and fresh ones.

        Raises:
            DataError: it would have no two pictures that are not near-duplicates.
        """
        names = sorted(changes.rows)
        rows = [changes.rows[name] for name in names]
        tables = [table for table in (self.old.pictures, fresh) if table]
        new = {name: len(self.old.sha256) + index for index, name in enumerate(fresh.file_names if fresh else ())}
        sources = [new[name] if row.embedding is None else row.embedding for name, row in zip(names, rows, strict=True)]
        pictures = PictureTable.concatenate(tables).subset(sources).renamed(names)
        stated = self.store.labels if self.store else {}
        gallery = Gallery(
            names,
            [self.old.label(name, row.description, stated) for name, row in zip(names, rows, strict=True)],
            pictures["embeddings"],
            columns=self.old.columns([row.description for row in rows]),
            image_root=self.image_root,
            about=self.old.gallery.about if self.old.gallery else None,
            weights_sha256=self.embedder.weights_sha256,
            processor_sha256=self.embedder.processor_sha256,
        )
        notes = self.description.apply(gallery)
        measured = leave_one_out(pictures, labels=gallery.labels, progress=self.progress)
        return self.judged(gallery, measured, pictures=pictures, skipped=skipped, notes=notes)

    def judged(
        self,
        gallery: Gallery,
        measured: PictureTable,
        *,
        pictures: PictureTable | None,
        skipped: Sequence[Skipped],
        notes: Sequence[str],
    ) -> BuiltGallery:
        """Calibrate the detector of a gallery on pictures of it that were measured as queries, and try it."""
        network, processor = self.embedder.network, self.embedder.processor
        detector = distance_detector(measured)
        if check := check_verdict(network, processor, gallery, detector, progress=self.progress):
            detector = detector.checked(check)
        return BuiltGallery(
            embedder=self.embedder,
            gallery=gallery,
            detector=detector,
            match_probability=match_probability(measured),
            pictures=pictures,
            skipped=skipped,
            notes=notes,
        )

    @contextmanager
    def writing(self, built: BuiltGallery) -> Iterator[None]:
        """Write the repo folder; in one step when the block ends well, and not at all otherwise."""
        assert self.target is not None
        with drafting(self.target, inputs=self.inputs, version=self.version) as draft:
            if self.old.gallery is None:
                self.embedder.write_files(draft)
            built.write_files(draft)
            yield


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
        description.check(about=_about(target))
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
    job = _Build(
        embedder=embedder,
        image_root=_root(image_root, old, store),
        description=description,
        progress=progress,
        target=target,
        version=version,
        inputs=inputs,
        old=old,
        store=store,
    )
    if engine:
        return _build_in_engine(job, store, target, engine)
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
    root = _root(image_root, OldGallery(), store)
    job = _Build(embedder=embedder, image_root=root, description=description, progress=progress, store=store)
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
    job = _Build(
        embedder=embedder,
        image_root=_root(image_root, old, None if pictures is None else store),
        description=description,
        progress=progress,
        target=target,
        version=version,
        inputs=inputs,
        old=old,
        store=store,
    )
    if store and pictures is not None:
        return _sync(job, store, target, remove_missing=True)
    found, skipped = hash_pictures(store, list_pictures(store), progress=progress) if store else ({}, [])
    skipped += unreadable_in(store) if store else []
    changes = plan(old.sha256, found, removed=removed & old.sha256.keys())
    return _change(job, target, changes, skipped, earlier=old.skipped, unknown=sorted(removed - old.sha256.keys()))


def _sync(job: _Build, store: ImageStore, target: Path, *, remove_missing: bool) -> BuildReport:
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
    job: _Build,
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


def _build_in_engine(job: _Build, store: ImageStore, target: Path, engine: EngineOptions) -> BuildReport:
    """Embed what the Parquet folder lacks, fill a new collection from it, and write the repo folder of a sample."""
    folder = engine.vectors or target.with_name(f"{target.name}-vectors")
    vectors = PartStore(
        check_apart(folder, inputs=[*job.inputs, target]), job.embedder.made_by, form="parquet"
    )  # fmt: skip
    with vectors.locked():
        names = list_pictures(store)
        settings = index_settings(target, job.embedder, engine)  # a wrong one is told before hours are spent
        fingerprints, looked_at = embed_missing(
            store,
            names,
            job.embedder,
            vectors,
            runner=engine.runner,
            progress=job.progress,
        )
        with new_index(engine.address, settings) as index:
            filled = fill(index, vectors, fingerprints, job.description, labels=store.labels, progress=job.progress)
            gallery = Gallery(
                filled.sample.file_names,
                [label_of(name, store.labels) for name in filled.sample.file_names],
                filled.sample["embeddings"],
                image_root=job.image_root,
                about=_about(target),
                engine=EngineIndex(replace(settings, pictures=len(index)), index),
                weights_sha256=job.embedder.weights_sha256,
                processor_sha256=job.embedder.processor_sha256,
            )
            notes = job.description.apply(gallery)
            measured = leave_one_out_in(
                index, filled.sample, vectors.thumbnails, labels=gallery.labels, progress=job.progress
            )
            skipped = [*unreadable_in(store), *filled.skipped]
            built = job.judged(gallery, measured, pictures=None, skipped=skipped, notes=notes)
            with job.writing(built):
                index.publish(settings.collection)  # last: a search sees the new pictures when all else went well
    changes = Changes(added=sorted({*looked_at}.intersection(filled.file_names)))
    return replace(built.report(target, changes), put_aside=store.left_out)


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


def _about(target: Path) -> GalleryAbout:
    return GalleryAbout.load(RepoFolder(target)) if is_repo(target) else GalleryAbout()


def _check_description(job: _Build) -> None:
    """Check all that can be checked of a description before any picture is hashed or embedded."""
    if job.old.gallery:
        job.description.check(job.old.gallery.columns, job.old.gallery.about)


def _is_in(name: str, paths: Sequence[str]) -> bool:
    """Return whether a file is one of these files, or in one of these folders."""
    return any(name == path or name.startswith(f"{path}/") for path in paths)
