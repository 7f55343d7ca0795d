"""JSON and safetensors files that anyone may have written: read strictly and within limits, written reproducibly."""

import hashlib
import json
import stat
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from visim_models.errors import ConfigurationError, VisimError, WeightsError

__all__ = [
    "file_sha256",
    "json_sha256",
    "listed",
    "one_line",
    "read_header",
    "read_json",
    "read_shapes",
    "read_tensors",
    "read_text",
    "write_json",
    "write_tensors",
]

_MAX_JSON_BYTES = 4 * 2**20
_MAX_HEADER_BYTES = 2**20
_NAMES_SHOWN = 5
_LFS_POINTER = b"version https://git-lfs"


def read_text(path: Path, *, most: int) -> str:
    """Read a text file in UTF-8, its line ends as they are.

    Args:
        path: the file.
        most: largest size, in bytes.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is no regular file, larger than `most`, or cannot be read.
        ValueError: it is not UTF-8.
    """
    _check_regular(path)
    if path.stat().st_size > most:
        raise OSError(f"it is larger than {most:,} bytes")
    return path.read_bytes().decode("utf-8-sig")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ConfigurationError: the file is missing, no regular file, too large, not JSON, repeats a key, has a number that
            is not finite, or holds no object.
    """
    try:
        _check_regular(path)
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ConfigurationError(f"{path} is larger than {_MAX_JSON_BYTES} bytes: visim wrote no such file.")
        found = json.loads(
            path.read_text(encoding="utf-8-sig"),
            object_pairs_hook=_object_without_repeats,
            parse_constant=_refuse_constant,
        )
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{path.parent} has no {path.name}: it is not a whole visim repo; export or download it again.", path=path
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({one_line(error)}).", path=path) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, VisimError):
            raise
        raise ConfigurationError(
            f"{path} is not valid JSON ({one_line(error)}): restore the file.", path=path
        ) from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} must hold a JSON object, but holds a {type(found).__name__}.", path=path)
    return found


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object: two spaces, keys in the order given, a newline at the end."""
    path.write_text(_json_text(values), encoding="utf-8", newline="\n")


def read_tensors(path: Path, *, names: Collection[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Read all tensors of a safetensors file, in the types that they are stored in; numpy lacks bfloat16: as float32.

    Args:
        path: the file.
        names: the tensors that the file must hold, and no other. The header is compared with them before any tensor
            is created.

    Raises:
        WeightsError: the file is missing or is not whole, valid safetensors, or holds other tensors than `names`.
    """
    described = _stored(path)
    stored = described.keys()
    if names is not None:
        if missing := set(names) - stored:
            raise WeightsError(f"{path} lacks {listed(missing)}: it is of another model.", path=path)
        if unexpected := stored - set(names):
            raise WeightsError(f"{path} has unexpected {listed(unexpected)}: it is of another model.", path=path)
    try:
        with safe_open(path, framework="numpy") as file:
            return {
                name: _bfloat16(path, described[name]) if described[name]["dtype"] == "BF16" else file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 (a safe_open is no mapping)
            }
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise _not_whole(path, error) from error


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of the tensors of a safetensors file, without creating any.

    Raises:
        WeightsError: the file is missing or is not whole, valid safetensors.
    """
    try:
        shapes = {name: tuple(stored["shape"]) for name, stored in _stored(path).items()}
        if not all(type(length) is int and length >= 0 for shape in shapes.values() for length in shape):
            raise ValueError("a shape that is not of whole numbers")
    except (TypeError, KeyError, ValueError) as error:
        raise _not_whole(path, error) from error
    return shapes


def read_header(path: Path) -> dict[str, str]:
    """Read the text pairs in the header of a safetensors file.

    Raises:
        WeightsError: the file is missing or is not whole, valid safetensors.
    """
    _stored(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _not_whole(path, error) from error


def write_tensors(
    path: Path, tensors: Mapping[str, npt.NDArray[Any]], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors; the same tensors and metadata give the same bytes."""
    in_order = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}  # the library takes any memory
    payload = save(in_order, metadata=dict(metadata or {}))
    # The library writes the metadata in the order of a hash table, which differs from process to process: sort it.
    length = int.from_bytes(payload[:8], "little")
    header = json.loads(payload[8 : 8 + length])
    header["__metadata__"] = dict(sorted((metadata or {}).items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    ordered += b" " * (-len(ordered) % 8)
    path.write_bytes(len(ordered).to_bytes(8, "little") + ordered + payload[8 + length :])


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(values: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return the SHA-256 of what a JSON file says, however it is written: of these keys, in this order.

    It is that of the file's bytes where `write_json` wrote it with these keys and no others. So line ends, indentation
    and further keys, which editors and Git for Windows change, do not change it.

    Args:
        values: the content of the file.
        keys: those that count; one may be missing.
    """
    return hashlib.sha256(_json_text({key: values[key] for key in keys if key in values}).encode()).hexdigest()


def one_line(error: BaseException) -> str:
    """Shorten an error's message to one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def listed(names: Collection[str]) -> str:
    """Name the first five of some names, and say how many more there are."""
    shown = sorted(names)[:_NAMES_SHOWN]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _json_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _stored(path: Path) -> dict[str, Any]:
    """Read what the header says of each tensor; it is bounded before anything is created from it."""
    try:
        _check_regular(path)
        with path.open("rb") as file:
            start = file.read(8)
            if start + file.read(len(_LFS_POINTER) - 8) == _LFS_POINTER:
                raise _not_fetched(path)
            file.seek(8)
            length = int.from_bytes(start, "little")
            if not 0 < length <= _MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length:,} bytes")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("a header that is no object")
    except FileNotFoundError as error:
        raise WeightsError(f"{path.parent} has no {path.name}: export or download it again.", path=path) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _not_whole(path, error) from error
    return {name: stored for name, stored in header.items() if name != "__metadata__"}


def _bfloat16(path: Path, stored: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """Read a tensor of bfloat16, the upper halves of float32, from a file that is whole."""
    start, end = stored["data_offsets"]
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little") + start)
        halves = np.frombuffer(file.read(end - start), "<u2").reshape(stored["shape"])
    return (halves.astype(np.uint32) << 16).view(np.float32)


def _not_fetched(path: Path) -> WeightsError:
    return WeightsError(
        f"{path} is a pointer of Git LFS and not the file itself: install git-lfs, then run `git lfs pull` in "
        f"{path.parent}, or download the repo again with `hf download`.",
        path=path,
    )


def _not_whole(path: Path, error: BaseException) -> WeightsError:
    return WeightsError(
        f"{path} is not a whole safetensors file ({one_line(error)}): download or export it again. "
        "visim reads no pickle.",
        path=path,
    )


def _check_regular(path: Path) -> None:
    """Refuse a pipe or a device, which could block for ever."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError("it is not a regular file")


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no finite number")
