"""Embed the pictures of a large gallery: in this process, in processes of this machine, or on a Ray cluster.

All of them embed the same batches by the same code, so that the embeddings are the same to the bit of float16. Daft
hands out the batches and gets the parts back; it needs the extra `scale`.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from visim_models.errors import DataError, MissingExtraError, VisimError
from visim_models.galleries.embed_store import embed_store
from visim_models.galleries.model_parts import ModelParts
from visim_models.galleries.sources import open_store
from visim_models.galleries.vectors import part_bytes
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.repo_folder.formats import one_line

__all__ = ["EmbeddingJob", "embed_parts"]

_FILES_A_PART: Final = 512
"""About: a part is a whole number of the network's batches, so that it is embedded as the gallery is as a whole."""

_RAY: Final = "ray://"
_NOT_READY: Final = "Starting Ray client server failed"
"""In the error of a cluster that answers: soon after its start, or after another client's end."""
_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class EmbeddingJob:
    """What a worker must know to embed pictures.

    Attributes:
        pictures: the source, as `ImageStore` takes it; a path is one that every worker can read.
        model: the repo of the network, as `ModelParts.load` takes it, likewise.
        weights_sha256: of that network: a worker that finds another one refuses.
    """

    pictures: str
    model: str
    weights_sha256: str

    def embed(self, parts: ModelParts, fingerprints: Mapping[str, str]) -> bytes:
        """Embed files: the Parquet file of the part.

        Args:
            parts: the network.
            fingerprints: file name -> fingerprint, of these files.

        Raises:
            ImageHostError: the host of the pictures does not answer.
        """
        pictures, skipped = embed_store(open_store(self.pictures), sorted(fingerprints), parts)
        return part_bytes(pictures, skipped, fingerprints)


def embed_parts(
    job: EmbeddingJob,
    parts: ModelParts,
    file_names: Sequence[str],
    fingerprints: Mapping[str, str],
    *,
    runner: str | None = None,
) -> Iterator[tuple[int, bytes]]:
    """Yield the parts as they are finished: how many files each has, and its Parquet file.

    Args:
        job: the source and the network.
        parts: the network, loaded.
        file_names: the files to embed, sorted.
        fingerprints: file name -> fingerprint.
        runner: None for this process, "native" for processes of this machine, "ray://HOST:PORT" for a Ray cluster.

    Raises:
        DataError: there is no such runner.
        MissingExtraError: Daft or Ray is not installed.
        VisimError: the pictures cannot be read, or a worker has another network.
    """
    at_once = pictures_at_once(parts.processor.size)
    a_part = at_once * max(1, _FILES_A_PART // at_once)
    tasks = [
        {name: fingerprints[name] for name in file_names[start : start + a_part]}
        for start in range(0, len(file_names), a_part)
    ]
    if runner is None:
        for task in tasks:
            yield len(task), job.embed(parts, task)
    elif tasks:
        yield from _in_daft(job, tasks, runner)


def _in_daft(job: EmbeddingJob, tasks: Sequence[Mapping[str, str]], runner: str) -> Iterator[tuple[int, bytes]]:
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
    embed = worker(job.pictures, job.model, job.weights_sha256).embed
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
    """Embeds tasks in a process of its own, which loads the network once."""

    def __init__(self, pictures: str, model: str, weights_sha256: str) -> None:
        import torch

        torch.set_num_threads(1)  # there is a worker for each core
        self._job = EmbeddingJob(pictures, model, weights_sha256)
        self._parts = ModelParts.load(model)
        if self._parts.weights_sha256 != weights_sha256:
            raise DataError(f"{model} is another network on this worker: give all of them the same weights.")

    def embed(self, tasks: Any) -> list[bytes]:
        """Embed a series of tasks, each in JSON: the Parquet files of their parts."""
        return [self._job.embed(self._parts, json.loads(task)) for task in tasks.to_pylist()]


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
