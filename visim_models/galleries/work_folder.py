"""Embedded pictures kept on disk while a gallery is built, so that a killed build goes on where it stopped."""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from visim_models.errors import ImageHostError, ImageSourceError, RepositoryError, VisimError
from visim_models.galleries.embedded import EmbeddedPictures
from visim_models.galleries.model_parts import ModelParts
from visim_models.galleries.skipped import Skipped
from visim_models.repo_folder.formats import one_line, read_header, read_tensors, write_tensors
from visim_models.sources.store import ImageStore

__all__ = ["Part", "WorkFolder", "keeping_work"]


@dataclass(frozen=True)
class Part:
    """Some files of a store: those that were embedded, if any, and those that were skipped."""

    pictures: EmbeddedPictures | None
    skipped: list[Skipped]

    @property
    def file_names(self) -> list[str]:
        """Return the names of all its files."""
        return [*(self.pictures.file_names if self.pictures else []), *(item.file_name for item in self.skipped)]

    def restricted(self, file_names: Collection[str]) -> "Part":
        """Return the part without the files of other names."""
        found = self.pictures
        chosen = [index for index, name in enumerate(found.file_names) if name in file_names] if found else []
        return Part(
            found.subset(chosen) if found and chosen else None,
            [item for item in self.skipped if item.file_name in file_names],
        )


class WorkFolder:
    """A hidden folder beside an output, with a file for each part of the pictures.

    It is named after the weights and the processor: others never share embeddings.

    Args:
        out: the output.
        parts: the network and the processor.
        store: the pictures.
    """

    def __init__(self, out: Path, parts: ModelParts, store: ImageStore) -> None:
        key = hashlib.sha256((parts.weights_sha256 + parts.processor_sha256).encode()).hexdigest()
        self.path = out.with_name(f".{out.name}.work-{key[:12]}")
        self._store = store
        self._root = store.location

    def fingerprint(self, file_name: str) -> str:
        """Return a text that changes with a file, or "" where there is none: such a file is embedded again."""
        try:
            return self._store.fingerprint(file_name)
        except ImageSourceError:
            return ""

    def finished(self, file_names: Collection[str]) -> Iterator[Part]:
        """Yield the parts that an earlier run has finished, without files that have changed since."""
        missing = set(file_names)
        for path in sorted(self.path.glob("part-*.safetensors")):
            try:
                part, root, fingerprints = _read(path)
            except (VisimError, KeyError, TypeError, ValueError):
                continue  # a damaged part is done again
            if root != self._root:
                continue
            current = {
                name for name in missing.intersection(part.file_names)
                if fingerprints.get(name) and fingerprints[name] == self.fingerprint(name)
            }  # fmt: skip
            missing -= current
            yield part.restricted(current)

    def keep(self, part: Part, fingerprints: Mapping[str, str]) -> None:
        """Write a part.

        Args:
            part: the files that are finished.
            fingerprints: of these files, from before they were read.

        Raises:
            RepositoryError: the folder cannot be written.
        """
        header = {
            "root": json.dumps(self._root),  # a path may hold what no text file can
            "file_names": json.dumps(part.pictures.file_names if part.pictures else []),
            "skipped": json.dumps([[item.file_name, item.reason] for item in part.skipped]),
            "fingerprints": json.dumps({name: fingerprints[name] for name in part.file_names}),
        }
        tensors = {**part.pictures.to_tensors(), "embeddings": part.pictures.embeddings.half()} if part.pictures else {}
        write_part(self.path, header["fingerprints"].encode(), tensors, header)

    def remove(self) -> None:
        """Remove the parts, and the folder if nothing else is in it."""
        with suppress(OSError):
            for path in self.path.glob("part-*"):
                path.unlink()
            self.path.rmdir()


@contextmanager
def keeping_work(work: WorkFolder | None) -> Iterator[None]:
    """Keep a work folder only for a build that can go on: killed, interrupted, without its host, or on a full disk."""
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


def _read(path: Path) -> tuple[Part, str, dict[str, Any]]:
    header, tensors = read_header(path), read_tensors(path)
    skipped = [Skipped(*row) for row in json.loads(header["skipped"])]
    file_names = json.loads(header["file_names"])
    pictures = EmbeddedPictures.from_tensors(file_names, tensors.pop("embeddings"), tensors) if file_names else None
    return Part(pictures, skipped), json.loads(header["root"]), dict(json.loads(header["fingerprints"]))


def write_part(folder: Path, key: bytes, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write `part-*.safetensors` of a work folder in one step; the folder is made where there is none.

    Args:
        folder: of the parts.
        key: names the part: the same key replaces it.
        tensors: of the part.
        header: text of its metadata.

    Raises:
        RepositoryError: the folder cannot be written.
    """
    target = folder / f"part-{hashlib.sha256(key).hexdigest()[:20]}.safetensors"
    staged = target.with_suffix(f".{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(staged, dict(tensors), metadata=dict(header))
        os.replace(staged, target)
    except OSError as error:
        raise RepositoryError(
            f"{folder} cannot be written ({one_line(error)}): make room, then run the same command again.",
            path=folder,
        ) from error
