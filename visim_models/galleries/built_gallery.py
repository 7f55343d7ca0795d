"""The steps of a build, and what they make: gallery, detector, the report of the changes, and the card of the repo."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tqdm import tqdm

from visim_models.errors import DataError, GalleryError, ImageHostError, RepositoryError
from visim_models.galleries.calibration import (
    check_figures,
    check_verdict,
    distance_detector,
    leave_one_out,
    match_probability,
    probability_summary,
    summary,
)
from visim_models.galleries.description import Description
from visim_models.galleries.embed import Embedder, embed_missing, embed_store
from visim_models.galleries.part_store import Part, PartStore
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.sources import Changes, Skipped, label_of, list_pictures, plan, read_skipped, write_skipped
from visim_models.gallery import Gallery, GalleryAbout
from visim_models.images.kinds import unread_summary
from visim_models.models.network import Network
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder import RepoDraft, RepoFolder, Version, drafting
from visim_models.repo_folder.card import escaped, model_card
from visim_models.repo_folder.formats import listed
from visim_models.repo_folder.manifest import INDEX, MATCHES, MEASUREMENTS, METRICS, OWN_VECTORS, SKIPPED
from visim_models.repo_folder.metrics import Metrics
from visim_models.search.milvus import EngineIndex
from visim_models.search.results import MatchProbability
from visim_models.sources.store import ImageStore

__all__ = [
    "BuildReport",
    "BuildSteps",
    "BuiltGallery",
    "OldGallery",
    "card_text",
    "check_in_memory",
    "write_match_probability",
]

_CHECK_COMMAND: Final = "visim check ."
"""Measures the figures of metrics.json again, in the repo folder."""

_VERDICT = """\
A query is called "not one of these" where at most {rate} of this gallery's pictures look as strange. The comparison
rests on {size} of this gallery's pictures, each scored against the others without its near-duplicates."""
_TOO_FEW = """\
Every query gets "cannot tell": this gallery's {size} pictures are too few to call one "not one of these" at a rate of
{rate} false alarms."""
_MISSES = """\
Every query gets "cannot tell": the comparison with {size} of this gallery's pictures misses most of every kind of drawn
pictures, which surely are of another kind."""


@dataclass(frozen=True, kw_only=True)
class BuiltGallery:
    """A gallery with its detector, and all that a repo folder keeps of it.

    Attributes:
        embedder: the network and the processor that embedded the pictures.
        gallery: N pictures, to be searched.
        detector: calibrated on them, and tried.
        match_probability: how probable a match has its query's label; None where too few pictures have a label.
        pictures: the same N pictures with their measurements; None where they are in an engine.
        skipped: files that it was built without.
        notes: lines about records and pictures that do not belong together.
    """

    embedder: Embedder
    gallery: Gallery
    detector: OutOfDistributionDetector
    match_probability: MatchProbability | None
    pictures: PictureTable | None
    skipped: Sequence[Skipped]
    notes: Sequence[str]

    def write_files(self, draft: RepoDraft) -> None:
        """Write the gallery, its measurements, the detector, the figures, skipped.csv and the card into a draft.

        Raises:
            GalleryError: an embedding is beyond float16.
        """
        self.gallery.write_files(draft)
        self.detector.write_files(draft)
        write_match_probability(draft, self.match_probability)
        if self.pictures:
            self.pictures.write_files(draft)
        else:
            draft.drop(MEASUREMENTS)
        if figures := check_figures(self.detector):
            Metrics(
                command=_CHECK_COMMAND,
                limit=None,
                weights_sha256=self.embedder.weights_sha256,
                data={},
                figures=figures,
                baselines=[],
                tables={},
            ).write_files(draft)
        else:
            draft.drop(METRICS)
        write_skipped(draft, self.skipped)
        network, probability = self.embedder.network, self.match_probability
        draft.write_card(card_text(self.gallery, self.detector, network, match_probability=probability))

    def report(self, repo: Path, changes: Changes) -> "BuildReport":
        """Return the report of the changes that led to the gallery of a repo folder."""
        return BuildReport(
            repo=repo,
            gallery=self.gallery,
            detector=self.detector,
            match_probability=self.match_probability,
            changes=changes,
            skipped=self.skipped,
            notes=self.notes,
        )


@dataclass(frozen=True, kw_only=True)
class OldGallery:
    """The gallery that a repo folder has already, in memory; all is empty where there is none yet."""

    gallery: Gallery | None = None
    detector: OutOfDistributionDetector | None = None
    pictures: PictureTable | None = None
    skipped: Sequence[Skipped] = ()

    @classmethod
    def load(cls, repo: RepoFolder, embedder: Embedder) -> Self:
        """Load the gallery of a repo folder that `build` made with this network; raises GalleryError for another."""
        check_in_memory(repo)
        weights, processor = embedder.weights_sha256, embedder.processor_sha256
        gallery = Gallery.load(repo, weights_sha256=weights, processor_sha256=processor)
        detector = OutOfDistributionDetector.load(repo)
        pictures = PictureTable.load(repo, gallery)
        return cls(gallery=gallery, detector=detector, pictures=pictures, skipped=read_skipped(repo))

    @property
    def sha256(self) -> dict[str, str]:
        """Return file name -> SHA-256 of its pictures, in their order."""
        return self.pictures.sha256 if self.pictures else {}

    def label(self, file_name: str, index: int | None, stated: Mapping[str, str]) -> str:
        """Return the label of a picture: the old one where it was not the folder path, else as `label_of` says."""
        if self.gallery is None or index is None:
            return label_of(file_name, stated)
        old = self.gallery.labels[index]
        return label_of(file_name, stated) if old == label_of(self.gallery.file_names[index]) else old

    def columns(self, indices: Sequence[int | None]) -> dict[str, list[str]]:
        """Return the further columns of pictures by their indices here; "" where that is None."""
        columns = self.gallery.columns if self.gallery else {}
        return {name: ["" if index is None else values[index] for index in indices] for name, values in columns.items()}


def check_in_memory(repo: RepoFolder) -> None:
    """Refuse a repo whose gallery is in an engine, by a GalleryError: the repo's own files are of a sample."""
    if repo.has(INDEX):
        raise GalleryError(
            f"The gallery of {repo.path} is in an engine: change it by building it again (visim build PICTURES "
            "--engine milvus --index-uri URI). Only new and changed pictures are embedded.",
            path=repo / INDEX,
        )


@dataclass(frozen=True)
class BuildSteps:
    """What one build is made of, and the steps that it goes through.

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
        """Return the changes of a new gallery: all pictures of the store, of which there must be two, are added."""
        assert self.store is not None
        names = list_pictures(self.store)
        if len(names) == 1:
            raise DataError(f"{self.store.root} has one picture file, {names[0]!r}: a gallery needs at least two.")
        return plan({}, dict.fromkeys(names, ""))

    def embedded(self, changes: Changes) -> tuple[Changes, Part]:
        """Embed what is missing: the changes without files that are left out, and what was embedded."""
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
        """Make the next gallery, sorted by name, from pictures of the old one and fresh ones."""
        names = sorted(changes.rows)
        rows = [changes.rows[name] for name in names]
        tables = [table for table in (self.old.pictures, fresh) if table]
        new = {name: len(self.old.sha256) + index for index, name in enumerate(fresh.file_names if fresh else ())}
        sources = [new[name] if row.embedding is None else row.embedding for name, row in zip(names, rows, strict=True)]
        pictures = PictureTable.concatenate(tables).subset(sources).renamed(names)
        stated = self.store.labels if self.store else {}
        gallery, notes = self.described(
            pictures,
            [self.old.label(name, row.description, stated) for name, row in zip(names, rows, strict=True)],
            columns=self.old.columns([row.description for row in rows]),
            about=self.old.gallery.about if self.old.gallery else None,
        )
        measured = leave_one_out(pictures, labels=gallery.labels, progress=self.progress)
        return self.judged(gallery, measured, pictures=pictures, skipped=skipped, notes=notes)

    def described(
        self,
        pictures: PictureTable,
        labels: Sequence[str],
        *,
        columns: Mapping[str, Sequence[str]] | None = None,
        about: GalleryAbout | None = None,
        engine: EngineIndex | None = None,
    ) -> tuple[Gallery, list[str]]:
        """Return pictures as a gallery with its owner's labels, columns and words, and notes about these."""
        gallery = Gallery(
            pictures.file_names,
            labels,
            pictures["embeddings"],
            columns=columns,
            image_root=self.image_root,
            about=about,
            engine=engine,
            weights_sha256=self.embedder.weights_sha256,
            processor_sha256=self.embedder.processor_sha256,
        )
        return gallery, self.description.apply(gallery)

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


def write_match_probability(draft: RepoDraft, probability: MatchProbability | None) -> None:
    """Write match_probability.json into a draft, which goes where there is none."""
    if probability:
        probability.write_files(draft)
    else:
        draft.drop(MATCHES)


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a gallery has now, and what was changed.

    Attributes:
        repo: the repo folder.
        gallery: the pictures.
        detector: calibrated on them, and tried.
        match_probability: how probable a match has its query's label, where that was measured.
        changes: names that are new, changed, renamed or gone, or that differ from what the gallery keeps.
        skipped: files that were left out.
        unknown: names to remove that the gallery does not have.
        notes: lines about records and pictures that do not belong together.
        put_aside: a line about the pictures that the source keeps for itself, such as thumbnails, or "".
    """

    repo: Path
    gallery: Gallery
    detector: OutOfDistributionDetector
    match_probability: MatchProbability | None = None
    changes: Changes = field(default_factory=Changes)
    skipped: Sequence[Skipped] = ()
    unknown: Sequence[str] = ()
    notes: Sequence[str] = ()
    put_aside: str = ""

    @property
    def pictures(self) -> int:
        """Return how many pictures the gallery has."""
        return len(self.gallery)

    def lines(self) -> list[str]:
        """Say in lines of text what the gallery has and what was done."""
        lines = [
            f"{self.repo}: {self.pictures:,} pictures ({self._changes()}), which are looked up under "
            f"{self.gallery.image_root or 'no root'}",
            self._verdict(),
            *([summary(self.detector.check)] if self.detector.check else []),
            *([probability_summary(self.match_probability)] if self.match_probability else []),
            *self.notes,
        ]
        if differing := self.changes.differing:
            lines.append(
                f"{_counted(len(differing), 'picture')} with other content now stayed as before "
                f"({listed(differing)}): remove them first to replace them."
            )
        if self.unknown:
            lines.append(f"{_counted(len(self.unknown), 'name')} to remove not in the gallery: {listed(self.unknown)}")
        if self.skipped:
            lines.append(f"{_counted(len(self.skipped), 'file')} left out, with the reasons in {self.repo / SKIPPED}")
        if unread := unread_summary(item.reason for item in self.skipped):
            lines.append(unread)
        if self.put_aside:
            lines.append(self.put_aside)
        return lines

    def _verdict(self) -> str:
        """Say which of the three words a query gets."""
        size = f"{len(self.detector.calibration_scores):,}"
        if self.detector.can_tell:
            return f'A query is "one of these" or "not one of these", as {size} of the pictures calibrate the detector.'
        if self.detector.can_reject:
            return 'Every query gets "cannot tell": the detector misses most of every kind of drawn pictures.'
        return f'Every query gets "cannot tell": {size} pictures are too few for a verdict.'

    def _changes(self) -> str:
        counts = {
            "added": len(self.changes.added),
            "embedded again": len(self.changes.changed),
            "renamed": len(self.changes.renamed),
            "removed": len(self.changes.removed),
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing changed"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def card_text(
    gallery: Gallery,
    detector: OutOfDistributionDetector,
    network: Network,
    *,
    match_probability: MatchProbability | None = None,
) -> str:
    """Write the card of a gallery: the text of README.md.

    Args:
        gallery: the gallery.
        detector: calibrated on its pictures.
        network: embedded them.
        match_probability: how probable a match has its query's label, where that was measured.
    """
    labels = set() if gallery.engine else set(gallery.labels) - {""}  # a sample does not have them all
    shown = f" with {len(labels):,} label{'s' * (len(labels) > 1)}" if labels else ""
    verdict = (_VERDICT if detector.can_tell else _MISSES if detector.can_reject else _TOO_FEW).format(
        rate=f"{100 * detector.false_alarm_rate:.3g} %", size=f"{len(detector.calibration_scores):,}"
    )
    return model_card(
        name="my-gallery",
        introduction=[
            f"# {escaped(gallery.about.title) or 'A visim gallery'}",
            f"{len(gallery):,} pictures{shown}, to be searched by visual similarity.",
            "Their vectors are from elsewhere, and there is no network here: search by file names of the gallery's own."
            if network.model_type == OWN_VECTORS
            else f"They were embedded by the network of this repo (`{network.model_type}`, weights "
            f"`{gallery.weights_sha256[:12]}`){_origin(network)}.",
        ],
        sections=[
            f"## The verdict\n\n{verdict}",
            summary(detector.check) if detector.check else "",
            probability_summary(match_probability) if match_probability else "",
        ],
        extra="timm" if network.model_type == "timm-backbone" else "",
    )


def _origin(network: Network) -> str:
    """Say where the weights are from and their licence, where the network knows."""
    stated = {key: escaped(str(network.config.get(key, ""))) for key in ("source", "revision", "license")}
    parts = [f"from {stated['source']}"] if stated["source"] else []
    parts += [f"version {stated['revision']}"] if stated["revision"] else []
    parts += [f"licence {stated['license']}"] if stated["license"] else []
    return f", {', '.join(parts)}" if parts else ""
