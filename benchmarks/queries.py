"""Rows: one query, from the bytes of a JPEG to the verdict, and a folder of photographs built into a repo."""

import io
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import hub
from benchmarks.article import Article, CarArticle, Cifar10Article
from benchmarks.measuring import Floor, Row, Work, interleaved, medians, percentile
from benchmarks.scale import Scale, are_photographs, jpegs, upload, write_folder
from visim_models import ImageProcessor, VisualSimilarity
from visim_models.galleries import build
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.models.loading import load_network
from visim_models.models.network import Floats, Network
from visim_models.processing import decode_pictures
from visim_models.repo_folder import RepoFolder

__all__ = [
    "build_rows",
    "car_query_rows",
    "check_same_ranking",
    "cifar10_query_rows",
    "network_alone",
    "query_parts",
    "time_floors",
]

DECODING = "decoding alone"
NETWORK = "network alone"
_LEAST_RATIO, _MOST_MILLISECONDS = 60.0, 20.0  # of a query, to the articles'
_MOST_RATIO = 1.25  # of a build, to the network alone
_TAB, _GENERAL = "cars", "general-extractor"


def query_parts(similarity: VisualSimilarity, picture: bytes) -> dict[str, Work]:
    """Return the three works that an exact query consists of at least.

    They are: Pillow decoding the JPEG, with no check around it; the network on one picture; and reading every embedding
    of the gallery once.
    """
    pixels = similarity.processor(picture)[None]  # (1, 3, S, S)
    matrix = torch.from_numpy(similarity.gallery.embeddings)  # (N, D)

    def decode() -> None:
        with Image.open(io.BytesIO(picture)) as image:
            image.convert("RGB")

    return {
        "decoding": decode,
        "one forward pass": lambda: similarity.network.embed(pixels),
        "one pass over the matrix": matrix.sum,
    }


def time_floors(times: Mapping[str, float], names: Iterable[str]) -> tuple[Floor, ...]:
    """Return the floors of these names and their sum.

    Args:
        times: name of a work -> its time.
        names: of the parts among them.
    """
    parts = [Floor(name, times[name]) for name in names]
    return (*parts, Floor("sum", sum(part.value for part in parts)))


def decode_alone(processor: ImageProcessor, paths: Sequence[Path]) -> None:
    """Decode and resize pictures in threads, as a folder is embedded, with no network at work."""
    for _ in decode_pictures(paths, processor):
        pass


def network_alone(network: Network, pixels: Floats) -> Floats:
    """Embed pictures that are in memory, (N, 3, S, S) -> (N, D), in the batches that suit the network."""
    at_once = pictures_at_once(pixels.shape[-1])
    parts = [network.embed(pixels[start : start + at_once]) for start in range(0, len(pixels), at_once)]
    return np.concatenate(parts)


def car_query_rows(scale: Scale) -> Iterator[Row]:
    """Measure one query of the car tab."""
    similarity, picture = _similarity(scale, "cars"), upload("cars", data=scale.data)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as folder:
        article = CarArticle(similarity, Path(folder))
        check_same_ranking(similarity, article, picture)
        yield _query_row(scale, "cars", similarity, picture, lambda: article.search(picture), most=_MOST_MILLISECONDS)


def cifar10_query_rows(scale: Scale) -> Iterator[Row]:
    """Measure one query of the CIFAR-10 tab."""
    similarity, picture = _similarity(scale, "cifar10"), upload("cifar10", data=scale.data)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as folder:
        path = Path(folder) / "upload.jpg"
        path.write_bytes(picture)
        article = Cifar10Article(similarity)
        check_same_ranking(similarity, article, picture)
        yield _query_row(scale, "cifar10", similarity, picture, lambda: article.search(path))


def _similarity(scale: Scale, tab: str) -> VisualSimilarity:
    similarity = hub.load(dict(scale.repos)[tab])
    if scale.gallery_limit is not None:
        similarity.gallery = similarity.gallery.subset(range(min(scale.gallery_limit, len(similarity.gallery))))
    return similarity


def _query_row(
    scale: Scale, tab: str, similarity: VisualSimilarity, picture: bytes, article: Work, *, most: float | None = None
) -> Row:
    parts = query_parts(similarity, picture)
    seconds = interleaved(
        {"visim": lambda: similarity.search(picture), "article": article, **parts},
        rounds=scale.rounds,
        each=dict.fromkeys(("visim", *parts), scale.queries),
    )
    times = medians(seconds, scale=1e3)
    ours, ratio = times["visim"], times["article"] / times["visim"]
    ordinal = {"cars": "second", "cifar10": "first"}[tab]
    return Row(
        what=f"one query, JPEG of 640 x 480 to verdict, {tab}, gallery of {len(similarity.gallery):,}",
        measured=ours,
        unit="ms",
        baseline_name=f"the {ordinal} article's work for an upload",
        baseline=times["article"],
        ratio=ratio,
        ratio_unit="times faster",
        floors=time_floors(times, parts),
        target=f">= {_LEAST_RATIO:.0f} times faster" + (f", < {most:.0f} ms" if most else ""),
        met=ratio >= _LEAST_RATIO and (most is None or ours < most),
        note=f"p95 {percentile(seconds['visim'], 0.95) * 1e3:.1f} ms",
    )


def check_same_ranking(similarity: VisualSimilarity, article: Article, picture: bytes) -> None:
    """Check that both find the same for the same pixels: else their times cannot be compared.

    The pixels are visim's: the articles resize without averaging, and each to numbers of its own.

    Raises:
        RuntimeError: they do not.
    """
    theirs = article.rank(torch.from_numpy(similarity.processor(picture))[None])
    scores = dict(theirs)  # by name: copies of a picture in the gallery may have each other's rank
    for rank, match in enumerate(similarity.search(picture).matches):
        if abs(match.score - theirs[rank][1]) > 1e-3 or abs(match.score - scores[match.file_name]) > 1e-3:
            raise RuntimeError(f"At rank {rank} the article's work finds {theirs[rank]}, and visim {match}.")


def build_rows(scale: Scale) -> Iterator[Row]:
    """Measure `visim build`: from files to a repo folder with its gallery and its calibrated detector."""
    yield _build_row(scale, dict(scale.repos)[_TAB], scale.built)
    yield _build_row(scale, _GENERAL, scale.built_generally)


def _build_row(scale: Scale, model: str, count: int) -> Row:
    repo = hub.locate(model)
    network, processor = load_network(RepoFolder(repo)), ImageProcessor.load(RepoFolder(repo))
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        folder = Path(name)
        paths = write_folder(jpegs(_TAB, count, data=scale.data), folder / "pictures")
        pixels = np.stack([processor(path) for path in paths])  # (N, 3, S, S)
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
