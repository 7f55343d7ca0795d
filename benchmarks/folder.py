"""Rows: embedding a folder of pictures, against one at a time and against the network alone."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import hub
from benchmarks.article_work import Article, CarArticle, Cifar10Article
from benchmarks.parts import DECODING, NETWORK, decode_alone, network_alone, rate_floors
from benchmarks.pictures import jpegs, write_folder
from benchmarks.scale import Scale
from benchmarks.table import Row
from benchmarks.timing import interleaved, medians
from visim_models import VisualSimilarity

__all__ = ["folder_rows"]

_LEAST_RATIO = 4.0
_LEAST_SHARE = 0.8


def folder_rows(scale: Scale) -> Iterator[Row]:
    """Measure the pictures a second of each tab's network."""
    for tab, count in (("cars", scale.cars), ("cifar10", scale.cifar10)):
        similarity = hub.load(dict(scale.repos)[tab])
        with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
            folder = Path(name)
            article = CarArticle(similarity, folder) if tab == "cars" else Cifar10Article(similarity)
            paths = write_folder(jpegs(tab, count, data=scale.data), folder / "pictures")
            yield from _rows(similarity, article, paths, tab, scale)


def _rows(similarity: VisualSimilarity, article: Article, paths: list[Path], tab: str, scale: Scale) -> Iterator[Row]:
    pixels = torch.stack([similarity.processor(path) for path in paths])  # (N, 3, S, S)
    _check_same(similarity, article, paths, pixels)
    works = {
        "folder": lambda: similarity.embed_batch(paths),
        "one": lambda: article.embed_files(paths),
        DECODING: lambda: decode_alone(similarity.processor, paths),
        NETWORK: lambda: network_alone(similarity.model, pixels),
    }
    times = medians(interleaved(works, rounds=scale.long_rounds))
    rates = {name: len(paths) / seconds for name, seconds in times.items()}
    ours = rates["folder"]
    for name, baseline, least, ratio_unit in (
        ("one at a time, by the article's steps", rates["one"], _LEAST_RATIO, "times faster"),
        ("the network alone, on tensors in memory", rates[NETWORK], _LEAST_SHARE, "of its rate"),
    ):
        yield Row(
            what=f"embedding {len(paths):,} files, {tab}",
            measured=ours,
            unit="pictures/s",
            baseline_name=name,
            baseline=baseline,
            ratio=ours / baseline,
            ratio_unit=ratio_unit,
            floors=rate_floors(rates),
            target=f">= {least:g} {ratio_unit}",
            met=ours / baseline >= least,
        )


def _check_same(similarity: VisualSimilarity, article: Article, paths: list[Path], pixels: torch.Tensor) -> None:
    """Check that all of them embed the same pixels alike."""
    few = slice(0, 8)
    together = similarity.embed_batch(paths[few])
    with torch.no_grad():
        one = torch.cat([article.network()(picture[None]) for picture in pixels[few]])
    for found in (one, network_alone(similarity.model, pixels[few])):
        np.testing.assert_allclose(found.numpy(), together, atol=1e-3)
