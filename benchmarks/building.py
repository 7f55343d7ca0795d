"""Rows: a folder of photographs built into a repo folder, against the network alone."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

import hub
from benchmarks.parts import DECODING, NETWORK, decode_alone, network_alone, time_floors
from benchmarks.pictures import are_photographs, jpegs, write_folder
from benchmarks.scale import Scale
from benchmarks.table import Row
from benchmarks.timing import interleaved, medians
from visim_models import ImageProcessor
from visim_models.galleries import build
from visim_models.models import load_model
from visim_models.models.embedding import prepared
from visim_models.repo_folder import RepoFolder

__all__ = ["build_rows"]

_TAB = "cars"
_GENERAL = "general-extractor"
_MOST_RATIO = 1.25


def build_rows(scale: Scale) -> Iterator[Row]:
    """Measure `visim build`: from files to a repo folder with its gallery and its calibrated detector."""
    yield _build_row(scale, dict(scale.repos)[_TAB], scale.built)
    yield _build_row(scale, _GENERAL, scale.built_generally)


def _build_row(scale: Scale, model: str, count: int) -> Row:
    repo = hub.locate(model)
    network, processor = prepared(load_model(RepoFolder(repo))), ImageProcessor.load(RepoFolder(repo))
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        folder = Path(name)
        paths = write_folder(jpegs(_TAB, count, data=scale.data), folder / "pictures")
        pixels = torch.stack([processor(path) for path in paths])  # (N, 3, S, S)
        outs = (folder / f"repo-{number}" for number in itertools.count())
        works = {
            "build": lambda: build(folder / "pictures", next(outs), model=repo, progress=False),
            DECODING: lambda: decode_alone(processor, paths),
            NETWORK: lambda: network_alone(network, pixels),
        }
        _check_whole(folder / "pictures", folder / "first", repo, len(paths))
        times = medians(interleaved(works, rounds=scale.long_rounds, warm_ups=0))
    ratio = times["build"] / times[NETWORK]
    kind = "photographs" if are_photographs(_TAB, data=scale.data) else "drawn pictures"
    return Row(
        what=f"{len(paths):,} {kind}, from files to a repo folder, {repo.name}",
        measured=times["build"],
        unit="s",
        baseline_name="the network alone, on tensors in memory",
        baseline=times[NETWORK],
        ratio=ratio,
        ratio_unit="of its time",
        floors=time_floors(times, (DECODING, NETWORK)),
        target=f"<= {_MOST_RATIO} of its time",
        met=ratio <= _MOST_RATIO,
    )


def _check_whole(pictures: Path, out: Path, repo: Path, count: int) -> None:
    """Build once, which also starts threads and fills the file cache, and check that every picture is in the gallery.

    Raises:
        RuntimeError: one is missing.
    """
    build(pictures, out, model=repo, progress=False)
    found = len(hub.load(out).gallery)
    if found != count:
        raise RuntimeError(f"{found:,} of {count:,} pictures are in the gallery that was built.")
