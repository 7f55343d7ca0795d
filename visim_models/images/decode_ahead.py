"""Decode many pictures in threads, ahead of the network that is at work on those before."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from visim_models.errors import VisimError

__all__ = ["decode_ahead", "pictures_at_once"]

_BATCHES_AHEAD = 2  # more would only fill the memory
_MOST_THREADS = 8
_PIXELS_AT_ONCE = 160_000
"""Of all pictures of a batch. With more, a layer's output outgrows what glibc's malloc keeps (32 MiB): it is then given
back to the system after each layer and faulted in again, which takes longer than the layer itself."""

_Item = TypeVar("_Item")
_Decoded = TypeVar("_Decoded")


def pictures_at_once(size: int) -> int:
    """Return how many pictures of `size` x `size` pixels go through a network fastest at once, per picture."""
    return min(max(_PIXELS_AT_ONCE // size**2, 1), 256)


def decode_ahead(
    items: Iterable[_Item], decode: Callable[[_Item], _Decoded], *, at_once: int
) -> Iterator[list[tuple[_Item, _Decoded | VisimError]]]:
    """Decode items in order, in batches of `at_once`, at most two batches ahead.

    Args:
        items: taken only as they are needed.
        decode: called in a thread for each item. A VisimError that it raises is the item's result; any other error
            ends the iteration.
        at_once: items a batch.

    Yields:
        Each item of a batch with its result.
    """

    def decode_part(part: list[_Item]) -> list[tuple[_Item, _Decoded | VisimError]]:
        return [(item, _attempt(decode, item)) for item in part]

    waiting = iter(items)
    batch = list(islice(waiting, at_once))
    following = list(islice(waiting, at_once)) if len(batch) == at_once else []
    if len(batch) <= 1 and not following:  # threads would only cost time
        if batch:
            yield decode_part(batch)
        return
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    share = -(-at_once // threads)  # a part of a batch a task: small pictures take less time than a hand-over each
    ahead: deque[list[Future[list[tuple[_Item, _Decoded | VisimError]]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="visim-decode")
    try:
        while batch:
            ahead.append([pool.submit(decode_part, batch[at : at + share]) for at in range(0, len(batch), share)])
            if len(ahead) > _BATCHES_AHEAD:
                yield [pair for task in ahead.popleft() for pair in task.result()]
            batch = following
            following = list(islice(waiting, at_once))
        while ahead:
            yield [pair for task in ahead.popleft() for pair in task.result()]
    finally:
        pool.shutdown(cancel_futures=True)


def _attempt(decode: Callable[[_Item], _Decoded], item: _Item) -> _Decoded | VisimError:
    try:
        return decode(item)
    except VisimError as error:
        return error
