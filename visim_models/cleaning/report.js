"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const number = (value) => value.toLocaleString("en");

  // How many of these scores, which fall, are at least the threshold.
  const countAtLeast = (scores, least) => {
    let low = 0, high = scores.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (scores[middle] >= least) low = middle + 1; else high = middle;
    }
    return low;
  };

  const command = () => {
    const moved = data.finds.filter((find) => find.at !== null && find.now !== find.at);
    const again = data.command + (moved.length ? " --at " + moved.map((find) => `${find.name}=${find.now}`).join(" ") : "");
    document.getElementById("again").hidden = moved.length === 0;
    document.getElementById("again-command").textContent = again;
  };

  const figure = (file, find) => {
    const [name, size, score, planned, reason, picture] = file;
    const decided = find.at === null || score === null || planned === "look";
    const action = decided ? planned : score >= find.now ? "remove" : "keep";
    const box = make("figure", undefined, action);
    const frame = make("div", undefined, "frame");
    if (picture) {
      const image = make("img");
      image.src = picture;
      image.alt = name;
      image.loading = "lazy";
      frame.append(image);
    } else {
      frame.append(make("span", "no picture"));
    }
    const caption = make("figcaption");
    caption.append(make("b", action), make("span", name), make("br"));
    caption.append(make("small", [size, score === null ? "" : score.toFixed(3), reason].filter(Boolean).join(" · ")));
    box.append(frame, caption);
    return box;
  };

  const show = (find, index) => {
    const section = document.getElementById(`find-${index}`);
    const shown = find.at === null ? find.best.length : countAtLeast(find.best, find.now);
    const pages = Math.max(1, Math.ceil(shown / data.page));
    find.page = Math.min(Math.max(find.page, 0), pages - 1);
    const list = section.querySelector(".groups");
    list.replaceChildren();
    const first = find.page * data.page;
    if (shown) {
      const chunk = JSON.parse(document.getElementById(`page-${index}-${find.page}`).textContent);
      chunk.slice(0, shown - first).forEach((group, offset) => {
        const item = make("li");
        item.append(make("h3", `${find.one} ${number(find.numbers[first + offset])}`));
        const row = make("div", undefined, "row");
        group.forEach((file) => row.append(figure(file, find)));
        item.append(row);
        list.append(item);
      });
    }
    section.querySelectorAll(".page").forEach((text) => {
      text.textContent = `page ${number(find.page + 1)} of ${number(pages)}`;
    });
    section.querySelectorAll(".previous").forEach((button) => { button.disabled = find.page === 0; });
    section.querySelectorAll(".next").forEach((button) => { button.disabled = find.page >= pages - 1; });
    if (find.at !== null) {
      const files = countAtLeast(find.scores, find.now);
      section.querySelector(".takes").textContent =
        `${find.now.toFixed(2)} takes ${number(files)} of ${number(find.scores.length)} files, in ${number(shown)} groups`;
    }
    command();
  };

  const turn = (find, index, step) => () => {
    find.page += step;
    show(find, index);
    document.getElementById(`find-${index}`).scrollIntoView();
  };

  data.finds.forEach((find, index) => {
    find.page = 0;
    find.now = find.at;
    const section = document.getElementById(`find-${index}`);
    const slider = section.querySelector("input");
    if (slider) {
      slider.addEventListener("input", () => {
        find.now = Math.round(Number(slider.value) * 100) / 100;
        find.page = 0;
        show(find, index);
      });
    }
    section.querySelectorAll(".previous").forEach((button) => button.addEventListener("click", turn(find, index, -1)));
    section.querySelectorAll(".next").forEach((button) => button.addEventListener("click", turn(find, index, 1)));
    show(find, index);
  });
})();
