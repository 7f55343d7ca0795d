// What Gradio leaves to the page: an answer comes into view and is announced once, the browser's history repeats
// searches, tabs answer to arrow keys, and what is no picture is refused in the page's own words.
(() => {
  const shown = new Set();
  let settling = 0;

  // One region for what does not take the focus: an answer that does is read from where the focus goes.
  const announce = text => {
    let region = document.getElementById("visim-status");
    if (!region) {
      region = Object.assign(document.createElement("div"), { id: "visim-status" });
      region.setAttribute("role", "status");
      document.body.append(region);
    }
    region.textContent = text;
  };

  const after = (condition, act, left = 120) =>
    condition() || left <= 0 ? act() : requestAnimationFrame(() => after(condition, act, left - 1));

  const intoView = part => {
    const parts = part.closest(".visim-answer")?.querySelectorAll(".visim-tiles li, [id$='-reveal']") ?? [];
    const last = [...parts].find(each => each.offsetParent) ?? part; // the first match, or the way to it
    const end = part.classList.contains("visim-message") ? last : part.closest(".visim-detail, .visim-reasons") ?? part;
    const top = part.getBoundingClientRect().top, bottom = end.getBoundingClientRect().bottom;
    if (top < 0 || Math.max(bottom, top) > window.innerHeight) {
      window.scrollTo({ top: Math.max(0, window.scrollY + top - 12), behavior: "instant" });
    }
  };

  const show = part => {
    const { answer, moves, tiles, status } = part.dataset;
    const ask = ++settling, before = document.activeElement;
    const column = part.closest(".visim-answer") ?? document;
    const isReady = () => Number(tiles) === 0 || column.querySelectorAll(".visim-tiles li").length >= Number(tiles);
    remember(part);
    // Two frames more, in which Gradio lays out what the answer showed; the pictures of a reason take longer.
    after(isReady, () => after(() => false, () => {
      if (ask !== settling || !part.isConnected) return;
      if (moves === "scroll") {
        clearTimeout(show.waiting);
        show.waiting = setTimeout(() => intoView(part), 700); // after the last move of a slider
        announce(status);
        return;
      }
      // Who has gone on to another control meanwhile stays there.
      if ([before, document.body].includes(document.activeElement)) part.focus({ preventScroll: true });
      else announce(status);
      intoView(part);
    }, part.classList.contains("visim-message") ? 3 : 12));
    shown.add(answer);
  };

  const remember = part => {
    const { moves, address, state } = part.dataset;
    if (state === undefined || moves === "restore") return;
    const url = address || location.pathname;
    const entry = { visim: JSON.parse(state) };
    if (JSON.stringify(history.state?.visim) === JSON.stringify(entry.visim)) return;
    history[moves === "scroll" ? "replaceState" : "pushState"](entry, "", url);
  };

  window.addEventListener("popstate", event => {
    const values = event.state?.visim ?? Object.fromEntries(new URLSearchParams(location.search));
    window.visimReport?.("asked", { values });
  });

  const isUntyped = file => ["", "application/octet-stream"].includes(file.type);
  const faultOf = (files, takesMany) => {
    if (files.length > 1 && !takesMany) return "one_file";
    if (files.some(file => !isUntyped(file) && !file.type.startsWith("image/"))) return "no_picture";
    return files.some(file => file.size > (window.gradio_config?.max_file_size ?? Infinity)) ? "too_large" : "";
  };
  // A file whose name has no end, or one that the browser does not know, has no type: the server looks into it.
  const typed = files => {
    const data = new DataTransfer();
    for (const file of files) data.items.add(isUntyped(file) ? new File([file], file.name, { type: "image/x-unknown" }) : file);
    return data.files;
  };
  const take = (event, files) => {
    const part = event.target.closest?.(".visim-upload, .visim-several");
    if (!part || !files.length) return;
    const key = part.id.replace(/-(upload|several)$/, "");
    const reason = faultOf([...files], part.classList.contains("visim-several"));
    const input = part.querySelector("input[type=file]");
    const isRetyped = input && [...files].some(isUntyped);
    if (reason || (isRetyped && event.type === "drop")) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
    if (reason) {
      if (event.type === "change") event.target.value = "";
      window.visimReport?.("refused", { key, reason });
    } else if (isRetyped) {
      input.files = typed(files);
      if (event.type === "drop") input.dispatchEvent(new Event("change", { bubbles: true }));
    }
  };
  document.addEventListener("change", event => {
    if (event.target.matches?.("input[type=file]")) take(event, event.target.files);
  }, true);
  document.addEventListener("drop", event => take(event, event.dataTransfer?.files ?? []), true);

  document.addEventListener("keydown", event => {
    const tab = event.target.closest?.("[role=tab]");
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!tab || !step) return;
    const all = [...tab.parentElement.querySelectorAll("[role=tab]")];
    const index = all.indexOf(tab) + step;
    const next = all.at(index === Infinity ? -1 : index === -Infinity ? 0 : index % all.length);
    event.preventDefault();
    next.click();
    next.focus();
  });

  new MutationObserver(() => {
    for (const part of document.querySelectorAll("[data-answer]")) {
      if (!shown.has(part.dataset.answer)) show(part);
    }
  }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-answer"] });
})();
