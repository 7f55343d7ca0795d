"""Finding a repo by name: the bundled copy, else the Hub's; a folder or a "namespace/repo" works too."""

import os
from pathlib import Path

from visim_models import VisualSimilarity, repository
from visim_models.errors import RepositoryError

__all__ = ["BUNDLED", "REPO_NAMES", "load", "locate"]

BUNDLED = Path(__file__).parent / "pretrained"
REPO_NAMES = {
    "cifar10-autoencoder": "visim-cifar10-autoencoder",
    "car-extractor": "visim-car-extractor",
    "car-autoencoder": "visim-car-autoencoder",
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
    """The folder of a repo.

    Args:
        name: one of `REPO_NAMES`: the bundled folder, else the repo of that name in the namespace that the environment
            variable VISIM_NAMESPACE gives; or a folder; or "namespace/repo".
        revision: branch, tag or commit of a Hub repo. A bundled copy has none, so naming one asks the Hub.
        cache_dir, local_files_only, token: as in `visim_models.repository.resolve`.

    Raises:
        RepositoryError: there is no such folder or repo, or it cannot be downloaded.
    """
    repo = REPO_NAMES.get(os.fspath(name))
    if repo is not None and revision is None and (BUNDLED / repo).is_dir():
        return BUNDLED / repo
    namespace = os.environ.get("VISIM_NAMESPACE")
    if repo is not None and not namespace:
        raise RepositoryError(
            f"{name} is not bundled here{f' at revision {revision}' if revision else ''}. Set VISIM_NAMESPACE to the "
            f"Hub namespace that has {repo}, or give a folder or 'namespace/repo'."
        )
    return repository.resolve(
        name if repo is None else f"{namespace}/{repo}",
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        token=token,
    )


def load(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> VisualSimilarity:
    """The model, processor, gallery and detector of a repo, ready to search. Arguments are those of `locate`.

    Raises:
        RepositoryError: as `locate`.
        VisimError: the repo's files are damaged or do not fit together.
    """
    folder = locate(name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token)
    return VisualSimilarity.from_pretrained(folder)
