// The comparison: files, versions, lanes, transport, keys.

const page = JSON.parse(document.getElementById("page-data").textContent);
const $ = (id) => document.getElementById(id);
const COLOURS = ["#e69f00", "#3b8fd6", "#d55e00", "#cc79a7", "#56b4e9", "#8a8f00", "#9467bd"];
const player = new Player();

const state = { file: -1, view: [0, 1], signals: [], topDb: 0, matched: true, decoded: new Map(), blind: null };

/** Create an element with attributes and children; text is never parsed as HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "colour") made.style.setProperty("--colour", value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function colourOf(version) {
  if (version.kind === "noisy") return "#8b939e";
  if (version.kind === "reference") return "#009e73";
  return COLOURS[page.systems.indexOf(version.label) % COLOURS.length];
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${(Math.floor(seconds * 10) / 10 % 60).toFixed(1).padStart(4, "0")}`;
const number = (value, digits) => value.toFixed(digits).replace("-", "−");
const announce = (text) => { $("announce").textContent = text; };
const gainOf = (version) => (state.matched ? 10 ** (version.matchDb / 20) : 1);

// Sound

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** The encoded versions of a file: in the page, or in a script beside it, which needs no server. */
async function codedSounds(index) {
  if (!page.folder) return page.files[index].versions.map((_, version) => $(`sound-${index}-${version}`).textContent);
  window.dccrnSounds ??= {};
  if (!window.dccrnSounds[index]) {
    await new Promise((done, failed) => {
      document.head.append(element("script", { src: `sounds/${index}.js`, onload: done, onerror: failed }));
    });
  }
  const found = window.dccrnSounds[index];
  delete window.dccrnSounds[index];
  return found;
}

/** AudioBuffers of all versions of a file, at its own sample rate. */
async function decode(index) {
  if (!state.decoded.has(index)) {
    const { rate } = page.files[index];
    const coded = await codedSounds(index);
    const context = new OfflineAudioContext(1, 1, rate);
    const buffers = await Promise.all(coded.map((text) => context.decodeAudioData(bytesOf(text).buffer)));
    if (state.decoded.size >= 3) state.decoded.delete(state.decoded.keys().next().value);
    state.decoded.set(index, buffers);
  }
  return state.decoded.get(index);
}

// Files and versions

function facts(version) {
  const shown = page.metrics.filter(({ name }) => version.scores[name] !== undefined && version.scores[name] !== null)
    .map(({ name, title, unit, digits }) => element("span", {}, `${title} `, element("b", {}, `${number(version.scores[name], digits)}${unit ? ` ${unit}` : ""}`)));
  if (version.removedDb !== null && !shown.length) {
    const [amount, word] = [Math.abs(version.removedDb).toFixed(1), version.removedDb >= 0 ? "removed" : "added"];
    shown.push(element("span", {}, element("b", {}, `${amount} dB`), ` ${word}`));
  }
  if (version.lufs !== null) shown.push(element("span", {}, element("b", {}, `${number(version.lufs, 1)} LUFS`)));
  return shown;
}

function figureOf(file) {
  const system = file.versions.find(({ kind }) => kind === "system");
  const metric = page.metrics.find(({ name }) => system.scores[name] !== undefined && system.scores[name] !== null);
  if (metric) return `${metric.title} ${number(system.scores[metric.name], metric.digits)}${metric.unit ? ` ${metric.unit}` : ""}`;
  return system.removedDb === null ? "" : `${number(system.removedDb, 1)} dB removed`;
}

function buildFiles() {
  page.files.forEach((file, index) => {
    $("file-list").append(element("li", {}, element("button", { type: "button", title: file.name, onclick: () => open(index) },
      element("span", { class: "name" }, file.name), element("span", { class: "figure" }, figureOf(file)))));
    $("file-select").append(element("option", { value: index }, file.name));
  });
  $("file-select").addEventListener("change", (event) => open(Number(event.target.value)));
}

function buildVersions(file) {
  $("versions").replaceChildren(...file.versions.map((version, index) => element(
    "button", { type: "button", title: version.label, onclick: () => player.select(index) },
    element("span", { class: "dot", colour: colourOf(version) }), element("span", { class: "label" }, version.label),
    element("kbd", { "aria-hidden": "true" }, String(index + 1)))));
  $("lanes").replaceChildren(...file.versions.map((version, index) => {
    const marks = frequencyMarks(file.rate).map(({ label, top }) => {
      const line = element("div", { class: "hz" }, element("span", {}, label));
      line.style.top = `${100 * top}%`;
      return line;
    });
    const view = element("div", { class: "view" }, element("canvas", { role: "img", "aria-label": `Spectrogram of ${version.label}` }), ...marks,
      element("div", { class: "marked", hidden: true }), element("div", { class: "playhead" }));
    pointing(view, () => state.view, () => player.select(index));
    return element("section", { class: "lane" },
      element("header", { onclick: () => player.select(index) },
        element("span", { class: "label" }, element("span", { class: "dot", colour: colourOf(version) }), version.label),
        element("span", { class: "facts" }, ...facts(version))), view);
  }));
  const systems = file.versions.filter(({ kind }) => kind === "system");
  $("removed").hidden = file.versions.some(({ kind }) => kind === "reference");
  $("removed-legend").replaceChildren(...systems.map((version) =>
    element("span", {}, element("span", { class: "dot", colour: colourOf(version) }), version.label)));
}

async function open(index) {
  if (index < 0 || index >= page.files.length || index === state.file) return;
  const file = page.files[index];
  state.file = index;
  player.load([], [], player.heard, file.rate);
  $("file-name").textContent = file.name;
  $("file-note").textContent = file.note;
  $("file-select").value = index;
  [...$("file-list").querySelectorAll("button")].forEach((button, at) => button.setAttribute("aria-current", at === index));
  buildVersions(file);
  $("loading").hidden = false;
  $("loading").textContent = "Decoding…";
  let buffers;
  try {
    buffers = await decode(index);
  } catch (error) {
    $("loading").textContent = `This browser cannot decode the audio (${error.name ?? "error"}); try --quality flac.`;
    return;
  }
  if (state.file !== index) return;
  $("loading").hidden = true;
  state.signals = buffers.map(mono);
  state.topDb = topLevel(state.signals, file.rate);
  player.load(buffers, file.versions.map(gainOf), player.heard, file.rate);
  state.view = [0, player.duration];
  draw();
}

// Pictures

function draw() {
  if (!state.signals.length || $("compare").hidden) return;
  const { rate, versions } = page.files[state.file];
  [...$("lanes").querySelectorAll("canvas")].forEach((canvas, index) =>
    drawSpectrogram(canvas, state.signals[index], rate, state.view, state.topDb));
  if (!$("removed").hidden) {
    const others = versions.map((version, index) => ({ samples: state.signals[index], colour: colourOf(version), version }))
      .filter(({ version }) => version.kind === "system");
    drawRemoved($("removed").querySelector("canvas"), state.signals[0], others, rate, state.view);
  }
  drawOverview();
  place();
}

function drawOverview() {
  if (!state.signals.length) return;
  const { versions } = page.files[state.file];
  const style = getComputedStyle(document.documentElement);
  const waves = [{ samples: state.signals[0], colour: style.getPropertyValue("--wave") }];
  if (player.heard > 0) waves.push({ samples: state.signals[player.heard], colour: colourOf(versions[player.heard]) });
  else waves[0].colour = colourOf(versions[0]);
  drawWaves($("wave"), waves);
}

/** Position playheads, selection and window. */
function place() {
  const at = player.position();
  const total = player.duration || 1;
  const [from, to] = state.view;
  const put = (box, share) => {
    const head = box.querySelector(".playhead");
    head.hidden = share < 0 || share > 1;
    head.style.transform = `translateX(${share * box.clientWidth}px)`;
  };
  put($("overview"), at / total);
  for (const box of document.querySelectorAll(".lane .view, .removed .plot")) put(box, (at - from) / (to - from));
  const marked = player.loop ?? state.mark;
  const span = (box, start, stop) => {
    const mark = box.querySelector(".marked");
    mark.hidden = !marked || stop < 0 || start > 1;
    mark.style.left = `${100 * Math.max(start, 0)}%`;
    mark.style.right = `${100 * Math.max(1 - stop, 0)}%`;
  };
  const [start, stop] = marked ?? [0, 0];
  span($("overview"), start / total, stop / total);
  for (const box of document.querySelectorAll(".lane .view")) span(box, (start - from) / (to - from), (stop - from) / (to - from));
  $("window").hidden = to - from >= total - 1e-3;
  $("window").style.left = `${(100 * from) / total}%`;
  $("window").style.right = `${100 * (1 - to / total)}%`;
  $("time").innerHTML = "";
  $("time").append(clock(at), element("span", { class: "of" }, ` / ${clock(player.duration)}`));
  $("overview").setAttribute("aria-valuemax", total.toFixed(1));
  $("overview").setAttribute("aria-valuenow", at.toFixed(1));
  $("overview").setAttribute("aria-valuetext", `${at.toFixed(1)} of ${total.toFixed(1)} seconds`);
}

function tick() {
  if (player.playing) {
    if (!$("compare").hidden) follow();
    place();
  }
  requestAnimationFrame(tick);
}

/** When zoomed in, scroll with the playhead. */
function follow() {
  const [from, to] = state.view;
  const at = player.position();
  if (to - from < player.duration - 1e-3 && (at < from || at > to)) look(at - 0.05 * (to - from), to - from);
}

function look(from, span) {
  const total = player.duration;
  const width = Math.min(Math.max(span, Math.min(0.25, total)), total);
  const start = Math.min(Math.max(from, 0), total - width);
  state.view = [start, start + width];
  draw();
}

function zoom(factor) {
  const [from, to] = state.view;
  const at = player.position();
  const centre = at >= from && at <= to ? at : (from + to) / 2;
  const span = Math.min(Math.max((to - from) * factor, 0.25), player.duration);
  look(centre - (centre - from) * (span / (to - from)), span);
}

// Pointer and keys

/** Click: seek. Drag: select. */
function pointing(box, view, onClick = () => {}) {
  let began = null;
  const at = (event) => {
    const [from, to] = view();
    const { left, width } = box.getBoundingClientRect();
    return Math.min(Math.max(from + ((event.clientX - left) / width) * (to - from), 0), player.duration);
  };
  box.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    began = { x: event.clientX, at: at(event) };
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener("pointermove", (event) => {
    if (!began || Math.abs(event.clientX - began.x) < 5) return;
    mark([began.at, at(event)].sort((a, b) => a - b), false);
  });
  box.addEventListener("pointerup", (event) => {
    if (!began) return;
    const { x, at: start } = began;
    began = null;
    if (Math.abs(event.clientX - x) < 5) {
      onClick();
      player.seek(at(event));
    } else {
      mark([start, at(event)].sort((a, b) => a - b), true);
    }
  });
  box.addEventListener("pointercancel", () => { began = null; });
}

function mark(stretch, final) {
  state.mark = stretch[1] - stretch[0] >= 0.05 ? stretch : null;
  if (final && state.mark) {
    player.seek(state.mark[0]);
    player.setLoop(state.mark);
  }
  place();
}

function toggleLoop() {
  if (player.loop) player.setLoop(null);
  else player.setLoop(state.mark ?? [0, player.duration]);
}

function unmark() {
  state.mark = null;
  player.setLoop(null);
}

function setMatched(matched) {
  state.matched = matched;
  $("matched").setAttribute("aria-pressed", matched);
  if (state.file >= 0) player.setGains(page.files[state.file].versions.map(gainOf));
}

const KEYS = {
  " ": () => player.toggle(),
  ArrowLeft: (event) => player.seek(player.position() - (event.shiftKey ? 5 : 1)),
  ArrowRight: (event) => player.seek(player.position() + (event.shiftKey ? 5 : 1)),
  ArrowUp: () => open(state.file - 1),
  ArrowDown: () => open(state.file + 1),
  l: toggleLoop,
  "+": () => zoom(0.5),
  "=": () => zoom(0.5),
  "-": () => zoom(2),
  0: () => look(0, player.duration),
  m: () => setMatched(!state.matched),
  "?": () => $("help").click(),
  Escape: unmark,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  if (event.key === " " && event.target.closest("button, summary")) return; // a button that has the focus is pressed
  if (state.blind?.key(event)) { event.preventDefault(); return; }
  if (!$("blind").hidden) return;
  const digit = Number(event.key);
  const action = digit >= 1 ? () => player.select(digit - 1) : KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action(event);
});

// A click with the mouse leaves no focus behind, which would take the space bar.
document.addEventListener("click", (event) => { if (event.detail > 0) event.target.closest("button")?.blur(); });

$("play").addEventListener("click", () => player.toggle());
$("loop").addEventListener("click", toggleLoop);
$("zoom-in").addEventListener("click", () => zoom(0.5));
$("zoom-out").addEventListener("click", () => zoom(2));
$("zoom-all").addEventListener("click", () => look(0, player.duration));
$("matched").addEventListener("click", () => setMatched(!state.matched));
$("help").addEventListener("click", () => {
  $("keys").hidden = !$("keys").hidden;
  $("help").setAttribute("aria-expanded", !$("keys").hidden);
});
pointing($("overview"), () => [0, player.duration]);
$("lanes").addEventListener("wheel", (event) => {
  if (event.deltaX && Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    look(state.view[0] + (event.deltaX / 800) * (state.view[1] - state.view[0]), state.view[1] - state.view[0]);
  } else if (event.ctrlKey) {
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8);
  }
}, { passive: false });

player.addEventListener("change", () => {
  document.body.classList.toggle("playing", player.playing);
  $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  $("loop").setAttribute("aria-pressed", player.loop !== null);
  if ($("compare").hidden) return;
  [...$("versions").children].forEach((button, index) => button.setAttribute("aria-pressed", index === player.heard));
  [...$("lanes").children].forEach((lane, index) => { lane.dataset.on = index === player.heard; });
  const version = page.files[state.file]?.versions[player.heard];
  if (version && state.announced !== version.label) announce(version.label);
  state.announced = version?.label;
  drawOverview();
  place();
});

function setMode(blind) {
  player.pause();
  unmark();
  $("compare").hidden = blind;
  $("blind").hidden = !blind;
  for (const id of ["loop", "help", "matched"]) $(id).hidden = blind;
  document.querySelector(".zoom").hidden = blind;
  $("keys").hidden = true;
  $("mode-compare").setAttribute("aria-pressed", !blind);
  $("mode-blind").setAttribute("aria-pressed", blind);
  state.blind = blind ? new BlindTest($("blind")) : null;
  document.querySelector(".transport").hidden = blind;
  if (!blind) {
    const index = Math.max(state.file, 0);
    state.file = -1;
    open(index);
  }
}
$("mode-compare").addEventListener("click", () => setMode(false));
$("mode-blind").addEventListener("click", () => setMode(true));

let resized = 0;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(draw, 80); });
darkTheme.addEventListener("change", draw);

window.listening = { player, state, Lockstep }; // for tests and the curious

$("title").textContent = page.title;
$("subtitle").textContent = page.subtitle;
buildFiles();
open(0);
requestAnimationFrame(tick);
