"""The pictures that a data set on the Hub packs into Parquet files and zips, as most image data sets there do.

Parquet files are tables with a column of pictures (`datasets` stores a structure of bytes and path) and, where there is
one, a column of labels. The picture in row 12 of data/train-00000-of-00001.parquet is
"data/train-00000-of-00001/000012.jpg"; a member of a zip has its own name, behind that of the zip where there are
several. The files are downloaded whole into the cache of huggingface_hub, and read from there.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

import numpy as np
from huggingface_hub import constants, hf_hub_download

from visim_models.errors import ImageSourceError, MissingExtraError
from visim_models.sources.file_names import is_picture_name

__all__ = ["PackedPictures", "is_package"]

_PARQUET: Final = ".parquet"
_ZIP: Final = ".zip"
_DIGITS: Final = 6
_GROUPS_KEPT: Final = 2
_LABELS: Final = ("label", "labels", "class")
"""Columns that are taken as labels where the table does not say which one is."""


class _Zip(Protocol):
    """A zip, opened."""

    def member_names(self) -> Sequence[str]: ...
    def read(self, file_name: str) -> bytes: ...
    def fingerprint(self, file_name: str) -> str: ...


def is_package(file_name: str) -> bool:
    """Return whether a file of a data set may hold pictures."""
    return file_name.endswith((_PARQUET, _ZIP))


@dataclass(frozen=True)
class _Table:
    """A Parquet file with a column of pictures.

    Attributes:
        file: opened by pyarrow.
        column: of the pictures, as pyarrow selects it.
        starts: (G,) first row of each of its groups of rows.
    """

    file: Any
    column: str
    starts: "np.ndarray[Any, np.dtype[np.int64]]"


class PackedPictures:
    """Lists and reads the pictures in the packages of a data set. Any thread may call any method.

    Args:
        repo_id: "namespace/name" of the data set.
        revision: branch, tag or commit.
        open_zip: opens a zip.
        token: for private or gated data sets.
        only_cached: download nothing: a package that is not in the cache is an error.
    """

    def __init__(
        self,
        repo_id: str,
        revision: str | None,
        *,
        open_zip: Callable[[Path], _Zip],
        token: str | None = None,
        only_cached: bool = False,
    ) -> None:
        self._repo_id, self._revision, self._token = repo_id, revision, token
        self._open_zip, self._only_cached = open_zip, only_cached
        self._lock = threading.Lock()
        self._tables: dict[str, _Table] = {}
        self._zips: dict[str, _Zip] = {}
        self._members: dict[str, tuple[str, str]] = {}
        self._groups: OrderedDict[tuple[str, int], list[bytes | None]] = OrderedDict()
        self.labels: dict[str, str] = {}

    def list_files(self, packages: Mapping[str, str], *, folder: str = "") -> dict[str, str]:
        """Download packages and list their pictures; `labels` then has the labels of those that have one.

        Args:
            packages: path in the data set -> a text that changes with the file.
            folder: of the data set that the paths are below.

        Returns:
            File name -> a text that changes with the picture.

        Raises:
            ImageSourceError: a package cannot be downloaded or read.
            MissingExtraError: pyarrow is not installed.
        """
        found: dict[str, str] = {}
        zips = [path for path in packages if path.endswith(_ZIP)]
        for path, state in sorted(packages.items()):
            local = self._download(f"{folder}/{path}" if folder else path)
            if path.endswith(_ZIP):
                reader = self._zips[path] = self._open_zip(Path(local))
                prefix = f"{path.removesuffix(_ZIP)}/" if len(zips) > 1 else ""
                for member in filter(is_picture_name, reader.member_names()):
                    self._members[prefix + member] = (path, member)
                    found[prefix + member] = f"{state}-{reader.fingerprint(member)}"
            else:
                found |= {name: f"{state}-{name}" for name in self._list_table(path, local)}
        return found

    def read(self, file_name: str) -> bytes:
        """Return the content of a picture.

        Raises:
            FileNotFoundError: no package that was listed has it.
            ImageSourceError: its row has no picture.
        """
        if file_name in self._members:
            path, member = self._members[file_name]
            return self._zips[path].read(member)
        shard, _, row = file_name.rpartition("/")
        table = self._tables.get(shard + _PARQUET)
        digits = PurePosixPath(row).stem
        if table is None or not digits.isdecimal():
            raise FileNotFoundError(file_name)
        content = self._row(shard + _PARQUET, table, int(digits))
        if content is None:
            raise ImageSourceError(f"{file_name}: that row of the data set has no picture.", path=file_name)
        return content

    def _row(self, path: str, table: _Table, row: int) -> bytes | None:
        group = int(np.searchsorted(table.starts, row, side="right")) - 1
        with self._lock:  # rows are asked for in their order: nearly all of them are in the groups that are kept
            if (path, group) not in self._groups:
                rows = table.file.read_row_group(group, columns=[table.column]).column(0).combine_chunks()
                if rows.type.num_fields:  # the structure of `datasets`
                    rows = rows.field("bytes")
                self._groups[path, group] = rows.to_pylist()
                while len(self._groups) > _GROUPS_KEPT:
                    self._groups.popitem(last=False)
            self._groups.move_to_end((path, group))
            contents = self._groups[path, group]
        index = row - int(table.starts[group])
        if index >= len(contents):
            raise FileNotFoundError(f"{path}, row {row}")
        return contents[index]

    def _list_table(self, path: str, local: str) -> list[str]:
        """List the rows of a Parquet file; none where it has no column of pictures."""
        parquet = _parquet()
        try:
            file = parquet.ParquetFile(local)
            features = _features(file.schema_arrow)
            column = _picture_column(file.schema_arrow, features)
            if column is None:
                return []
            counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            names = [f"{path.removesuffix(_PARQUET)}/{row:0{_DIGITS}d}.jpg" for row in range(sum(counts))]
            self.labels |= _labels(file, features, names)
        except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are of these kinds
            raise ImageSourceError(
                f"{path} of {self._repo_id} is no Parquet file that can be read ({error}).", path=path
            ) from error
        self._tables[path] = _Table(file, column, np.cumsum([0, *counts[:-1]]))
        return names

    def _download(self, path: str) -> str:
        try:
            return hf_hub_download(
                self._repo_id,
                path,
                repo_type="dataset",
                revision=self._revision,
                endpoint=constants.ENDPOINT,
                token=self._token or False,
                local_files_only=self._only_cached,
            )
        except Exception as error:  # of huggingface_hub, and of httpx or httpx2 by its version
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ImageSourceError(f"{path} of {self._repo_id} cannot be downloaded ({reason}).", path=path) from error


def _features(schema: Any) -> dict[str, Any]:
    """Return what `datasets` says of the columns; nothing where the table is not from there."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _picture_column(schema: Any, features: Mapping[str, Any]) -> str | None:
    """Return the first column of pictures, as pyarrow selects its bytes."""
    for field in schema:
        inner = {field.type.field(index).name for index in range(field.type.num_fields)}
        stated = features.get(field.name)
        is_stated = isinstance(stated, dict) and stated.get("_type") == "Image"
        if {"bytes", "path"} <= inner:
            return f"{field.name}.bytes"
        if is_stated and not inner:
            return str(field.name)
    return None


def _labels(file: Any, features: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return file name -> label, of a column of classes, or of one that is called so."""
    columns = [name for name, each in features.items() if isinstance(each, dict) and each.get("_type") == "ClassLabel"]
    columns += [name for name in _LABELS if name in file.schema_arrow.names]
    if not columns:
        return {}
    classes = features.get(columns[0], {}).get("names") if columns[0] in features else None
    values = file.read(columns=[columns[0]]).column(0).to_pylist()

    def text(value: Any) -> str:
        if isinstance(classes, list) and isinstance(value, int):
            return str(classes[value]) if 0 <= value < len(classes) else ""
        return "" if value is None or isinstance(value, list | dict | bytes) else str(value)

    return {name: label for name, value in zip(names, values, strict=True) if (label := text(value))}


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="milvus", purpose="A data set in Parquet") from error
    return pyarrow.parquet
