"""Find a repo folder and read its files."""

import os
from collections.abc import Collection
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from visim_models.errors import RepositoryError
from visim_models.repo_folder.formats import file_sha256, read_header, read_json, read_shapes, read_tensors
from visim_models.repo_folder.hub_repo import download_snapshot
from visim_models.repo_folder.manifest import MANIFEST, PLOTS, manifest_files

__all__ = ["RepoFolder"]

_REPOS_GROUP: Final = "visim.repos"
"""Entry points of installed packages that bundle repos: each is a folder of `visim-<name>` folders."""
_NAMESPACE_VARIABLE: Final = "VISIM_NAMESPACE"


class RepoFolder:
    """A repo folder to read from.

    Args:
        path: the folder.

    Raises:
        RepositoryError: a file in it is a link to somewhere else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _refuse_links_out(path)

    @classmethod
    def find(
        cls,
        source: "str | os.PathLike[str] | RepoFolder",
        *,
        revision: str | None = None,
        subfolder: str = "",
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
            subfolder: folder in `source` that holds the repo's files; "" if it is `source` itself.
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
        if os.path.isdir(source):  # Path.is_dir raises where the name is too long for a file system
            return cls(_inside(Path(source), subfolder))
        name = os.fspath(source)
        if revision is None and not force_download and (bundled := _bundled(name)):
            return cls(_inside(bundled, subfolder))
        namespace = os.environ.get(_NAMESPACE_VARIABLE)
        is_short = name.replace("-", "").isalnum()
        if is_short and namespace:
            name = f"{namespace}/visim-{name}"
        elif is_short:
            raise RepositoryError(
                f"{name!r} is neither a folder here nor a bundled repo: give a folder or 'namespace/repo', or set "
                f"{_NAMESPACE_VARIABLE} to the Hub namespace that has visim-{name}."
            )
        snapshot = download_snapshot(
            name,
            patterns=[f"{subfolder}/{file}" if subfolder else file for file in MANIFEST if file not in PLOTS],
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return cls(_inside(snapshot, subfolder))

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file of the manifest."""
        return self.path / name

    def has(self, name: str) -> bool:
        """Return whether the repo has this file."""
        return (self.path / name).is_file()

    def json(self, name: str) -> dict[str, Any]:
        """Read a JSON file; raises ConfigurationError."""
        return read_json(self.path / name)

    def tensors(self, name: str, *, names: Collection[str] | None = None) -> dict[str, Tensor]:
        """Read a safetensors file, which must hold the tensors `names`; raises WeightsError."""
        return read_tensors(self.path / name, names=names)

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Read the shapes of the tensors of a safetensors file, without creating any; raises WeightsError."""
        return read_shapes(self.path / name)

    def header(self, name: str) -> dict[str, str]:
        """Read the text pairs in the header of a safetensors file; raises WeightsError."""
        return read_header(self.path / name)

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file, in hexadecimal."""
        return file_sha256(self.path / name)


def _inside(folder: Path, subfolder: str) -> Path:
    """Return a folder in a repo, which must be there and may not lead out of it."""
    found = folder / subfolder
    if not found.is_dir() or not found.resolve().is_relative_to(folder.resolve()):
        raise RepositoryError(f"{folder} has no folder {subfolder!r}.", path=found)
    return found


def _bundled(name: str) -> Path | None:
    """Find a short name among the repos that installed packages bundle."""
    for point in entry_points(group=_REPOS_GROUP):
        try:
            folder = Path(point.load()) / f"visim-{name}"
        except (ImportError, AttributeError):  # the wheel alone, without the checkout that has the repos
            continue
        if "/" not in name and folder.is_dir():
            return folder
    return None


def _refuse_links_out(folder: Path) -> None:
    """Refuse a manifest file that is a link to somewhere else.

    The Hub's cache fills a snapshot with links to the `blobs` folder of the same repo: those belong to it.
    """
    homes = [folder.resolve()]
    snapshot = next((path for path in (folder, *folder.parents) if path.parent.name == "snapshots"), None)
    if snapshot:
        homes.append((snapshot.parent.parent / "blobs").resolve())
    for name in manifest_files(folder):
        if not any((folder / name).resolve().is_relative_to(home) for home in homes):
            raise RepositoryError(
                f"{folder / name} is a link that leads out of the repo: replace it with the file itself.",
                path=folder / name,
            )
