// The frame on an upload, in Gradio's HTML component: a drag draws it, arrow keys move it, and with Shift size it.
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
