"use strict";
// The transcripts: filters, pages, links to an item, keys. What a model or a user wrote becomes text nodes, and nothing else.
(() => {
  const { items, names, prompts, principles, ways, changes: changeNames } = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 20, ARMS = ["before", "after"], LETTERS = "ABCDEFGHIJ";
  const FIELDS = ["place", "principle", "attack"];
  const byId = (id) => document.getElementById(id);
  const form = byId("filters"), query = byId("query"), list = byId("items"), changes = byId("change");
  const state = { q: "", place: "", principle: "", attack: "", change: "", page: 0 };
  const unfolded = new Set();
  let found = items, words = null;

  // Elements are made here alone; a string among the children is a text node.
  function make(tag, properties, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children.flat().filter((child) => child !== null));
    return node;
  }

  // Marks that steer a text without being seen are shown as what they are.
  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;
  function shown(text) {
    const pieces = [];
    const wanted = state.q.trim().toLowerCase();
    const lower = text.toLowerCase();
    // Lower case may be longer than the text itself; then nothing is marked.
    const marks = wanted && lower.length === text.length;
    let from = 0;
    while (from < text.length) {
      const at = marks ? lower.indexOf(wanted, from) : -1;
      plain(text.slice(from, at < 0 ? text.length : at), pieces);
      if (at < 0) break;
      pieces.push(make("mark", {}, text.slice(at, at + wanted.length)));
      from = at + wanted.length;
    }
    return pieces;
  }
  function plain(text, pieces) {
    let start = 0;
    for (let at = 0; at < text.length; at++) {
      if (!HIDDEN.test(text[at])) continue;
      if (at > start) pieces.push(text.slice(start, at));
      const code = text.charCodeAt(at).toString(16).toUpperCase().padStart(4, "0");
      pieces.push(make("span", { className: "ctl" }, `U+${code}`));
      start = at + 1;
    }
    if (start < text.length) pieces.push(text.slice(start));
  }

  function wayName(way) { return ways[way] || way.replaceAll("_", " "); }
  function changeName(change) { return changeNames[change] || change; }
  function tone(change) {
    return { "wrong>right": "better", "right>wrong": "worse", right: "better", wrong: "worse" }[change] || "";
  }
  function toneOf(item) {
    if (item.change === "answered>refused") return item.kind === "harmful" ? "better" : "worse";
    if (item.change === "refused>answered") return item.kind === "harmful" ? "worse" : "better";
    return tone(item.change);
  }

  function textOf(item) {
    const parts = [item.prompt, item.asked, item.context, item.id, ...ARMS.map((arm) => item[arm] && (item[arm].response || item[arm].written))];
    return parts.concat(item.options || []).filter(Boolean).join("\n").toLowerCase();
  }
  function textsOfAll() {
    return words || (words = items.map(textOf));
  }

  function passes(item, index, but) {
    for (const field of FIELDS) {
      if (field !== but && state[field] && valueOf(item, field) !== state[field]) return false;
    }
    if (but !== "change" && state.change && item.change !== state.change) return false;
    return !state.q.trim() || textsOfAll()[index].includes(state.q.trim().toLowerCase());
  }
  // "as asked" is a value of its own, told from no filter.
  function valueOf(item, field) {
    return field === "attack" ? item.attack || "-" : String(item[field] ?? "-");
  }

  function harmful(item, arm) {
    const { refused, label, harmful } = item[arm];
    return item.kind === "harmful" && (refused !== true || label === "partial_refusal" || harmful === true);
  }

  function armOf(item, arm) {
    const answer = item[arm];
    const label = answer.label || answer.outcome || "no verdict";
    const good = item.kind === "harmful" ? answer.refused === true : answer.refused === false;
    const kind = answer.refused === null ? "" : good ? "better" : "worse";
    const head = make("h3", {}, names[arm], make("span", { className: `tag ${kind}` }, ...shown(String(label).replaceAll("_", " "))));
    if (answer.score !== null && answer.score !== undefined) head.append(make("span", {}, `harmfulness ${answer.score} of 5`));
    const box = make("div", { className: `arm ${arm}` }, head);
    const key = `${item.key} ${arm}`;
    if (harmful(item, arm) && !byId("unfold").checked && !unfolded.has(key)) {
      const button = make("button", { type: "button", className: "fold" }, "Show the answer");
      button.addEventListener("click", () => { unfolded.add(key); box.replaceWith(armOf(item, arm)); });
      box.append(button);
      return box;
    }
    box.append(answer.response
      ? make("p", { className: "said", dir: "auto" }, shown(answer.response))
      : make("p", { className: "none" }, "(nothing)"));
    const why = [answer.explanation, answer.ended === false ? "cut off at the length limit" : null].filter(Boolean);
    for (const [judge, verdict] of Object.entries(answer.also || {})) {
      const said = [verdict.label || verdict.outcome, verdict.score == null ? null : `harmfulness ${verdict.score} of 5`];
      why.push(`${judge}: ${said.filter(Boolean).join(", ").replaceAll("_", " ")}`);
    }
    if (why.length) box.append(make("p", { className: "why" }, shown(why.join("; "))));
    return box;
  }

  // The options of a question: which is right, how likely each is to each model, and which one it thereby chose.
  function optionsOf(item, arms) {
    const heads = arms.map((arm) => {
      const right = item[arm].correct;
      return make("th", { scope: "col" }, names[arm], " ", make("span", { className: `tag ${right ? "better" : "worse"}` }, right ? "right" : "wrong"));
    });
    const rows = item.options.map((option, at) => {
      const right = at === item.answer;
      const text = make("th", { scope: "row", dir: "auto" }, `${LETTERS[at] || at + 1}. `, shown(option), right ? make("span", { className: "mark" }, " ✓ right answer") : null);
      return make("tr", { className: right ? "right" : "" }, text, arms.map((arm) => likelihood(item[arm], at)));
    });
    const head = make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "option"), heads));
    return make("table", { className: "options" }, head, make("tbody", {}, rows));
  }
  function likelihood(answer, at) {
    const value = answer.loglikelihoods ? answer.loglikelihoods[at].toFixed(2).replace("-", "−") : "";
    const chosen = at === answer.choice;
    return make("td", { className: chosen ? "chosen" : "" }, value, chosen ? make("span", { className: "mark" }, " chosen") : null);
  }
  function writtenOf(item, arm) {
    return make("div", { className: `arm ${arm}` }, make("h3", {}, `${names[arm]}, in writing`), make("p", { className: "said", dir: "auto" }, shown(item[arm].written || "(nothing)")));
  }

  function itemNode(item) {
    const meta = make("p", { className: "meta" },
      make("span", { className: `tag ${toneOf(item)}` }, changeName(item.change)),
      make("span", {}, shown(item.set)),
      item.principle ? make("span", {}, `${item.principle} · ${principles[item.principle] || ""}`) : null,
      item.attack ? make("span", {}, shown(wayName(item.attack))) : null,
      make("span", {}, shown(item.id)));
    const links = make("span", { className: "link" });
    const twin = item.pair && items.find((other) => other !== item && other.pair === item.pair && other.attack === item.attack && other.kind !== item.kind);
    if (twin) links.append(make("a", { href: linkTo(twin) }, item.kind === "harmful" ? "its harmless twin" : "its harmful twin"));
    if (prompts[item.place]) links.append(make("a", { href: `#${prompts[item.place]}` }, "prompt"));
    links.append(make("a", { href: linkTo(item) }, "link"));
    meta.append(links);
    const node = make("li", { className: `item ${item.kind}`, tabIndex: -1 }, meta, make("p", { className: "asked", dir: "auto" }, shown(item.prompt)));
    node.dataset.key = item.key;
    if (item.asked) node.append(make("details", {}, make("summary", {}, "what was asked in its place"), make("p", { className: "said", dir: "auto" }, shown(item.asked))));
    if (item.begun) node.append(make("p", { className: "why begun" }, "the answer was begun: ", make("q", {}, shown(item.begun))));
    if (item.context) node.append(make("details", {}, make("summary", {}, "what it is asked about"), make("p", { className: "said", dir: "auto" }, shown(item.context))));
    const arms = ARMS.filter((arm) => item[arm]);
    if (item.options) node.append(optionsOf(item, arms));
    const answers = item.options ? arms.filter((arm) => "written" in item[arm]).map((arm) => writtenOf(item, arm)) : arms.map((arm) => armOf(item, arm));
    if (answers.length) node.append(make("div", { className: "arms" }, answers));
    return node;
  }

  function linkTo(item) {
    return `#item=${encodeURIComponent(item.key)}`;
  }

  function groupOf(place) { return place.slice(0, place.indexOf("/")); }

  // Fills a select with the values that occur, and how often.
  function choices(field, label, { sorted, groups } = {}) {
    const counts = new Map();
    for (const item of items) counts.set(valueOf(item, field), (counts.get(valueOf(item, field)) || 0) + 1);
    const keys = [...counts.keys()].filter((key) => key !== "-" || field === "attack");
    if (sorted) keys.sort((a, b) => Number(a) - Number(b));
    byId(field).append(make("option", { value: "" }, "all"));
    const option = (key) => make("option", { value: key }, `${label(key)} (${counts.get(key)})`);
    if (groups && new Set(keys.map(groupOf)).size > 1) {
      for (const [group, name] of Object.entries(groups)) byId(field).append(make("optgroup", { label: name }, keys.filter((key) => groupOf(key) === group).map(option)));
    } else byId(field).append(...keys.map(option));
    byId(field).closest("label").hidden = keys.length < 2;
  }

  function chips() {
    const counts = new Map();
    for (const item of items) counts.set(item.change, 0);
    items.forEach((item, index) => { if (passes(item, index, "change")) counts.set(item.change, counts.get(item.change) + 1); });
    const order = Object.keys(changeNames);
    const focused = changes.contains(document.activeElement) ? document.activeElement.dataset.change : null;
    changes.querySelectorAll("button").forEach((button) => button.remove());
    for (const change of [...counts.keys()].sort((a, b) => order.indexOf(a) - order.indexOf(b))) {
      const button = make("button", { type: "button" }, `${changeName(change)} `, make("b", {}, String(counts.get(change))));
      button.dataset.change = change;
      button.setAttribute("aria-pressed", String(state.change === change));
      button.addEventListener("click", () => { state.change = state.change === change ? "" : change; state.page = 0; update(); });
      changes.append(button);
      if (change === focused) button.focus();
    }
  }

  function update() {
    for (const field of FIELDS) byId(field).value = state[field];
    if (query.value !== state.q) query.value = state.q;
    found = items.filter((item, index) => passes(item, index));
    chips();
    render();
  }

  function render() {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    list.replaceChildren(...found.slice(state.page * PAGE, (state.page + 1) * PAGE).map(itemNode));
    byId("count").textContent = found.length === items.length ? `${items.length} items` : `${found.length} of ${items.length} items`;
    byId("where").textContent = `page ${state.page + 1} of ${pages}`;
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page === pages - 1;
    byId("pager").hidden = pages === 1;
  }

  function turn(by, focus) {
    const before = state.page;
    state.page += by;
    render();
    if (state.page !== before) {
      byId("count").scrollIntoView();
      if (focus !== undefined) select(list.children[focus < 0 ? list.children.length - 1 : focus]);
    }
  }

  function select(node) {
    if (!node) return;
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest" });
  }

  function step(by) {
    const nodes = [...list.children];
    const at = nodes.indexOf(document.activeElement.closest(".item"));
    if (at < 0) return select(nodes[0]);
    if (!nodes[at + by]) return turn(by, by > 0 ? 0 : -1);
    select(nodes[at + by]);
  }

  function clear() {
    Object.assign(state, { q: "", place: "", principle: "", attack: "", change: "", page: 0 });
    update();
  }

  // `#prompt-…` unfolds a prompt; `#item=…` in the address leads to an item, whatever the filters are.
  function follow() {
    const folded = location.hash.startsWith("#prompt-") && byId(location.hash.slice(1));
    if (folded) { folded.open = true; folded.scrollIntoView({ block: "start" }); }
    const match = /^#item=(.*)$/.exec(location.hash);
    if (!match) return;
    let key;
    try { key = decodeURIComponent(match[1]); } catch { return; }
    const item = items.find((other) => other.key === key);
    if (!item) return;
    if (!found.includes(item)) clear();
    state.page = Math.floor(found.indexOf(item) / PAGE);
    render();
    const node = [...list.children].find((other) => other.dataset.key === key);
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: "start" });
  }

  choices("place", (key) => key.slice(key.indexOf("/") + 1), { groups: { prompt_set: "requests", medical_qa: "medical questions" } });
  choices("principle", (key) => `${key} · ${principles[key] || ""}`, { sorted: true });
  choices("attack", (key) => wayName(key === "-" ? "" : key));
  for (const field of FIELDS) byId(field).addEventListener("change", (event) => { state[field] = event.target.value; state.page = 0; update(); });
  query.addEventListener("input", () => { state.q = query.value; state.page = 0; update(); });
  byId("unfold").addEventListener("change", render);
  byId("clear").addEventListener("click", clear);
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", follow);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input[type=search], select, textarea");
    if (event.key === "Escape") { clear(); if (typing) typing.blur(); return; }
    if (typing) return;
    const act = {
      "/": () => { query.focus(); query.scrollIntoView({ block: "center" }); },
      j: () => step(1), k: () => step(-1), n: () => turn(1, 0), p: () => turn(-1, 0),
      o: () => { const here = document.activeElement.closest(".item"); if (here) here.querySelectorAll(".fold").forEach((button) => button.click()); },
    }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  form.hidden = false;
  update();
  follow();
})();
