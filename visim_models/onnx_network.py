"""A network by ONNX Runtime, without torch: the files of onnx/ in a repo folder, or of the cache."""

import ctypes
import os
import shutil
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import numpy as np

from visim_models.errors import ConfigurationError, MissingExtraError, QueryError, WeightsError
from visim_models.models.network import Floats
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.formats import one_line
from visim_models.repo_folder.manifest import (
    CONFIG,
    MODEL_TYPE_NAMES,
    ONNX_CLASSIFIER,
    ONNX_DECODER,
    ONNX_MODEL,
    ONNX_WEIGHTS_KEY,
    WEIGHTS,
)
from visim_models.sources.cache import cache_folder

__all__ = ["OnnxNetwork", "onnx_files"]

_MAX_BYTES: Final = 2**30
_MOST_THREADS: Final = 8

_Batch = TypeVar("_Batch")
_Result = TypeVar("_Result")


class OnnxNetwork:
    """A network that ONNX Runtime computes on the CPU: one session for all who ask, with few threads.

    A run shares its work among all threads, and as many runs go on at once as there are threads: so one picture is
    embedded quickly, and many callers at once do not slow each other down by more threads than cores.

    Args:
        repo: the repo folder that it is of.
        files: path in the repo folder -> content of the ONNX file, as `onnx_files` returns them.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ConfigurationError: config.json is missing, or names no network of visim.
        WeightsError: a file is cut off, not for this ONNX Runtime, of other weights, or not as visim writes it.
    """

    def __init__(self, repo: RepoFolder, files: Mapping[str, bytes]) -> None:
        values = _config(repo)
        self.model_type = str(values["model_type"])
        self.config: Mapping[str, Any] = {key: value for key, value in values.items() if key != "model_type"}
        self.class_names: list[str] = list(self.config.get("class_names", []))
        self._repo = repo
        self._threads = _thread_count()
        self._at_once = threading.BoundedSemaphore(self._threads)
        self._weights_sha256 = repo.sha256(WEIGHTS)
        self._sessions = {name: self._session(name, content) for name, content in files.items()}
        _return_freed_memory()
        self.can_decode = ONNX_DECODER in files
        try:
            _, channels, self.image_size, width = self._sessions[ONNX_MODEL].get_inputs()[0].shape
            self.embedding_dim = self._sessions[ONNX_MODEL].get_outputs()[0].shape[1]
            expected = {"embedding", "log_probabilities"} if self.class_names else {"embedding"}
            fits = {output.name for output in self._sessions[ONNX_MODEL].get_outputs()} == expected
            fits = fits and (channels, width) == (3, self.image_size)
            if self.class_names:
                fits = fits and self._sessions[ONNX_CLASSIFIER].get_outputs()[0].shape[1] == len(self.class_names)
            fits = fits and all(type(size) is int for size in (self.image_size, self.embedding_dim))
        except (ValueError, IndexError):
            fits = False
        if not fits:
            raise WeightsError(
                f"{repo / ONNX_MODEL} is not the network that {CONFIG} describes: {_AGAIN}.", path=repo / ONNX_MODEL
            )

    @classmethod
    def load(cls, repo: RepoFolder, *, device: str = "cpu") -> Self:
        """Load the network of a repo folder; where it has no onnx/, from the cache, which torch fills.

        Raises:
            MissingExtraError: onnxruntime is not installed; or the repo has no onnx/ and torch is not installed.
            ConfigurationError: config.json is wrong, or the device is not the CPU.
            WeightsError: a file is missing, cut off, or of other weights.
        """
        return cls(repo, onnx_files(repo)).to(device)

    def _session(self, name: str, content: bytes) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", extra="onnx", purpose='backend="onnx"') from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # it would keep cores busy with waiting
        options.log_severity_level = 4
        path = self._repo / name
        try:
            # From bytes: so the file can name no other file to read.
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            stated = session.get_modelmeta().custom_metadata_map.get(ONNX_WEIGHTS_KEY)
        except Exception as error:  # of many types, whose common base is this one
            raise WeightsError(
                f"{path} cannot be read by ONNX Runtime {onnxruntime.__version__} ({one_line(error)}): it is cut off, "
                f"or of a newer version. Update onnxruntime, or {_AGAIN}.",
                path=path,
            ) from error
        if stated != self._weights_sha256:
            raise WeightsError(f"{path} is of other weights than {WEIGHTS}: {_AGAIN}.", path=path, key=ONNX_WEIGHTS_KEY)
        return session

    @property
    def device(self) -> str:
        """Return where it computes."""
        return "cpu"

    def to(self, device: str) -> Self:
        """Return this network, if the device is the CPU.

        Raises:
            ConfigurationError: it is another one.
        """
        if str(device) != "cpu":
            raise ConfigurationError(
                f'backend="onnx" computes on the CPU, not on {str(device)!r}: leave the device out, or use '
                'backend="torch".',
                key="device",
            )
        return self

    def embed(self, pixels: Floats) -> Floats:
        """Embed (N, 3, S, S) processed pictures: (N, D) float32."""
        return self._run(ONNX_MODEL, "embedding", pixels, (self.embedding_dim,))

    def log_probabilities(self, embeddings: Floats) -> Floats:
        """Classify (N, D) embeddings: (N, C) log-probabilities.

        Raises:
            QueryError: the network is no classifier.
        """
        if not self.class_names:
            raise QueryError(f"A {self.model_type} has no classes: load a repo of a classifier.")
        return self._run(ONNX_CLASSIFIER, "log_probabilities", embeddings, (len(self.class_names),))

    def decode(self, codes: Floats) -> Floats:
        """Decode (N, D) codes: (N, 3, S, S), on the scale that the network takes.

        Raises:
            QueryError: the network is no autoencoder.
        """
        if not self.can_decode:
            raise QueryError(f"A {self.model_type} has no decoder: only an autoencoder's codes can be drawn.")
        return self._run(ONNX_DECODER, "pixels", codes, (3, self.image_size, self.image_size))

    def _run(self, name: str, output: str, rows: Floats, shape: tuple[int, ...]) -> Floats:
        if not len(rows):
            return np.empty((0, *shape), np.float32)
        session = self._sessions[name]
        with self._at_once:
            found: Floats = session.run(
                [output], {session.get_inputs()[0].name: np.ascontiguousarray(rows, np.float32)}
            )[0]
        return found

    def map_batches(self, work: Callable[[_Batch], _Result], batches: Iterable[_Batch]) -> Iterator[_Result]:
        """Apply a function that asks this network to many batches, several at once; yield the results in order."""
        ahead: deque[Future[_Result]] = deque()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="visim-embed")
        try:
            for batch in batches:
                ahead.append(pool.submit(work, batch))
                if len(ahead) > self._threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def write_files(self, draft: RepoDraft) -> None:
        """Copy config.json, model.safetensors and the ONNX files into a draft.

        Raises:
            WeightsError: the repo folder has other weights since the network was loaded.
        """
        for name in (CONFIG, WEIGHTS):
            draft.copy(name, self._repo)
        if draft.sha256(WEIGHTS) != self._weights_sha256:
            raise WeightsError(
                f"{self._repo / WEIGHTS} has changed since it was loaded: load it again.", path=self._repo / WEIGHTS
            )
        for name, content in onnx_files(self._repo).items():
            draft.path(name).write_bytes(content)


_AGAIN: Final = "write it again: python -m hub export --onnx REPO"


def onnx_files(repo: RepoFolder) -> dict[str, bytes]:
    """Read the ONNX files of a repo folder; where it has none, of the cache, into which torch exports them.

    The cache is the folder visim/onnx of XDG_CACHE_HOME, ~/.cache by default. The repo folder is never written to.

    Returns:
        Path in a repo folder -> content, of each file that the network needs.

    Raises:
        MissingExtraError: neither has them, and torch, onnx or onnxscript is not installed.
        ConfigurationError: config.json is missing, or names no network of visim.
        WeightsError: a file is missing or cannot be read.
    """
    names = _needed(_config(repo))
    if repo.has(ONNX_MODEL):
        return {name: _read(repo / name) for name in names}
    folder = cache_folder("onnx") / repo.sha256(WEIGHTS)
    if not folder.is_dir():
        files = _exported(repo)
        _keep(folder, files)
        return files
    return {name: _read(folder / name) for name in names}


def _config(repo: RepoFolder) -> dict[str, Any]:
    values = repo.json(CONFIG)
    model_type, names = values.get("model_type"), values.get("class_names", [])
    if not isinstance(model_type, str) or model_type not in MODEL_TYPE_NAMES:
        raise ConfigurationError(
            f"{repo / CONFIG}: model_type is {model_type!r}, but must be one of {sorted(MODEL_TYPE_NAMES)}.",
            path=repo / CONFIG,
            key="model_type",
        )
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isprintable() for name in names):
        raise ConfigurationError(f"{repo / CONFIG}: class_names is {names!r}, not a list of names.", path=repo / CONFIG)
    return values


def _needed(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the ONNX files of a network."""
    names = [ONNX_MODEL]
    if config.get("class_names"):
        names.append(ONNX_CLASSIFIER)
    if config["model_type"] == "convolutional-autoencoder":
        names.append(ONNX_DECODER)
    return names


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise WeightsError(f"{path} is larger than {_MAX_BYTES:,} bytes: visim wrote no such file.", path=path)
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({one_line(error)}): {_AGAIN}.", path=path) from error


def _exported(repo: RepoFolder) -> dict[str, bytes]:
    try:
        from visim_models.models.onnx_export import export_onnx
        from visim_models.models.torch_network import load_model
    except ImportError as error:
        raise MissingExtraError(
            error.name or "torch", extra="onnx-export", purpose=f"{repo.path} has no {ONNX_MODEL}: writing it"
        ) from error
    return export_onnx(load_model(repo), weights_sha256=repo.sha256(WEIGHTS))


def _keep(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of the cache in one step; a disk that is full or read-only only means that nothing is kept."""
    staged = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = tempfile.mkdtemp(dir=folder.parent, prefix=".")
        for name, content in files.items():
            path = Path(staged, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        os.rename(staged, folder)  # fails where another process was first: then its folder is as good
    except OSError:
        if staged:
            shutil.rmtree(staged, ignore_errors=True)


def _return_freed_memory() -> None:
    """Let glibc give back what reading the files took: it would keep a third of what the network takes."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def _thread_count() -> int:
    """Return how many threads compute: OMP_NUM_THREADS, which torch heeds too, else one a core, up to a few."""
    stated = os.environ.get("OMP_NUM_THREADS", "")
    if stated.isdecimal() and int(stated):
        return int(stated)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_THREADS)
