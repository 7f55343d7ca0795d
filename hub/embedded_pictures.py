"""Pictures that a network has seen: what a gallery and its detector need of each, kept so that it is computed once."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from hub.picture_source import DecodedBatch, PictureSource, Skipped
from visim_models import Gallery, ImageProcessor, repository
from visim_models.errors import DataError, GalleryError, VisimError, WeightsError
from visim_models.gallery import GALLERY_FOLDER
from visim_models.models.base import PretrainedModel

__all__ = ["MEASUREMENTS_FILE", "EmbeddedPictures", "embed_source"]

MEASUREMENTS_FILE = "measurements.safetensors"
"""Beside the embeddings of a gallery that can be added to: what calibrating anew needs of each picture."""

_THUMBNAIL = 16


@dataclass
class EmbeddedPictures:
    """N pictures, as a network sees them.

    Attributes:
        file_names: N names.
        embeddings: (N, D) float32 of float16's precision, which is what a gallery keeps.
        strangeness: name -> (N,) float32: what the network itself measures of them.
        thumbnails: (N, 3, 16, 16) uint8, by which near-duplicates are recognised.
        skipped: files that were no pictures.
    """

    file_names: list[str]
    embeddings: Tensor
    strangeness: dict[str, Tensor]
    thumbnails: Tensor
    skipped: list[Skipped] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.file_names)

    @property
    def labels(self) -> list[str]:
        """The folder of each picture."""
        return [Path(name).parent.name for name in self.file_names]

    @classmethod
    def concatenate(cls, parts: Sequence["EmbeddedPictures"]) -> Self:
        """Several as one, in order; at least one."""
        return cls(
            [name for part in parts for name in part.file_names],
            torch.cat([part.embeddings for part in parts]),
            {key: torch.cat([part.strangeness[key] for part in parts]) for key in parts[0].strangeness},
            torch.cat([part.thumbnails for part in parts]),
            [skipped for part in parts for skipped in part.skipped],
        )

    def subset(self, places: Sequence[int]) -> Self:
        """The pictures at these places, in this order."""
        rows = torch.as_tensor(places, dtype=torch.long)
        return type(self)(
            [self.file_names[place] for place in places],
            self.embeddings[rows],
            {key: values[rows] for key, values in self.strangeness.items()},
            self.thumbnails[rows],
        )

    def write_measurements(self, folder: Path) -> None:
        """Write what a gallery's own two files do not keep, into `folder`/gallery."""
        tensors = {f"strangeness.{key}": values for key, values in self.strangeness.items()}
        repository.write_tensors(
            folder / GALLERY_FOLDER / MEASUREMENTS_FILE, {**tensors, "thumbnails": self.thumbnails}
        )

    @classmethod
    def of_gallery(cls, folder: Path, gallery: Gallery) -> Self:
        """The pictures of a repo folder that `build-gallery` made.

        Raises:
            GalleryError: it made another kind of folder, or its files do not fit together.
        """
        path = folder / GALLERY_FOLDER / MEASUREMENTS_FILE
        if not path.exists():
            raise GalleryError(
                f"{folder} has no {GALLERY_FOLDER}/{MEASUREMENTS_FILE}, so its pictures cannot be changed: only a "
                "gallery that `python -m hub build-gallery` made keeps what that needs. Build one of all pictures."
            )
        found = cls(gallery.file_names, torch.from_numpy(gallery.embeddings), *_split_tensors(path))
        if any(len(values) != len(found) for values in (*found.strangeness.values(), found.thumbnails)):
            raise GalleryError(f"{path} is of another number of pictures than the gallery: build the gallery again.")
        return found


def embed_source(
    source: PictureSource,
    file_names: Sequence[str],
    model: PretrainedModel,
    processor: ImageProcessor,
    *,
    work: Path,
    batch_size: int = 64,
) -> EmbeddedPictures:
    """Embed pictures of a source, keeping each batch on disk: a second call goes on where a killed one stopped.

    Args:
        source: folder or zip.
        file_names: which of its pictures.
        model: in evaluation mode.
        processor: of the model.
        work: the folder for the batches; it must belong to these weights and this processor alone.
        batch_size: pictures at once.

    Raises:
        DataError: none of them is a picture.
        RepositoryError: the work folder cannot be written.
    """
    kept, parts = _finished_parts(work, source, set(file_names))
    if kept:
        tqdm.write(f"going on: {len(kept):,} of {len(file_names):,} files were done before")
    waiting = [name for name in file_names if name not in kept]
    with tqdm(total=len(file_names), initial=len(kept), desc=f"embedding {source.path.name}", unit="picture") as bar:
        for batch in source.decoded(waiting, processor, batch_size=batch_size):
            part = _embed(batch, model, processor)
            _write_part(work, part, source)
            parts.append(part)
            bar.update(len(part) + len(part.skipped))
    parts = [part for part in parts if len(part) or part.skipped]
    found = [part for part in parts if len(part)]
    if not found:
        raise DataError(f"None of the {len(file_names):,} files in {source.path} can be decoded as a picture.")
    whole = EmbeddedPictures.concatenate(found)
    whole.skipped = sorted((skipped for part in parts for skipped in part.skipped), key=lambda item: item.file_name)
    order = sorted(range(len(whole)), key=whole.file_names.__getitem__)
    ordered = whole.subset(order)
    ordered.skipped = whole.skipped
    return ordered


def _embed(batch: DecodedBatch, model: PretrainedModel, processor: ImageProcessor) -> EmbeddedPictures:
    if not batch.pixels:
        empty = torch.empty(0)
        return EmbeddedPictures([], empty, {}, empty, batch.skipped)
    squares = torch.stack(batch.pixels)  # (N, 3, S, S)
    pixels = processor.normalize(squares)
    with torch.inference_mode():
        embeddings = model.embed(pixels).float()  # (N, D)
        strangeness = {key: values.float() for key, values in model.strangeness(pixels, embeddings).items()}
    thumbnails = F.interpolate(squares.float(), size=(_THUMBNAIL, _THUMBNAIL), mode="area").round().to(torch.uint8)
    rounded = embeddings.half().float()
    if not torch.isfinite(rounded).all():
        raise WeightsError("The network gives embeddings beyond what a gallery stores (float16): it cannot have one.")
    return EmbeddedPictures(batch.file_names, rounded, strangeness, thumbnails, batch.skipped)


def _write_part(work: Path, part: EmbeddedPictures, source: PictureSource) -> None:
    names = part.file_names + [skipped.file_name for skipped in part.skipped]
    header = {
        "file_names": json.dumps(part.file_names),
        "skipped": json.dumps([[skipped.file_name, skipped.reason] for skipped in part.skipped]),
        "fingerprints": json.dumps({name: source.fingerprint(name) for name in names}),
    }
    tensors = {f"strangeness.{key}": values for key, values in part.strangeness.items()}
    try:
        work.mkdir(parents=True, exist_ok=True)
        path = work / f"part-{len(list(work.glob('part-*.safetensors'))):06d}.safetensors"
        staged = path.with_suffix(".new")
        repository.write_tensors(
            staged, {**tensors, "embeddings": part.embeddings, "thumbnails": part.thumbnails}, metadata=header
        )
        os.replace(staged, path)
    except OSError as error:
        raise DataError(f"{work} cannot be written ({error}): make room, then run the same command again.") from error


def _finished_parts(work: Path, source: PictureSource, wanted: set[str]) -> tuple[set[str], list[EmbeddedPictures]]:
    """What an earlier run did, of files that have not changed since: their names, and the parts."""
    kept: set[str] = set()
    parts = []
    for path in sorted(work.glob("part-*.safetensors")):
        try:
            header = repository.read_metadata(path)
            tensors = repository.read_tensors(path)
            names: list[str] = json.loads(header["file_names"])
            skipped = [Skipped(*row) for row in json.loads(header["skipped"])]
            fingerprints: dict[str, str] = json.loads(header["fingerprints"])
        except (VisimError, KeyError, TypeError, ValueError):
            continue  # a damaged part is done again
        current = {
            name for name in fingerprints
            if name in wanted - kept and source.fingerprint(name) == fingerprints[name]
        }  # fmt: skip
        embeddings, thumbnails = tensors.pop("embeddings"), tensors.pop("thumbnails")
        strangeness = {key.removeprefix("strangeness."): values for key, values in tensors.items()}
        part = EmbeddedPictures(names, embeddings, strangeness, thumbnails)
        if len(embeddings):
            part = part.subset([place for place, name in enumerate(names) if name in current])
        part.skipped = [item for item in skipped if item.file_name in current]
        kept |= current
        parts.append(part)
    return kept, parts


def _split_tensors(path: Path) -> tuple[dict[str, Tensor], Tensor]:
    tensors = repository.read_tensors(path)
    try:
        thumbnails = tensors.pop("thumbnails")
    except KeyError as error:
        raise GalleryError(f"{path} has no thumbnails: build the gallery again.") from error
    return {key.removeprefix("strangeness."): values for key, values in tensors.items()}, thumbnails
