/* The page of a board: what is chosen, what follows from it, and how it is shown.
 *
 * Numbers come from the page's JSON (see data.py); nothing is tested here. Ranks and letters follow from stored, corrected tests, and only
 * where those are of what is chosen. Every text of the data enters the page as text. DataTables makes tables, Vega-Lite plots.
 */

// ---- the data -------------------------------------------------------------------------------------------------------------------------

const data = JSON.parse(document.getElementById("bench-data").textContent);
const { board, metrics, methods, settings, families } = data;
const digest = document.documentElement.dataset.digest;
const asObjects = (columns, lines) => lines.map((line) => Object.fromEntries(columns.map((name, i) => [name, line[i]])));
const rows = asObjects(data.row_columns, data.rows);
const trials = asObjects(data.trial_columns, data.trials);
const rowAt = new Map(rows.map((row) => [`${row.setting} ${row.method}`, row]));
const isRanked = (method) => !["floor", "ceiling"].includes(methods[method].role);
const unique = (values) => [...new Set(values)];
const known = (value) => value !== null && value !== undefined;
const mean = (values) => (values.length && values.every(known) ? values.reduce((a, b) => a + b, 0) / values.length : null);
const DASH = "–";

/** Mean, SD and 95 % interval of a row under a metric; further metrics than the board's have no interval. */
function scoreOf(row, metric) {
  if (!row) return { mean: null, sd: null, low: null, high: null };
  if (metric === 0) return row;
  const [average, sd] = row.others[metric - 1];
  return { mean: average, sd, low: null, high: null };
}

// ---- how numbers read -----------------------------------------------------------------------------------------------------------------

/** As Python writes a float with so many digits: an exact tie goes to the even digit. */
function fixed(value, digits) {
  const exact = Math.abs(value).toFixed(60);
  const cut = exact.indexOf(".") + 1 + digits;
  const kept = digits ? exact.slice(0, cut) : exact.slice(0, cut - 1);
  const isTie = /^50*$/.test(exact.slice(cut));
  const text = isTie && Number(kept.at(-1)) % 2 === 0 ? kept : Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `-${text}` : text;
}
const inPoints = (value) => Math.round(value * 1e10) / 1e8;
const points = (value, digits = 1) => (known(value) ? fixed(inPoints(value), digits) : DASH);
const signed = (value) => (known(value) ? (fixed(inPoints(value), 1).startsWith("-") ? "" : "+") + fixed(inPoints(value), 1) : DASH);
const pText = (p) => (!known(p) ? DASH : p < 0.001 ? "<0.001" : fixed(p, 3));
/** Three digits that count; thousands with commas, powers of ten where there would be many zeros. */
const number = (value) => {
  if (!known(value)) return DASH;
  if (value >= 1000) return Math.round(value).toLocaleString("en");
  return value !== 0 && value < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
};
const interval = (low, high) => (known(low) && known(high) ? `${points(low)} to ${points(high)}` : DASH);
const some = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
const margin = some(Number((100 * board.rope).toPrecision(6)), "point");

// ---- the state of the view, and its address ---------------------------------------------------------------------------------------------

const kinds = unique(settings.map((setting) => (setting.synthetic ? "synthetic" : "real"))).sort();
const LISTS = {
  dataset: { title: "Datasets", values: unique(settings.map((s) => s.dataset)) },
  modalities: { title: "Modalities", values: unique(settings.map((s) => s.combination)) },
  protocol: { title: "Protocols and missing rates", values: unique(settings.map((s) => s.protocol)) },
  method: { title: "Methods", values: methods.map((method) => method.label) },
};
const SINGLE = ["tests", "setting", "curve", "at", "sort", "find", "scores_sort", "scores_find", "trials_in"];
let state = initial();

function initial() {
  const lists = Object.fromEntries(Object.entries(LISTS).map(([key, list]) => [key, new Set(list.values)]));
  return { metric: board.metric, kind: kinds[0] ?? "real", ...lists, trials_of: [], ...Object.fromEntries(SINGLE.map((key) => [key, ""])) };
}

function address() {
  const found = new URLSearchParams();
  const plain = initial();
  for (const key of ["metric", "kind"]) if (state[key] !== plain[key]) found.set(key, state[key]);
  for (const [key, list] of Object.entries(LISTS)) {
    if (state[key].size === list.values.length) continue;
    for (const value of state[key].size ? list.values.filter((one) => state[key].has(one)) : [""]) found.append(key, value);
  }
  for (const key of SINGLE) if (state[key]) found.set(key, state[key]);
  for (const label of state.trials_of) found.append("trials_of", label);
  if (found.size) found.set("data", digest);
  return found.toString();
}

/** The state that an address names; what it names and this page lacks is told. */
function read(hash) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const found = initial();
  const lost = [];
  const take = (key, allowed) => {
    const value = asked.get(key);
    if (value === null) return;
    if (allowed.includes(value)) found[key] = value;
    else lost.push(value);
  };
  take("metric", metrics.map((metric) => metric.name));
  take("kind", kinds);
  take("tests", families.map((family) => family.name));
  for (const key of ["setting", "trials_in"]) take(key, settings.map((setting) => setting.title));
  for (const [key, list] of Object.entries(LISTS)) {
    if (!asked.has(key)) continue;
    const values = asked.getAll(key).filter((value) => value !== "");
    found[key] = new Set(values.filter((value) => list.values.includes(value)));
    lost.push(...values.filter((value) => !list.values.includes(value)));
  }
  const wanted = asked.getAll("trials_of");
  found.trials_of = wanted.filter((label) => LISTS.method.values.includes(label));
  lost.push(...wanted.filter((label) => !LISTS.method.values.includes(label)));
  for (const key of ["curve", "at", "sort", "find", "scores_sort", "scores_find"]) found[key] = asked.get(key) ?? "";
  const told = [];
  if (asked.has("data") && asked.get("data") !== digest) told.push(`This address was made for other numbers of this board (${asked.get("data")}); this page holds ${digest}.`);
  if (lost.length) told.push(`It names what this page does not have: ${lost.join(", ")}.`);
  say("notice", told.join(" "));
  $("notice").hidden = !told.length;
  return found;
}

function remember() {
  const found = address();
  if (found !== location.hash.replace(/^#/, "")) history.replaceState(null, "", found ? `#${found}` : location.href.split("#")[0]);
  say("citation", `${board.title}. Metric ${state.metric}. Board ${board.source}, data ${digest}. ${location.href}`);
}

// ---- what follows from it ---------------------------------------------------------------------------------------------------------------

/** The chosen settings, methods and metric. */
function view() {
  const chosen = settings.map((_, i) => i).filter((i) => {
    const s = settings[i];
    return (s.synthetic ? "synthetic" : "real") === state.kind && state.dataset.has(s.dataset) && state.modalities.has(s.combination) && state.protocol.has(s.protocol);
  });
  const shown = methods.map((_, i) => i).filter((i) => state.method.has(methods[i].label));
  return { settings: chosen, methods: shown, metric: metrics.findIndex((metric) => metric.name === state.metric) };
}
const ofKind = () => settings.filter((setting) => setting.synthetic === (state.kind === "synthetic")).length;

/** Ranks, 1 for the best; equal scores (to 10 decimals) share the mean of their ranks; without a score is last. */
function ranksOf(values, higher) {
  const keys = values.map((value) => (known(value) ? (higher ? -1 : 1) * Math.round(value * 1e10) : Infinity));
  return keys.map((key) => 1 + keys.filter((other) => other < key).length + (keys.filter((other) => other === key).length - 1) / 2);
}

/** The stored test i - j of a family, turned so that i comes first; null if there is none. */
function between(family, i, j) {
  const [a, b] = [family.methods.indexOf(i), family.methods.indexOf(j)];
  if (a < 0 || b < 0 || a === b || !family.tests.length) return null;
  const [low, high] = a < b ? [a, b] : [b, a];
  const line = family.tests[(low * (2 * family.methods.length - low - 1)) / 2 + high - low - 1];
  const test = Object.fromEntries(data.test_columns.map((name, at) => [name, line[at]]));
  return a < b ? test : turned(test);
}
const negative = (value) => (known(value) ? -value : null);
function turned(test) {
  const word = (verdict) => ({ better: "worse", "better*": "worse*", worse: "better", "worse*": "better*" })[verdict] ?? verdict;
  return { ...test, difference: negative(test.difference), low: negative(test.high), high: negative(test.low),
    alone_low: negative(test.alone_high), alone_high: negative(test.alone_low), effect: negative(test.effect),
    verdict: word(test.verdict), named_verdict: word(test.named_verdict) };
}

/** Whether i is significantly better than j, by the p corrected over the whole family, whatever part of it is shown. */
function isBetter(family, i, j) {
  const test = between(family, i, j);
  const isOpen = !(known(family.gate) && family.gate > board.alpha);
  return test !== null && isOpen && known(test.p_adjusted) && test.p_adjusted <= board.alpha && test.effect > 0;
}

/** Rank sets and letters of some methods of a family. `order`: lower is better. See bench/stats/ranking.py, standing. */
function standing(family, some, order) {
  const better = some.map((i) => some.map((j) => i !== j && isBetter(family, i, j)));
  const alike = some.map((_, i) => new Set(some.map((_, j) => j).filter((j) => j !== i && !better[i][j] && !better[j][i])));
  const place = some.map((_, i) => i).sort((i, j) => order[i] - order[j] || i - j).reduce((found, i, at) => ((found[i] = at), found), []);
  const groups = cliques(alike).map((group) => [...group].sort((i, j) => place[i] - place[j]));
  groups.sort((a, b) => { const at = a.findIndex((_, i) => place[a[i]] !== place[b[i]]); return at < 0 ? a.length - b.length : place[a[at]] - (place[b[at]] ?? -1); });
  const letter = (n) => (n < 26 ? String.fromCharCode(97 + n) : n < 52 ? String.fromCharCode(39 + n) : `(${n + 1})`);
  return some.map((_, i) => ({
    low: 1 + better.filter((line) => line[i]).length,
    high: some.length - better[i].filter(Boolean).length,
    letters: groups.map((group, n) => (group.includes(i) ? letter(n) : "")).join(""),
    best: better[i].filter(Boolean).length === some.length - 1,
  }));
}

/** Maximal groups whose members are all neighbours of each other (Bron and Kerbosch, with a pivot). */
function cliques(neighbours) {
  const found = [];
  const grow = (group, open, closed) => {
    if (!open.length && !closed.length) return void found.push(group);
    const reach = (i) => open.filter((j) => neighbours[i].has(j)).length;
    const pivot = [...open, ...closed].reduce((a, b) => (reach(b) > reach(a) ? b : a));
    for (const i of open.filter((j) => !neighbours[pivot].has(j))) {
      grow([...group, i], open.filter((j) => neighbours[i].has(j)), closed.filter((j) => neighbours[i].has(j)));
      open = open.filter((j) => j !== i);
      closed = [...closed, i];
    }
  };
  grow([], neighbours.map((_, i) => i), []);
  return found;
}

/** The family whose tests are of exactly what is chosen, or why there is none. */
function familyOf({ settings: chosen, metric }) {
  if (!chosen.length) return [null, "no setting is chosen"];
  if (metric !== 0) return [null, `tests are stored for ${board.metric} alone; bench compare A B --metric ${metrics[metric].name} tests one pair`];
  const one = chosen.length === 1;
  if (!one && chosen.length < ofKind()) return [null, `stored tests are of one setting, or over all ${ofKind()} ${state.kind} ones; ${chosen.length} are chosen`];
  const family = families.find((f) => (one ? f.setting === chosen[0] : f.of === "settings" && f.synthetic === (state.kind === "synthetic")));
  if (!family) return [null, "no test of this choice is stored"];
  if (family.reason || !family.size) return [null, family.reason || "no pair could be tested"];
  return [family, ""];
}

/** One line a chosen method over the chosen settings. */
function standings(found) {
  const higher = metrics[found.metric].higher;
  const questions = [...Map.groupBy(found.settings, (i) => settings[i].question).values()];
  const rowsOf = (method) => found.settings.map((setting) => rowAt.get(`${setting} ${method}`)).filter(Boolean);
  const everywhere = (method) => rowsOf(method).length === found.settings.length && rowsOf(method).every((row) => known(row.rank));
  const ranked = found.methods.filter((method) => isRanked(method) && found.settings.length && everywhere(method));
  const known_ = (values) => mean(values.filter(known));
  const at = (one, method) => known_(one.map((setting) => scoreOf(rowAt.get(`${setting} ${method}`), found.metric).mean));
  const byQuestion = questions.map((one) => ranksOf(ranked.map((method) => at(one, method)), higher));
  const meanRank = (method) => mean(byQuestion.map((ranks) => ranks[ranked.indexOf(method)]));
  const [family, reason] = familyOf(found);
  const tested = family ? ranked.filter((method) => family.methods.includes(method)) : [];
  const why = reason || (tested.length < 2 ? "needs two methods with a score in every chosen setting" : "");
  const places = why ? [] : standing(family, tested, tested.map(meanRank));
  const lines = found.methods.filter((method) => rowsOf(method).length).map((method) => {
    const own = rowsOf(method);
    const scored = own.length === found.settings.length && own.every((row) => known(scoreOf(row, found.metric).mean));
    const n = own.reduce((sum, row) => sum + row.n, 0);
    const planned = own.reduce((sum, row) => sum + row.planned, 0);
    return { method, n, planned, meanRank: ranked.includes(method) ? meanRank(method) : null, place: places[tested.indexOf(method)] ?? null,
      score: scored ? mean(questions.map((one) => at(one, method))) : null, gflops: mean(own.map((row) => row.gflops_per_sample)),
      parameters: mean(own.map((row) => row.parameters)), audit: unique(own.map((row) => row.audit)), flags: unique(own.map((row) => row.flags).filter(Boolean)) };
  });
  const late = (line) => (isRanked(line.method) ? line.meanRank ?? 1e6 : 1e7 + line.method);
  lines.sort((a, b) => late(a) - late(b) || methods[a.method].label.localeCompare(methods[b.method].label));
  return { lines, family, why };
}

/** The settings of the view that differ in their missing rate alone, two and more. */
function curvesOf(found) {
  const groups = Map.groupBy(found.settings.filter((i) => known(settings[i].noise)), (i) => `${settings[i].dataset} (${settings[i].combination}), ${settings[i].shape}`);
  return [...groups].map(([title, group]) => ({ title, settings: group.sort((a, b) => settings[a].noise - settings[b].noise) }))
    .filter((curve) => curve.settings.length > 1 && unique(curve.settings.map((i) => settings[i].noise)).length === curve.settings.length);
}

// ---- elements ---------------------------------------------------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);
function say(id, text) { $(id).textContent = text; }
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}
/** A cell: its text or element, what it is sorted by, its class. */
const cell = (shown, sort = null, look = "") => ({ shown, sort, look });
const numeric = (text, value, look = "") => cell(text, known(value) ? value : 1e12, `number ${look}`);

function plainTable(caption, head, lines) {
  const table = el("table", { class: "plain" }, el("caption", {}, caption), el("thead", {}, el("tr", {}, ...head.map((title) => el("th", { scope: "col" }, title)))));
  table.append(el("tbody", {}, ...lines.map((line) => el("tr", {}, ...line.map((one, i) => {
    const { shown, sort, look } = typeof one === "object" && !(one instanceof Node) ? one : cell(one);
    return el(i ? "td" : "th", { scope: i ? null : "row", class: look || null, "data-order": sort }, shown);
  })))));
  return table;
}

const tables = new Map();
/** A table that can be sorted and searched; order and search are part of the state under `keys`. */
function sortable(id, caption, head, lines, { start = 0, keys = null, paging = false } = {}) {
  tables.get(id)?.destroy();
  const table = plainTable(caption, head, lines);
  $(id).replaceChildren(table);
  const [title, way] = (keys ? state[keys.sort] : "").split(/:(?=asc$|desc$)/);
  const column = head.includes(title) && way ? head.indexOf(title) : start;
  const made = new window.DataTable(table, {
    paging, pageLength: 50, autoWidth: false, order: [[column, head.includes(title) && way ? way : "asc"]], search: { search: keys ? state[keys.find] : "" },
    layout: { topStart: "search", topEnd: null, bottomStart: paging ? "info" : null, bottomEnd: paging ? "paging" : null },
    language: { search: "Find in this table: ", emptyTable: "Nothing is chosen", zeroRecords: "Nothing found" },
  });
  tables.set(id, made);
  if (!keys) return;
  made.on("order", () => {
    const [first] = made.order();
    const found = first && first[1] ? `${head[first[0]]}:${first[1]}` : "";
    state[keys.sort] = found === `${head[start]}:asc` ? "" : found;
    remember();
  });
  made.on("search", () => { state[keys.find] = made.search(); remember(); });
}

// ---- the form ---------------------------------------------------------------------------------------------------------------------------

function select(id, label, options, value, changed) {
  const made = el("select", { id, onchange: (event) => changed(event.target.value) }, ...options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
  return el("div", {}, el("label", { for: id }, label), " ", made);
}

function form() {
  const first = el("div", { class: "pick" }, select("metric", "Metric", metrics.map((m) => [m.name, m.name + (m.higher ? "" : " (lower is better)")]), state.metric, (value) => change({ metric: value })));
  if (kinds.length > 1) first.append(select("kind", "Data", kinds.map((kind) => [kind, kind]), state.kind, (value) => change({ kind: value, tests: "", setting: "", curve: "" })));
  const lists = Object.entries(LISTS).filter(([, list]) => list.values.length > 1).map(([key, list]) => {
    const boxes = list.values.map((value) => el("label", { class: "tick" }, el("input", { type: "checkbox", name: key, value, checked: state[key].has(value), onchange: (event) => tick(key, value, event.target.checked) }), value));
    const all = (on) => el("button", { type: "button", onclick: () => { setAll(key, on); } }, on ? "All" : "None");
    return el("details", {}, el("summary", {}, list.title, " ", el("span", { id: `count-${key}` })), el("fieldset", {}, el("legend", { class: "hidden" }, list.title), el("p", {}, all(true), " ", all(false)), ...boxes));
  });
  $("choose").replaceChildren(first, ...lists);
}
function tick(key, value, on) {
  const next = new Set(state[key]);
  on ? next.add(value) : next.delete(value);
  change({ [key]: next });
}
function setAll(key, on) {
  for (const box of $("choose").querySelectorAll(`input[name="${key}"]`)) box.checked = on;
  change({ [key]: new Set(on ? LISTS[key].values : []) });
}
function counts() {
  for (const [key, list] of Object.entries(LISTS)) if ($(`count-${key}`)) say(`count-${key}`, `(${state[key].size} of ${list.values.length})`);
}

// ---- plots ------------------------------------------------------------------------------------------------------------------------------

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const PALETTE = { light: ["#1f6fb4", "#c8560b", "#2c8a3d", "#c02f33", "#7a53ad", "#85564b", "#b8479d", "#5e5e5e", "#8a8400", "#00818f"],
  dark: ["#6db3f2", "#ff9d4d", "#6fcf7f", "#ff8080", "#bd9cf0", "#d2a294", "#f08fd4", "#bdbdbd", "#d6cf3d", "#4fd0dd"] };
const SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function config() {
  const [ink, faint] = [colour("--ink"), colour("--line")];
  const words = { labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" };
  return { background: "transparent", font: "system-ui, sans-serif", view: { stroke: null }, text: { color: ink, fontSize: 11 }, rule: { color: ink },
    axis: { ...words, gridColor: faint, domainColor: faint, tickColor: faint, labelLimit: innerWidth < 600 ? 110 : 220 },
    legend: { ...words, symbolStrokeWidth: 2, labelLimit: 180 } };
}
/** The same colour and shape for a method in every plot. */
function byMethod(some) {
  const palette = PALETTE[dark.matches ? "dark" : "light"];
  const domain = some.map((method) => methods[method].label);
  const legend = { title: null, orient: "bottom", columns: Math.max(1, Math.floor((document.body.clientWidth - 40) / 170)) };
  const of = (range) => ({ field: "method", type: "nominal", scale: { domain, range }, legend });
  return { color: of(some.map((method) => palette[method % palette.length])), shape: of(some.map((method) => SHAPES[method % SHAPES.length])) };
}
const tip = (...fields) => fields.map(([field, title]) => ({ field, type: "nominal", title }));
const drawn = new Map();

/** A plot with its caption, and the same numbers as a table for who cannot see it; without a `spec`, why there is none. */
function draw(id, caption, spec, head, lines, reason = "") {
  const key = JSON.stringify([caption, spec, dark.matches, innerWidth < 600, reason, lines]);
  if (drawn.get(id)?.key === key) return drawn.get(id).done;
  drawn.get(id)?.result?.finalize();
  const entry = { key };
  drawn.set(id, entry);
  if (!spec) {
    $(id).replaceChildren(el("p", { class: "withheld" }, `${caption}: not drawn (${reason}).`));
    return (entry.done = Promise.resolve());
  }
  const place = el("div", { class: "plot" });
  const table = el("div", { class: "box", role: "region", tabindex: "0", "aria-label": `${caption}, a table that scrolls` }, plainTable(caption, head, lines));
  $(id).replaceChildren(el("figcaption", {}, caption), place, el("details", {}, el("summary", {}, "These numbers as a table"), table));
  const whole = { $schema: "https://vega.github.io/schema/vega-lite/v6.json", description: `${caption}. The same numbers follow as a table.`, width: "container",
    autosize: { type: "fit-x", contains: "padding" }, config: config(), ...spec };
  entry.done = window.vegaEmbed(place, whole, { renderer: "svg", actions: false, ast: true, tooltip: { theme: dark.matches ? "dark" : "light" } })
    .then((result) => { if (drawn.get(id) === entry) entry.result = result; else result.finalize(); });
  return entry.done;
}

function drawRanks({ lines, family, why }) {
  const placed = lines.filter((line) => line.place);
  const values = placed.map((line) => ({ method: methods[line.method].label, rank: line.meanRank, low: line.place.low, high: line.place.high, text: `${line.place.low} to ${line.place.high}`, mean: fixed(line.meanRank, 2), letters: line.place.letters }));
  const told = tip(["method", "Method"], ["mean", "Mean rank"], ["text", "Rank interval"], ["letters", "Letters"]);
  const y = { field: "method", type: "nominal", sort: null, title: null };
  const spec = why ? null : { height: 22 * values.length, data: { values }, layer: [
    { mark: { type: "rule", strokeWidth: 3, color: colour("--mark"), opacity: 0.6 }, encoding: { y, x: { field: "low", type: "quantitative", scale: { domain: [0.5, values.length + 0.5], nice: false }, axis: { tickMinStep: 1, format: "d" }, title: "Rank" }, x2: { field: "high" }, tooltip: told } },
    { mark: { type: "point", filled: true, size: 70, color: colour("--mark"), opacity: 1 }, encoding: { y, x: { field: "rank", type: "quantitative" }, tooltip: told } }] };
  const caption = family && !why ? `Mean rank (point) and rank interval (line): ${family.test}, Holm over ${family.size} pairs of ${some(family.n, family.unit.replace(/s$/, ""))}` : "Rank intervals";
  return draw("ranks", caption, spec, ["Method", "Mean rank", "Rank interval", "Letters"], values.map((v) => [v.method, v.mean, v.text, v.letters]), why);
}

/** Floor and ceiling of a setting: the constant predictor's score, and the ceiling method's or a perfect one. */
function boundsOf(setting, metric) {
  const of = (role) => scoreOf(rows.find((row) => row.setting === setting && methods[row.method].role === role), metric).mean;
  return { floor: of("floor"), ceiling: of("ceiling") ?? metrics[metric].perfect };
}

function drawForest(found) {
  const setting = settings.findIndex((one, i) => one.title === state.setting && found.settings.includes(i));
  const at = setting >= 0 ? setting : found.settings[0];
  const pick = select("setting", "Setting", found.settings.map((i) => [settings[i].title, settings[i].title]), settings[at]?.title, (value) => change({ setting: value }));
  keep("forest-pick", pick);
  const metric = metrics[found.metric];
  if (at === undefined) return draw("forest-plot", "Scores of a setting", null, [], [], "no setting is chosen");
  const here = found.methods.filter(isRanked).map((method) => ({ method, ...scoreOf(rowAt.get(`${at} ${method}`), found.metric) })).filter((line) => known(line.mean));
  here.sort((a, b) => (metric.higher ? b.mean - a.mean : a.mean - b.mean));
  const values = here.map((line) => ({ method: methods[line.method].label, score: 100 * line.mean, low: known(line.low) ? 100 * line.low : null, high: known(line.high) ? 100 * line.high : null, text: points(line.mean), span: interval(line.low, line.high) }));
  const { floor, ceiling } = boundsOf(at, found.metric);
  const ends = [["floor", floor], ["ceiling", ceiling]].filter(([, value]) => known(value)).map(([name, value]) => ({ name, text: `${name} ${points(value)}`, score: 100 * value }));
  const all = values.flatMap((v) => [v.score, v.low, v.high]).filter(known);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const reach = 1.5 * Math.max(high - low, 1);  // a bound farther away would press the methods together: it is named at the edge
  const inside = ends.filter((end) => end.score >= low - reach && end.score <= high + reach);
  const outside = ends.filter((end) => !inside.includes(end)).map((end) => (end.score < low ? { text: `◂ ${end.text}`, score: axis()[0], side: "left" } : { text: `${end.text} ▸`, score: axis()[1], side: "right" }));
  function axis() {
    const scores = [...all, ...inside.map((end) => end.score)];
    const pad = 0.04 * Math.max(Math.max(...scores) - Math.min(...scores), 0.5);
    return [Math.min(...scores) - pad, Math.max(...scores) + pad];
  }
  const told = tip(["method", "Method"], ["text", `${metric.name} x 100`], ["span", "95 % interval"]);
  const y = { field: "method", type: "nominal", sort: null, title: null };
  const x = { field: "score", type: "quantitative", title: `${metric.name} x 100${metric.higher ? "" : ", lower is better"}`, scale: { domain: axis(), zero: false, nice: false }, axis: { tickCount: innerWidth < 600 ? 4 : 8 } };
  const label = (align, from) => ({ data: { values: from }, mark: { type: "text", dy: -8, baseline: "bottom", align }, encoding: { x, y: { value: 0 }, text: { field: "text" } } });
  const spec = values.length ? { height: 22 * values.length, padding: { top: 18, left: 5, right: 30, bottom: 5 }, layer: [
    { data: { values }, mark: { type: "rule", strokeWidth: 2, color: colour("--mark") }, encoding: { y, x: { ...x, field: "low" }, x2: { field: "high" }, tooltip: told } },
    { data: { values }, mark: { type: "point", filled: true, size: 70, color: colour("--mark"), opacity: 1 }, encoding: { y, x, tooltip: told } },
    { data: { values: inside }, mark: { type: "rule", strokeDash: [4, 4], opacity: 0.8 }, encoding: { x, tooltip: tip(["text", "Bound"]) } },
    label("center", inside), label("left", outside.filter((end) => end.side === "left")), label("right", outside.filter((end) => end.side === "right"))] } : null;
  const note = found.metric === 0 ? "mean with its 95 % interval over seeds and test samples" : "means; intervals are stored for the board's metric alone";
  const caption = `${settings[at].title}: ${note}, ${inside.map((end) => end.text).join(" and ") || "no bound"} dashed${outside.length ? `, ${outside.map((end) => end.text.replace(/[◂▸]/g, "").trim()).join(" and ")} beyond the axis` : ""}`;
  const lines = [...values.map((v) => [v.method, v.text, v.span]), ...ends.map((end) => [end.name, points(end.score / 100), ""])];
  return draw("forest-plot", caption, spec, ["Method", `${metric.name} x 100`, "95 % interval"], lines, "no chosen method has a score there");
}

function drawNoise(found) {
  const curves = curvesOf(found);
  const curve = curves.find((one) => one.title === state.curve) ?? curves[0];
  keep("noise-pick", curves.length > 1 ? select("curve", "Curve", curves.map((one) => [one.title, one.title]), curve.title, (value) => change({ curve: value })) : null);
  if (!curve) return draw("noise-plot", "Score over missing rate", null, [], [], "the choice has no two settings that differ in their missing rate alone");
  const metric = metrics[found.metric];
  const shown = found.methods.filter(isRanked).filter((method) => curve.settings.some((i) => known(scoreOf(rowAt.get(`${i} ${method}`), found.metric).mean)));
  const at = (method, i) => scoreOf(rowAt.get(`${i} ${method}`), found.metric);
  const values = shown.flatMap((method) => curve.settings.map((i) => ({ method: methods[method].label, rate: settings[i].noise, score: known(at(method, i).mean) ? 100 * at(method, i).mean : null,
    low: known(at(method, i).low) ? 100 * at(method, i).low : null, high: known(at(method, i).high) ? 100 * at(method, i).high : null, text: points(at(method, i).mean), span: interval(at(method, i).low, at(method, i).high) })));
  const bounds = curve.settings.flatMap((i) => Object.entries(boundsOf(i, found.metric)).filter(([, value]) => known(value)).map(([name, value]) => ({ name, rate: settings[i].noise, score: 100 * value })));
  const inside = values.map((value) => value.score).filter(known);
  const [low, high] = [Math.min(...inside), Math.max(...inside)];
  const pad = Math.max((high - low) * 0.08, 0.5);
  const x = { field: "rate", type: "quantitative", title: "Missing rate", axis: { values: unique(values.map((value) => value.rate)) }, scale: { zero: false, nice: false, padding: 16 } };
  const y = { field: "score", type: "quantitative", title: `${metric.name} x 100`, scale: { domain: [low - pad, high + pad], zero: false, clamp: false } };
  const picked = (yes, no) => ({ condition: { param: "picked", value: yes }, value: no });
  const told = tip(["method", "Method"], ["rate", "Missing rate"], ["text", `${metric.name} x 100`], ["span", "95 % interval"]);
  const { color, shape } = byMethod(shown);
  const spec = inside.length ? { height: 320, layer: [
    { data: { values: bounds }, mark: { type: "line", clip: true, strokeDash: [3, 3], color: colour("--ink") }, encoding: { x, y, detail: { field: "name" } } },
    { data: { values }, params: [{ name: "picked", select: { type: "point", fields: ["method"] }, bind: "legend" }], mark: { type: "line", clip: true }, encoding: { x, y, color, opacity: picked(1, 0.12) } },
    { data: { values }, mark: { type: "area", clip: true }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color, opacity: { condition: { param: "picked", empty: false, value: 0.2 }, value: 0 } } },
    { data: { values }, mark: { type: "point", filled: true, size: 60, clip: true }, encoding: { x, y, color, shape, opacity: picked(1, 0.12), tooltip: told } }] } : null;
  const ends = unique(bounds.map((bound) => bound.name)).map((name) => {
    const own = bounds.filter((bound) => bound.name === name).map((bound) => bound.score);
    const away = own.every((score) => score < low - pad) ? ", below the axis" : own.every((score) => score > high + pad) ? ", above the axis" : ", dotted";
    return `${name} ${unique(own.map((score) => points(score / 100))).join(", ")}${away}`;
  });
  const caption = `${curve.title}: ${["a name in the legend picks a method and shows its 95 % interval", ...ends].join("; ")}`;
  const lines = shown.map((method) => [methods[method].label, ...curve.settings.map((i) => `${points(at(method, i).mean)} (${interval(at(method, i).low, at(method, i).high)})`)]);
  return draw("noise-plot", caption, spec, ["Method", ...curve.settings.map((i) => String(settings[i].noise))], lines, "no chosen method has a score there");
}

function drawCost(found, { lines }) {
  const metric = metrics[found.metric];
  const shown = lines.filter((line) => isRanked(line.method) && known(line.score) && line.gflops > 0);
  const ahead = (a, b) => a.gflops <= b.gflops && (metric.higher ? a.score >= b.score : a.score <= b.score) && (a.gflops < b.gflops || a.score !== b.score);
  const values = shown.map((line) => ({ method: methods[line.method].label, gflops: line.gflops, score: 100 * line.score, text: points(line.score), cost: number(line.gflops), front: shown.some((other) => ahead(other, line)) ? "no" : "yes" }));
  const told = tip(["method", "Method"], ["text", `${metric.name} x 100`], ["cost", "GFLOPs a sample"], ["front", "On the front"]);
  const { color, shape } = byMethod(shown.map((line) => line.method));
  const x = { field: "gflops", type: "quantitative", scale: { type: "log", nice: true }, title: "GFLOPs of a forward pass, a sample (log scale)", axis: { format: ".0e", labelOverlap: true, tickCount: 4 } };
  const y = { field: "score", type: "quantitative", scale: { zero: false, nice: true }, title: `${metric.name} x 100` };
  const spec = values.length ? { height: 300, data: { values }, layer: [
    { transform: [{ filter: "datum.front === 'yes'" }], mark: { type: "line", interpolate: "step-after", strokeDash: [2, 3], color: colour("--ink"), opacity: 0.6 }, encoding: { x, y, order: { field: "gflops", type: "quantitative" } } },
    { mark: { type: "point", filled: true, size: 110, opacity: 1 }, encoding: { x, y, color, shape, tooltip: told } }] } : null;
  const caption = `Mean ${metric.name} over ${some(found.settings.length, "setting")} against GFLOPs; dotted: nobody is better and as cheap`;
  const without = lines.filter((line) => isRanked(line.method) && !shown.includes(line)).map((line) => methods[line.method].label);
  const rest = without.length ? `. Without a score everywhere or a count of operations: ${without.join(", ")}` : "";
  return draw("cost-plot", caption + rest, spec, ["Method", `${metric.name} x 100`, "GFLOPs", "On the front"], values.map((v) => [v.method, v.text, v.cost, v.front]), "no chosen method has both a score everywhere and a count of operations");
}

/** Puts a control in its place unless it is there as it should be: one that has the focus keeps it. */
function keep(id, made) {
  const old = $(id).firstElementChild;
  if (old && made && old.isEqualNode(made) && old.querySelector("select").value === made.querySelector("select").value) return;
  const focused = old?.contains(document.activeElement);
  $(id).replaceChildren(...(made ? [made] : []));
  if (focused) made?.querySelector("select").focus();
}

// ---- tables -----------------------------------------------------------------------------------------------------------------------------

function showStandings(found, all) {
  const { lines, family, why } = all;
  const metric = metrics[found.metric];
  const place = (line) => !isRanked(line.method) ? cell(methods[line.method].role, 1e9) : line.place ? cell(line.place.low === line.place.high ? `${line.place.low}` : `${line.place.low}-${line.place.high}`, line.place.low * 1000 + line.place.high) : cell(el("span", { class: "withheld", title: why }, DASH), 1e8);
  const name = (line) => { const label = methods[line.method].label; return line.place?.best && line.n === line.planned ? el("strong", {}, label) : label; };
  const head = ["Method", "Mean rank", "Ranks", "Letters", `${metric.name} x 100`, "Scored", "GFLOPs", "Parameters", "Role", "Audit", "Flags"];
  const body = lines.map((line, at) => [cell(name(line), methods[line.method].label), cell(known(line.meanRank) ? fixed(line.meanRank, 2) : "", line.meanRank ?? 1e6 + at, "number"), place(line),
    cell(line.place ? line.place.letters : isRanked(line.method) ? el("span", { class: "withheld", title: why }, DASH) : "", line.place?.letters ?? "~"), numeric(points(line.score), line.score),
    cell(`${line.n}/${line.planned}`, line.n / Math.max(line.planned, 1), "number"), numeric(number(line.gflops), line.gflops), numeric(number(line.parameters), line.parameters), methods[line.method].role,
    line.audit.length > 1 ? "differs, see all scores" : line.audit[0], line.flags.join("; ")]);
  const caption = `${some(found.settings.length, "setting")} of ${state.kind} data, ${some(lines.length, "method")}`;
  const part = family && lines.filter((line) => line.place).length < family.methods.length ? ` Some of its ${family.methods.length} methods are left out here; the correction stays that of all.` : "";
  const gated = family && known(family.gate) && family.gate > board.alpha ? ` Friedman's test comes first and finds nothing (p = ${pText(family.gate)}), so nobody is better.` : "";
  say("standing-said", why ? `Ranks and letters are not given: ${why}. Mean ranks describe, and test nothing.` : `Ranks and letters by stored tests: ${family.test}, ${family.correction} over ${family.size} pairs. Methods that share a letter cannot be told apart.${part}${gated}`);
  $("standing-said").className = why ? "withheld" : "";
  sortable("standing-table", caption, head, body, { start: 1, keys: { sort: "sort", find: "find" } });
}

function showScores(found) {
  const metric = metrics[found.metric];
  const head = ["Method", "Dataset", "Modalities", "Protocol", "Rank", `${metric.name} x 100`, "SD", "95 % interval", "Scored", "Gap closed %", "Audit", "Flags"];
  const body = found.settings.flatMap((i) => found.methods.map((method) => rowAt.get(`${i} ${method}`)).filter(Boolean).map((row) => {
    const [s, score] = [settings[i], scoreOf(row, found.metric)];
    const { label } = methods[row.method];
    const open = el("button", { type: "button", class: "cell", "aria-label": `${points(score.mean)}: trials of ${label} in ${s.title}`, onclick: () => openTrials([label], s.title) }, points(score.mean));
    const own = found.metric === 0;
    return [label, s.dataset, s.combination, cell(s.protocol, known(s.noise) ? `${s.shape} ${s.noise.toFixed(4)}` : s.protocol), own && isRanked(row.method) ? numeric(known(row.rank) ? String(row.rank) : DASH, row.rank) : cell(isRanked(row.method) ? DASH : methods[row.method].role, 1e9, "number withheld"),
      { ...numeric("", score.mean), shown: open }, numeric(points(score.sd), score.sd), cell(interval(score.low, score.high), known(score.low) ? score.low : 1e12, "number"), cell(`${row.n}/${row.planned}`, row.n / Math.max(row.planned, 1), "number"),
      numeric(own && isRanked(row.method) ? points(row.gap_closed, 0) : DASH, own ? row.gap_closed : null), row.audit, row.flags];
  }));
  sortable("scores-table", `Mean and SD over seeds${found.metric === 0 ? ", 95 % interval over seeds and test samples" : "; intervals are stored for the board's metric alone"}`, head, body, { start: 1, keys: { sort: "scores_sort", find: "scores_find" }, paging: body.length > 50 });
}

/** What a stored test says of a pair, in words. */
function pairText(family, i, j) {
  const [a, b, test] = [methods[i].label, methods[j].label, between(family, i, j)];
  if (!test || !known(test.p)) return `${a} against ${b}: ${test && known(test.difference) ? `${signed(test.difference)} points, ` : ""}not tested${(test?.reason || family.reason) ? ` (${test?.reason || family.reason})` : ""}.`;
  const ends = (low, high) => `[${known(low) ? signed(low) : "no bound"}, ${known(high) ? signed(high) : "no bound"}]`;
  const isKnown = known(test.low) || known(test.high);
  const alone = known(test.alone_low) ? `; ${ends(test.alone_low, test.alone_high)} of this pair alone` : "";
  const span = isKnown ? ` ${ends(test.low, test.high)} (95 %, ${board.intervals === "family" ? `all pairs at once${alone}` : "of this pair alone"})` : "";
  const own = `${a} against ${b}: ${signed(test.difference)} points${span}, p ${pEquals(test.p)}; after ${family.correction} over ${family.size} pairs p ${pEquals(test.p_adjusted)}: ${test.verdict}${family.exploratory ? ", exploratory" : ""}.`;
  if (family.of !== "setting") return own;
  if (board.looks.some((pair) => pair.includes(a) && pair.includes(b))) return `${own} Seeds were added until this pair was resolved: bench compare tests its planned looks.`;
  return `${own} Named before anyone looked, as bench compare has it, p ${pEquals(test.p_named)} after Holm over its settings: ${test.named_verdict}.`;
}
const pEquals = (p) => (known(p) && p < 0.001 ? "< 0.001" : `= ${pText(p)}`);

function showPairs(found, all) {
  const shown = families.filter((family) => (family.of === "setting" ? found.settings.includes(family.setting) : family.of === "curve" || family.synthetic === (state.kind === "synthetic")));
  const own = all.family ?? shown.find((family) => family.tests.length && family.of === "setting") ?? shown[0];
  const family = shown.find((one) => one.name === state.tests) ?? own;
  keep("pairs-pick", shown.length ? select("tests", "Tests", shown.map((one) => [one.name, one.of === "setting" ? one.name : `${one.name} (${one.test})`]), family.name, (value) => change({ tests: value })) : null);
  say("pair", "");
  if (!family) { say("pairs-said", "No tests are stored for this choice."); $("pairs-table").replaceChildren(); return; }
  const order = new Map(all.lines.map((line, i) => [line.method, i]));
  const score = (method) => (family.setting === null ? -(order.get(method) ?? 1e6) : (metrics[0].higher ? 1 : -1) * (rowAt.get(`${family.setting} ${method}`)?.mean ?? -1e6));
  const some_ = family.methods.filter((method) => found.methods.includes(method)).sort((i, j) => score(j) - score(i));
  const odd = found.metric === 0 ? "" : ` They are of ${board.metric}, not of ${state.metric}.`;
  say("pairs-said", `${family.test}, ${some(family.n, family.unit.replace(/s$/, ""))}, ${family.correction} over ${some(family.size, "pair")}${family.exploratory ? ", exploratory" : ""}.${family.reason ? ` Not tested: ${family.reason}.` : ""}${odd} A cell is the row's method against the column's, in points: ▲ better, ▼ worse, = equivalent (within ${margin}), · undecided, * wholly beyond that margin. Arrow keys move, Enter lists the trials.`);
  const largest = Math.max(...family.tests.map((line) => Math.abs(line[0] ?? 0)), 1e-9);
  const where = family.setting === null ? "" : settings[family.setting].title;
  const body = some_.map((i, y) => [methods[i].label, ...some_.map((j, x) => (i === j ? cell("", null, "self") : cell(pairCell(family, i, j, largest, where, y === 0 && x === 1, [y, x]))))]);
  const table = plainTable(`Every pair: ${family.name}`, ["", ...some_.map((method) => methods[method].label)], body);
  table.classList.add("pairs");
  for (const header of table.querySelectorAll("thead th:not(:first-child)")) header.replaceChildren(el("span", {}, header.textContent));
  table.addEventListener("keydown", moveInPairs);
  table.addEventListener("mouseover", (event) => tellPair(event.target.closest("button")));
  table.addEventListener("focusin", (event) => tellPair(event.target.closest("button")));
  $("pairs-table").replaceChildren(table);
}

function pairCell(family, i, j, largest, where, isFirst, [y, x]) {
  const test = between(family, i, j);
  const verdict = !test || !known(test.p) ? "untested" : test.verdict.replace("*", "");
  const sign = { better: "▲", worse: "▼", equivalent: "=", undecided: "·", untested: "" }[verdict] + (test?.verdict.endsWith("*") ? "*" : "");
  const text = pairText(family, i, j);
  const made = el("button", { type: "button", class: `pair ${verdict}`, "aria-label": text, title: text, tabindex: isFirst ? "0" : "-1", "data-y": y, "data-x": x,
    onclick: () => openTrials([methods[i].label, methods[j].label], where) }, `${test ? signed(test.difference) : DASH} ${sign}`);
  if (test && known(test.difference)) {
    made.style.setProperty("--heat", `${Math.round((["better", "worse"].includes(verdict) ? 60 : 25) * Math.min(1, 0.15 + Math.abs(test.difference) / largest))}%`);
    made.classList.add(test.difference > 0 ? "above" : "below");
  }
  return made;
}
function tellPair(button) { if (button) say("pair", button.getAttribute("aria-label")); }
function moveInPairs(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const from = event.target.closest("button");
  if (!step || !from) return;
  event.preventDefault();
  let [y, x] = [Number(from.dataset.y), Number(from.dataset.x)];
  do { y += step[0]; x += step[1]; } while (y === x);
  const next = event.currentTarget.querySelector(`button[data-y="${y}"][data-x="${x}"]`);
  if (!next) return;
  from.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

let cameFrom = null;
function openTrials(labels, title) {
  cameFrom = document.activeElement;
  Object.assign(state, { trials_of: labels, trials_in: title });
  showTrials(view());
  remember();
  $("trials-title").focus();
}
function showTrials(found) {
  $("trials").hidden = !state.trials_of.length;
  if (!state.trials_of.length) return;
  const at = settings.findIndex((setting) => setting.title === state.trials_in);
  const shown = trials.filter((trial) => state.trials_of.includes(methods[trial.method].label) && (at < 0 ? found.settings.includes(trial.setting) : trial.setting === at));
  const name = metrics[found.metric].name;
  say("trials-title", `Trials of ${state.trials_of.join(" and ")} in ${at < 0 ? some(found.settings.length, "chosen setting") : state.trials_in}`);
  say("trials-said", `${some(shown.length, "trial")}. The commands show everything about one, and train it again.`);
  const command = (verb, id) => el("code", {}, ["bench", verb, id, board.option].filter(Boolean).join(" "));
  const body = shown.map((trial) => [methods[trial.method].label, settings[trial.setting].title, numeric(String(trial.seed), trial.seed), numeric(points(trial.scores[found.metric], 2), trial.scores[found.metric]),
    trial.reason ? `${trial.status}: ${trial.reason}` : trial.status, el("span", { class: "commands" }, command("show", trial.id), el("br"), command("reproduce", trial.id))]);
  sortable("trials-table", "Trials, one a line", ["Method", "Setting", "Seed", `${name} x 100`, "Status", "Commands"], body, { paging: body.length > 50 });
}

// ---- all of it --------------------------------------------------------------------------------------------------------------------------

function render() {
  counts();
  const found = view();
  const all = standings(found);
  showStandings(found, all);
  showPairs(found, all);
  showScores(found);
  showTrials(found);
  remember();
  document.documentElement.dataset.ready = "no";
  const plots = [drawRanks(all), drawForest(found), drawNoise(found), drawCost(found, all)];
  return Promise.all(plots).then(() => { document.documentElement.dataset.ready = "yes"; });
}
function change(parts) { Object.assign(state, parts); render(); }
function go(part) {
  const target = $(part);
  if (!target?.matches("h2")) return;
  target.scrollIntoView();
  target.focus({ preventScroll: true });
}
function restore() {
  state = read(location.hash);
  form();
  render().then(() => { if (state.at) go(state.at); });
}

const asked = `${metrics[0].name} x 100, ${metrics[0].meaning}. ${some(settings.length, "setting")}, ${some(methods.filter((_, i) => isRanked(i)).length, "method")}, ${some(trials.length, "trial")}. A difference counts at p ≤ ${board.alpha} after correction; a difference of ${margin} or less does not matter.`;
say("about", asked);
for (const link of document.querySelectorAll("[data-at]")) {
  link.addEventListener("click", (event) => { event.preventDefault(); state.at = link.dataset.at; go(state.at); remember(); });
}
$("choose").addEventListener("submit", (event) => event.preventDefault());
$("trials-close").addEventListener("click", () => { change({ trials_of: [], trials_in: "" }); (cameFrom?.isConnected ? cameFrom : $("pairs")).focus(); });
$("copy").addEventListener("click", () => navigator.clipboard.writeText($("citation").textContent).then(() => say("copied", "Copied."), () => say("copied", "This browser does not let the page copy; mark the text.")));
$("reset").addEventListener("click", () => { history.replaceState(null, "", location.href.split("#")[0]); restore(); });
window.addEventListener("hashchange", restore);
const onTheme = () => { document.documentElement.classList.toggle("dark", dark.matches); render(); };
dark.addEventListener("change", onTheme);
window.matchMedia("(max-width: 599px)").addEventListener("change", render);
document.documentElement.classList.toggle("dark", dark.matches);
window.benchPage = { standing, isBetter, between, fixed, points, families, address, view, standings };
restore();
