"""A clock that jumps, by years and backwards, changes nothing: what waits is counted on the steady clock."""

import os
import time
from pathlib import Path

import pytest

from tests.builders import drawn_picture, tiny_similarity
from visim_models.disk_cache import DiskCache
from visim_models.image_source import ImageRoot

YEAR = 365 * 86_400.0
JUMPS = (0.0, YEAR, -10 * YEAR, 5.0)


@pytest.fixture(params=JUMPS[1:])
def jumping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first look on, the clock of the machine is off, and goes backwards from then."""
    real, looks = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + request.param - next(looks))


@pytest.mark.usefixtures("jumping")
def test_an_image_root_stays_off_for_as_long_as_it_says() -> None:
    root = ImageRoot("http://127.0.0.1:9/", trusted=True, timeout=2.0, retry_after=600.0)
    assert root.fetch_all(["a.jpg"]) == {}
    start = time.perf_counter()
    assert root.fetch_all(["a.jpg", "b.jpg"]) == {}
    assert time.perf_counter() - start < 0.5


@pytest.mark.usefixtures("jumping")
def test_a_query_is_answered() -> None:
    similarity = tiny_similarity()
    assert similarity.search(drawn_picture(0)).matches[0].percent == 100


@pytest.mark.parametrize("jump", JUMPS)
def test_kept_files_of_another_time_are_found_and_cleared_away(jump: float, tmp_path: Path) -> None:
    DiskCache(tmp_path).put("old", b"x" * 60)
    os.utime(tmp_path / "old", (time.time() + jump,) * 2)
    cache = DiskCache(tmp_path, max_bytes=50)
    assert cache.get("old") == b"x" * 60
    cache.put("new", b"y")
    assert cache.get("old") is None
    assert cache.get("new") == b"y"
