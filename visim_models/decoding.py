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
_MOST_THREADS = 8


def decoded_batches(images: Sequence[ImageSource], processor: ImageProcessor, *, at_once: int) -> Iterator[Tensor]:
    """The pictures in order, as (n, 3, S, S) uint8 with n up to `at_once`.

    Raises:
        ImageDecodeError: one of them is not a picture, or not one that is safe to decode; the rest is not looked at.
    """

    def decode(part: Sequence[ImageSource]) -> Tensor:
        return torch.stack([processor.resize(decode_image(image)) for image in part])

    if len(images) == 1:  # threads would only cost time
        yield decode(images)
        return
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    share = -(-at_once // threads)  # a part of a batch a task: small pictures take less time than a hand-over each
    ahead: deque[list[Future[Tensor]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="visim-decode")
    try:
        for start in range(0, len(images), at_once):
            batch = images[start : start + at_once]
            ahead.append([pool.submit(decode, batch[at : at + share]) for at in range(0, len(batch), share)])
            if len(ahead) > _BATCHES_AHEAD:
                yield _joined(ahead.popleft())
        while ahead:
            yield _joined(ahead.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _joined(tasks: list[Future[Tensor]]) -> Tensor:
    return torch.cat([task.result() for task in tasks])
