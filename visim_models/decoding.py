"""Many pictures -> batches for a network: decoded in threads, ahead of the network that works on those before."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from visim_models.images import ImageSource, decode_image
from visim_models.processing import ImageProcessor

__all__ = ["decoded_batches"]

_BATCHES_AHEAD = 2  # more would only fill the memory


def decoded_batches(images: Sequence[ImageSource], processor: ImageProcessor, *, at_once: int) -> Iterator[Tensor]:
    """The pictures in order, as (n, 3, S, S) uint8 with n up to `at_once`.

    Raises:
        ImageDecodeError: one of them is not a picture, or not one that is safe to decode; the rest is not looked at.
    """

    def decode(image: ImageSource) -> Tensor:
        return processor.resize(decode_image(image))

    if len(images) == 1:  # threads would only cost time
        yield decode(images[0])[None]
        return
    ahead: deque[list[Future[Tensor]]] = deque()
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="visim-decode")
    try:
        for start in range(0, len(images), at_once):
            ahead.append([pool.submit(decode, image) for image in images[start : start + at_once]])
            if len(ahead) > _BATCHES_AHEAD:
                yield _stacked(ahead.popleft())
        while ahead:
            yield _stacked(ahead.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _stacked(tasks: list[Future[Tensor]]) -> Tensor:
    return torch.stack([task.result() for task in tasks])
