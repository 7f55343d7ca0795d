"""Embedded pictures as Parquet: kept batch by batch while a large gallery is built, and for the next index.

A folder has a mark, `visim-vectors.json`, which names the weights and the processor, and `part-*.parquet` with a row
for each file:

    file_name    string
    fingerprint  string, changes with the file
    reason       string, why the file was left out; null for a picture, and then all that follows is null
    sha256       32 bytes, of the file
    embedding    D float16 numbers
    thumbnail    768 bytes, (3, 16, 16), by which near-duplicates are recognized
    measured.*   float32, the network's own measurements

A part is written in one step. A build that was killed goes on with the files that are in no part, and tries again those
that were left out: a host may answer by now.
"""

import fcntl
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from visim_models.errors import MissingExtraError, OutputError, RepositoryError
from visim_models.galleries.embedded import EmbeddedPictures
from visim_models.galleries.model_parts import ModelParts
from visim_models.galleries.skipped import Skipped
from visim_models.galleries.work_folder import Part
from visim_models.repo_folder import check_apart
from visim_models.repo_folder.formats import file_sha256, one_line, read_json, write_json

__all__ = ["VectorFolder", "part_bytes"]

_MARK: Final = "visim-vectors.json"
_DIGITS: Final = 20
"""Of the SHA-256 of its content, in the name of a part."""
_THUMBNAIL: Final = (3, 16, 16)
_MEASURED: Final = "measured."


class VectorFolder:
    """A new or empty folder, or one with parts of the same network.

    Args:
        path: the folder.
        parts: the network and the processor.
        inputs: the pictures: it is outside them.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OutputError: it holds other files or parts of another network, or is, holds or is in the pictures.
        RepositoryError: it cannot be written.
    """

    def __init__(self, path: Path, parts: ModelParts, *, inputs: Sequence[str | os.PathLike[str]]) -> None:
        _parquet()
        self._whole: set[Path] = set()
        self.path = check_apart(path, inputs=inputs)
        mark = {"weights_sha256": parts.weights_sha256, "processor_sha256": parts.processor_sha256}
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            if not any(self.path.iterdir()):
                write_json(self.path / _MARK, mark)
        if not (self.path / _MARK).is_file():
            raise OutputError(
                f"{self.path} holds files that visim did not write: nothing was changed. Choose another folder with "
                "--vectors.",
                path=self.path,
            )
        if read_json(self.path / _MARK) != mark:
            raise OutputError(
                f"{self.path} has embeddings of another network: choose another folder with --vectors.", path=self.path
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other builds out of the folder until the block ends.

        Raises:
            OutputError: another build is at work in it.
        """
        with (self.path / _MARK).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OutputError(
                    f"Another build is at work in {self.path}: wait until it has ended.", path=self.path
                ) from error
            yield

    def keep(self, content: bytes) -> None:
        """Write a part, in one step.

        Args:
            content: the whole file.

        Raises:
            RepositoryError: the folder cannot be written.
        """
        target = self.path / f"part-{hashlib.sha256(content).hexdigest()[:_DIGITS]}.parquet"
        staged = target.with_suffix(f".{os.getpid()}")
        with self._writing():
            staged.write_bytes(content)
            os.replace(staged, target)

    def finished(self, fingerprints: Mapping[str, str]) -> set[str]:
        """Return the names of the pictures that a part has as they are now.

        Args:
            fingerprints: file name -> what it is now; "" is never finished.
        """
        columns = ["file_name", "fingerprint", "reason"]
        done: set[str] = set()
        for path in self._files():
            rows = zip(*_parquet().read_table(path, columns=columns).to_pydict().values(), strict=True)
            done.update(
                name for name, found, reason in rows if reason is None and found and fingerprints.get(name) == found
            )
        return done

    def read(self, fingerprints: Mapping[str, str]) -> Iterator[Part]:
        """Yield the parts, each file once, without those that have changed or that are not asked for.

        A picture counts, and not that it was once left out.

        Args:
            fingerprints: file name -> what it is now.
        """
        embedded, left = self.finished(fingerprints), dict(fingerprints)
        for path in self._files():
            part, found = _read(path)
            outdated = {item.file_name for item in part.skipped} & embedded
            current = {name for name in part.file_names if left.get(name) == found[name]} - outdated
            for name in current:
                del left[name]
            if current:
                yield part.restricted(current)

    def thumbnails(self, file_names: set[str]) -> dict[str, torch.Tensor]:
        """Return file name -> (3, 16, 16) uint8 thumbnail, of pictures among these."""
        found = {}
        for path in self._files():
            table = _parquet().read_table(path, columns=["file_name", "thumbnail"])
            for name, content in zip(table["file_name"].to_pylist(), table["thumbnail"].to_pylist(), strict=True):
                if content is not None and name in file_names and name not in found:
                    found[name] = _bytes_tensor(content).view(*_THUMBNAIL)
        return found

    def _files(self) -> list[Path]:
        """Return the whole parts, the newest first. The files of a damaged one are embedded again."""
        there = set(self.path.glob("part-*.parquet"))
        self._whole |= {path for path in there - self._whole if _is_whole(path)}
        return sorted(self._whole & there, key=lambda path: (-path.stat().st_mtime_ns, path.name))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RepositoryError(
                f"{self.path} cannot be written ({one_line(error)}): make room, then run the same command again.",
                path=self.path,
            ) from error


def part_bytes(pictures: EmbeddedPictures | None, skipped: Sequence[Skipped], fingerprints: Mapping[str, str]) -> bytes:
    """Return the Parquet file of a part.

    Args:
        pictures: that were embedded, if any.
        skipped: files that were left out.
        fingerprints: of all of these, from before they were read.
    """
    arrow, left_out = _arrow(), len(skipped)
    names = [*(pictures.file_names if pictures else []), *(item.file_name for item in skipped)]
    columns: dict[str, Any] = {
        "file_name": arrow.array(names, arrow.string()),
        "fingerprint": arrow.array([fingerprints[name] for name in names], arrow.string()),
        "reason": arrow.array([None] * (len(names) - left_out) + [item.reason for item in skipped], arrow.string()),
    }
    if pictures:
        none = [None] * left_out
        width = pictures.embeddings.shape[1]
        numbers = arrow.array(pictures.embeddings.half().numpy().ravel(), arrow.float16())
        offsets = arrow.array(np.arange(len(pictures) + 1) * width, arrow.int32())
        lists = arrow.ListArray.from_arrays(offsets, numbers)
        empty = arrow.nulls(left_out, lists.type)  # a list of a fixed size that is null cannot be read back
        columns["sha256"] = arrow.array([bytes(row) for row in pictures.hashes.tolist()] + none, arrow.binary(32))
        columns["embedding"] = arrow.chunked_array([lists, empty])
        columns["thumbnail"] = arrow.array(
            [row.tobytes() for row in pictures.thumbnails.numpy()] + none, arrow.binary(int(np.prod(_THUMBNAIL)))
        )
        for name, values in pictures.measured.values.items():
            columns[f"{_MEASURED}{name}"] = arrow.array([*values.tolist(), *none], arrow.float32())
    else:
        columns["thumbnail"] = arrow.nulls(left_out, arrow.binary(int(np.prod(_THUMBNAIL))))
    sink = io.BytesIO()
    _parquet().write_table(arrow.table(columns), sink, compression="zstd")
    return sink.getvalue()


def _is_whole(path: Path) -> bool:
    """Return whether a part has the content that it is named after."""
    return path.stem.removeprefix("part-") == file_sha256(path)[:_DIGITS]


def _read(path: Path) -> tuple[Part, dict[str, str]]:
    table = _parquet().read_table(path)
    names = table["file_name"].to_pylist()
    fingerprints = dict(zip(names, table["fingerprint"].to_pylist(), strict=True))
    reasons = table["reason"].to_pylist()
    skipped = [Skipped(name, reason) for name, reason in zip(names, reasons, strict=True) if reason is not None]
    count = len(names) - len(skipped)  # pictures come first
    if not count:
        return Part(None, skipped), fingerprints
    rows = table.slice(0, count)
    embeddings = rows["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)  # (count * D,)
    tensors = {
        "sha256": _bytes_tensor(b"".join(rows["sha256"].to_pylist())).view(count, 32),
        "thumbnails": _bytes_tensor(b"".join(rows["thumbnail"].to_pylist())).view(count, *_THUMBNAIL),
    }
    for name in table.column_names:
        if name.startswith(_MEASURED):
            tensors[name] = torch.from_numpy(rows[name].to_numpy().astype(np.float32))
    matrix = torch.from_numpy(embeddings.astype(np.float32)).view(count, -1)  # (count, D)
    return Part(EmbeddedPictures.from_tensors(names[:count], matrix, tensors), skipped), fingerprints


def _bytes_tensor(content: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="milvus", purpose="A gallery in an engine") from error
    return pyarrow


def _parquet() -> Any:
    _arrow()
    import pyarrow.parquet

    return pyarrow.parquet
