"""A build whose pictures a Ray cluster embeds: killed in between, then finished. Skipped without the package ray."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.builders import write_pictures
from tests.milvus_servers import free_port, need
from tests.visim_models.build.engine_builds import engine_build
from visim_models import VisualSimilarity

_PROGRAM = """
import os, signal, sys
from visim_models.build import runners, vectors
from visim_models.build.engine_build import EngineOptions, build_in_engine
from visim_models.search.engine import EngineAddress

runners._FILES_A_PART = 256
keep = vectors.VectorFolder.keep

def killed(self, content):
    keep(self, content)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    pictures, out, model, uri, runner, end = sys.argv[1:]
    if end == "killed":
        vectors.VectorFolder.keep = killed
    options = EngineOptions(address=EngineAddress(uri), runner=runner)
    build_in_engine(pictures, out, options, model=model, progress=False)
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """A cluster of one node with two workers, on the loopback interface; its address."""
    need("pyarrow", "daft", "ray")
    client, head = free_port(), free_port()
    ray = [str(Path(sys.executable).with_name("ray"))]
    options = {
        "node-ip-address": "127.0.0.1", "port": head, "ray-client-server-port": client, "num-cpus": 2,
        "include-dashboard": "false", "object-store-memory": 200_000_000,
    }  # fmt: skip
    command = [*ray, "start", "--head", "--block", "--disable-usage-stats"]
    with (tmp_path / "ray.txt").open("wb") as output:
        node = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())],
            stdout=output,
            stderr=output,
            cwd=tmp_path,
        )
    try:
        while b"will now block" not in (tmp_path / "ray.txt").read_bytes():  # who asks before that waits in vain
            assert node.poll() is None, (tmp_path / "ray.txt").read_text(encoding="utf-8")
            time.sleep(0.2)
        yield f"ray://127.0.0.1:{client}"
    finally:
        node.terminate()  # `--block` ends the node's other processes, too
        node.wait()


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
    """Run the program; again where the cluster does not take its client, which happens soon after another one's end."""
    command = [sys.executable, "-c", _PROGRAM, *map(str, arguments)]
    for _ in range(3):
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        if "cannot be started" not in done.stderr:
            break
    return done
