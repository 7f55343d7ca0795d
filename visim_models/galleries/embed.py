"""Embed the pictures of a store: read and decoded in threads while the network is at work on others.

The parts of a store are embedded in this process, in processes of this machine, or on a Ray cluster. All of them embed
the same batches by the same code, so that the embeddings are the same to the bit of float16. Daft hands out the batches
and gets the parts back; it needs the extra `scale`.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from visim_models.errors import ConfigurationError, DataError, MissingExtraError, OutputError, VisimError, WeightsError
from visim_models.galleries.part_store import FILES_A_PART, Part, PartStore, parquet_bytes
from visim_models.galleries.picture_table import MEASURED, PictureTable, hash_array, thumbnails_of
from visim_models.galleries.sources import PictureSource, fingerprints_of, open_store, sort_out
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.measurements import measure_network
from visim_models.models.loading import load_network
from visim_models.models.network import Network
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.formats import one_line
from visim_models.repo_folder.manifest import CONFIG, ONNX_FILES, PROCESSOR, WEIGHTS
from visim_models.sources.store import DecodedBatch, ImageStore

__all__ = ["Embedder", "embed_missing", "embed_store"]

_TIMM: Final = "timm:"
_RAY: Final = "ray://"
_NOT_READY: Final = "Starting Ray client server failed"
"""In the error of a cluster that answers: soon after its start, or after another client's end."""
_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Embedder:
    """The network and the processor of a repo, which embed the pictures of a gallery.

    Attributes:
        repo: the repo folder that they are from.
        source: what that was loaded from, as `load` takes it.
        network: embeds.
        processor: makes the network's input.
        backend: what computes the network, as `load_network` takes it.
        weights_sha256: SHA-256 of the weights file.
        processor_sha256: SHA-256 of preprocessor_config.json.
    """

    repo: RepoFolder
    source: str
    network: Network
    processor: ImageProcessor
    backend: str
    weights_sha256: str
    processor_sha256: str

    @classmethod
    def load(cls, source: str | os.PathLike[str] | RepoFolder, *, backend: str = "torch") -> Self:
        """Load the network and the processor of a repo, and check them against each other; it needs no gallery.

        Args:
            source: a folder, "namespace/repo" on the Hub, a short name such as "car-extractor", an open repo folder, or
                "timm:NAME" for a network of timm.
            backend: what computes the network: "torch", or "onnx" for ONNX Runtime.

        Raises:
            RepositoryError: the repo cannot be found or downloaded.
            MissingExtraError: what the backend or the network needs is not installed.
            ConfigurationError: a JSON file is missing, wrong, or not of one repo with the others.
            WeightsError: a safetensors file is missing, damaged, or of another model.
        """
        repo = _repo_of(source)
        network, processor = load_network(repo, backend=backend), ImageProcessor.load(repo)
        if processor.size != network.image_size:
            raise ConfigurationError(
                f"{repo.path}: {PROCESSOR} makes {processor.size} x {processor.size} pictures, but the network of "
                f"{CONFIG} takes {network.image_size} x {network.image_size}: they are not of one repo.",
                path=repo.path,
            )
        name = str(repo.path) if isinstance(source, RepoFolder) else os.fspath(source)
        return cls(repo, name, network, processor, backend, repo.sha256(WEIGHTS), repo.sha256(PROCESSOR))

    @property
    def made_by(self) -> dict[str, str]:
        """Return the hashes of the weights and the processor, by which stored embeddings are recognized."""
        return {"weights_sha256": self.weights_sha256, "processor_sha256": self.processor_sha256}

    def check_same(self, repo: RepoFolder) -> None:
        """Refuse an output that is the repo of another network, or has another processor.

        Raises:
            OutputError: it is.
        """
        for name, sha256 in ((WEIGHTS, self.weights_sha256), (PROCESSOR, self.processor_sha256)):
            if repo.has(name) and repo.sha256(name) != sha256:
                own = self.repo.path.resolve().name if Path(self.source).exists() else self.source
                raise OutputError(
                    f"{repo.path} is a repo of another network than {own} (its {name} differs): nothing was changed. "
                    "Choose a new folder, or name its own network.",
                    path=repo.path,
                    key=name,
                )

    def write_files(self, draft: RepoDraft) -> None:
        """Copy the network and the processor into a draft."""
        for name in (CONFIG, WEIGHTS, PROCESSOR, *(name for name in ONNX_FILES if self.repo.has(name))):
            draft.copy(name, self.repo)
        if self.backend == "onnx":
            self.network.write_files(draft)  # its ONNX files, too, where they are in the cache

    def embed(self, batch: DecodedBatch) -> Part:
        """Embed a batch, with all that a gallery and the calibration of its detector need of each picture.

        Raises:
            ImageHostError: the host of the pictures does not answer.
            WeightsError: an embedding is beyond float16.
        """
        found, skipped = sort_out(batch)
        if not found:
            return Part(None, skipped)
        squares = np.stack([pixels for pixels, _ in found.values()])  # (N, 3, S, S) uint8
        pixels = self.processor.normalize(squares)
        embeddings = self.network.embed(pixels)  # (N, D)
        measured = measure_network(self.network, pixels, embeddings)
        with np.errstate(over="ignore"):
            rounded = embeddings.astype(np.float16).astype(np.float32)  # as the gallery stores them
        if not np.isfinite(rounded).all():
            raise WeightsError("The network gives embeddings beyond float16, which no gallery can store.")
        arrays: dict[str, npt.NDArray[Any]] = {
            "embeddings": rounded,
            "sha256": hash_array(sha256 for _, sha256 in found.values()),
            "thumbnails": thumbnails_of(squares),
            **{f"{MEASURED}{name}": values for name, values in measured.items()},
        }
        return Part(PictureTable(list(found), arrays), skipped)


def _repo_of(source: str | os.PathLike[str] | RepoFolder) -> RepoFolder:
    if isinstance(source, str) and source.startswith(_TIMM):
        try:
            from visim_models.models.timm_backbone import timm_repo
        except ImportError as error:
            raise MissingExtraError(error.name or "torch", extra="timm", purpose="A network by timm's name") from error
        return timm_repo(source)
    return RepoFolder.find(source)


def embed_store(
    store: ImageStore, file_names: Sequence[str], embedder: Embedder, *, files_a_part: int = 64
) -> Iterator[Part]:
    """Embed pictures of a store in this process; yield parts of at least `files_a_part` files as they are done."""
    group: list[Part] = []
    batches = store.decode_many(file_names, embedder.processor, at_once=pictures_at_once(embedder.processor.size))
    for part in embedder.network.map_batches(embedder.embed, batches):
        group.append(part)
        if sum(len(each.file_names) for each in group) >= files_a_part:
            yield Part.joined(group)
            group = []
    if group:
        yield Part.joined(group)


def embed_missing(
    store: ImageStore,
    file_names: Sequence[str],
    embedder: Embedder,
    parts: PartStore,
    *,
    runner: str | None = None,
    progress: bool = False,
) -> tuple[dict[str, str], list[str]]:
    """Embed the files that no part has as they are now, and keep each part as soon as it is done.

    Args:
        store: the pictures.
        file_names: the files that the parts shall have.
        embedder: the network.
        parts: where they are kept: a second call goes on where a killed one stopped.
        runner: None for this process, "native" for processes of this machine, "ray://HOST:PORT" for a Ray cluster.
        progress: show a progress bar.

    Returns:
        fingerprints: file name -> fingerprint, of all files, for `parts.read`.
        looked_at: names of the files that were looked at.

    Raises:
        DataError: there is no such runner.
        MissingExtraError: Daft or Ray is not installed.
        ImageHostError: the host of the pictures does not answer.
        RepositoryError: the parts cannot be written.
        VisimError: an embedding is beyond float16, or a worker has another network.
    """
    fingerprints = fingerprints_of(store, file_names)  # from before the files are read: a later change is noticed
    known = parts.finished(fingerprints)
    waiting = sorted(fingerprints.keys() - known)
    if known and progress:
        tqdm.write(f"going on: {len(known):,} of {len(fingerprints):,} files were done before", file=sys.stderr)
    disable = not (progress and fingerprints)
    with tqdm(total=len(fingerprints), initial=len(known), desc="embedding", unit="picture", disable=disable) as bar:
        if runner is None:
            for part in embed_store(store, waiting, embedder, files_a_part=parts.files_a_part):
                parts.keep(part, fingerprints)
                bar.update(len(part.file_names))
        elif waiting:
            for count, content in _in_daft(store, waiting, fingerprints, embedder, runner):
                parts.keep_bytes(content)
                bar.update(count)
    return fingerprints, waiting


def _in_daft(
    store: ImageStore, file_names: Sequence[str], fingerprints: Mapping[str, str], embedder: Embedder, runner: str
) -> Iterator[tuple[int, bytes]]:
    """Yield the parts as workers finish them: how many files each has, and its Parquet file.

    A part is a whole number of the network's batches, so that it is embedded as in one process.
    """
    at_once = pictures_at_once(embedder.processor.size)
    a_part = at_once * max(1, FILES_A_PART["parquet"] // at_once)
    tasks = [
        {name: fingerprints[name] for name in file_names[start : start + a_part]}
        for start in range(0, len(file_names), a_part)
    ]
    daft = _daft(runner)
    workers = min(len(tasks), os.cpu_count() or 1) if runner == "native" else None
    frame = daft.from_pydict({"task": [json.dumps(task) for task in tasks], "files": [len(task) for task in tasks]})
    if runner != "native":
        frame = frame.into_partitions(len(tasks))
    batches = daft.method.batch(return_dtype=daft.DataType.binary(), batch_size=1)
    worker = daft.cls(
        type("Worker", (_Worker,), {"embed": batches(_Worker.embed)}),
        max_concurrency=workers,
        use_process=runner == "native",
    )
    embed = worker(store.root, store.max_pixels, embedder.source, embedder.backend, embedder.weights_sha256).embed
    frame = frame.select(frame["files"], embed(frame["task"]).alias("part"))
    try:
        for row in frame.iter_rows(results_buffer_size=1):
            yield row["files"], row["part"]
    except Exception as error:
        raise _translated(error, runner) from error


def _translated(error: Exception, runner: str) -> VisimError:
    """Return the error that a worker raised, or one that says that the runner failed."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, VisimError):
        cause = cause.__cause__
    return cause or DataError(f"The runner {runner} failed: {one_line(error)}", key="runner")


class _Worker:
    """Embeds tasks in a process of its own, which loads the network once.

    Args:
        pictures: the source, as `ImageStore` takes it; a path is one that every worker can read.
        max_pixels: largest width x height of a picture.
        model: the repo of the network, as `Embedder.load` takes it, likewise.
        backend: what computes it.
        weights_sha256: of that network: a worker that finds another one refuses.
    """

    def __init__(self, pictures: str, max_pixels: int, model: str, backend: str, weights_sha256: str) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"  # there is a worker for each core; both backends heed it
        self._pictures = PictureSource(pictures, max_pixels=max_pixels)
        self._embedder = Embedder.load(model, backend=backend)
        if self._embedder.weights_sha256 != weights_sha256:
            raise DataError(f"{model} is another network on this worker: give all of them the same weights.")

    def embed(self, tasks: Any) -> list[bytes]:
        """Embed a series of tasks, each a JSON object of file name -> fingerprint: the Parquet files of their parts."""
        return [self._embed(json.loads(task)) for task in tasks.to_pylist()]

    def _embed(self, fingerprints: Mapping[str, str]) -> bytes:
        found = embed_store(open_store(self._pictures), sorted(fingerprints), self._embedder)
        return parquet_bytes(Part.joined(list(found)), fingerprints)


def _daft(runner: str) -> Any:
    """Import Daft and start a runner, without its messages to its makers."""
    for name in ("DO_NOT_TRACK", "SCARF_NO_ANALYTICS"):
        os.environ.setdefault(name, "true")
    os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if runner != "native" and not runner.startswith(_RAY):
        raise DataError(f"The runner is {runner!r}, but must be native or ray://HOST:PORT.", key="runner")
    try:
        import daft

        if runner != "native":
            import ray  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "daft", extra="scale", purpose=f"The runner {runner}") from error
    try:
        if runner == "native":
            daft.set_runner_native()
        else:
            _connect(daft, runner)
    except Exception as error:  # of many kinds, where there is no cluster or another runner is set
        raise DataError(
            f"The runner {runner} cannot be started ({_last_line(error)}): check that it runs, then try again.",
            key="runner",
        ) from error
    return daft


def _connect(daft: Any, runner: str) -> None:
    """Connect to a Ray cluster; again where it answers, but is not ready for a client: it was started just now."""
    for attempt in range(_ATTEMPTS):
        try:
            daft.set_runner_ray(runner, noop_if_initialized=True)
        except Exception as error:  # of many kinds
            if _NOT_READY not in str(error) or attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def _last_line(error: Exception) -> str:
    """Return the last line of an error that may hold a whole traceback of another process."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
