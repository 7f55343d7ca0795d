"""Rows: how long a clean-up takes, against ImageHash's hashes of the same files and against the bare network."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.hash_baseline import nearest_by_hash, perceptual_hashes
from benchmarks.pictures import jpegs, write_folder
from benchmarks.process_memory import peak_memory, reset_peak
from benchmarks.scale import Scale
from benchmarks.table import Floor, Row
from visim_models import Gallery, decode_image
from visim_models.cleaning import CleanUp, Wanted, find_duplicates, survey_pictures
from visim_models.galleries.model_parts import ModelParts
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.models.embedding import embed_pixels

__all__ = ["group_rows", "speed_rows"]

_WIDTH = 1280
_MOST_SECONDS = 300
_TRIED_BLOCKS = 2
_BLOCK = 2048


def speed_rows(scale: Scale) -> Iterator[Row]:
    """Measure a folder from files to a plan."""
    parts = ModelParts.load(scale.general)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        paths = write_folder(jpegs("cars", scale.cleaned, data=scale.data), Path(name) / "photos")
        start = time.perf_counter()
        survey = survey_pictures(paths[0].parent, parts, progress=True)
        looked = time.perf_counter()
        CleanUp(survey, parts=parts, progress=True).plan(Wanted(duplicates=True, broken=True))
        planned = time.perf_counter()
        hashes = perceptual_hashes(decode_image(path) for path in paths)
        nearest_by_hash(hashes, hashes)
        hashed = time.perf_counter()
        network = _network_seconds(parts, paths)
    seconds = planned - start
    yield Row(
        what=f"{len(paths):,} photographs, from files to a plan of duplicates and broken files",
        measured=seconds,
        unit="s",
        baseline_name="ImageHash's perceptual hashes of the same files, and all their distances",
        baseline=hashed - planned,
        ratio=seconds / (hashed - planned),
        ratio_unit="of its time",
        floors=(Floor("looking and embedding", looked - start), Floor("comparing", planned - looked)),
    )
    rates = len(paths) / (looked - start), len(paths) / network
    yield Row(
        what=f"looking at {len(paths):,} photographs: decoding, facts, thumbnails, embeddings",
        measured=rates[0],
        unit="pictures/s",
        baseline_name="the network alone, on tensors in memory",
        baseline=rates[1],
        ratio=rates[0] / rates[1],
        ratio_unit="of its rate",
    )


def _network_seconds(parts: ModelParts, paths: list[Path]) -> float:
    """Return the time that the network alone takes for as many pictures."""
    at_once = pictures_at_once(parts.processor.size)
    pixels = torch.stack([parts.processor(path) for path in paths[:at_once]])  # (B, 3, S, S)
    blocks = max(len(paths) // at_once // 10, 1)
    start = time.perf_counter()
    for _ in range(blocks):
        embed_pixels(parts.model, pixels)
    return (time.perf_counter() - start) * len(paths) / (blocks * len(pixels))


def group_rows(scale: Scale) -> Iterator[Row]:
    """Measure the groups of embeddings that exist."""
    count = scale.grouped
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(count, _WIDTH, generator=generator)
    planted = count // 20
    rows[:planted] = rows[planted : 2 * planted] + 0.1 * torch.randn(planted, _WIDTH, generator=generator)
    gallery = Gallery([f"{index:06d}.jpg" for index in range(count)], [""] * count, rows)
    blocks = min(_TRIED_BLOCKS, count // _BLOCK) or 1
    start = time.perf_counter()
    for block in range(blocks):
        rows[block * _BLOCK : (block + 1) * _BLOCK] @ rows.T
    products = (time.perf_counter() - start) / blocks * (count / _BLOCK) / 2  # they are symmetric
    before = _reset()
    start = time.perf_counter()
    groups = find_duplicates(gallery, progress=True)
    seconds = time.perf_counter() - start
    if len(groups) != planted:
        raise RuntimeError(f"{len(groups):,} groups were found of {planted:,} that were planted.")
    yield Row(
        what=f"groups of near-duplicates of {count:,} x {_WIDTH} embeddings that exist",
        measured=seconds,
        unit="s",
        baseline_name=f"all products alone, by {blocks} blocks of them",
        baseline=products,
        ratio=seconds / products,
        ratio_unit="of its time",
        target=f"<= {_MOST_SECONDS} s",
        met=seconds <= _MOST_SECONDS,
        note=f"{(peak_memory() - before) / 1e6:,.0f} MB of memory beside the embeddings",
    )


def _reset() -> int:
    """Return the memory that is resident now, from which the peak counts."""
    reset_peak()
    return peak_memory()
