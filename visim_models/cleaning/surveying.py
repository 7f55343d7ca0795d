"""Survey a store of pictures: decoded in threads, once, while the network is at work on others."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from visim_models.cleaning.facts import PictureFacts, facts_of
from visim_models.cleaning.survey import Survey, SurveyedPictures
from visim_models.errors import RepositoryError, VisimError
from visim_models.galleries.embed import Embedder
from visim_models.galleries.sources import Skipped, image_root_of, open_store, sort_out, unreadable_in
from visim_models.gallery import Gallery
from visim_models.images.decode import decode_image
from visim_models.images.decode_ahead import decode_ahead, pictures_at_once
from visim_models.processing import ImageProcessor
from visim_models.repo_folder.formats import one_line, read_header, read_tensors, write_tensors
from visim_models.sources.store import ImageStore

__all__ = ["KeptSurvey", "survey_pictures"]

_FILES_A_PART: Final = 512
_NAMES: Final = "names"

_Seen: TypeAlias = tuple[npt.NDArray[np.uint8], str, PictureFacts]
"""Pixels, (3, S, S) uint8; the SHA-256 of the file; the facts."""


def survey_pictures(
    pictures: str | os.PathLike[str],
    parts: Embedder,
    *,
    gallery: Gallery | None = None,
    kept: "KeptSurvey | None" = None,
    cleaned: Sequence[str] = (),
    progress: bool = False,
) -> Survey:
    """Look at every picture file of a folder, a zip or a data set.

    Args:
        pictures: a folder, a zip, a list of addresses (.txt), hf://datasets/namespace/name or s3://bucket/folder.
        parts: the network and the processor.
        gallery: look at its pictures alone, and take their embeddings from it: the network does nothing.
        kept: where what was seen is kept, so that only new and changed files are looked at the next time.
        cleaned: other folders from which files may be moved away. A symbolic link into them, or into this one, is no
            copy of its target: it is not looked at.
        progress: show a progress bar.

    Raises:
        ImageSourceError: the source cannot be listed.
        ImageHostError: its host does not answer.
        RepositoryError: what was seen cannot be kept.
    """
    store = open_store(pictures)
    root = image_root_of(store)
    listed = store.list() if gallery is None else gallery.file_names
    links = _links_into(root, listed, [root, *cleaned])
    names = [name for name in listed if name not in links]
    fingerprints = {name: _fingerprint(store, name) for name in names}
    done = list(kept.load(root, parts, fingerprints)) if kept else []
    known = {name for part in done for name in part.file_names}
    waiting = [name for name in names if name not in known]
    broken = unreadable_in(store) if gallery is None else []
    broken += [
        Skipped(name, "a symbolic link to another of the pictures: it is not compared") for name in sorted(links)
    ]
    bar = tqdm(total=len(names), initial=len(known), desc="looking", unit="picture", disable=not progress or not names)
    with bar:
        for part, failed in _in_parts(store, waiting, parts, gallery):
            broken += failed
            if part:
                done.append(part)
                if kept:
                    kept.keep(part, root, parts, fingerprints)
            bar.update(len(failed) + (len(part) if part else 0))
    found = SurveyedPictures.concatenate(done) if done else None
    if found:
        found = found.subset(sorted(range(len(found)), key=found.file_names.__getitem__))
    return Survey(root, found, broken, len(known))


def _links_into(root: str, names: Sequence[str], folders: Sequence[str]) -> set[str]:
    """Return the names under a root that are symbolic links to files in some folders."""
    if not Path(root).is_dir():
        return set()
    inside = [Path(folder).resolve() for folder in folders]
    found = {name for name in names if Path(root, name).is_symlink()}
    return {name for name in found if any(Path(root, name).resolve().is_relative_to(folder) for folder in inside)}


def _fingerprint(store: ImageStore, name: str) -> str:
    try:
        return store.fingerprint(name)
    except VisimError:
        return ""


def _in_parts(
    store: ImageStore, names: Sequence[str], parts: Embedder, gallery: Gallery | None
) -> Iterator[tuple[SurveyedPictures | None, list[Skipped]]]:
    """Look at files, in groups that are worth keeping."""
    look = partial(_look, store=store, processor=parts.processor)
    batches = decode_ahead(names, look, at_once=pictures_at_once(parts.processor.size))
    group: list[SurveyedPictures] = []
    failed: list[Skipped] = []
    for part, skipped in parts.network.map_batches(partial(_embed, parts=parts, gallery=gallery), batches):
        failed += skipped
        group += [part] if part else []
        if sum(map(len, group)) + len(failed) >= _FILES_A_PART:
            yield (SurveyedPictures.concatenate(group) if group else None), failed
            group, failed = [], []
    if group or failed:
        yield (SurveyedPictures.concatenate(group) if group else None), failed


def _look(name: str, *, store: ImageStore, processor: ImageProcessor) -> _Seen:
    content = store.read(name)
    image = decode_image(content)
    return processor.resize(image), hashlib.sha256(content).hexdigest(), facts_of(image, len(content))


def _embed(
    batch: list[tuple[str, _Seen | VisimError]], parts: Embedder, gallery: Gallery | None
) -> tuple[SurveyedPictures | None, list[Skipped]]:
    found, skipped = sort_out(batch)
    if not found:
        return None, skipped
    if gallery is None:
        pixels = parts.processor.normalize(np.stack([square for square, _, _ in found.values()]))  # (N, 3, S, S)
        embeddings = torch.from_numpy(parts.network.embed(pixels)).half().float()  # (N, D)
    else:
        embeddings = torch.from_numpy(gallery.embeddings[[gallery.index_of(name) for name in found]])  # (N, D)
    facts = [fact for _, _, fact in found.values()]
    return SurveyedPictures(
        list(found),
        embeddings,
        torch.stack([torch.from_numpy(fact.thumbnail).permute(2, 0, 1) for fact in facts]),  # (N, 3, 32, 32)
        torch.tensor([list(bytes.fromhex(sha256)) for _, sha256, _ in found.values()], dtype=torch.uint8),  # (N, 32)
        torch.tensor([(fact.width, fact.height, fact.size) for fact in facts]),  # (N, 3)
        torch.tensor([(fact.sharpness, fact.spread) for fact in facts]),  # (N, 2)
    ), skipped


@dataclass(frozen=True)
class KeptSurvey:
    """A folder with what was seen of pictures, a file for each few hundred of them.

    Attributes:
        folder: made when the first file is kept.
    """

    folder: Path

    def load(self, root: str, parts: Embedder, fingerprints: dict[str, str]) -> Iterator[SurveyedPictures]:
        """Yield what was seen of files that have not changed since, each file once.

        Args:
            root: of the pictures.
            parts: the network and the processor: what others saw is not used.
            fingerprints: file name -> fingerprint now; one that is "" is looked at again.
        """
        missing = {name for name, text in fingerprints.items() if text}
        for path in sorted(self.folder.glob("part-*.safetensors")):
            try:
                header = read_header(path)
                tensors = {name: torch.from_numpy(each) for name, each in read_tensors(path).items()}
                if [header["root"], header["key"]] != [json.dumps(root), _key(parts)]:
                    continue
                seen: dict[str, str] = json.loads(bytes(tensors.pop(_NAMES).tolist()))
                part = SurveyedPictures.from_tensors(list(seen), tensors)
            except (VisimError, KeyError, ValueError, TypeError, AttributeError):
                continue  # a damaged part is done again
            rows = [
                row for row, (name, text) in enumerate(seen.items())
                if name in missing and fingerprints[name] == text
            ]  # fmt: skip
            missing -= {part.file_names[row] for row in rows}
            if rows:
                yield part.subset(rows)

    def keep(self, part: SurveyedPictures, root: str, parts: Embedder, fingerprints: dict[str, str]) -> None:
        """Write what was seen of some files.

        Raises:
            RepositoryError: the folder cannot be written.
        """
        seen = json.dumps({name: fingerprints[name] for name in part.file_names}).encode()
        names = torch.frombuffer(bytearray(seen), dtype=torch.uint8)  # the header has no room for many names
        header = {"root": json.dumps(root), "key": _key(parts)}
        tensors = {**part.tensors(), "embeddings": part.embeddings.half(), _NAMES: names}
        digits = hashlib.sha256(root.encode() + seen).hexdigest()[:20]
        target = self.folder / f"part-{digits}.safetensors"
        staged = target.with_suffix(f".{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_tensors(staged, {name: each.numpy() for name, each in tensors.items()}, metadata=header)
            os.replace(staged, target)
        except OSError as error:
            raise RepositoryError(
                f"{self.folder} cannot be written ({one_line(error)}): make room, then run the same command again.",
                path=self.folder,
            ) from error


def _key(parts: Embedder) -> str:
    return hashlib.sha256((parts.weights_sha256 + parts.processor_sha256).encode()).hexdigest()
