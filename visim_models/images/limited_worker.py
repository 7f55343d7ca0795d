"""The process that decodes strangers' bytes: it limits itself, and answers one request after another.

`visim_models.images.limited` starts it, writes each file into a file that both share, and reads the pixels from there.
It ends when its input ends. Its limits follow the size that a file declares: a picture of 24 x 16 pixels gets little.
"""

import os
import resource
import signal
import time
from typing import Final

from visim_models.errors import ImageDecodeError
from visim_models.images.decode import decode_and_report
from visim_models.images.limited import PICTURE, REFUSED, REPLY, REQUEST

__all__ = ["main"]

_MOST_MEMORY: Final = 2**30
_TO_OPEN: Final = 240 * 2**20  # bytes: a WebP's decoder takes its canvases before it says how large they are
_SMALLEST: Final = 64 * 2**20
_A_PIXEL: Final = 32  # bytes: of 16 bits a colour with transparency; others take 8 to 24
_SECONDS: Final = 1.9
_SECONDS_A_PIXEL: Final = {"HEIC": 2e-7, "AVIF": 1e-7}  # more for films' codecs


def main(file: int) -> None:
    """Answer requests on the standard input until it ends.

    Args:
        file: The descriptor of the file that both processes share.
    """
    requests, replies = os.dup(0), os.dup(1)
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(quiet, 1)  # a library that prints must not garble the replies
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_in_use() + _MOST_MEMORY,) * 2)
    while len(request := os.read(requests, REQUEST.size)) == REQUEST.size:
        size, max_pixels = REQUEST.unpack(request)
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
        return REPLY.pack(REFUSED, len(message), 0, 0)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    with open(file, "r+b", buffering=0, closefd=False) as pixels:
        pixels.seek(0)
        image.save(pixels, "PPM")  # a line of text, and the pixels as they are: Pillow's fastest way out
        return REPLY.pack(PICTURE, pixels.tell() - 3 * image.width * image.height, *image.size)


def _limit(memory: int, seconds: float) -> None:
    """Allow so much more memory and CPU time than the process has now."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (min(_in_use() + memory, most), most))
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 1, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, seconds)  # finer than whole seconds


def _in_use() -> int:
    """Return the bytes of address space that the process has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
