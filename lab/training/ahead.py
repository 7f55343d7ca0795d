"""Bring batches to the device; on a GPU, make one while the one before is learnt from."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

__all__ = ["made_ahead"]

_Batch = tuple[Tensor, ...]


def made_ahead(batches: Iterator[_Batch], device: torch.device) -> Iterator[_Batch]:
    """Yield the same batches on the device; on a GPU, one ahead, from a thread with a stream of its own."""
    if device.type != "cuda":
        for batch in batches:
            yield tuple(part.to(device) for part in batch)
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))

    def make() -> tuple[_Batch | None, torch.cuda.Event]:
        with torch.cuda.device(device), torch.cuda.stream(stream):
            made = next(batches, None)
            there = None if made is None else tuple(part.to(device) for part in made)
            return there, stream.record_event()

    with ThreadPoolExecutor(1, thread_name_prefix="visim-ahead") as thread:
        coming = thread.submit(make)
        while True:
            there, done = coming.result()
            if there is None:
                return
            coming = thread.submit(make)
            current = torch.cuda.current_stream(device)
            current.wait_event(done)
            for part in there:
                part.record_stream(current)
            yield there
