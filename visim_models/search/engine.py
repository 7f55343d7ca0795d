"""Which engine has the index of a gallery (gallery/index.json), and where the host says that engine is.

    {
      "engine": "milvus",
      "collection": "visim_cars_2b6f0c9d1e42_9f86d081884c7d65",     its name in the engine
      "kind": "HNSW",                                               or FLAT, which is exact, or DISKANN
      "parameters": {"M": 16, "efConstruction": 200, "ef": 128},
      "pictures": 1000000,
      "width": 514
    }

It never has an address or a token: a repo from elsewhere could use them against the host. The name begins with the
hash of the weights and the processor, and ends with 64 random bits, so that no repo can name a collection by guessing.
"""

import hashlib
import logging
import os
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from visim_models.errors import ConfigurationError, EngineError, GalleryMismatchError, MissingExtraError
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.formats import one_line
from visim_models.repo_folder.manifest import INDEX

__all__ = ["ENGINES", "KINDS", "EngineAddress", "IndexSettings", "MilvusConnection", "collection_name", "is_name_of"]

ENGINES: Final = ("milvus",)
KINDS: Final[Mapping[str, Mapping[str, tuple[int, int, int]]]] = {
    "FLAT": {},
    "HNSW": {"M": (2, 128, 16), "efConstruction": (8, 4096, 200), "ef": (1, 16_384, 128)},
    "DISKANN": {"search_list": (1, 16_384, 128)},
}
"""Kind of index -> its parameters: least, most and usual value."""

_COLLECTION: Final = re.compile(r"visim_[a-z0-9_]{1,40}_([0-9a-f]{12})_[0-9a-f]{16}")
_URI: Final = "VISIM_INDEX_URI"
_TOKEN: Final = "VISIM_INDEX_TOKEN"
_MOST_PICTURES: Final = 10**12
_MOST_NUMBERS: Final = 32_768


SECONDS_A_QUERY: Final = 5.0
"""Deadline of a call that somebody waits for."""

_UNREACHABLE: Final = ("UNAVAILABLE", "DEADLINE", "Retry timeout", "Retry run out", "Fail connecting", "closed channel")
_REFUSED: Final = ("UNAUTHENTICATED", "PERMISSION_DENIED", "auth check failure", "auth failed", "token")
_NAMES: Final = re.compile(r"visim_\w+|'[^']*'|\"[^\"]*\"")
"""What an engine's words quote: the name of a gallery says nothing of what failed."""

_CHANNEL: Final = {
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.keepalive_permit_without_calls": 0,  # milvus-lite hangs up on a client that sends pings without a call
}


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """The content of gallery/index.json.

    Attributes:
        engine: one of `ENGINES`.
        collection: its name in the engine.
        kind: one of `KINDS`.
        parameters: of that kind, each of them.
        pictures: how many there are.
        width: D, the length of the embeddings.

    Raises:
        ConfigurationError: a value does not fit.
    """

    engine: str = "milvus"
    collection: str
    kind: str = "FLAT"
    parameters: Mapping[str, int] = field(default_factory=dict)
    pictures: int
    width: int

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigurationError(f"engine is {self.engine!r}, but must be one of {list(ENGINES)}.", key="engine")
        if not isinstance(self.collection, str) or not _COLLECTION.fullmatch(self.collection):
            raise ConfigurationError(f"collection is {self.collection!r}: visim made no such name.", key="collection")
        object.__setattr__(self, "parameters", checked_parameters(self.kind, self.parameters))
        for key, most in (("pictures", _MOST_PICTURES), ("width", _MOST_NUMBERS)):
            if type(getattr(self, key)) is not int or not 1 <= getattr(self, key) <= most:
                raise ConfigurationError(f"{key} must be a whole number from 1 to {most}.", key=key)

    def check_hashes(self, weights_sha256: str, processor_sha256: str) -> None:
        """Check that the index is of these weights and this processor.

        Raises:
            GalleryMismatchError: it is of others.
        """
        found = _COLLECTION.fullmatch(self.collection)
        if found is None or found[1] != _key(weights_sha256, processor_sha256):
            raise GalleryMismatchError(
                f"The index {self.collection} was made by other weights or another processor than this repo's: build "
                "the gallery again.",
                key="collection",
            )

    @classmethod
    def load(cls, repo: RepoFolder) -> Self | None:
        """Load the settings of a repo folder; None where its gallery is in memory.

        Raises:
            ConfigurationError: index.json has a missing, unknown or wrong key.
        """
        if not repo.has(INDEX):
            return None
        path, values = repo / INDEX, repo.json(INDEX)
        keys = set(cls.__dataclass_fields__)
        if set(values) != keys:
            raise ConfigurationError(f"{path} must have the keys {sorted(keys)}, but has {sorted(values)}.", path=path)
        try:
            return cls(**values)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}", path=path, key=error.key) from error

    def write_files(self, draft: RepoDraft) -> None:
        """Write gallery/index.json into a draft."""
        draft.write_json(INDEX, {**asdict(self), "parameters": dict(self.parameters)})


def checked_parameters(kind: str, given: Mapping[str, Any]) -> dict[str, int]:
    """Return all parameters of a kind of index: those that are given, and the usual values of the others.

    Raises:
        ConfigurationError: the kind or a parameter is unknown, or a value does not fit.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"kind is {kind!r}, but must be one of {list(KINDS)}.", key="kind")
    known = KINDS[kind]
    if not isinstance(given, Mapping) or not given.keys() <= known.keys():
        raise ConfigurationError(f"The parameters of {kind} are {list(known)}, not {given!r}.", key="parameters")
    values = {name: given.get(name, usual) for name, (_, _, usual) in known.items()}
    for name, (least, most, _) in known.items():
        if type(values[name]) is not int or not least <= values[name] <= most:
            raise ConfigurationError(f"{name} must be a whole number from {least} to {most}.", key=name)
    return values


def collection_name(gallery: str, weights_sha256: str, processor_sha256: str) -> str:
    """Return a new name for a collection, which no other gallery has.

    Args:
        gallery: name of the gallery; of it, letters of ASCII and digits stay.
        weights_sha256: of the weights that embedded it.
        processor_sha256: of the processor.
    """
    slug = re.sub(r"[^a-z0-9]+", "_", gallery.lower()).strip("_")[:40].strip("_") or "gallery"
    return f"visim_{slug}_{_key(weights_sha256, processor_sha256)}_{secrets.token_hex(8)}"


def _key(weights_sha256: str, processor_sha256: str) -> str:
    return hashlib.sha256((weights_sha256 + processor_sha256).encode()).hexdigest()[:12]


def is_name_of(collection: str, gallery: str, weights_sha256: str, processor_sha256: str) -> bool:
    """Return whether `collection_name` can have given a name to this gallery: a copy of it has another one."""
    return (
        collection.rpartition("_")[0] == collection_name(gallery, weights_sha256, processor_sha256).rpartition("_")[0]
    )


def _is_web_address(uri: str) -> bool:
    try:
        found = urlsplit(uri)
        return found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0 and not found.fragment
    except ValueError:
        return False


@dataclass(frozen=True)
class EngineAddress:
    """Where an engine is, as the host says.

    Attributes:
        uri: http(s)://host:port, or the path of a local file that ends in .db.
        token: for an engine that asks for one; "" for none.

    Raises:
        EngineError: the URI is neither.
    """

    uri: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.is_local:
            is_usable = self.uri.endswith(".db") and Path(self.uri).absolute().parent.is_dir()
        else:
            is_usable = _is_web_address(self.uri)
        if not is_usable:  # which is not repeated: it may hold a password
            raise EngineError(
                "The index URI must be http://HOST:PORT or https://HOST:PORT, or a path that ends in .db in a folder "
                "that exists; a password belongs in VISIM_INDEX_TOKEN.",
                key="index_uri",
            )

    @classmethod
    def given(cls, uri: str | None, token: str | None = None) -> Self | None:
        """Return the address that is given, else that of VISIM_INDEX_URI and VISIM_INDEX_TOKEN, else None.

        Raises:
            EngineError: the URI is no address of an engine.
        """
        uri = uri or os.environ.get(_URI, "")
        return cls(uri, token or os.environ.get(_TOKEN, "")) if uri else None

    @property
    def is_local(self) -> bool:
        """Return whether the engine is a file, which this process alone can open."""
        return "://" not in self.uri

    def __str__(self) -> str:
        """Return the address without a name, password or query, fit for a message."""
        if self.is_local:
            return self.uri
        found = urlsplit(self.uri)
        return f"{found.scheme}://{(found.netloc.rpartition('@')[2])}"


class MilvusConnection:
    """A client of one engine, which any thread may use.

    Args:
        address: where the engine is.
        timeout: deadline of a call, in seconds.

    Raises:
        MissingExtraError: pymilvus or, for a local file, milvus-lite is not installed.
    """

    def __init__(self, address: EngineAddress, *, timeout: float = SECONDS_A_QUERY) -> None:
        self.address, self.timeout = address, timeout
        self._milvus = _pymilvus(address)
        self._client: Any = None
        self._lock = threading.Lock()

    def call(self, name: str, *arguments: Any, is_task: bool = False, **options: Any) -> Any:
        """Call a method of `pymilvus.MilvusClient`.

        Args:
            name: of the method.
            arguments: of the method.
            is_task: it takes as long as there is much to do: it has no deadline, but ends when the engine is gone.
            options: of the method.

        Raises:
            EngineError: the engine cannot be reached within the deadline, or refuses the call.
        """
        limits: dict[str, Any] = {"timeout": None, "retry_times": 1} if is_task else {"timeout": self.timeout}
        try:
            return getattr(self._connected(), name)(*arguments, **limits, **options)
        except Exception as error:  # pymilvus raises its own, grpc's, and plain ValueErrors
            raise self._translated(error) from error

    def rows(self, collection: str, *, at_once: int, fields: list[str]) -> Any:
        """Yield all rows of a collection, in lists of at most `at_once`.

        Raises:
            EngineError: the engine cannot be reached within the deadline.
        """
        pages = self.call("query_iterator", collection, batch_size=at_once, output_fields=fields)
        try:
            while page := pages.next():
                yield page
        except Exception as error:
            raise self._translated(error) from error
        finally:
            pages.close()

    def call_local(self, name: str, **options: Any) -> Any:
        """Call a method of the class `pymilvus.MilvusClient`, which asks no engine."""
        return getattr(self._milvus.MilvusClient, name)(**options)

    @property
    def types(self) -> Any:
        """Return `pymilvus.DataType`."""
        return self._milvus.DataType

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._milvus.MilvusClient(
                    uri=self.address.uri,
                    token=self.address.token,
                    timeout=self.timeout,
                    dedicated=True,
                    grpc_options=_CHANNEL,
                )
            return self._client

    def _translated(self, error: Exception) -> EngineError:
        reason = self._reason(error)
        told = _NAMES.sub("", reason)
        if any(sign in told for sign in _REFUSED):
            return EngineError(
                f"The index at {self.address} refuses the token: set VISIM_INDEX_TOKEN to NAME:PASSWORD or an API key.",
                key="index_token",
            )
        if any(sign in told for sign in _UNREACHABLE):
            return EngineError(
                f"The index at {self.address} cannot be reached within {self.timeout:g} seconds: start it, or name "
                "another with --index-uri.",
                key="index_uri",
            )
        if self.address.is_local and "Open local milvus failed" in reason:
            return EngineError(
                f"The index {self.address} cannot be opened: one process at a time can use it. End the other one, or "
                "start `milvus-lite server` for both.",
                path=self.address.uri,
            )
        return EngineError(f"The index at {self.address} failed: {reason}")

    def _reason(self, error: Exception) -> str:
        """Return the engine's own words without the address, which may have a password."""
        codes = [getattr(each, "code", "") for each in (error.__cause__, error)]  # gRPC alone tells a refused token
        told = " ".join(str(code() if callable(code) else code) for code in codes)
        words = f"{told} {getattr(error, 'message', '') or error}"
        for secret in (self.address.uri, self.address.token):
            words = words.replace(secret, "...") if secret else words
        return one_line(ValueError(words))


def _pymilvus(address: EngineAddress) -> Any:
    """Import the client, and quiet it: it logs a traceback for every failure, which comes as an exception too."""
    try:
        import pymilvus

        if address.is_local:
            import milvus_lite  # noqa: F401
    except ImportError as error:
        missing = error.name or "pymilvus"
        raise MissingExtraError(missing.replace("_", "-"), extra="milvus", purpose="An index in Milvus") from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    return pymilvus
