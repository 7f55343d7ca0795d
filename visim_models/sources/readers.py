"""Read the files of one image root: a folder, a zip, or a web address. `store` chooses among these and others."""

import errno
import os
import re
import stat
import threading
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.hf_api import RepoFile

from visim_models.errors import ImageHostError, ImageSourceError
from visim_models.images.decode import MAX_BYTES
from visim_models.images.kinds import HEAD_BYTES
from visim_models.sources.download import HUB_DATASETS, download, hub_address, hub_dataset, origin
from visim_models.sources.file_names import is_picture_name
from visim_models.sources.packed import PackedPictures, is_package

__all__ = ["MAX_WEB_BYTES", "FolderReader", "Listing", "Reader", "WebReader", "ZipReader"]

MAX_MEMBER_BYTES: Final = 2**28
"""Largest file in a zip: a packed one can be far larger than the zip."""

MAX_WEB_BYTES: Final = 16 * 2**20
"""Largest file from the network: several are in memory at once."""

_METADATA: Final = "gallery/metadata.csv"
"""By this a folder is known as a gallery's."""

_JOURNAL: Final = re.compile(r"journal-[\d-]+\.jsonl")
_JOURNAL_HEAD: Final = b'{"visim_journal"'
_ENCRYPTED: Final = 0x1
# The other methods of zip files unpack a whole block at a time, whatever its size.
_UNPACKED_IN_STEPS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


class Listing(NamedTuple):
    """Files under a root.

    Attributes:
        file_names: of every regular file, once each, in no order.
        unreadable: path -> why it was left out.
        quarantined: of the regular files in folders to which visim itself has moved what was taken out.
        labels: file name -> label, where the source says one.
    """

    file_names: Sequence[str]
    unreadable: dict[str, str]
    quarantined: Sequence[str] = ()
    labels: Mapping[str, str] = MappingProxyType({})


class Reader(Protocol):
    """Reads files by names that `check_file_name` has passed. Every method may be called by several threads."""

    @property
    def is_remote(self) -> bool:
        """Whether files come over the network."""

    def list_files(self) -> Listing:
        """List all files; raise ImageSourceError if that is not possible."""

    def read(self, file_name: str, *, seconds: float) -> bytes:
        """Read a file, from the network within so many seconds.

        Raises:
            FileNotFoundError, NotADirectoryError: there is no such file.
            ImageSourceError: it is refused or cannot be had.
            Exception: it cannot be read; `zipfile` raises many kinds.
        """

    def head(self, file_name: str) -> bytes | None:
        """Return the first bytes of a file, by which its kind is told; None where that takes a request."""

    def fingerprint(self, file_name: str) -> str:
        """Return a text that changes with the file, or "" if nothing cheap shows that; raise OSError if it is gone."""


class FolderReader:
    """Reads a folder. Symbolic links to files are followed, but not out of a folder that is part of a gallery.

    The links of the person who names a folder are as good as copies: the Hub's cache, DVC and git-annex make such
    folders. Those in the folder of a gallery may be by whoever made the gallery, and name any file of this machine.

    Args:
        folder: an existing folder.
    """

    is_remote = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._stays_inside = any(os.path.isfile(parent / _METADATA) for parent in (self._folder, *self._folder.parents))

    def list_files(self) -> Listing:
        """List the regular files of the folder and its sub-folders; links to folders are not followed."""
        names: list[str] = []
        quarantined: list[str] = []
        unreadable: dict[str, str] = {}
        quarantines: list[str] = []
        for path, folders, files in os.walk(self._folder, onerror=lambda error: self._record(error, unreadable)):
            # Of a folder without this right, files can be listed but not opened.
            if not os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                self._record(PermissionError(errno.EACCES, os.strerror(errno.EACCES), path), unreadable)
                folders.clear()
                continue
            if path != str(self._folder) and any(_is_journal(path, name) for name in files):
                quarantines.append(os.path.join(path, ""))
            found = quarantined if os.path.join(path, "").startswith(tuple(quarantines)) else names
            for name in files:
                file_name = (Path(path) / name).relative_to(self._folder).as_posix()
                if os.path.isfile(self._folder / file_name):  # unlike `Path.is_file`, it raises nothing
                    found.append(file_name)
                elif is_picture_name(name):
                    unreadable[file_name] = "it is no regular file, or a broken link"
            for name in folders:
                if os.path.islink(os.path.join(path, name)):
                    link = (Path(path) / name).relative_to(self._folder).as_posix()
                    unreadable[link] = "it is a link to a folder, which is not followed: name that folder itself"
        return Listing(names, unreadable, quarantined)

    def _record(self, error: OSError, unreadable: dict[str, str]) -> None:
        path = Path(error.filename).relative_to(self._folder).as_posix()
        if path == ".":
            raise ImageSourceError(
                f"The folder {self._folder} cannot be read ({error.strerror}): check its permissions.",
                path=self._folder,
            ) from error
        unreadable[path] = f"the folder cannot be read ({error.strerror})"

    def read(self, file_name: str, *, seconds: float = 0) -> bytes:
        """Read a file; a local one is not waited for."""
        with open(self._path_inside(file_name), "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):  # a pipe or a device would never end
                raise ImageSourceError(
                    f"{file_name} under {self._folder} is no regular file: it is not read.", path=file_name
                )
            _check_size(status.st_size, file_name)
            return file.read(status.st_size + 1)

    def _path_inside(self, file_name: str) -> str:
        """Return the path of a file, resolved if there is a link in it that must not lead out of the folder."""
        path = str(self._folder)
        for part in file_name.split("/"):
            path = os.path.join(path, part)
            if stat.S_ISLNK(os.lstat(path).st_mode):
                break
        else:
            return path
        if not self._stays_inside:
            return str(self._folder / file_name)
        resolved = (self._folder / file_name).resolve()
        if not resolved.is_relative_to(self._folder):
            raise ImageSourceError(
                f"{file_name} is a link that leads out of {self._folder}, which is part of a gallery: it is not read.",
                path=file_name,
            )
        return str(resolved)

    def head(self, file_name: str) -> bytes | None:
        """Read the first bytes of a file."""
        with open(self._path_inside(file_name), "rb", opener=_open_without_waiting) as file:
            return file.read(HEAD_BYTES)

    def fingerprint(self, file_name: str) -> str:
        """Return the size and the time of the last change."""
        status = (self._folder / file_name).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"


class ZipReader:
    """Reads a zip.

    Args:
        path: the file.

    Raises:
        ImageSourceError: its directory is damaged.
    """

    is_remote = False

    def __init__(self, path: Path) -> None:
        self._path = path
        # ZipFile counts its open members without a lock; what is read from them is guarded by a lock of its own.
        self._opening = threading.Lock()
        try:
            self._archive = zipfile.ZipFile(path)
        except Exception as error:  # zipfile raises many kinds
            raise ImageSourceError(f"{path} is a damaged zip ({error}): pack it again.", path=path) from error

    def list_files(self) -> Listing:
        """List the members; a name that the zip has twice is listed once, and stands for the last of them."""
        counts = Counter(name for name in self._archive.namelist() if not name.endswith("/"))
        earlier = {
            name: f"the zip has this name {count} times: all but the last are left out"
            for name, count in counts.items()
            if count > 1
        }
        return Listing(list(counts), earlier)

    def member_names(self) -> Sequence[str]:
        """Return the names of the members, each once."""
        return self.list_files().file_names

    def read(self, file_name: str, *, seconds: float = 0) -> bytes:
        """Read a member."""
        member = self._member(file_name)
        where = f"{file_name} in {self._path}"
        if member.flag_bits & _ENCRYPTED:
            raise ImageSourceError(f"{where} is encrypted: pack the zip again without a password.", path=file_name)
        if member.compress_type not in _UNPACKED_IN_STEPS:
            raise ImageSourceError(
                f"{where} is packed by a rare method: pack the zip again with deflate.", path=file_name
            )
        _check_size(member.file_size, file_name, MAX_MEMBER_BYTES)
        with self._opening:
            file = self._archive.open(member)
        try:
            return file.read(member.file_size + 1)  # never gives more than the size, whatever unpacks
        finally:
            with self._opening:
                file.close()

    def head(self, file_name: str) -> bytes | None:
        """Read the first bytes of a member."""
        with self._opening:
            file = self._archive.open(self._member(file_name))
        try:
            return file.read(HEAD_BYTES)
        finally:
            with self._opening:
                file.close()

    def fingerprint(self, file_name: str) -> str:
        """Return the size and the checksum."""
        member = self._member(file_name)
        return f"{member.file_size}-{member.CRC:08x}"

    def _member(self, file_name: str) -> zipfile.ZipInfo:
        try:
            return self._archive.getinfo(file_name)
        except KeyError as error:
            raise FileNotFoundError(file_name) from error


class WebReader:
    """Reads the files below a web address, or of a data set on the Hub, one request each.

    Args:
        root: an http or https address, or hf://datasets/namespace/name/folder.
        trusted: the host may be in a private network, and a data set is read with the user's token.

    Raises:
        ImageSourceError: `root` is no such address.
    """

    is_remote = True

    def __init__(self, root: str, *, trusted: bool) -> None:
        self._root = root
        is_on_hub = root.startswith(HUB_DATASETS)
        self._dataset = hub_dataset(root) if is_on_hub else None
        self._address = hub_address(root) if is_on_hub else root.rstrip("/")
        home = origin(self._address)  # refuses every other scheme
        self._trusted_origin = home if trusted or is_on_hub else None  # the Hub, or the host that HF_ENDPOINT names
        self._uses_token = trusted and is_on_hub
        self._blobs: dict[str, str] = {}
        self._packed: PackedPictures | None = None
        self._looking = threading.Lock()
        self._has_looked = False

    def list_files(self) -> Listing:
        """List the files of a data set, and keep the hash of each as its fingerprint.

        Where it has no pictures as files, those in its Parquet files and zips are listed, which are downloaded.
        """
        return self._list(only_cached=False)

    def _list(self, *, only_cached: bool) -> Listing:
        if self._dataset is None:
            raise ImageSourceError(
                f"The pictures under {self._root} cannot be listed: a web address has no list of files. "
                "Give a folder, a zip, a list of addresses (.txt), hf://datasets/... or s3://...",
                path=self._root,
            )
        repo_id, revision, folder = self._dataset
        api = HfApi(endpoint=constants.ENDPOINT, token=None if self._uses_token else False)
        try:
            entries = list(
                api.list_repo_tree(repo_id, folder or None, recursive=True, revision=revision, repo_type="dataset")
            )
        except Exception as error:  # of huggingface_hub, and of httpx or httpx2 by its version
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ImageSourceError(
                f"The pictures under {self._root} cannot be listed ({reason}).", path=self._root
            ) from error
        start = len(folder) + 1 if folder else 0
        self._blobs = {entry.path[start:]: entry.blob_id for entry in entries if isinstance(entry, RepoFile)}
        packages = {name: blob for name, blob in self._blobs.items() if is_package(name)}
        if not self._uses_token or not packages or any(map(is_picture_name, self._blobs)):
            return Listing(list(self._blobs), {})
        packed = PackedPictures(repo_id, revision, open_zip=ZipReader, token=get_token(), only_cached=only_cached)
        self._blobs |= packed.list_files(packages, folder=folder)
        self._packed = packed
        return Listing(list(self._blobs), {}, labels=packed.labels)

    def read(self, file_name: str, *, seconds: float) -> bytes:
        """Fetch a file; one in a package that was downloaded comes from there."""
        with suppress(FileNotFoundError):
            if self._packed:
                return self._packed.read(file_name)
        try:
            return self._fetch(file_name, seconds)
        except ImageHostError:
            raise
        except (FileNotFoundError, ImageSourceError):
            if not self._uses_token or not self._finds_packages() or self._packed is None:
                raise
            return self._packed.read(file_name)

    def _finds_packages(self) -> bool:
        """Look once for packages in the cache, for a page of a gallery that was built of them here."""
        with self._looking:
            if not self._has_looked and not self._packed:
                with suppress(ImageSourceError):
                    self._list(only_cached=True)
            self._has_looked = True
        return self._packed is not None

    def _fetch(self, file_name: str, seconds: float) -> bytes:
        return download(
            f"{self._address}/{quote(file_name)}",
            timeout=seconds,
            max_bytes=MAX_WEB_BYTES,
            trusted_origin=self._trusted_origin,
            token=get_token() if self._uses_token else None,
        )

    def head(self, file_name: str) -> None:
        """Return None: the first bytes take a request."""

    def fingerprint(self, file_name: str) -> str:
        """Return the hash that the last listing gave, or ""."""
        return self._blobs.get(file_name, "")


def _is_journal(folder: str, name: str) -> bool:
    """Return whether a file is the journal of a clean-up: the folder holds what that has moved there."""
    if not _JOURNAL.fullmatch(name):
        return False
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return file.read(len(_JOURNAL_HEAD)) == _JOURNAL_HEAD
    except OSError:
        return False


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for its writer


def _check_size(size: int, file_name: str, largest: int = MAX_BYTES) -> None:
    if size > largest:
        raise ImageSourceError(f"{file_name} is larger than {largest:,} bytes: it is not read.", path=file_name)
