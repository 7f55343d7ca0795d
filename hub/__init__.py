"""visim on the Hugging Face Hub: find a repo by its short name, write its card, publish it."""

from hub.locate import BUNDLED, REPO_NAMES, load, locate
from visim_models.repo_folder import RepoFolder

__all__ = ["REPO_NAMES", "load", "locate"]

RepoFolder.bundles.append(BUNDLED)
