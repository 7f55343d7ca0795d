"""The process that decodes strangers' bytes: it limits itself, and answers one request after another.

`visim_models.images.limited` starts it, writes each file into a file that both share, and reads the pixels from there.
It ends when its input ends. Its limits follow the size that a file declares: a picture of 24 x 16 pixels gets little.
"""

import os
import resource
import signal
import time

from visim_models.errors import ImageDecodeError
from visim_models.images.decode import decode_image
from visim_models.images.limited import PICTURE, REFUSED, REPLY, REQUEST

__all__ = ["main"]

_MEMORY = 288 * 2**20
_MOST_MEMORY = 2**30
_SECONDS = 1.9


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
    _limit()
    try:
        image = decode_image(os.pread(file, size, 0), max_pixels=max_pixels, max_bytes=size)
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


def _limit() -> None:
    """Allow so much more memory and CPU time than the process has now."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (min(_in_use() + _MEMORY, most), most))
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + _SECONDS) + 1, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)  # finer than whole seconds


def _in_use() -> int:
    """Return the bytes of address space that the process has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
