"""A repo folder: the one manifest of what it holds, its one reader and its one writer.

`RepoFolder.find` finds a repo by folder, short name or Hub id, and reads its files. `drafting` writes files of a repo:
into a new or empty folder or into a repo, never into its own input. It never touches a file that is not in the
manifest, and a process killed at any moment leaves the old repo or the new one.
"""

from visim_models.repo_folder.reader import FindOptions, RepoFolder
from visim_models.repo_folder.writer import (
    RepoDraft,
    Version,
    check_apart,
    check_output,
    drafting,
    is_repo,
    version_of,
)

__all__ = [
    "FindOptions",
    "RepoDraft",
    "RepoFolder",
    "Version",
    "check_apart",
    "check_output",
    "drafting",
    "is_repo",
    "version_of",
]
