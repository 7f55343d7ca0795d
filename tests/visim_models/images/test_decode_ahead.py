"""Batches of pictures: in order, of the right size, decoded ahead, and an error in the index of a bad picture."""

import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from tests.builders import drawn_pictures
from visim_models import ImageDecodeError, ImageProcessor, decode_image
from visim_models.images.decode_ahead import decode_ahead, pictures_at_once

PROCESSOR = ImageProcessor(size=8)


def decode(image: object) -> npt.NDArray[np.uint8]:
    return PROCESSOR.resize(decode_image(image))  # type: ignore[arg-type]


def threads_left() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("visim-decode")]


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (4, [4]), (5, [4, 1]), (23, [4, 4, 4, 4, 4, 3])])
def test_all_pictures_in_order(count: int, sizes: list[int]) -> None:
    pictures = drawn_pictures(count)
    batches = list(decode_ahead(iter(pictures), decode, at_once=4))
    assert [len(batch) for batch in batches] == sizes
    for picture, (item, pixels) in zip(pictures, [pair for batch in batches for pair in batch], strict=True):
        assert item is picture
        assert isinstance(pixels, np.ndarray)
        assert np.array_equal(PROCESSOR.normalize(pixels), PROCESSOR(picture))


@pytest.mark.parametrize("index", [0, 6])
def test_a_bad_picture_is_its_own_result(index: int) -> None:
    pictures: list[object] = list(drawn_pictures(20))
    pictures[index] = b"no picture"
    results = [result for batch in decode_ahead(pictures, decode, at_once=4) for _, result in batch]
    assert [number for number, result in enumerate(results) if isinstance(result, ImageDecodeError)] == [index]
    assert not threads_left()


def test_another_error_ends_it_and_no_thread_stays() -> None:
    def fail(number: int) -> int:
        if number == 7:
            raise ZeroDivisionError("a fault of the program")
        return number

    with pytest.raises(ZeroDivisionError):
        list(decode_ahead(range(20), fail, at_once=2))
    assert not threads_left()


def test_a_consumer_that_stops_early_leaves_no_thread() -> None:
    batches = decode_ahead(drawn_pictures(40), decode, at_once=2)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not threads_left()


def test_pictures_are_taken_as_they_are_needed() -> None:
    taken = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    batches = decode_ahead(numbers(), str, at_once=4)
    next(batches)
    assert len(taken) <= 5 * 4
    batches.close()  # type: ignore[attr-defined]


def test_large_pictures_go_through_in_smaller_batches() -> None:
    assert [pictures_at_once(size) for size in (8, 32, 100, 4096)] == [256, 156, 16, 1]
