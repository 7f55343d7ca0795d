"""A crop before searching: the upload with a frame to draw on it, by Gradio's HTML component.

Gradio's ImageEditor has the tool, too. But it sends what it draws to a route that keeps every visitor's bytes in memory
without a limit (`accept_blobs`), which the guard closes; here only the frame is sent, and the upload is cropped itself.
"""

from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from demo.texts import say
from visim_models import QueryError

__all__ = ["CROP", "crop_frame", "cropped"]

_LEAST = 0.02
"""Smallest side of a frame, of the picture's."""

CROP = """
const FIRST = [0.15, 0.15, 0.85, 0.85];
let box = FIRST, start = null;
const part = name => element.querySelector(`.visim-crop-${name}`);
const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
const draw = () => {
  const [left, top, right, bottom] = box.map(value => 100 * value);
  part("box").style = `left:${left}%;top:${top}%;width:${right - left}%;height:${bottom - top}%`;
};
const at = event => {
  const area = part("stage").getBoundingClientRect();
  return [clamp((event.clientX - area.left) / area.width, 0, 1), clamp((event.clientY - area.top) / area.height, 0, 1)];
};
element.addEventListener("pointerdown", event => {
  if (!event.target.closest(".visim-crop-stage")) return;
  event.preventDefault();
  part("box").focus();
  start = at(event);
  part("stage").setPointerCapture(event.pointerId);
});
element.addEventListener("pointermove", event => {
  if (!start) return;
  const [x, y] = at(event);
  if (Math.hypot(x - start[0], y - start[1]) < 0.02) return;
  box = [Math.min(x, start[0]), Math.min(y, start[1]), Math.max(x, start[0]), Math.max(y, start[1])];
  draw();
});
for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, () => { start = null; });
element.addEventListener("keydown", event => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step || !event.target.closest(".visim-crop-box")) return;
  event.preventDefault();
  const [x, y] = step.map(value => 0.05 * value), [left, top, right, bottom] = box;
  if (event.shiftKey) box = [left, top, clamp(right + x, left + 0.05, 1), clamp(bottom + y, top + 0.05, 1)];
  else {
    const across = clamp(x, -left, 1 - right), down = clamp(y, -top, 1 - bottom);
    box = [left + across, top + down, right + across, bottom + down];
  }
  draw();
});
element.addEventListener("click", event => {
  if (event.target.closest(".visim-crop-go")) trigger("crop", { box });
});
watch("value", () => { box = FIRST; });
"""
"""The script of the component: a drag draws the frame, arrow keys move it, and with Shift they size it."""


def crop_frame(address: str, *, data: str) -> str:
    """Write the picture with the frame, and the button that searches with what is in it, as HTML.

    Args:
        address: of the picture, relative to the page; escaped.
        data: attributes, as HTML.
    """
    return (
        f'<div class="visim-crop" tabindex="-1"{data}><p>{escape(say("crop_how"))}</p>'
        f'<div class="visim-crop-stage"><img src="{address}" alt="" draggable="false">'
        f'<div class="visim-crop-box" tabindex="0" role="application" aria-label="{escape(say("crop_box"))}"></div>'
        "</div>"
        f'<button type="button" class="visim-crop-go">{escape(say("crop_go"))}</button></div>'
    )


def cropped(picture: Image.Image, event: gr.EventData) -> Image.Image:
    """Return the part of a picture that an event, which may come from anyone, frames.

    Raises:
        QueryError: it frames none.
    """
    left, top, right, bottom = _read_box(event)
    size = (left * picture.width, top * picture.height, right * picture.width, bottom * picture.height)
    x0, y0, x1, y1 = (round(value) for value in size)
    return picture.crop((x0, y0, max(x0 + 1, x1), max(y0 + 1, y1)))


def _read_box(event: gr.EventData) -> tuple[float, float, float, float]:
    try:
        box: Any = event.box
    except (AttributeError, TypeError):
        box = None
    is_box = isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) for value in box)
    if is_box and 0 <= box[0] <= box[2] - _LEAST <= 1 - _LEAST and 0 <= box[1] <= box[3] - _LEAST <= 1 - _LEAST:
        return (box[0], box[1], box[2], box[3])
    raise QueryError("no part was framed: draw a frame on the picture.", key="box")
