// Blind listening tests.

const METHODS = {
  preference: { title: "Preference (A/B)", note: "Two versions in random order: which do you prefer?" },
  abx: { title: "ABX", note: "X is one of two versions, A or B: which one? Shows whether a difference is audible at all." },
  rating: { title: "Rating", note: "Rate all versions side by side from 0 to 100, as in MUSHRA; the reference and the noisy file are among them." },
};
const WORDS = ["Bad", "Poor", "Fair", "Good", "Excellent"];

/** A uniformly random integer below `limit`. */
function randomBelow(limit) {
  const most = 2 ** 32 - (2 ** 32 % limit);
  for (;;) {
    const [value] = crypto.getRandomValues(new Uint32Array(1));
    if (value < most) return value % limit;
  }
}

function shuffled(items) {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at--) {
    const other = randomBelow(at + 1);
    [order[at], order[other]] = [order[other], order[at]];
  }
  return order;
}

function csvCell(value) {
  const text = String(value ?? "");
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

class BlindTest {
  constructor(box) {
    this.box = box;
    this.rows = [];
    this.setUp();
  }

  // Before

  setUp() {
    this.step = "setup";
    const labels = page.files[0].versions.map(({ label }) => label);
    const systems = page.files[0].versions.map(({ kind }, index) => ({ kind, index })).filter(({ kind }) => kind === "system");
    const preset = systems.length > 1 ? systems.slice(0, 2).map(({ index }) => index) : [0, systems[0].index];
    const pick = (name, chosen) => element("select", { name, "aria-label": name }, ...labels.map((label, index) =>
      element("option", { value: index, selected: index === chosen }, label)));
    const methods = Object.entries(METHODS).map(([name, { title, note }], index) => element("label", { class: "choice" },
      element("input", { type: "radio", name: "method", value: name, checked: index === 0 }), element("span", {}, title), element("small", {}, note)));
    const form = element("form", { class: "card" },
      element("div", {}, element("h2", {}, "Blind test"), element("p", { class: "muted" }, "Names and order are hidden, loudness is matched. The result stays on this machine until you send it to someone.")),
      element("fieldset", {}, element("legend", {}, "Method"), ...methods),
      element("fieldset", { id: "pair" }, element("legend", {}, "Versions"), element("div", { class: "row" }, pick("first", preset[0]), "against", pick("second", preset[1]))),
      element("fieldset", {}, element("legend", {}, "Trials per file"), element("input", { type: "number", name: "repeats", min: 1, max: 20, value: 1, "aria-label": "Trials per file" })),
      element("fieldset", {}, element("legend", {}, "Listener"), element("input", { type: "text", name: "listener", maxlength: 60, placeholder: "name or initials", "aria-label": "Listener" })),
      element("p", { id: "setup-error", role: "alert" }),
      element("div", { class: "row" }, element("button", { type: "submit", class: "primary" }, "Start")));
    form.addEventListener("change", () => { form.querySelector("#pair").hidden = new FormData(form).get("method") === "rating"; });
    form.addEventListener("submit", (event) => { event.preventDefault(); this.begin(new FormData(form)); });
    this.box.replaceChildren(form);
  }

  begin(form) {
    this.method = form.get("method");
    this.listener = form.get("listener").trim();
    const pair = [Number(form.get("first")), Number(form.get("second"))];
    if (this.method !== "rating" && pair[0] === pair[1]) {
      this.box.querySelector("#setup-error").textContent = "Choose two different versions.";
      return;
    }
    const repeats = Math.min(Math.max(Number(form.get("repeats")) || 1, 1), 20);
    const files = page.files.map((_, index) => index);
    this.trials = Array.from({ length: repeats }, () => shuffled(files)).flat().map((file) => {
      if (this.method === "rating") return { file, order: shuffled(page.files[file].versions.map((_, index) => index)) };
      const order = shuffled(pair);
      return this.method === "abx" ? { file, order: [...order, order[randomBelow(2)]] } : { file, order };
    });
    this.rows = [];
    this.at = 0;
    document.querySelector(".transport").hidden = false;
    this.show();
  }

  // A trial

  async show() {
    const trial = this.trials[this.at];
    const file = page.files[trial.file];
    this.step = "wait";
    player.load([], [], 0, file.rate);
    this.box.replaceChildren(element("p", { class: "loading", role: "status" }, "Decoding…"));
    const buffers = await decode(trial.file);
    if (state.blind !== this) return;
    const shown = [...trial.order];
    this.names = trial.order.map((_, index) => (this.method === "abx" && index === 2 ? "X" : String.fromCharCode(65 + index)));
    const reference = file.versions.findIndex(({ kind }) => kind === "reference");
    if (this.method === "rating" && reference >= 0) {
      shown.unshift(reference);
      this.names.unshift("Reference");
    }
    // Always at matched loudness, otherwise the louder one wins.
    player.load(shown.map((version) => buffers[version]), shown.map((version) => 10 ** (file.versions[version].matchDb / 20)), 0, file.rate);
    player.setLoop([0, player.duration]);
    this.step = "trial";
    this.heardAll = new Set();
    this.buttons = this.names.map((name, index) => element("button", { type: "button", class: "stimulus", "aria-pressed": index === 0, onclick: () => this.listen(index) }, name));
    const progress = element("div", { class: "progress", role: "progressbar", "aria-valuenow": this.at + 1, "aria-valuemin": 1, "aria-valuemax": this.trials.length, "aria-label": "Trial" }, element("div"));
    progress.firstChild.style.width = `${(100 * this.at) / this.trials.length}%`;
    this.box.replaceChildren(element("section", { class: "card" },
      element("div", {}, element("h2", {}, `Trial ${this.at + 1} of ${this.trials.length}`), element("p", { class: "muted" }, "Switch at any time; the recording keeps playing.")),
      progress, element("div", { class: "row wide-buttons", role: "group", "aria-label": "Listen" }, ...this.buttons), this.answers()));
    announce(`Trial ${this.at + 1} of ${this.trials.length}`);
  }

  answers() {
    const answer = (value, text) => element("button", { type: "button", "data-answer": value, onclick: () => this.answer(value) }, text);
    if (this.method === "preference") {
      return element("fieldset", {}, element("legend", {}, "Which do you prefer?"), element("div", { class: "answers" },
        answer("A", "A"), answer("none", "Equal"), answer("B", "B")));
    }
    if (this.method === "abx") {
      return element("fieldset", {}, element("legend", {}, "What is X?"), element("div", { class: "answers" }, answer("A", "X is A"), answer("B", "X is B")));
    }
    const rated = this.names.filter((name) => name !== "Reference");
    this.ratings = new Map();
    const next = element("button", { type: "button", class: "primary", disabled: true, onclick: () => this.answer(this.ratings) }, "Next");
    return element("fieldset", {}, element("legend", {}, "How good is the speech?"), element("div", { class: "scale", "aria-hidden": "true" }, ...WORDS.map((word) => element("span", {}, word))),
      ...rated.map((name) => {
        const shown = element("output", {}, "–");
        const slider = element("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `Rating of ${name}` });
        const set = () => {
          this.ratings.set(name, Number(slider.value));
          shown.textContent = slider.value;
        slider.classList.add("rated");
          next.disabled = this.ratings.size < rated.length;
        };
        for (const kind of ["input", "click", "keyup"]) slider.addEventListener(kind, set);
        return element("div", { class: "rating" }, element("button", { type: "button", onclick: () => this.listen(this.names.indexOf(name)) }, name), slider, shown);
      }), element("div", { class: "row" }, next));
  }

  listen(index) {
    player.select(index);
    this.buttons.forEach((button, at) => button.setAttribute("aria-pressed", at === index));
    announce(this.names[index]);
    player.play();
  }

  answer(value) {
    if (this.step !== "trial") return;
    const trial = this.trials[this.at];
    const file = page.files[trial.file];
    const label = (index) => file.versions[index].label;
    const base = { listener: this.listener, method: this.method, trial: this.at + 1, file: file.name };
    if (this.method === "rating") {
      const offset = this.names[0] === "Reference" ? 1 : 0;
      trial.order.forEach((version, index) => this.rows.push({ ...base, system: label(version), rating: value.get(this.names[index + offset]) }));
    } else {
      const [a, b, x] = trial.order;
      const chosen = value === "none" ? "" : label(value === "A" ? a : b);
      const row = { ...base, a: label(a), b: label(b), answer: value, chosen };
      this.rows.push(this.method === "abx" ? { ...row, x: label(x), correct: chosen === label(x) } : row);
    }
    this.step = "wait";
    this.at += 1;
    if (this.at < this.trials.length) this.show();
    else this.finish();
  }

  /** Keys of a trial: 1, 2 … or a, b, x listen, space plays. */
  key(event) {
    if (this.step !== "trial") return false;
    const place = Number(event.key) >= 1 ? Number(event.key) - 1 : this.names.indexOf(event.key.toUpperCase());
    if (event.key === " ") player.toggle();
    else if (event.key === "ArrowLeft") player.seek(player.position() - 1);
    else if (event.key === "ArrowRight") player.seek(player.position() + 1);
    else if (place >= 0 && place < this.names.length) this.listen(place);
    else return false;
    return true;
  }

  // After

  finish() {
    player.pause();
    this.step = "done";
    document.querySelector(".transport").hidden = true;
    const name = `listening-${this.method}${this.listener ? `-${this.listener.replace(/[^\p{L}\p{N}]+/gu, "_")}` : ""}`;
    this.box.replaceChildren(element("section", { class: "card" }, element("h2", {}, "Done, thank you"), this.summary(),
      element("p", { class: "muted" }, "Save the JSON file; dccrn listen --collect *.json combines the results of all listeners."),
      element("div", { class: "row" },
        element("button", { type: "button", class: "primary", id: "save-json", onclick: () => this.save(`${name}.json`, "application/json", this.json()) }, "Save JSON"),
        element("button", { type: "button", id: "save-csv", onclick: () => this.save(`${name}.csv`, "text/csv", this.csv()) }, "Save CSV"),
        element("button", { type: "button", onclick: () => this.setUp() }, "Another test"))));
    announce("The test is complete.");
  }

  summary() {
    const table = (head, rows) => element("table", {}, element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, String(cell)))))));
    if (this.method === "abx") {
      const right = this.rows.filter(({ correct }) => correct).length;
      return element("p", {}, `${right} of ${this.rows.length} right; guessing alone gives ${this.rows.length / 2}.`);
    }
    if (this.method === "preference") {
      const labels = [this.rows[0].a, this.rows[0].b].sort();
      const count = (chosen) => this.rows.filter((row) => row.chosen === chosen).length;
      return table(["Preferred", "Times"], [...labels.map((label) => [label, count(label)]), ["No preference", count("")]]);
    }
    const labels = [...new Set(this.rows.map(({ system }) => system))].sort();
    return table(["Version", "Mean rating"], labels.map((label) => {
      const ratings = this.rows.filter(({ system }) => system === label).map(({ rating }) => rating);
      return [label, (ratings.reduce((sum, value) => sum + value, 0) / ratings.length).toFixed(1)];
    }));
  }

  json() {
    return JSON.stringify({ format: "dccrn listening test", version: 1, page: page.title, method: this.method, listener: this.listener, rows: this.rows }, null, 1);
  }

  csv() {
    const columns = Object.keys(this.rows[0]);
    return [columns, ...this.rows.map((row) => columns.map((column) => row[column]))].map((cells) => cells.map(csvCell).join(",")).join("\r\n") + "\r\n";
  }

  save(name, type, text) {
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}
