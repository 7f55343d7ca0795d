"""Find a repo folder and read its files."""

import functools
import glob
import os
import tomllib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypedDict

import numpy.typing as npt

from visim_models.errors import ConfigurationError, GalleryError, RepositoryError
from visim_models.repo_folder.formats import file_sha256, json_sha256, read_header, read_json, read_shapes, read_tensors
from visim_models.repo_folder.hub_repo import download_snapshot
from visim_models.repo_folder.manifest import (
    CONFIG,
    EMBEDDINGS,
    MANIFEST,
    METADATA,
    OOD,
    PLOTS,
    PROCESSOR,
    PROCESSOR_KEYS,
    manifest_files,
)

__all__ = ["FindOptions", "RepoFolder", "content_sha256", "snapshot_of"]

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_OF_THE_WHEEL: Final = "bundled"
"""Folder of this package with the repos that the wheel has: each is a folder `visim-<name>`."""
_CACHED: Final = ("models--", "datasets--", "spaces--")
"""Begin the folders of huggingface_hub's cache, each of one repo."""
_NAMESPACE_VARIABLE: Final = "VISIM_NAMESPACE"


class FindOptions(TypedDict, total=False):
    """Where `RepoFolder.find`, and every `from_pretrained`, looks for a repo."""

    revision: str | None
    subfolder: str
    cache_dir: str | os.PathLike[str] | None
    force_download: bool
    local_files_only: bool
    token: str | bool | None


class RepoFolder:
    """A repo folder to read from.

    Args:
        path: the folder.

    Attributes:
        name: what it was found by: the path of a folder, a short name or a Hub id.
        bundles: folders of `visim-<name>` folders, which `find` knows by their short names. A package that has such
            repos adds its own when it is imported, as `hub` does.

    Raises:
        RepositoryError: a file in it is a link to somewhere else.
    """

    bundles: ClassVar[list[Path]] = []

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        _refuse_links_out(path)

    @classmethod
    def find(
        cls,
        source: "str | os.PathLike[str] | RepoFolder",
        *,
        revision: str | None = None,
        subfolder: str | None = "",
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> "RepoFolder":
        """Find a repo by folder, short name or Hub id.

        Args:
            source: a folder, or a repo folder that is open already; or the id of a model repo on the Hub,
                "namespace/repo"; or a short name such as
                "car-extractor", which is a bundled repo where there is one, else `visim-<name>` of the namespace that
                the environment variable VISIM_NAMESPACE gives.
            revision: branch, tag or commit of the Hub repo.
            subfolder: folder in `source` that holds the repo's files; "" or None if it is `source` itself.
            cache_dir: folder for downloaded snapshots; by default huggingface_hub's own.
            force_download: download all files again, also those that are in the cache.
            local_files_only: use the cache alone and do not ask the network.
            token: for private or gated repos; by default the one that `hf auth login` left.

        Raises:
            RepositoryError: no such folder or repo, no permission, no network and no cached copy, or a file in it is a
                link to somewhere else.
        """
        if isinstance(source, RepoFolder):
            return source
        subfolder = os.path.normpath(subfolder).replace(os.sep, "/") if subfolder else ""
        subfolder = "" if subfolder == "." else subfolder
        if os.path.isdir(source):  # Path.is_dir raises where the name is too long for a file system
            return cls(_inside(Path(source), subfolder))
        name = os.fspath(source)
        if revision is None and not force_download and (bundled := _bundled(name)):
            return cls(_inside(bundled, subfolder))._called(name)
        namespace = os.environ.get(_NAMESPACE_VARIABLE)
        is_short = name.replace("-", "").isalnum()
        if is_short and namespace:
            name = f"{namespace}/visim-{name}"
        elif is_short:
            raise RepositoryError(
                f"{name!r} is neither a folder here nor a bundled repo: give a folder or 'namespace/repo', or set "
                f"{_NAMESPACE_VARIABLE} to the Hub namespace that has visim-{name}."
            )
        prefix = f"{glob.escape(subfolder)}/" if subfolder else ""
        snapshot = download_snapshot(
            name,
            patterns=[f"{prefix}{file}" for file in MANIFEST if file not in PLOTS],
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return cls(_inside(snapshot, subfolder))._called(name)

    def check_gallery(self) -> None:
        """Check that there is a gallery to search, and not a network alone.

        Raises:
            GalleryError: there is none. The message says how one is made.
        """
        if self.has(CONFIG) and not any(self.has(name) for name in (METADATA, EMBEDDINGS, OOD)):
            raise GalleryError(
                f"{self.name} is a network without a gallery: make one of your pictures with `visim build PICTURES "
                f"--model {self.name} --out FOLDER`, or with VisualSimilarity.from_pictures(PICTURES, "
                f"model={self.name!r}).",
                path=self.path,
            )

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file of the manifest."""
        return self.path / name

    def _called(self, name: str) -> Self:
        self.name = name
        return self

    def has(self, name: str) -> bool:
        """Return whether the repo has this file."""
        return (self.path / name).is_file()

    def json(self, name: str) -> dict[str, Any]:
        """Read a JSON file; raises ConfigurationError."""
        return read_json(self.path / name)

    def tensors(self, name: str, *, names: Collection[str] | None = None) -> dict[str, npt.NDArray[Any]]:
        """Read a safetensors file, which must hold the tensors `names`; raises WeightsError."""
        return read_tensors(self.path / name, names=names)

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Read the shapes of the tensors of a safetensors file, without creating any; raises WeightsError."""
        return read_shapes(self.path / name)

    def header(self, name: str) -> dict[str, str]:
        """Read the text pairs in the header of a safetensors file; raises WeightsError."""
        return read_header(self.path / name)

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file, in hexadecimal; that of preprocessor_config.json is of what it says."""
        return content_sha256(self.path / name)


def content_sha256(path: Path) -> str:
    """Return the SHA-256 that ties a gallery to a file: its bytes, or what a preprocessor_config.json says."""
    if path.name == PROCESSOR:
        with suppress(ConfigurationError):  # whoever reads it says what is wrong
            values = read_json(path)
            return json_sha256({**values, "size": values.get("crop_size", values.get("size"))}, PROCESSOR_KEYS)
    return file_sha256(path)


def _inside(folder: Path, subfolder: str) -> Path:
    """Return a folder in a repo, which must be there and may not lead out of it."""
    found = folder / subfolder
    if not found.is_dir() or not found.resolve().is_relative_to(folder.resolve()):
        raise RepositoryError(f"{folder} has no folder {subfolder!r}.", path=found)
    return found


def _bundled(name: str) -> Path | None:
    """Find a short name among the repos that packages bring, the wheel has, or the checkout declares."""
    if "/" in name:
        return None
    parents = (*RepoFolder.bundles, _PACKAGE / _OF_THE_WHEEL, *_of_the_checkout())
    return next((folder for parent in parents if (folder := parent / f"visim-{name}").is_dir()), None)


@functools.cache
def _of_the_checkout() -> list[Path]:
    """Return the folder of repos that the pyproject.toml beside this package declares: none where it is installed."""
    project = _PACKAGE.parent
    try:
        settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        return [project / settings["tool"]["visim"]["repos"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def snapshot_of(folder: Path) -> Path | None:
    """Return the folder of a repo in the Hub's cache that a folder is in; None where it is in none."""
    return next((path for path in folder.parents if path.name.startswith(_CACHED) and "--" in path.name), None)


def _refuse_links_out(folder: Path) -> None:
    """Refuse a manifest file that is a link to somewhere else.

    The Hub's cache fills a snapshot with links to the `blobs` folder of the same repo: those belong to it.
    """
    home = folder.resolve()
    homes = [home, *([(cached / "blobs").resolve()] if (cached := snapshot_of(home)) else [])]
    for name in manifest_files(folder):
        if not any((folder / name).resolve().is_relative_to(home) for home in homes):
            raise RepositoryError(
                f"{folder / name} is a link that leads out of the repo: replace it with the file itself.",
                path=folder / name,
            )
