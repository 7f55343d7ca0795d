// What Gradio leaves out for screen readers: a tile is read by its caption (Gradio says "Thumbnail 1 of 4"), and a
// change of the verdict is announced.
new MutationObserver(() => {
  for (const tile of document.querySelectorAll(".visim-gallery .thumbnail-item")) {
    const caption = tile.querySelector(".caption-label")?.textContent;
    if (caption && tile.getAttribute("aria-label") !== caption) tile.setAttribute("aria-label", caption);
  }
  for (const verdict of document.querySelectorAll(".visim-verdict:not([aria-live])")) {
    verdict.setAttribute("aria-live", "polite");
  }
}).observe(document, { childList: true, subtree: true, characterData: true });
