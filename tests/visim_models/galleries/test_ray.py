"""A build whose pictures a Ray cluster embeds: killed in between, then finished. Skipped without the package ray."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.processes import running_cluster
from tests.builders import write_pictures
from tests.milvus_servers import need
from tests.visim_models.galleries.engine_builds import engine_build
from visim_models import VisualSimilarity

_PROGRAM = """
import os, signal, sys
from visim_models.galleries import EngineOptions, build, part_store
from visim_models.search.engine import EngineAddress

part_store.FILES_A_PART["parquet"] = 256
keep = part_store.PartStore.keep_bytes

def killed(self, content):
    keep(self, content)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    pictures, out, model, uri, runner, end = sys.argv[1:]
    if end == "killed":
        part_store.PartStore.keep_bytes = killed
    options = EngineOptions(address=EngineAddress(uri), runner=runner)
    build(pictures, out, engine=options, model=model, progress=False)
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster of one node with two workers, on the loopback interface."""
    need("pyarrow", "daft", "ray")
    with running_cluster(tmp_path) as address:
        yield address


def test_a_job_on_ray_that_was_killed_goes_on(cluster: str, tmp_path: Path, model: Path) -> None:
    from pyarrow import parquet

    pictures = write_pictures(tmp_path / "many", 70, size=12)
    out, uri, vectors = tmp_path / "engine", str(tmp_path / "index.db"), tmp_path / "engine-vectors"
    arguments = [pictures, out, model, uri, cluster]
    killed = _run(*arguments, "killed")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    (first,) = vectors.glob("part-*")
    done = _run(*arguments, "whole")
    assert done.returncode == 0, done.stderr
    counts = {path.name: parquet.read_metadata(path).num_rows for path in vectors.glob("part-*")}
    assert sorted(counts.values()) == [280 - 256, 256]
    assert first.name in counts
    engine_build(pictures, tmp_path / "here", str(tmp_path / "here.db"), model)
    there, here = (
        VisualSimilarity.from_pretrained(tmp_path / name, index_uri=str(tmp_path / database)).gallery.embeddings
        for name, database in (("engine", "index.db"), ("here", "here.db"))
    )
    np.testing.assert_array_equal(there, here)


def _run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", _PROGRAM, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
