"""Embed processed pictures: the one path of a query, of a batch and of a gallery."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from visim_models.errors import VisimError
from visim_models.images.decode import ImageSource, decode_image
from visim_models.images.decode_ahead import decode_ahead, pictures_at_once
from visim_models.models import PretrainedModel
from visim_models.processing import ImageProcessor

__all__ = ["decode_pictures", "device_of", "embed_pixels", "keep_freed_memory", "map_batches", "prepared"]

_LARGEST_DYNAMIC_BLOCK: Final = 2**25 - 2**14
"""Just below glibc's DEFAULT_MMAP_THRESHOLD_MAX."""

_Model = TypeVar("_Model", bound=PretrainedModel)
_Batch = TypeVar("_Batch")
_Result = TypeVar("_Result")


def prepared(model: _Model) -> _Model:
    """Prepare a network for `embed_pixels`, in place; return it."""
    # oneDNN's convolutions are faster with the channels last.
    return model.eval().to(memory_format=torch.channels_last)


def device_of(model: PretrainedModel) -> torch.device:
    """Return the device that a network computes on."""
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))


def embed_pixels(model: PretrainedModel, pixels: Tensor) -> Tensor:
    """Embed pictures.

    Args:
        model: the network; set to evaluation mode if it is not.
        pixels: (N, 3, S, S) float32, processed.

    Returns:
        (N, D) float32 on the CPU.
    """
    if model.training:
        model.eval()
    with torch.inference_mode():
        return model.embed(pixels.to(device_of(model))).float().cpu()


def decode_pictures(
    images: Iterable[ImageSource], processor: ImageProcessor, *, progress: bool = False
) -> Iterator[list[Tensor | VisimError]]:
    """Decode pictures in threads, in batches of the size that suits the network.

    Args:
        images: paths, bytes, PIL images or (H, W, 3) uint8 RGB arrays; taken as they are needed.
        processor: resizes them.
        progress: show a progress bar.

    Yields:
        For each picture of a batch (3, S, S) uint8 RGB, or the error.
    """

    def decode(image: ImageSource) -> Tensor:
        return processor.resize(decode_image(image))

    total = len(images) if isinstance(images, Sized) else None
    with tqdm(total=total, desc="embedding", unit="picture", disable=not progress) as bar:
        for batch in decode_ahead(images, decode, at_once=pictures_at_once(processor.size)):
            yield [result for _, result in batch]
            bar.update(len(batch))


def map_batches(
    work: Callable[[_Batch], _Result], batches: Iterable[_Batch], model: PretrainedModel
) -> Iterator[_Result]:
    """Apply a function that embeds to many batches, in their order; on the CPU to several at once.

    Threads that compute one batch together wait for each other after each layer, and one of them is held up whenever
    pictures are decoded beside. So there are as many batches at work as torch has threads, each with one thread.

    Args:
        work: embeds a batch.
        batches: taken as they are needed.
        model: what embeds them.

    Yields:
        The result of each batch.
    """
    threads = torch.get_num_threads()
    if device_of(model).type != "cpu" or threads == 1:
        yield from map(work, batches)
        return
    ahead: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(
        threads, thread_name_prefix="visim-embed", initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        for batch in batches:
            ahead.append(pool.submit(work, batch))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what threads that start later are given


def keep_freed_memory() -> None:
    """Let glibc keep the memory of a network's activations from batch to batch, up to 64 MiB.

    Freed memory goes back to the system where more than twice the largest block that was ever freed (of up to 32 MiB)
    is free, and is faulted in again: with batches of 16 car photographs, a fifth of the time. One block of nearly that
    size, freed untouched, raises the limit for the rest of the process. Other allocators are not affected.
    """
    torch.empty(_LARGEST_DYNAMIC_BLOCK, dtype=torch.uint8)
