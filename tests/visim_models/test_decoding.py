"""Batches of pictures: in order, of the right size, and an error where one picture is none."""

import threading

import pytest
import torch

from tests.builders import drawn_pictures
from visim_models import ImageDecodeError, ImageProcessor
from visim_models.decoding import decoded_batches

PROCESSOR = ImageProcessor(size=8)


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (4, [4]), (5, [4, 1]), (23, [4, 4, 4, 4, 4, 3])])
def test_all_pictures_in_order(count: int, sizes: list[int]) -> None:
    pictures = drawn_pictures(count)
    batches = list(decoded_batches(pictures, PROCESSOR, at_once=4))
    assert [len(batch) for batch in batches] == sizes
    for picture, pixels in zip(pictures, [row for batch in batches for row in batch], strict=True):
        assert torch.equal(PROCESSOR.normalize(pixels), PROCESSOR(picture))


@pytest.mark.parametrize("place", [0, 6])
def test_a_bad_picture_is_an_error_and_no_thread_stays(place: int) -> None:
    pictures: list[object] = list(drawn_pictures(20))
    pictures[place] = b"no picture"
    with pytest.raises(ImageDecodeError, match="not a JPEG"):
        list(decoded_batches(pictures, PROCESSOR, at_once=4))  # type: ignore[arg-type]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("visim-decode")]


def test_who_stops_early_leaves_no_thread() -> None:
    batches = decoded_batches(drawn_pictures(40), PROCESSOR, at_once=2)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("visim-decode")]
