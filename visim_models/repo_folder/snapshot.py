"""Download a repo of the Hub into huggingface_hub's cache: all of its files, or an error that says what to do."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from visim_models.errors import RepositoryError

__all__ = ["download_snapshot"]


def download_snapshot(
    repo_id: str,
    *,
    patterns: Sequence[str],
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """Find the folder of a repo's snapshot, and download it where it is not cached.

    Args:
        repo_id: "namespace/name" of a model repo.
        patterns: the files to download, as fnmatch reads them.
        revision: branch, tag or commit of the repo.
        cache_dir: folder for downloaded snapshots; by default huggingface_hub's own.
        force_download: download all files again, also those that are in the cache.
        local_files_only: use the cache alone and do not ask the network.
        token: for private or gated repos; by default the one that `hf auth login` left.

    Raises:
        RepositoryError: no such repo or revision, no permission, no network and no whole cached copy, a full disk.
    """
    cache = Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir)
    try:
        with _keeping_the_last_whole_version(cache, repo_id, revision or constants.DEFAULT_REVISION):
            snapshot = snapshot_download(
                repo_id,
                revision=revision,
                cache_dir=cache,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
                allow_patterns=list(patterns),
            )
    except HFValidationError as error:
        raise RepositoryError(
            f"{repo_id!r} is neither a folder here nor a repo id of the form 'namespace/name'."
        ) from error
    except GatedRepoError as error:
        raise RepositoryError(
            f"The repo {repo_id!r} is gated: accept its terms on the Hub, then run `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise RepositoryError(f"The repo {repo_id!r} has no revision {revision!r}.") from error
    except RepositoryNotFoundError as error:
        at = f" at revision {revision!r}" if revision else ""
        raise RepositoryError(
            f"The Hub has no repo {repo_id!r}{at} that you may read: check the name; if it is private, `hf auth login`."
        ) from error
    except (LocalEntryNotFoundError, EntryNotFoundError) as error:
        raise RepositoryError(
            f"{repo_id!r} is not a folder here, and the Hub could not be reached (or is switched off) and no whole "
            "copy is cached: connect once, or give a folder."
        ) from error
    except Exception as error:  # of httpx or httpx2, by the client's version, of hf_xet, and of the disk
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RepositoryError(
            f"Could not download {repo_id!r} ({reason}): complete files are kept; try again."
        ) from error
    return Path(snapshot)


@contextmanager
def _keeping_the_last_whole_version(cache: Path, repo_id: str, revision: str) -> Iterator[None]:
    """Undo the client's record of a branch's newer version if the download of that version fails.

    The client writes the record before it downloads the files. Without a network, the branch would then lead to a part
    of the newer version, although all of the older one is still in the cache.
    """
    note = cache / repo_folder_name(repo_id=repo_id, repo_type="model") / "refs" / revision
    before = _content(note)
    try:
        yield
    except BaseException:
        if before and _content(note) != before:
            staged = note.with_name(f"{note.name}.visim-{os.getpid()}")
            staged.write_text(before, encoding="utf-8")
            os.replace(staged, note)
        raise


def _content(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
