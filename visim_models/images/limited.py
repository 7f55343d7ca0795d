"""Decode strangers' bytes in two processes of limited memory, CPU time and wall clock.

A decoder that is fed on purpose with a bad file can ask for gigabytes, run for minutes, or crash. Here that ends one
small process, which is replaced at once, and one visitor's picture. The worker is a fresh interpreter with numpy and
Pillow alone, without the environment of this process, so that no key or token is in its memory.
"""

import atexit
import contextlib
import importlib
import os
import queue
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from PIL import Image

from visim_models.errors import ImageDecodeError
from visim_models.images.decode import STRANGER_BYTES, STRANGER_PIXELS, check_bytes, decode_and_report, decode_image

__all__ = ["decode_untrusted", "limits_available", "serve", "start", "stop"]

_REQUEST: Final = struct.Struct("<QQ")  # bytes of the file, largest width x height
_REPLY: Final = struct.Struct(
    "<BQLL"
)  # _PICTURE, index of the pixels, width, height; or _REFUSED, length of the message
_PICTURE, _REFUSED = 0, 1

_WORKERS: Final = 2
_DEADLINE: Final = 20.0  # seconds of wall clock for one picture, the start of a worker included
_LONGEST_WAIT: Final = 30.0  # seconds for a free worker
_MOST_MEMORY: Final = 2**30
_TO_OPEN: Final = 240 * 2**20  # bytes: a WebP's decoder takes its canvases before it says how large they are
_SMALLEST: Final = 64 * 2**20
_A_PIXEL: Final = 32  # bytes: of 16 bits a colour with transparency; others take 8 to 24
_SECONDS: Final = 1.9
_SECONDS_A_PIXEL: Final = {"HEIC": 2e-7, "AVIF": 1e-7}  # more for films' codecs
_KEPT: Final = 16 * 2**20  # bytes of the shared file that stay allocated between two pictures
# The package's own imports are left out: a worker has to start in a fraction of a second, and to stay small.
_ENTRY: Final = """
import sys, types
package = types.ModuleType("visim_models")
package.__path__ = [sys.argv[1]]
sys.modules["visim_models"] = package
from visim_models.images.limited import serve
serve(int(sys.argv[2]))
"""
_TOO_COSTLY: Final = (
    "the picture takes more time or memory than a picture of its size needs: it is damaged, or made to do so. "
    "Save it again as JPEG or PNG."
)


def limits_available() -> bool:
    """Return whether this system can limit the memory of a process: only then are strangers' uploads safe."""
    return sys.platform == "linux"


def start() -> None:
    """Start the processes, so that the first upload does not wait for them; later calls do nothing."""
    if limits_available():
        _pool()


def stop() -> None:
    """End the processes; the next picture starts new ones."""
    global _current
    with _lock:
        if _current is not None:
            _current.close()
        _current = None


def decode_untrusted(data: bytes, *, max_pixels: int = STRANGER_PIXELS, max_bytes: int = STRANGER_BYTES) -> Image.Image:
    """Decode the bytes of a stranger's picture into upright sRGB, as `decode_image` does, but within hard limits.

    Where the system has no such limits (see `limits_available`), the bytes are decoded in this process.

    Args:
        data: The file.
        max_pixels: Largest width x height.
        max_bytes: Largest file, in bytes.

    Returns:
        A new image of mode RGB.

    Raises:
        ImageDecodeError: The bytes are not a picture, are damaged or beyond a limit, or the decoder took too much time
            or memory, or died. Nothing else is raised.
    """
    check_bytes(len(data), "the picture", max_bytes)
    if not limits_available():
        return decode_image(data, max_pixels=max_pixels, max_bytes=max_bytes)
    return _pool().decode(data, max_pixels)


class _WorkerGoneError(Exception):
    """The process of a worker has died or does not answer in time."""


class _Worker:
    """One process, and the file in memory through which bytes go there and pixels come back."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() if not hasattr(os, "memfd_create") else contextlib.nullcontext() as file:
            self._file = os.memfd_create("visim-picture") if file is None else os.dup(file.fileno())
        package = str(Path(__file__).resolve().parents[1])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ENTRY, package, str(self._file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._file,),
            env={
                "PATH": os.defpath,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "OPENBLAS_NUM_THREADS": "1",
                "MALLOC_ARENA_MAX": "1",  # each further arena would reserve 64 MiB of address space
                "MALLOC_MMAP_THRESHOLD_": "33554432",  # memory that is given back after each picture has to be
                "MALLOC_TRIM_THRESHOLD_": "67108864",  # faulted in again for the next one, as long as decoding it
                **{name: os.environ[name] for name in ("LD_LIBRARY_PATH", "LANG") if name in os.environ},
            },
        )
        self.pid = self._process.pid

    def decode(self, data: bytes, max_pixels: int) -> Image.Image:
        """Decode one file.

        Raises:
            ImageDecodeError: The worker refuses it.
            _WorkerGoneError: The worker has died, or does not answer in time; it must be closed.
        """
        deadline = time.monotonic() + _DEADLINE
        assert self._process.stdin is not None
        try:
            os.pwrite(self._file, data, 0)
            self._process.stdin.write(_REQUEST.pack(len(data), max_pixels))
            self._process.stdin.flush()
            status, start, width, height = _REPLY.unpack(self._answer(deadline))
            if status == _REFUSED:
                raise ImageDecodeError(os.pread(self._file, min(start, 2**16), 0).decode("utf-8", "replace"))
            if not 0 < width * height <= max_pixels:
                raise _WorkerGoneError
            pixels = os.pread(self._file, 3 * width * height, start)
            if len(pixels) > _KEPT:
                os.ftruncate(self._file, 0)
            return Image.frombytes("RGB", (width, height), pixels)
        except (OSError, ValueError, struct.error) as error:
            if isinstance(error, ImageDecodeError):
                raise
            raise _WorkerGoneError from error

    def _answer(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        answer = b""
        waiting = select.poll()
        waiting.register(self._process.stdout, select.POLLIN)
        while len(answer) < _REPLY.size:
            if not waiting.poll(max(deadline - time.monotonic(), 0) * 1000):
                raise _WorkerGoneError
            part = os.read(self._process.stdout.fileno(), _REPLY.size - len(answer))
            if not part:
                raise _WorkerGoneError
            answer += part
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        os.close(self._file)


class _Pool:
    """The workers that are free, in the order in which they became so."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self.workers: set[_Worker] = set()
        for _ in range(_WORKERS):
            self._add()

    def _add(self) -> None:
        worker = _Worker()
        self.workers.add(worker)
        self._free.put(worker)

    def decode(self, data: bytes, max_pixels: int) -> Image.Image:
        """Decode one file in the next free worker, and replace that if it is lost.

        Raises:
            ImageDecodeError: The file is refused or too costly, or no worker is free in time.
        """
        try:
            worker = self._free.get(timeout=_LONGEST_WAIT)
        except queue.Empty as error:
            raise ImageDecodeError("too many pictures are being read at the moment: try again in a minute.") from error
        try:
            image = worker.decode(data, max_pixels)
        except _WorkerGoneError as error:
            self._replace(worker)
            raise ImageDecodeError(_TOO_COSTLY) from error
        except ImageDecodeError:
            self._free.put(worker)
            raise
        except BaseException:
            self._replace(worker)
            raise
        self._free.put(worker)
        return image

    def _replace(self, worker: _Worker) -> None:
        self.workers.discard(worker)
        worker.close()
        self._add()

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.close()
        self.workers.clear()


_lock = threading.Lock()
_current: _Pool | None = None


def _pool() -> _Pool:
    """Return the pool of this process: one that was inherited by a fork belongs to the parent."""
    global _current
    with _lock:
        if _current is None or _current.process != os.getpid():
            if _current is None:
                atexit.register(stop)
            _current = _Pool()
        return _current


def serve(file: int) -> None:
    """Answer requests on the standard input until it ends: this is what each of the processes does.

    Args:
        file: The descriptor of the file that both processes share.
    """
    import resource

    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif.as_plugin")  # now, and not within the limits of the first HEIC
    requests, replies = os.dup(0), os.dup(1)
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(quiet, 1)  # a library that prints must not garble the replies
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_in_use() + _MOST_MEMORY,) * 2)
    while len(request := os.read(requests, _REQUEST.size)) == _REQUEST.size:
        size, max_pixels = _REQUEST.unpack(request)
        os.write(replies, _answer(file, size, max_pixels))


def _answer(file: int, size: int, max_pixels: int) -> bytes:
    start = time.process_time()

    def limit_by(kind: str, shape: tuple[int, int]) -> None:
        pixels = shape[0] * shape[1]
        seconds = _SECONDS + _SECONDS_A_PIXEL.get(kind, 0) * pixels - (time.process_time() - start)
        _limit(_SMALLEST + 2 * size + _A_PIXEL * pixels, max(seconds, 0.01))

    _limit(_TO_OPEN, _SECONDS)
    try:
        image = decode_and_report(os.pread(file, size, 0), max_pixels, size, limit_by)
    except ImageDecodeError as error:
        message = str(error).encode("utf-8", "replace")
        os.pwrite(file, message, 0)
        return _REPLY.pack(_REFUSED, len(message), 0, 0)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    with open(file, "r+b", buffering=0, closefd=False) as pixels:
        pixels.seek(0)
        image.save(pixels, "PPM")  # a line of text, and the pixels as they are: Pillow's fastest way out
        return _REPLY.pack(_PICTURE, pixels.tell() - 3 * image.width * image.height, *image.size)


def _limit(memory: int, seconds: float) -> None:
    """Allow so much more memory and CPU time than the process has now."""
    import resource  # which Windows does not have

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (min(_in_use() + memory, most), most))
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 1, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, seconds)  # finer than whole seconds


def _in_use() -> int:
    """Return the bytes of address space that the process has."""
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
