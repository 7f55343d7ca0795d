"""Parts of a picture table kept on disk while files are looked at, so that a killed run goes on where it stopped.

A folder has a file for each part, which is written in one step and named after the SHA-256 of its content: a part that
is not whole is done again. A part has a row for each file that was looked at: its name, its fingerprint (which changes
with the file) and, where it was left out, the reason. The other columns are the arrays of the picture table.

Parts are safetensors, for a hidden folder that goes when the work is done. Or they are Parquet, for a folder that its
owner keeps and that other programs can read: it has a mark, `visim-vectors.json`, which names the weights and the
processor, and `part-*.parquet` with the columns

    file_name    string
    fingerprint  string, changes with the file
    reason       string, why the file was left out; null for a picture, and then all that follows is null
    sha256       32 bytes, of the file
    embedding    D float16 numbers
    thumbnail    768 bytes, (3, 16, 16), by which near-duplicates are recognized
    measured.*   float32, the network's own measurements
"""

import hashlib
import io
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save

from visim_models.errors import MissingExtraError, OutputError, RepositoryError, VisimError
from visim_models.galleries.picture_table import MEASURED, THUMBNAIL, PictureTable
from visim_models.galleries.sources import Skipped
from visim_models.repo_folder.formats import file_sha256, one_line, read_header, read_json, read_tensors, write_json

__all__ = ["FILES_A_PART", "Part", "PartStore", "parquet_bytes"]

Array = npt.NDArray[Any]

_MARK: Final = "visim-vectors.json"
_DIGITS: Final = 20
"""Of the SHA-256 of its content, in the name of a part."""
_ROWS: Final = "rows"
"""Array of a part in safetensors: JSON, a list of (file name, fingerprint, reason or null), pictures first."""
_MADE_BY: Final = "made_by"
FILES_A_PART: Final = {"safetensors": 64, "parquet": 512}
"""Form -> about how many files a part has: a folder that stays has few large files."""


@dataclass(frozen=True)
class Part:
    """Some files of a store: those that are pictures, if any, and those that were left out."""

    pictures: PictureTable | None
    skipped: Sequence[Skipped]

    @property
    def file_names(self) -> list[str]:
        """Return the names of all its files, pictures first."""
        return [*(self.pictures.file_names if self.pictures else []), *(item.file_name for item in self.skipped)]

    @classmethod
    def joined(cls, parts: Sequence["Part"]) -> "Part":
        """Join parts."""
        found = [part.pictures for part in parts if part.pictures]
        skipped = [item for part in parts for item in part.skipped]
        return cls(PictureTable.concatenate(found) if found else None, skipped)

    def restricted(self, file_names: Collection[str]) -> "Part":
        """Return the part without the files of other names."""
        found = self.pictures
        chosen = [index for index, name in enumerate(found.file_names) if name in file_names] if found else []
        return Part(
            found.subset(chosen) if found and chosen else None,
            [item for item in self.skipped if item.file_name in file_names],
        )


class PartStore:
    """Parts in a folder, which is made when the first one is kept.

    Args:
        folder: of the parts. Files of others in it stay.
        fingerprint: what the parts were made by: hashes of the network and the processor, the root of the pictures.
            Parts in safetensors of another fingerprint are passed over; a Parquet folder of another is refused.
        form: of the files. A Parquet folder is made, or checked, at once.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OutputError: the Parquet folder holds other files, or parts of another fingerprint.
        RepositoryError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, fingerprint: Mapping[str, str], *, form: Literal["safetensors", "parquet"] = "safetensors"
    ) -> None:
        self.folder, self.fingerprint, self._form = folder, dict(fingerprint), form
        self.files_a_part = FILES_A_PART[form]
        self._whole: set[Path] = set()
        if form == "parquet":
            _parquet()
            self._check_mark()

    def _check_mark(self) -> None:
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            if not any(self.folder.iterdir()):
                write_json(self.folder / _MARK, self.fingerprint)
        if not (self.folder / _MARK).is_file():
            raise OutputError(
                f"{self.folder} holds files that visim did not write: nothing was changed. Choose another folder with "
                "--vectors.",
                path=self.folder,
            )
        if read_json(self.folder / _MARK) != self.fingerprint:
            raise OutputError(
                f"{self.folder} has embeddings of another network: choose another folder with --vectors.",
                path=self.folder,
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder, which is made, until the block ends; raises OutputError if one is in.

        Windows has no such lock: there a second build of one output is refused when it would write its repo folder.
        """
        try:
            import fcntl
        except ImportError:
            yield
            return
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OutputError(
                    f"Another build is at work in {self.folder}: wait until it has ended.", path=self.folder
                ) from error
            yield
        finally:
            os.close(descriptor)

    def keep(self, part: Part, fingerprints: Mapping[str, str]) -> None:
        """Write a part, in one step; raises RepositoryError where the folder cannot be written.

        Args:
            part: the files that were looked at.
            fingerprints: of at least these files, from before they were read.
        """
        is_parquet = self._form == "parquet"
        self.keep_bytes((parquet_bytes if is_parquet else self._safetensors_bytes)(part, fingerprints))

    def keep_bytes(self, content: bytes) -> None:
        """Write the file of a part, in one step; raises RepositoryError where the folder cannot be written."""
        target = self.folder / f"part-{hashlib.sha256(content).hexdigest()[:_DIGITS]}.{self._form}"
        staged = target.with_suffix(f".{os.getpid()}")
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            staged.write_bytes(content)
            os.replace(staged, target)

    def finished(self, fingerprints: Mapping[str, str]) -> set[str]:
        """Return the names of the pictures that a part has as they are now. Files that were left out are tried again.

        Args:
            fingerprints: file name -> what it is now; "" is never finished.
        """
        return {
            name for path in self._files() for name, found, reason in self._rows(path)
            if reason is None and found and fingerprints.get(name) == found
        }  # fmt: skip

    def read(self, fingerprints: Mapping[str, str]) -> Iterator[Part]:
        """Yield the parts, each file once, without those that have changed or that are not asked for.

        Where a file is a picture in one part and was left out in another, it counts as a picture.

        Args:
            fingerprints: file name -> what it is now.
        """
        embedded, left = self.finished(fingerprints), dict(fingerprints)
        for path in self._files():
            rows = self._rows(path)
            outdated = {name for name, _, reason in rows if reason is not None} & embedded
            current = {name for name, found, _ in rows if left.get(name) == found} - outdated
            for name in current:
                del left[name]
            if current:
                part = _read_parquet(path) if self._form == "parquet" else _read_safetensors(path)
                yield part.restricted(current)

    def thumbnails(self, file_names: Collection[str]) -> dict[str, npt.NDArray[np.uint8]]:
        """Return file name -> (3, 16, 16) uint8 thumbnail, of pictures of a Parquet folder among these."""
        found: dict[str, npt.NDArray[np.uint8]] = {}
        for path in self._files():
            table = _parquet().read_table(path, columns=["file_name", "thumbnail"])
            for name, content in zip(table["file_name"].to_pylist(), table["thumbnail"].to_pylist(), strict=True):
                if content is not None and name in file_names and name not in found:
                    found[name] = np.frombuffer(content, np.uint8).reshape(3, THUMBNAIL, THUMBNAIL)
        return found

    def remove(self) -> None:
        """Remove the parts, and the folder if nothing else is in it."""
        with suppress(OSError):
            for path in self.folder.glob("part-*"):
                path.unlink()
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        """Return the whole parts of this fingerprint, the newest first."""
        there = set(self.folder.glob(f"part-*.{self._form}"))
        self._whole |= {path for path in there - self._whole if self._is_whole(path)}
        return sorted(self._whole & there, key=lambda path: (-path.stat().st_mtime_ns, path.name))

    def _is_whole(self, path: Path) -> bool:
        """Return whether a part has the content that it is named after, and is of this fingerprint."""
        if path.stem.removeprefix("part-") != file_sha256(path)[:_DIGITS]:
            return False
        if self._form == "parquet":
            return True  # the mark says what all of them were made by
        try:
            return bool(json.loads(read_header(path)[_MADE_BY]) == self.fingerprint)
        except (VisimError, KeyError, ValueError):
            return False

    def _safetensors_bytes(self, part: Part, fingerprints: Mapping[str, str]) -> bytes:
        rows = json.dumps(_rows_with(part, fingerprints)).encode()  # a header has no room for many names
        arrays: dict[str, Array] = {_ROWS: np.frombuffer(rows, np.uint8)}
        if part.pictures:
            arrays |= {name: np.ascontiguousarray(array) for name, array in part.pictures.arrays.items()}
            arrays["embeddings"] = part.pictures["embeddings"].astype(np.float16)
        return save(arrays, metadata={_MADE_BY: json.dumps(self.fingerprint)})

    def _rows(self, path: Path) -> list[tuple[str, str, str | None]]:
        """Read name, fingerprint and reason of the files of a part."""
        if self._form == "parquet":
            columns = _parquet().read_table(path, columns=["file_name", "fingerprint", "reason"])
            return list(zip(*columns.to_pydict().values(), strict=True))
        with safe_open(path, framework="numpy") as file:
            return _rows_of(file.get_tensor(_ROWS))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RepositoryError(
                f"{self.folder} cannot be written ({one_line(error)}): make room, then run the same command again.",
                path=self.folder,
            ) from error


def _rows_with(part: Part, fingerprints: Mapping[str, str]) -> list[tuple[str, str, str | None]]:
    reasons = {item.file_name: item.reason for item in part.skipped}
    return [(name, fingerprints[name], reasons.get(name)) for name in part.file_names]


def _rows_of(content: Array) -> list[tuple[str, str, str | None]]:
    return [(name, state, reason) for name, state, reason in json.loads(content.tobytes())]


def _read_safetensors(path: Path) -> Part:
    arrays = {name: np.asarray(array) for name, array in read_tensors(path).items()}
    rows = _rows_of(arrays.pop(_ROWS))
    skipped = [Skipped(name, reason) for name, _, reason in rows if reason is not None]
    names = [name for name, _, reason in rows if reason is None]
    if not names:
        return Part(None, skipped)
    return Part(PictureTable(names, {**arrays, "embeddings": arrays["embeddings"].astype(np.float32)}), skipped)


def parquet_bytes(part: Part, fingerprints: Mapping[str, str]) -> bytes:
    """Return the Parquet file of a part, whose files have these fingerprints."""
    arrow, pictures, left_out = _arrow(), part.pictures, len(part.skipped)
    names, states, reasons = zip(*_rows_with(part, fingerprints), strict=True)
    columns: dict[str, Any] = {
        "file_name": arrow.array(names, arrow.string()),
        "fingerprint": arrow.array(states, arrow.string()),
        "reason": arrow.array(reasons, arrow.string()),
    }
    if pictures:
        none, matrix = [None] * left_out, pictures["embeddings"]
        numbers = arrow.array(matrix.astype(np.float16).ravel(), arrow.float16())
        offsets = arrow.array(np.arange(len(pictures) + 1) * matrix.shape[1], arrow.int32())
        lists = arrow.ListArray.from_arrays(offsets, numbers)
        empty = arrow.nulls(left_out, lists.type)  # a list of a fixed size that is null cannot be read back
        columns["sha256"] = arrow.array([row.tobytes() for row in pictures["sha256"]] + none, arrow.binary(32))
        columns["embedding"] = arrow.chunked_array([lists, empty])
        columns["thumbnail"] = arrow.array(
            [row.tobytes() for row in pictures["thumbnails"]] + none, arrow.binary(3 * THUMBNAIL**2)
        )
        for name, values in pictures.measured.items():
            columns[f"{MEASURED}{name}"] = arrow.array([*values.tolist(), *none], arrow.float32())
    else:
        columns["thumbnail"] = arrow.nulls(left_out, arrow.binary(3 * THUMBNAIL**2))
    sink = io.BytesIO()
    _parquet().write_table(arrow.table(columns), sink, compression="zstd")
    return sink.getvalue()


def _read_parquet(path: Path) -> Part:
    table = _parquet().read_table(path)
    names, reasons = table["file_name"].to_pylist(), table["reason"].to_pylist()
    skipped = [Skipped(name, reason) for name, reason in zip(names, reasons, strict=True) if reason is not None]
    count = len(names) - len(skipped)  # pictures come first
    if not count:
        return Part(None, skipped)
    rows = table.slice(0, count)
    numbers = rows["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)  # (count * D,)
    thumbnails = np.frombuffer(b"".join(rows["thumbnail"].to_pylist()), np.uint8)
    arrays = {
        "embeddings": numbers.astype(np.float32).reshape(count, -1),  # (count, D)
        "sha256": np.frombuffer(b"".join(rows["sha256"].to_pylist()), np.uint8).reshape(count, 32),
        "thumbnails": thumbnails.reshape(count, 3, THUMBNAIL, THUMBNAIL),
    }
    measured = [name for name in table.column_names if name.startswith(MEASURED)]
    arrays |= {name: rows[name].to_numpy().astype(np.float32) for name in measured}
    return Part(PictureTable(names[:count], arrays), skipped)


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
