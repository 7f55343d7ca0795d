"""A crop before searching: the frame comes from the visitor's side."""

from types import SimpleNamespace
from typing import Any

import pytest

from demo.crop import crop_frame, cropped
from tests.demo.conftest import drawn_picture
from visim_models import QueryError


def test_the_part_in_the_frame_is_cut_out() -> None:
    picture = drawn_picture(7)  # 64 x 48
    part = cropped(picture, SimpleNamespace(box=[0.25, 0.5, 0.75, 1]))  # type: ignore[arg-type]
    assert part.size == (32, 24)
    assert part.getpixel((0, 0)) == picture.getpixel((16, 24))


@pytest.mark.parametrize(
    "box",
    [
        None,
        "all",
        [0, 0, 1],
        [0, 0, 1, "1"],
        [0, 0, 1, True],
        [-0.1, 0, 1, 1],
        [0, 0, 1, 1.1],
        [0.5, 0, 0.5, 1],
        [0.6, 0, 0.4, 1],
        [0, 0, float("nan"), 1],
        [0, 0, float("inf"), 1],
    ],
)
def test_what_is_no_frame_is_refused(box: Any) -> None:
    with pytest.raises(QueryError, match="draw a frame"):
        cropped(drawn_picture(7), SimpleNamespace(box=box))  # type: ignore[arg-type]


def test_an_event_without_a_frame_is_refused() -> None:
    with pytest.raises(QueryError, match="draw a frame"):
        cropped(drawn_picture(7), SimpleNamespace())  # type: ignore[arg-type]


def test_a_strip_has_at_least_a_pixel() -> None:
    assert cropped(drawn_picture(7), SimpleNamespace(box=[0, 0, 0.02, 0.02])).size == (1, 1)  # type: ignore[arg-type]


def test_the_picture_is_shown_with_a_frame_that_a_keyboard_reaches() -> None:
    text = crop_frame("gradio_api/file=a.png", data=' data-answer="1"')
    assert 'tabindex="0"' in text
    assert 'src="gradio_api/file=a.png"' in text
