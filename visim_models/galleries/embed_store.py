"""Embed the pictures of an image store: read and decoded in threads while the network is at work on others."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import torch
from tqdm import tqdm

from visim_models.errors import WeightsError
from visim_models.galleries.embedded import EmbeddedPictures, Measured, thumbnails_of
from visim_models.galleries.model_parts import ModelParts
from visim_models.galleries.skipped import Skipped, sort_out
from visim_models.galleries.work_folder import Part, WorkFolder
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.measurements import measure_network
from visim_models.sources.store import DecodedBatch, ImageStore

__all__ = ["embed_store"]

_FILES_A_PART: Final = 64
"""At least: of large pictures only a few go through a network at once."""


def embed_store(
    store: ImageStore,
    file_names: Sequence[str],
    parts: ModelParts,
    *,
    work: WorkFolder | None = None,
    progress: bool = False,
) -> tuple[EmbeddedPictures | None, list[Skipped]]:
    """Embed pictures of a store.

    Args:
        store: the pictures.
        file_names: the pictures to embed.
        parts: the network and the processor.
        work: keeps each part on disk: a second call goes on where a killed one stopped.
        progress: show a progress bar.

    Returns:
        pictures: sorted by name; None where there is none.
        skipped: the files that cannot be read or are not pictures.

    Raises:
        ImageHostError: the host of the pictures does not answer.
        RepositoryError: the work folder cannot be written.
        WeightsError: an embedding is beyond float16.
    """
    done = list(work.finished(file_names)) if work else []
    known = {name for part in done for name in part.file_names}
    if known and progress:
        tqdm.write(f"going on: {len(known):,} of {len(file_names):,} files were done before", file=sys.stderr)
    waiting = [name for name in file_names if name not in known]
    with tqdm(
        total=len(file_names),
        initial=len(known),
        desc="embedding",
        unit="picture",
        disable=not (progress and file_names),
    ) as bar:
        for part in _embed_in_parts(store, waiting, parts, work):
            done.append(part)
            bar.update(len(part.file_names))
    pictures, skipped = _joined(done)
    if pictures:
        pictures = pictures.subset(sorted(range(len(pictures)), key=pictures.file_names.__getitem__))
    return pictures, skipped


def _embed_in_parts(
    store: ImageStore, file_names: Sequence[str], parts: ModelParts, work: WorkFolder | None
) -> Iterator[Part]:
    """Embed pictures, and keep each part as soon as it is done."""
    fingerprints: dict[str, str] = {}

    def taken() -> Iterator[str]:
        for name in file_names:
            if work:  # before the file is read: a change after that is then noticed
                fingerprints[name] = work.fingerprint(name)
            yield name

    group: list[Part] = []
    batches = store.decode_many(taken(), parts.processor, at_once=pictures_at_once(parts.processor.size))
    for part in parts.network.map_batches(partial(_embed_batch, parts=parts), batches):
        group.append(part)
        if sum(len(part.file_names) for part in group) >= _FILES_A_PART:
            yield _kept(group, work, fingerprints)
            group = []
    if group:
        yield _kept(group, work, fingerprints)


def _embed_batch(batch: DecodedBatch, parts: ModelParts) -> Part:
    found, skipped = sort_out(batch)
    if not found:
        return Part(None, skipped)
    squares = np.stack([pixels for pixels, _ in found.values()])  # (N, 3, S, S) uint8
    pixels = parts.processor.normalize(squares)
    embeddings = parts.network.embed(pixels)  # (N, D)
    measured = measure_network(parts.network, pixels, embeddings)
    values = {name: torch.from_numpy(each) for name, each in measured.items()}
    rounded = torch.from_numpy(embeddings).half().float()  # as the gallery stores them
    if not torch.isfinite(rounded).all():
        raise WeightsError("The network gives embeddings beyond float16, which no gallery can store.")
    hashes = torch.tensor([list(bytes.fromhex(sha256)) for _, sha256 in found.values()], dtype=torch.uint8)  # (N, 32)
    return Part(
        EmbeddedPictures(list(found), hashes, Measured(rounded, values), thumbnails_of(torch.from_numpy(squares))),
        skipped,
    )


def _kept(group: Sequence[Part], work: WorkFolder | None, fingerprints: Mapping[str, str]) -> Part:
    part = Part(*_joined(group))
    if work:
        work.keep(part, fingerprints)
    return part


def _joined(parts: Sequence[Part]) -> tuple[EmbeddedPictures | None, list[Skipped]]:
    found = [part.pictures for part in parts if part.pictures]
    return (
        EmbeddedPictures.concatenate(found) if found else None,
        [item for part in parts for item in part.skipped],
    )
