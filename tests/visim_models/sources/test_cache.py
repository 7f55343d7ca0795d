"""What spares a host: the cache of pictures, and the pause while a host does not answer."""

import os
import threading
import time
from pathlib import Path

import pytest

from visim_models.sources.cache import DiskCache, HostPause

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


class Clock:
    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def test_one_request_asks_again_when_the_pause_is_over(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    pause = HostPause("host.example", seconds=60)
    assert not pause.is_on
    assert not pause.take_retry()
    pause.failed("no route", since=clock.now)
    assert pause.is_on
    assert "host.example" in caplog.text
    assert "no route" in caplog.text
    clock.now += 59
    assert not pause.take_retry()
    clock.now += 1
    assert [pause.take_retry() for _ in range(3)] == [True, False, False]
    pause.failed("no route", since=clock.now)
    assert len(caplog.records) == 1  # it says so once
    clock.now += 60
    assert pause.take_retry()
    pause.answered()
    assert not pause.is_on
    assert not pause.take_retry()


def test_a_host_that_answered_another_request_is_not_left_alone(clock: Clock) -> None:
    pause = HostPause("host.example", seconds=60)
    start = clock.now
    clock.now += 1
    pause.answered()
    clock.now += 1
    pause.failed("one slow file", since=start)
    assert not pause.is_on
    pause.failed("no answer to a later request", since=clock.now)
    assert pause.is_on


def test_of_many_threads_one_asks_again() -> None:
    pause = HostPause("host.example", seconds=0)
    pause.failed("no route", since=time.monotonic())
    pause._seconds = 60
    barrier, taken = threading.Barrier(16), []

    def ask() -> None:
        barrier.wait()
        taken.append(pause.take_retry())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 15 + [True]
