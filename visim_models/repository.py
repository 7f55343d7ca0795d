"""A repo folder on disk or on the Hub: finding it, reading JSON and safetensors strictly, replacing it atomically."""

import ctypes
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from visim_models.errors import ConfigurationError, RepositoryError, VisimError, WeightsError
from visim_models.snapshot import download_snapshot

__all__ = [
    "REPO_FILES",
    "file_sha256",
    "read_json",
    "read_metadata",
    "read_tensors",
    "replacing_folder",
    "resolve",
    "to_storage",
    "write_json",
    "write_tensors",
]

REPO_FILES = ("*.json", "*.safetensors", "held_out.csv", "gallery/*.csv", "gallery/*.safetensors", "README.md")
"""What visim downloads of a Hub repo: never code, never a pickle."""

_MAX_JSON_BYTES = 4 * 2**20
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def resolve(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """The folder that `source` names: an existing folder as it is, "namespace/repo" as a snapshot of the Hub's repo.

    Args:
        source: a folder, or the id of a model repo on the Hub.
        revision: branch, tag or commit of the repo.
        cache_dir: where snapshots are kept; by default where huggingface_hub keeps them.
        local_files_only: do not ask the network; the repo must be cached.
        token: for private or gated repos; by default the one that `hf auth login` left.

    Raises:
        RepositoryError: no such folder or repo, no permission, no network and no cached copy, or a file in it that is
            a link to somewhere else.
    """
    if os.path.isdir(source):  # Path.is_dir raises where the name is too long for a file system
        return _without_links_out(Path(source))
    snapshot = download_snapshot(
        os.fspath(source),
        patterns=REPO_FILES,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        token=token,
    )
    return _without_links_out(snapshot)


def _without_links_out(folder: Path) -> Path:
    """The folder itself, once no file that visim would read in it is a link to somewhere else.

    The Hub's cache fills a snapshot with links to the `blobs` folder of the same repo: those belong to it.
    """
    homes = [folder.resolve()]
    if folder.parent.name == "snapshots":
        homes.append((folder.parent.parent / "blobs").resolve())
    for pattern in REPO_FILES:
        for path in folder.glob(pattern):
            if not any(path.resolve().is_relative_to(home) for home in homes):
                raise RepositoryError(f"{path} is a link that leads out of the repo: replace it with the file itself.")
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ConfigurationError: the file is missing, too large, not JSON, repeats a key, or holds no object.
    """
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ConfigurationError(f"{path} is larger than {_MAX_JSON_BYTES} bytes: this is no file of visim's.")
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object_without_repeats)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{path.parent} has no {path.name}: it is not a whole visim repo; export or download it again."
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({_one_line(error)}).") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, VisimError):
            raise
        raise ConfigurationError(f"{path} is not valid JSON ({_one_line(error)}): restore the file.") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} must hold a JSON object, but holds a {type(found).__name__}.")
    return found


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object: two spaces, keys in the order given, a newline at the end."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, as they are stored.

    Raises:
        WeightsError: the file is missing or is not whole, valid safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a safe_open is no mapping)
    except FileNotFoundError as error:
        raise WeightsError(f"{path.parent} has no {path.name}: export or download it again.") from error
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(
            f"{path} is not a whole safetensors file ({_one_line(error)}): download or export it again. "
            "visim reads no pickle."
        ) from error


def read_metadata(path: Path) -> dict[str, str]:
    """The text pairs in the header of a safetensors file.

    Raises:
        WeightsError: as `read_tensors`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except FileNotFoundError as error:
        raise WeightsError(f"{path.parent} has no {path.name}: export or download it again.") from error
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({_one_line(error)}).") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors; the same tensors and metadata give the same bytes."""
    payload = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=dict(metadata or {}))
    # The library writes the metadata in the order of a hash table, another in each process: put it in order.
    length = int.from_bytes(payload[:8], "little")
    header = json.loads(payload[8 : 8 + length])
    header["__metadata__"] = dict(sorted((metadata or {}).items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    ordered += b" " * (-len(ordered) % 8)
    path.write_bytes(len(ordered).to_bytes(8, "little") + ordered + payload[8 + length :])


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_storage(tensor: Tensor) -> Tensor:
    """A tensor as it is stored: floats as float16, integers as they are."""
    return tensor.detach().cpu().to(torch.float16) if tensor.is_floating_point() else tensor.detach().cpu()


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Build a folder aside, then put it in the place of `folder` in one step.

    Yields an empty folder beside it. If the block ends well that folder becomes `folder`, and the old one is deleted;
    otherwise nothing changes. A process that is killed leaves the old folder or the new one, never a mix.

    Raises:
        RepositoryError: the place cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise RepositoryError(
            f"{folder} is a file, and would have to be a folder: move it away, or choose another name."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise RepositoryError(f"{folder} cannot be written ({_one_line(error)}).") from error
    try:
        yield staged
        staged.chmod(0o755)  # mkdtemp makes it private
        if folder.exists():
            _exchange(staged, folder)
        else:
            staged.rename(folder)
    except OSError as error:
        if isinstance(error, VisimError):
            raise
        raise RepositoryError(f"{folder} could not be written ({_one_line(error)}); it is as it was before.") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _exchange(staged: Path, folder: Path) -> None:
    """Swap two folders: in one step where Linux offers it, else by two renames."""
    if sys.platform == "linux":
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        if not renameat2(_AT_FDCWD, os.fsencode(staged), _AT_FDCWD, os.fsencode(folder), _RENAME_EXCHANGE):
            return
    aside = staged.with_name(staged.name + ".old")
    folder.rename(aside)
    staged.rename(folder)
    aside.rename(staged)


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
