"""Find a repo by name: the bundled copy, else the Hub's; a folder or a "namespace/repo" works too."""

import os
from pathlib import Path
from typing import Any, Final

from visim_models import VisualSimilarity
from visim_models.errors import RepositoryError
from visim_models.repo_folder import RepoFolder

__all__ = ["BUNDLED", "REPO_NAMES", "load", "local_folder", "locate"]

BUNDLED: Final = Path(__file__).parent / "pretrained"
REPO_NAMES: Final = {
    "cifar10-autoencoder": "visim-cifar10-autoencoder",
    "cifar10-extractor": "visim-cifar10-extractor",
    "car-extractor": "visim-car-extractor",
    "car-autoencoder": "visim-car-autoencoder",
    "general-extractor": "visim-general-extractor",
}
"""Short name -> name of the repo on the Hub and of the bundled folder."""


def locate(name: str | os.PathLike[str], **options: Any) -> Path:
    """Find the folder of a repo, as `VisualSimilarity.from_pretrained` finds it.

    Args:
        name: one of `REPO_NAMES`: the bundled folder, else the repo of that name in the namespace that the environment
            variable VISIM_NAMESPACE gives; or a folder; or "namespace/repo".
        options: of `RepoFolder.find`, such as revision, cache_dir, local_files_only and token. A bundled copy has no
            revisions, so naming one asks the Hub.

    Raises:
        RepositoryError: there is no such folder or repo, or it cannot be downloaded.
    """
    return RepoFolder.find(name, **options).path


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


def load(name: str | os.PathLike[str], **options: Any) -> VisualSimilarity:
    """Load the model, processor, gallery and detector of a repo, ready to search.

    It is `VisualSimilarity.from_pretrained`, in a checkout that has the repos of `REPO_NAMES`.

    Args:
        name: one of `REPO_NAMES`, a folder, or "namespace/repo".
        options: of `VisualSimilarity.from_pretrained`, such as device, revision, cache_dir and token.

    Raises:
        RepositoryError: there is no such folder or repo, or it cannot be downloaded.
        VisimError: the repo's files are damaged or do not fit together.
    """
    return VisualSimilarity.from_pretrained(name, **options)
