"""Rows: ONNX Runtime in place of torch, in one run: a query, a build, and the demo with its memory and visitors."""

import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

import hub
from benchmarks.demo import Crowd
from benchmarks.measuring import Floor, Row, interleaved, median, medians
from benchmarks.processes import Visitor, resident_memory
from benchmarks.queries import network_alone
from benchmarks.scale import Scale, jpegs, upload, write_folder
from visim_models import ImageProcessor, VisualSimilarity
from visim_models.galleries import build
from visim_models.models.loading import BACKENDS, load_network
from visim_models.repo_folder import RepoFolder

__all__ = ["backend_build_rows", "backend_demo_rows", "backend_query_rows"]

_QUERY_SHARES: Final = {"cars": 0.6, "cifar10": 0.55, "general": 0.4}
_BUILD_SHARES: Final = {"cars": 0.65, "general": 0.45}
_MOST_OF_NETWORK: Final = 1.25
_START_SHARE, _MEMORY_SHARE, _RATE_SHARE = 0.4, 0.35, 1.5
_SHOWN: Final = 40
"""Pictures of the gallery that the general extractor makes."""
_USERS: Final = 50
_SAME_SCORE: Final = 0.002
_SAME_EMBEDDING: Final = 1e-4


def backend_query_rows(scale: Scale) -> Iterator[Row]:
    """Measure one query, from the bytes of a JPEG to the verdict, in both.

    Raises:
        RuntimeError: they do not answer alike.
    """
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        folder = Path(name)
        write_folder(jpegs("cars", _SHOWN, data=scale.data), folder / "pictures")
        build(folder / "pictures", folder / "general", model=hub.locate(scale.general), progress=False)
        repos = {**{tab: hub.locate(repo) for tab, repo in scale.repos}, "general": folder / "general"}
        for what, repo in repos.items():
            picture = upload("cifar10" if what == "cifar10" else "cars", data=scale.data)
            torch, onnx = (VisualSimilarity.from_pretrained(repo, backend=backend) for backend in BACKENDS)
            _check_alike(torch, onnx, jpegs("cars", 10 * scale.queries, data=scale.data))
            works = {"torch": lambda: torch.search(picture), "onnx": lambda: onnx.search(picture)}  # noqa: B023
            times = medians(
                interleaved(works, rounds=scale.rounds, each=dict.fromkeys(works, scale.queries)), scale=1e3
            )
            yield _row(
                f"one query by ONNX Runtime, JPEG of 640 x 480 to verdict, {what}", times, "ms", _QUERY_SHARES[what]
            )


def _check_alike(torch: VisualSimilarity, onnx: VisualSimilarity, pictures: list[bytes]) -> None:
    pixels = np.stack([torch.processor(picture) for picture in pictures])
    farthest = np.abs(network_alone(torch.network, pixels) - network_alone(onnx.network, pixels)).max()
    if farthest > _SAME_EMBEDDING:
        raise RuntimeError(f"Embeddings by ONNX Runtime differ by {farthest:.2g} from torch's.")
    for one, other in zip(torch.search_batch(pictures), onnx.search_batch(pictures), strict=True):
        ours, theirs = ([match.score for match in found.matches] for found in (one, other))
        if one.ood.is_ood != other.ood.is_ood or not np.allclose(ours, theirs, atol=_SAME_SCORE):
            raise RuntimeError(f"ONNX Runtime finds {other}, and torch {one}.")


def backend_build_rows(scale: Scale) -> Iterator[Row]:
    """Measure a folder of photographs, from files to a repo folder, in both, and the bare network of ONNX Runtime."""
    cars = dict(scale.repos)["cars"]
    for name, model, count in (("general", scale.general, scale.built_generally), ("cars", cars, scale.built)):
        repo = hub.locate(model)
        network, processor = load_network(RepoFolder(repo), backend="onnx"), ImageProcessor.load(RepoFolder(repo))
        with tempfile.TemporaryDirectory(prefix="visim-bench-") as temporary:
            folder = Path(temporary)
            paths = write_folder(jpegs("cars", count, data=scale.data), folder / "pictures")
            pixels = np.stack([processor(path) for path in paths])  # (N, 3, S, S)
            outs = (folder / f"repo-{number}" for number in itertools.count())

            def built(backend: str, folder: Path = folder, repo: Path = repo, outs: Iterator[Path] = outs) -> None:
                build(folder / "pictures", next(outs), model=repo, backend=backend, progress=False)

            works = {
                "torch": lambda: built("torch"),
                "onnx": lambda: built("onnx"),
                "network": lambda: network_alone(network, pixels),  # noqa: B023
            }
            times = medians(interleaved(works, rounds=scale.long_rounds))
        what = f"{len(paths):,} pictures, from files to a repo folder, {name}, ONNX Runtime"
        yield _row(what, times, "s", _BUILD_SHARES[name])
        bare = {"torch": times["network"], "onnx": times["onnx"]}
        yield _row(what, bare, "s", _MOST_OF_NETWORK, baseline="its network alone, on arrays in memory")


def backend_demo_rows(scale: Scale) -> Iterator[Row]:
    """Measure the demo in both, in turns: to its first answer, its memory after 100 queries, 50 visitors at once."""
    picture, pictures = upload("cars", data=scale.data), jpegs("cars", 40, data=scale.data)
    starts: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    memory: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    rates: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    for backend in list(BACKENDS) * scale.long_rounds:
        with tempfile.TemporaryDirectory(prefix="visim-bench-") as folder:
            start = time.perf_counter()
            with scale.serve(Path(folder), options=["--backend", backend]) as demo, Visitor(demo.url) as visitor:
                visitor.search(picture, tab="cars")
                starts[backend].append(time.perf_counter() - start)
                for number in range(5 * scale.queries):
                    visitor.search(pictures[number % len(pictures)], tab="cars")
                memory[backend].append(resident_memory(demo.pid) / 1e6)
                crowd = Crowd(demo.url, lambda one, number: one.search(pictures[number % len(pictures)], tab="cars"))
                rates[backend].append(crowd.use(_USERS, duration=scale.seconds).throughput)
                if crowd.errors:
                    raise RuntimeError(f"{len(crowd.errors)} of {len(crowd.seconds)} visitors got no answer.")
    for what, found, unit, share in (
        ("python demo/app.py to its first answer, ONNX Runtime", starts, "s", _START_SHARE),
        (f"resident memory after {5 * scale.queries} queries, ONNX Runtime", memory, "MB", _MEMORY_SHARE),
        (f"{_USERS} visitors at once, ONNX Runtime", rates, "answers/s", _RATE_SHARE),
    ):
        yield _row(what, {backend: median(values) for backend, values in found.items()}, unit, share)


def _row(what: str, times: dict[str, float], unit: str, share: float, *, baseline: str = "torch") -> Row:
    """Return the row of a figure beside torch's, of which it may be at most a share; a rate must be at least one."""
    ratio, is_rate = times["onnx"] / times["torch"], unit.endswith("/s")
    return Row(
        what=what,
        measured=times["onnx"],
        unit=unit,
        baseline_name=baseline,
        baseline=times["torch"],
        ratio_unit="of it",
        floors=(Floor("its network alone", times["network"]),) if "network" in times else (),
        target=f"{'>=' if is_rate else '<='} {share:g} of it",
        met=ratio >= share if is_rate else ratio <= share,
    )
