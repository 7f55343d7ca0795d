"""Rows: pictures a second of the runners that embed for a gallery in an engine, against the build of one machine."""

import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import hub
from benchmarks.pictures import are_photographs, jpegs, write_folder
from benchmarks.scale import Scale
from benchmarks.table import Row
from visim_models.build.embed_store import embed_store
from visim_models.build.model_parts import ModelParts
from visim_models.build.runners import EmbeddingJob, embed_parts
from visim_models.build.sources import open_store

__all__ = ["runner_rows"]

_LEAST_SHARE: Final = 0.9


def runner_rows(scale: Scale) -> Iterator[Row]:
    """Measure the pictures a second of a runner in this process and of Daft's, its start included."""
    if not importlib.util.find_spec("pyarrow"):
        print("not measured: the runners need the package pyarrow", file=sys.stderr)
        return
    kind = "photographs" if are_photographs("cars", data=scale.data) else "drawn pictures"
    parts = ModelParts.load(hub.locate("car-extractor"))
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name:
        folder = Path(name) / "pictures"
        count = len(write_folder(jpegs("cars", scale.built, data=scale.data), folder))
        store = open_store(folder)
        fingerprints = {each: store.fingerprint(each) for each in store.list()}
        job = EmbeddingJob(str(folder), str(hub.locate("car-extractor")), parts.weights_sha256)
        start = time.perf_counter()
        embed_store(store, sorted(fingerprints), parts)
        baseline = count / (time.perf_counter() - start)
        for runner in (None, "native"):
            if runner and not importlib.util.find_spec("daft"):
                print("not measured: the native runner needs the package daft", file=sys.stderr)
                continue
            start = time.perf_counter()
            done = sum(n for n, _ in embed_parts(job, parts, sorted(fingerprints), fingerprints, runner=runner))
            if done != count:
                raise RuntimeError(f"{done:,} of {count:,} pictures were embedded.")
            measured = count / (time.perf_counter() - start)
            yield Row(
                what=f"embedding {count:,} {kind} to Parquet, {runner or 'this process'}",
                measured=measured,
                unit="pictures/s",
                baseline_name="the build of a gallery in memory",
                baseline=baseline,
                ratio=measured / baseline,
                ratio_unit="of its rate",
                target=f">= {_LEAST_SHARE} of its rate",
                met=measured / baseline >= _LEAST_SHARE,
                note="one turn each; the start of the workers included",
            )
