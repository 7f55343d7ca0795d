// The page: what a visitor does goes to the worker, and its answer into the page. All texts are in texts.json.

const $ = id => document.getElementById(id);
const SURE = 5; // a picture that is called strange at a fifth of the rate, too, gets the firm warning
const MOST_PICTURES = 8;
const MOST_SAID = 500; // "one in so many" says no larger number

const site = await (await fetch("site.json")).json();
const texts = await (await fetch("texts.json")).json();
const state = { key: "", way: "", topK: 4, label: null, from: null, hasUpload: false, many: 0, unwanted: [], chosen: null, answer: null, shown: true };

let language = localStorage.getItem("visim-language") ?? (navigator.language.startsWith("de") ? "de" : "en");
const say = (key, values = {}) =>
  (texts[language][key] ?? texts.en[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

// ------------------------------------------------------------------ the worker

const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let asked = 0;

function ask(task, values, progress = showLoading) {
  const id = ++asked;
  worker.postMessage({ id, task, ...values });
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject, progress }));
}

worker.onmessage = ({ data }) => {
  const call = waiting.get(data.id);
  if (!call) return;
  if (data.progress) return call.progress(data.progress);
  waiting.delete(data.id);
  if ("error" in data) call.reject(Object.assign(new Error(data.detail), { key: data.error || "failed" }));
  else call.resolve(data.result);
};
worker.onerror = event => {
  const key = waiting.size && !("WebAssembly" in self) ? "no_wasm" : "failed";
  for (const { reject } of waiting.values()) reject(Object.assign(new Error(event.message), { key }));
  waiting.clear();
};

const loaded = {};
function showLoading([done, of, folder]) {
  loaded[folder] = [done, of];
  const [all, total] = Object.values(loaded).reduce(([a, b], [one, two]) => [a + one, b + two], [0, 0]);
  showProgress(say("loading", { done: megabytes(all), of: megabytes(total) }), all / total);
}
const megabytes = bytes => (bytes / 1e6).toFixed(1);

function showProgress(text, share) {
  $("progress").hidden = share === null;
  if (share === null) return;
  $("progress").firstElementChild.value = 100 * share;
  $("progress").lastElementChild.textContent = text;
}

// ------------------------------------------------------------------ galleries

const collection = () => site.galleries.find(each => each.key === state.key);
const folderOf = way => collection().ways.find(each => each.name === way).folder;
const judging = () => collection().judge ?? folderOf(state.way);
const facts = {}; // folder -> what the worker says of it
const word = name => {
  const { key, is_own: isOwn } = collection();
  return isOwn ? collection()[name] ?? say(`${name}_own`) : say(`${name}_${key}`);
};
const oneWord = () => (collection().is_own && collection().one === "a picture of this gallery" ? say("these") : word("one"));

async function openGallery(key, { way, keep = false } = {}) {
  Object.assign(state, { key, way: way ?? site.galleries.find(each => each.key === key).ways[0].name });
  if (!keep) Object.assign(state, { from: null, hasUpload: false, unwanted: [], chosen: null, answer: null, label: null });
  showTexts();
  if (!keep) clearAnswer();
  const folders = [...new Set([folderOf(state.way), judging()])];
  const found = await attempt(() => ask("open", { folders }));
  if (!found) return false;
  folders.forEach((folder, at) => (facts[folder] = found[at]));
  showProgress("", null);
  showOptions();
  if (!state.answer && !state.hasUpload) invite();
  document.body.dataset.ready = key;
  return true;
}

function invite() {
  const { count } = facts[folderOf(state.way)];
  showVerdict("plain", say("choose"), say("appear", { size: count.toLocaleString(language), many: word("many") }));
  const names = facts[folderOf(state.way)].fileNames, number = Math.min(4, names.length);
  $("examples").replaceChildren(...Array.from({ length: number }, (_, at) => {
    const index = Math.floor(((at + 0.5) * names.length) / number);
    const button = element("button", { type: "button", className: "example", ariaLabel: names[index] });
    tileInto(button, index, names[index]);
    button.onclick = () => go({ from: index, hasUpload: false, unwanted: [] });
    return button;
  }));
  $("examples-head").textContent = say("examples");
}

// ------------------------------------------------------------------ queries

async function take(blobs) {
  if (!blobs.length || !state.key) return;
  if (blobs.length > MOST_PICTURES) return refuse("too_many", { most: MOST_PICTURES });
  stopCamera();
  const seen = await attempt(() => ask("take", { key: state.key, blobs }));
  if (!seen) return;
  $("seen").hidden = false;
  Object.assign($("seen"), { width: seen.width, height: seen.height });
  $("seen").getContext("2d").putImageData(new ImageData(seen.rgba, seen.width, seen.height), 0, 0);
  showCrop(false);
  $("crop").hidden = blobs.length > 1;
  await go({ hasUpload: true, many: blobs.length, from: null, unwanted: [] });
}

async function go(changes, { record = true } = {}) {
  Object.assign(state, { chosen: null, shown: true }, changes);
  if (state.from === null && !state.hasUpload) return;
  const { key, topK, label, from, unwanted } = state;
  const answer = await attempt(() =>
    ask("search", { key, way: folderOf(state.way), judge: judging(), from, topK, label, unwanted }));
  if (!answer) return;
  showProgress("", null);
  state.answer = answer;
  state.shown = from !== null || answer.verdict.word !== "not one of these";
  if (from !== null) $("seen").hidden = $("crop").hidden = true;
  if (record) remember();
  showAnswer();
}

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    console.warn(error);
    refuse(error.key ?? "failed");
    return null;
  }
}

function refuse(key, values) {
  showProgress("", null);
  clearAnswer();
  showVerdict("error", say(key, values), "");
  intoView();
}

// ------------------------------------------------------------------ links and Back

function remember() {
  const values = new URLSearchParams({ gallery: state.key, way: state.way, k: state.topK });
  if (state.label !== null) values.set("label", state.label);
  if (state.from !== null) values.set("picture", facts[folderOf(state.way)].fileNames[state.from]);
  const entry = { ...state, answer: null };
  history.pushState(entry, "", `#${values}`);
}

async function follow(entry) {
  const values = new URLSearchParams(location.hash.slice(1));
  const key = entry?.key ?? values.get("gallery");
  const known = site.galleries.find(each => each.key === key) ?? site.galleries[0];
  const way = known.ways.find(each => each.name === (entry?.way ?? values.get("way")))?.name;
  if (!(await openGallery(known.key, { way, keep: true }))) return;
  if (entry) return go(entry, { record: false });
  const { fileNames, labels } = facts[folderOf(state.way)];
  const from = fileNames.indexOf(values.get("picture") ?? ""), k = Number(values.get("k"));
  Object.assign(state, {
    topK: k >= 1 && k <= 12 ? Math.floor(k) : 4, label: labels.includes(values.get("label")) ? values.get("label") : null,
  });
  showOptions();
  if (from >= 0) return go({ from, hasUpload: false, unwanted: [] }, { record: false });
  Object.assign(state, { from: null, answer: null });
  clearAnswer();
  invite();
}
window.addEventListener("popstate", event => follow(event.state));

// ------------------------------------------------------------------ the answer

function showAnswer() {
  const { verdict, matches } = state.answer;
  const said = verdict ? showVerdict(...verdictTexts(verdict))
    : showVerdict("plain", say("from_gallery"), matches[0]?.index === state.from ? say("itself") : "");
  if (state.many > 1 && verdict) said.append(paragraph(say("average", { n: state.many })));
  if (state.answer.classes && verdict.word !== "not one of these") said.append(classLine());
  if (state.unwanted.length) said.append(unwantedLine());
  $("reveal").hidden = state.shown;
  $("tiles").hidden = $("means").hidden = $("note").hidden = !state.shown;
  $("means").textContent = verdict?.word === "one of these" && matches[0] ? meaning(matches[0]) : "";
  $("tiles").replaceChildren(...matches.map(tile));
  $("note").textContent = "";
  $("chosen").hidden = true;
  intoView();
}

function verdictTexts({ word: said, pValue, falseAlarmRate }) {
  const { detector, can_tell_reason: reason } = facts[judging()];
  if (said === "cannot tell") return ["plain", say("cannot_tell", { one: word("one") }), reason ? say(reason) : ""];
  if (said === "one of these") return ["known", say("known", { one: oneWord() }), ""];
  const mood = detector.calibration_scores.length && pValue > falseAlarmRate / SURE ? "unsure" : "strange";
  return [mood, say(mood, { one: mood === "unsure" ? word("one") : oneWord() }), alarm(detector, mood === "unsure" ? falseAlarmRate : falseAlarmRate / SURE)];
}

// How many right pictures get the warning: by what was measured; else, by what it is set for.
function alarm({ alarms, calibration_scores: scores }, rate) {
  if (!scores.length) return say("not_calibrated");
  const measured = alarms[Math.round(100 * rate)], share = measured?.share ?? rate, real = word("real");
  if (share * MOST_SAID < 1) return say("alarm_less", { n: Math.min(MOST_SAID, measured?.n ?? MOST_SAID), real });
  const step = [[1000, 500], [200, 100], [50, 10], [10, 5]].find(([least]) => 1 / share >= least)?.[1] ?? 1;
  return say("alarm", { n: Math.max(1, Math.round(1 / share / step) * step), real });
}

function meaning({ percent, probability }, key = "means_first") {
  if (probability === null) return "";
  const n = Math.round(100 * probability), same = word("same");
  return say(n >= 98 ? "means_most" : n <= 2 ? "means_least" : key, { n, percent, same });
}

function classLine() {
  const [[first, share], ...others] = state.answer.classes;
  const percent = value => (value > 0 && value < 0.005 ? "<1" : Math.round(100 * value));
  const line = paragraph("");
  line.append(
    element("strong", { textContent: say("class", { noun: word("class"), first: capital(first), share: percent(share) }) }),
    " ", others.slice(0, 3).map(([label, other]) => say("class_other", { label: capital(label), share: percent(other) })).join(" · "));
  return line;
}
const capital = label => (label === "suv" ? "SUV" : label[0].toUpperCase() + label.slice(1));

function unwantedLine() {
  const line = paragraph(say("less_like", { n: state.unwanted.length }) + " ");
  const undo = element("button", { type: "button", className: "link", textContent: say("all_again") });
  undo.onclick = () => go({ unwanted: [] });
  line.append(undo);
  return line;
}

function showVerdict(mood, headline, detail) {
  const sign = { known: "✓", unsure: "?", strange: "!", error: "✕", plain: "i" }[mood];
  const box = element("div", { className: `message ${mood}`, tabIndex: -1 });
  const said = element("div");
  said.append(element("strong", { textContent: headline }), ` ${detail}`);
  box.append(element("span", { className: "sign", textContent: sign, ariaHidden: "true" }), said);
  box.dataset.mood = mood;
  $("verdict").replaceChildren(box);
  return said;
}

function clearAnswer() {
  for (const id of ["tiles", "examples", "verdict"]) $(id).replaceChildren();
  for (const id of ["means", "note", "examples-head"]) $(id).textContent = "";
  for (const id of ["reveal", "chosen", "seen", "crop"]) $(id).hidden = true;
  showCrop(false);
}

function intoView() {
  const box = $("verdict").querySelector(".message");
  box.focus({ preventScroll: true });
  const end = $("tiles").querySelector("li") ?? box;
  const top = box.getBoundingClientRect().top;
  if (top < 0 || end.getBoundingClientRect().bottom > innerHeight) scrollTo({ top: scrollY + top - 8, behavior: "instant" });
}

// ------------------------------------------------------------------ tiles

function tile(match) {
  const item = element("li"), button = element("button", { type: "button", ariaPressed: "false" });
  tileInto(button, match.index, match.fileName);
  const caption = element("span", { className: "caption" });
  caption.append(element("strong", { textContent: say("similarity", { percent: match.percent }) }), " ",
    element("bdi", { textContent: match.label }));
  button.append(caption);
  button.onclick = () => choose(match, button);
  item.append(button);
  const shown = collection().show_columns.map(name => match.columns[name]).filter(Boolean);
  if (shown.length) item.append(element("p", { className: "quiet", textContent: shown.join(" · ") }));
  return item;
}

// A tile is the photograph where the image root answers, else drawn from the code, else a placeholder that says so.
function tileInto(parent, index, fileName) {
  const { image_root: root, has_pictures: hasPictures } = facts[folderOf(state.way)];
  const frame = element("span", { className: "frame" });
  parent.append(frame);
  if (!root && !hasPictures) return drawnInto(frame, index);
  const image = element("img", { alt: "", crossOrigin: "anonymous", loading: "lazy" });
  image.onerror = () => drawnInto(frame, index);
  image.src = hasPictures ? `${folderOf(state.way)}/pictures/${index}.jpg` : root + fileName.split("/").map(encodeURIComponent).join("/");
  frame.append(image);
}

function drawnInto(frame, index) {
  const { sheets } = facts[folderOf(state.way)];
  const missing = () => {
    frame.replaceChildren(element("span", { className: "missing", textContent: say("missing") }));
    sayShortage();
  };
  if (!sheets) return missing();
  const { side, columns, per_sheet: each, folder } = sheets, at = index % each;
  const image = element("img", { alt: "" });
  const sheet = new Image();
  sheet.onload = () => {
    const canvas = element("canvas", { width: side, height: side });
    canvas.getContext("2d").drawImage(sheet, (at % columns) * side, Math.floor(at / columns) * side, side, side, 0, 0, side, side);
    image.src = canvas.toDataURL();
  };
  sheet.onerror = missing;
  sheet.src = `${folder}/${Math.floor(index / each)}.webp`;
  frame.replaceChildren(image, element("span", { className: "badge", textContent: say("drawn") }));
  sayShortage();
}

function sayShortage() {
  const drawn = $("tiles").querySelectorAll(".badge").length;
  const said = [drawn && say(drawn === $("tiles").children.length ? "all_drawn" : "some_drawn"),
    $("tiles").querySelector(".missing") && say("some_missing")];
  $("note").textContent = said.filter(Boolean).join(" ");
}

function choose(match, button) {
  for (const each of $("tiles").querySelectorAll("button[aria-pressed]")) each.ariaPressed = String(each === button);
  state.chosen = match;
  const lines = [
    element("strong", { textContent: `${say("similarity", { percent: match.percent })} · ${match.label}` }),
    paragraph(state.answer.verdict?.word === "one of these" ? meaning(match, "means") : ""),
    paragraph(`${say("name")}: ${match.fileName}`),
    ...Object.entries(match.columns).map(([name, value]) => columnLine(name, value)),
  ];
  const actions = element("div", { className: "row" });
  const action = (key, act) => {
    const each = element("button", { type: "button", textContent: say(key) });
    each.onclick = act;
    actions.append(each);
  };
  action("again", () => go({ from: match.index, hasUpload: false, unwanted: [] }));
  if (match.index !== state.from) action("less", () => go({ unwanted: [...state.unwanted, match.index] }));
  if (state.hasUpload && state.from === null && state.many === 1) action("why", () => explain(match, button));
  $("chosen").replaceChildren(...lines, actions);
  $("chosen").hidden = false;
  $("chosen").focus({ preventScroll: true });
  $("chosen").scrollIntoView({ block: "nearest" });
}

function columnLine(name, value) {
  const line = paragraph(`${name}: `);
  const isLink = name === collection().link_column && /^https?:\/\//.test(value);
  line.append(isLink ? element("a", { href: value, textContent: value, rel: "noopener noreferrer", target: "_blank" }) : value);
  return line;
}

// ------------------------------------------------------------------ why

async function explain(match, button) {
  const values = { key: state.key, way: folderOf(state.way), index: match.index };
  const progress = ([done, of]) => showProgress(say("why"), done / of);
  const mine = await attempt(() => ask("explain", values, progress));
  if (!mine) return;
  const photo = button.querySelector(".badge, .missing") ? null : await photographOf(button.querySelector("img").src);
  const theirs = photo && (await attempt(() => ask("explain", { ...values, blob: photo }, progress)));
  showProgress("", null);
  const part = element("div", { className: "why" });
  part.append(element("h3", { textContent: say("why_head") }), paragraph(say("why_how")), heatPicture(mine, say("why_query")));
  part.append(theirs ? heatPicture(theirs, say("why_found")) : paragraph(say("why_not_photo")));
  if (Math.max(...mine.heat) <= 1) part.append(paragraph(say("why_nothing")));
  $("chosen").append(part);
  part.scrollIntoView({ block: "nearest" });
}

async function photographOf(address) {
  try {
    return await (await fetch(address)).blob();
  } catch {
    return null; // its host lets pages show it, and not read it
  }
}

function heatPicture({ size, rgba, heat }, caption) {
  const figure = element("figure"), canvas = element("canvas", { width: size, height: size });
  const steps = Math.sqrt(heat.length), pixels = rgba.slice();
  const at = (row, column) => heat[row * steps + column];
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const v = (y / (size - 1)) * (steps - 1), u = (x / (size - 1)) * (steps - 1);
      const r = Math.min(steps - 2, Math.floor(v)), c = Math.min(steps - 2, Math.floor(u)), dv = v - r, du = u - c;
      const value = (1 - dv) * ((1 - du) * at(r, c) + du * at(r, c + 1)) + dv * ((1 - du) * at(r + 1, c) + du * at(r + 1, c + 1));
      const share = Math.min(0.75, Math.max(0, (value - 1) / 2)), to = (y * size + x) * 4;
      [255, 90, 0].forEach((level, channel) => (pixels[to + channel] = (1 - share) * pixels[to + channel] + share * level));
    }
  }
  canvas.getContext("2d").putImageData(new ImageData(pixels, size, size), 0, 0);
  figure.append(canvas, element("figcaption", { textContent: caption }));
  return figure;
}

// ------------------------------------------------------------------ crop and camera

const box = [0.15, 0.15, 0.85, 0.85];

function showCrop(isOn) {
  $("box").hidden = $("crop-how").hidden = !isOn;
  $("crop").textContent = say(isOn ? "crop_go" : "crop");
  $("crop-how").textContent = say("crop_how");
  $("box").ariaLabel = say("crop_box");
  if (isOn) placeBox();
}

function placeBox() {
  const seen = $("seen").getBoundingClientRect(), all = $("drop").getBoundingClientRect();
  const [left, top, right, bottom] = box, style = $("box").style;
  style.left = `${seen.left - all.left + left * seen.width}px`;
  style.top = `${seen.top - all.top + top * seen.height}px`;
  style.width = `${(right - left) * seen.width}px`;
  style.height = `${(bottom - top) * seen.height}px`;
}

$("crop").onclick = async () => {
  if ($("box").hidden) {
    showCrop(true);
    return $("box").focus();
  }
  showCrop(false);
  $("whole").hidden = false;
  await attempt(() => ask("frame", { key: state.key, box: [...box] }));
  await go({ from: null, unwanted: [] });
};
$("whole").onclick = async () => {
  $("whole").hidden = true;
  await attempt(() => ask("frame", { key: state.key, box: null }));
  await go({ from: null, unwanted: [] });
};
$("box").onkeydown = event => {
  const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
  if (event.key === "Enter") return $("crop").click();
  if (!across && !down) return;
  event.preventDefault();
  const step = 0.02, low = event.shiftKey ? [] : [0, 1];
  for (const at of [...low, 2, 3]) box[at] = Math.min(1, Math.max(0, box[at] + step * (at % 2 ? down : across)));
  for (const at of [2, 3]) box[at] = Math.max(box[at], box[at - 2] + 0.05);
  placeBox();
};
$("drop").onpointerdown = event => {
  if ($("box").hidden) return;
  const seen = $("seen").getBoundingClientRect();
  const at = ({ clientX, clientY }) => [(clientX - seen.left) / seen.width, (clientY - seen.top) / seen.height]
    .map(share => Math.min(1, Math.max(0, share)));
  const [x, y] = at(event);
  event.preventDefault();
  const draw = move => {
    const [u, v] = at(move);
    box.splice(0, 4, Math.min(x, u), Math.min(y, v), Math.max(x, u, Math.min(x, u) + 0.05), Math.max(y, v, Math.min(y, v) + 0.05));
    placeBox();
  };
  $("drop").setPointerCapture(event.pointerId);
  $("drop").onpointermove = draw;
  $("drop").onpointerup = () => ($("drop").onpointermove = null);
};

$("camera").onclick = async () => {
  try {
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    await $("video").play();
    $("video").hidden = $("take").hidden = false;
  } catch {
    refuse("no_camera");
  }
};
$("take").onclick = () => {
  const video = $("video"), canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob(blob => take([blob]));
};
function stopCamera() {
  for (const track of $("video").srcObject?.getTracks() ?? []) track.stop();
  $("video").srcObject = null;
  $("video").hidden = $("take").hidden = true;
}

// ------------------------------------------------------------------ texts and controls

const element = (name, values = {}) => Object.assign(document.createElement(name), values);
const paragraph = text => element("p", { textContent: text });

function showTexts() {
  document.documentElement.lang = language;
  const own = collection();
  $("title").textContent = site.title || "visim";
  document.title = site.title || "visim";
  $("about").textContent = (own.is_own ? own.description : say(`about_${own.key}`)) || say("heading");
  $("local").textContent = say("local");
  $("language").textContent = language === "en" ? "Deutsch" : "English";
  $("language").lang = language === "en" ? "de" : "en";
  $("query-head").textContent = say("your_picture");
  $("choose").textContent = say("drop");
  for (const [id, key] of [["camera", "camera"], ["take", "take"], ["whole", "whole"], ["reveal", "reveal"], ["foot", "foot"]]) $(id).textContent = say(key);
  $("tiles").ariaLabel = say("matches");
  $("way-label").firstElementChild.textContent = say("compare");
  $("top-k-label").textContent = say("top_k");
  $("label-label").firstElementChild.textContent = say("only_label");
  showCrop(false);
  $("tabs").hidden = site.galleries.length < 2;
  $("tabs").replaceChildren(...site.galleries.map(each => {
    const isOn = each.key === state.key;
    const tab = element("button", {
      type: "button", role: "tab", id: `tab-${each.key}`, ariaSelected: String(isOn), tabIndex: isOn ? 0 : -1,
      textContent: each.is_own ? each.title : say(`title_${each.key}`),
    });
    tab.setAttribute("aria-controls", "panel");
    tab.onclick = () => openGallery(each.key);
    return tab;
  }));
  $("panel").setAttribute("aria-labelledby", `tab-${state.key}`);
}

function showOptions() {
  const { ways } = collection(), { labels } = facts[folderOf(state.way)];
  $("way-label").hidden = ways.length < 2;
  $("way").replaceChildren(...ways.map(({ name }) => new Option(say(`way_${name}`), name, false, name === state.way)));
  $("label-label").hidden = labels.length < 2;
  $("label").replaceChildren(new Option(say("all_labels"), ""),
    ...labels.map(label => new Option(label, `=${label}`, false, label === state.label)));
  $("top-k").value = $("top-k-value").textContent = state.topK;
}

$("language").onclick = () => {
  language = language === "en" ? "de" : "en";
  localStorage.setItem("visim-language", language);
  showTexts();
  showOptions();
  if (state.answer) showAnswer();
  else invite();
};
$("tabs").onkeydown = event => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], tabs = [...$("tabs").children];
  if (!step) return;
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length].id;
  $(next).click();
  $(next).focus();
};
$("way").onchange = async () => {
  if (await openGallery(state.key, { way: $("way").value, keep: true })) await go({});
};
$("top-k").oninput = () => ($("top-k-value").textContent = $("top-k").value);
$("top-k").onchange = () => go({ topK: Number($("top-k").value) });
$("label").onchange = () => go({ label: $("label").value ? $("label").value.slice(1) : null });
$("reveal").onclick = () => {
  state.shown = true;
  $("reveal").hidden = true;
  $("tiles").hidden = $("note").hidden = false;
  $("tiles").querySelector("button")?.focus();
};
$("file").onchange = () => {
  const files = [...$("file").files];
  $("file").value = "";
  take(files);
};
document.ondragover = event => event.preventDefault();
document.ondrop = event => {
  event.preventDefault();
  take([...event.dataTransfer.files]);
};
document.onpaste = event => take([...event.clipboardData.files]);

if ("serviceWorker" in navigator && isSecureContext) navigator.serviceWorker.register("sw.js").catch(() => {});
await follow(history.state);
