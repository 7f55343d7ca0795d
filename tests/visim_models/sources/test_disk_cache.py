"""The cache of pictures: bounded, and indifferent to a clock that jumps."""

import os
import time
from pathlib import Path

import pytest

from visim_models.sources.disk_cache import DiskCache

YEAR = 365 * 86_400.0


def test_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = DiskCache(folder, max_bytes=1000)
    for number in range(450):
        cache.put(f"key{number}", bytes(10))
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 1010
    assert cache.get("key449") == bytes(10)
    assert cache.get("key0") is None


@pytest.mark.parametrize("jump", [0.0, YEAR, -10 * YEAR, 5.0])
def test_kept_files_of_another_time_are_found_and_cleared_away(jump: float, tmp_path: Path) -> None:
    DiskCache(tmp_path).put("old", b"x" * 60)
    os.utime(tmp_path / "old", (time.time() + jump,) * 2)
    cache = DiskCache(tmp_path, max_bytes=50)
    assert cache.get("old") == b"x" * 60
    cache.put("new", b"y")
    assert cache.get("old") is None
    assert cache.get("new") == b"y"
