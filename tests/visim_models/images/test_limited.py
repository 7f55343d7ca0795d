"""Strangers' bytes are decoded in processes of limited memory and time, and one bad file harms nobody else."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.costly_images import costly_uploads
from tests.image_files import encoded, quadrants
from visim_models.errors import ImageDecodeError
from visim_models.images import limited
from visim_models.images.decode import decode_image

SECONDS = 2.0  # of CPU, for any hostile upload
START = 0.6  # of CPU, of the process that replaces one which was ended; on a busy machine
MEMORY = 300_000_000  # bytes more than before, for any upload
FLAG = encoded(quadrants(), "PNG")

pytestmark = pytest.mark.skipif(not limited.limits_available(), reason="this system cannot limit a process's memory")


@pytest.fixture(autouse=True)
def _pool() -> Iterator[None]:
    limited.start()
    yield
    limited.stop()


def workers() -> list[int]:
    return [worker.pid for worker in limited._pool().workers]


def test_the_picture_is_that_of_decode_image() -> None:
    photo = encoded(quadrants(size=(640, 480)), "JPEG")
    for data in (FLAG, photo):
        assert np.array_equal(np.asarray(limited.decode_untrusted(data)), np.asarray(decode_image(data)))


def test_the_largest_pictures_of_strangers_fit_within_the_limits() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = Image.new("RGB", (5000, 5000), "teal")
    files = {
        "progressive and turned": encoded(large, "JPEG", progressive=True, exif=exif, subsampling=0),
        "transparent": encoded(large.convert("RGBA"), "WEBP", lossless=True, method=0, quality=0),
        "float in one strip": encoded(large.convert("F"), "TIFF", compression="tiff_lzw", strip_size=2**27),
    }
    for name, data in files.items():
        assert limited.decode_untrusted(data).size == (5000, 5000), name


def test_a_refusal_says_what_decode_image_says() -> None:
    for data in (b"", b"no picture", FLAG[:60]):
        with pytest.raises(ImageDecodeError) as here:
            decode_image(data)
        with pytest.raises(ImageDecodeError) as there:
            limited.decode_untrusted(data)
        assert str(there.value) == str(here.value)
    with pytest.raises(ImageDecodeError, match="too large: 24 x 16"):
        limited.decode_untrusted(FLAG, max_pixels=383)
    with pytest.raises(ImageDecodeError, match="more than the limit of 10"):
        limited.decode_untrusted(FLAG, max_bytes=10)


def test_a_worker_that_dies_is_replaced() -> None:
    before = set(workers())
    assert len(before) == 2
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for _ in before:
        with pytest.raises(ImageDecodeError, match="time or memory"):
            limited.decode_untrusted(FLAG)
    assert limited.decode_untrusted(FLAG).size == (24, 16)
    assert not before & set(workers())


def test_a_worker_that_hangs_is_replaced_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    limited.decode_untrusted(FLAG), limited.decode_untrusted(FLAG)  # both have started
    monkeypatch.setattr(limited, "_DEADLINE", 0.2)
    for pid in workers():
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ImageDecodeError, match="time or memory"):
        limited.decode_untrusted(FLAG)


def test_a_worker_has_no_torch_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    limited.stop()
    limited.decode_untrusted(FLAG), limited.decode_untrusted(FLAG)
    for pid in workers():
        assert b"hf_secret" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


def test_the_processes_end_with_their_parent() -> None:
    code = "from visim_models.images import limited as l; l.start(); print(*(w.pid for w in l._pool().workers))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    for pid in done.stdout.split():
        assert not Path(f"/proc/{pid}").exists()


def peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def test_no_costly_upload_takes_much_memory_or_time_or_harms_another_visitor() -> None:
    """The costs are those of the processes: CPU time of all, and the peak memory of those that go on."""
    faults, others, done = [], [], threading.Event()

    def visit() -> None:
        while not done.is_set():
            others.append(limited.decode_untrusted(FLAG).size)
            time.sleep(0.01)

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        for upload in costly_uploads():
            pids = workers()
            before = {pid: (cpu_seconds(pid), peak(pid)) for pid in pids}
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            with contextlib.suppress(ImageDecodeError):
                limited.decode_untrusted(upload.data)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            gone = [pid for pid in pids if not Path(f"/proc/{pid}").exists()]
            spent = after.ru_utime + after.ru_stime - ended.ru_utime - ended.ru_stime
            spent -= sum(before[pid][0] for pid in gone)
            spent += sum(cpu_seconds(pid) - before[pid][0] for pid in pids if pid not in gone)
            grown = max([peak(pid) - before[pid][1] for pid in pids if pid not in gone], default=0)
            if spent > SECONDS + START or grown > MEMORY:
                faults.append((upload.name, round(spent, 1), grown))
    finally:
        done.set()
        visitor.join()
    assert faults == []
    assert set(others) == {(24, 16)}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
