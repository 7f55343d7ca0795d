"""Find a repo by name: the bundled copy, else the Hub's; a folder or a "namespace/repo" works too."""

import os
from pathlib import Path

from visim_models import VisualSimilarity
from visim_models.errors import RepositoryError
from visim_models.repo_folder import RepoFolder

__all__ = ["BUNDLED", "REPO_NAMES", "load", "local_folder", "locate"]

BUNDLED = Path(__file__).parent / "pretrained"
REPO_NAMES = {
    "cifar10-autoencoder": "visim-cifar10-autoencoder",
    "cifar10-extractor": "visim-cifar10-extractor",
    "car-extractor": "visim-car-extractor",
    "car-autoencoder": "visim-car-autoencoder",
    "general-extractor": "visim-general-extractor",
}
"""Short name -> name of the repo on the Hub and of the bundled folder."""


def locate(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """Find the folder of a repo.

    Args:
        name: one of `REPO_NAMES`: the bundled folder, else the repo of that name in the namespace that the environment
            variable VISIM_NAMESPACE gives; or a folder; or "namespace/repo".
        revision: branch, tag or commit of a Hub repo. A bundled copy has none, so naming one asks the Hub.
        cache_dir: folder for downloaded snapshots; by default huggingface_hub's own.
        local_files_only: use the cache alone and do not ask the network.
        token: for private or gated repos; by default the one that `hf auth login` left.

    Raises:
        RepositoryError: there is no such folder or repo, or it cannot be downloaded.
    """
    repo = REPO_NAMES.get(os.fspath(name))
    if repo is not None and revision is None and (BUNDLED / repo).is_dir():
        return BUNDLED / repo
    return RepoFolder.find(
        name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
    ).path


def local_folder(name: str | os.PathLike[str]) -> Path:
    """Find the folder of a repo to write into: a bundled one, or a folder; never the Hub's cache.

    Args:
        name: one of `REPO_NAMES`, or a folder.

    Raises:
        RepositoryError: there is no such folder.
    """
    folder = BUNDLED / REPO_NAMES.get(os.fspath(name), "")
    if folder == BUNDLED or not folder.is_dir():
        folder = Path(name)
    if not folder.is_dir():
        raise RepositoryError(
            f"{os.fspath(name)} is no folder here: download the repo first (hf download), then name its folder.",
            path=folder,
        )
    return folder


def load(
    name: str | os.PathLike[str],
    *,
    device: str = "cpu",
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    index_uri: str | None = None,
) -> VisualSimilarity:
    """Load the model, processor, gallery and detector of a repo, ready to search.

    Args:
        name: one of `REPO_NAMES`, a folder, or "namespace/repo".
        device: where the network computes.
        revision: branch, tag or commit of a Hub repo.
        cache_dir: folder for downloaded snapshots; by default huggingface_hub's own.
        local_files_only: use the cache alone and do not ask the network.
        token: for private or gated repos; by default the one that `hf auth login` left.
        index_uri: where the engine of a gallery in an engine is; by default that of VISIM_INDEX_URI.

    Raises:
        RepositoryError: there is no such folder or repo, or it cannot be downloaded.
        VisimError: the repo's files are damaged or do not fit together.
    """
    folder = locate(name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token)
    return VisualSimilarity.from_pretrained(folder, device=device, index_uri=index_uri)
