/* Elements, tables that can be sorted (DataTables), and the form. */

const $ = (id) => document.getElementById(id);
function say(id, text) {
  $(id).textContent = text;
}
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
  const table = el(
    "table",
    { class: "plain" },
    el("caption", {}, el("span", {}, caption)),
    el("thead", {}, el("tr", {}, ...head.map((title) => el("th", { scope: "col" }, title)))),
  );
  table.append(
    el(
      "tbody",
      {},
      ...lines.map((line) =>
        el(
          "tr",
          {},
          ...line.map((one, i) => {
            const { shown, sort, look } = typeof one === "object" && !(one instanceof Node) ? one : cell(one);
            return el(i ? "td" : "th", { scope: i ? null : "row", class: look || null, "data-order": sort }, shown);
          }),
        ),
      ),
    ),
  );
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
    paging,
    pageLength: 50,
    autoWidth: false,
    order: [[column, head.includes(title) && way ? way : "asc"]],
    search: { search: keys ? state[keys.find] : "" },
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
  made.on("search", () => {
    state[keys.find] = made.search();
    remember();
  });
}

function select(id, label, options, value, changed) {
  const made = el(
    "select",
    { id, onchange: (event) => changed(event.target.value) },
    ...options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)),
  );
  return el("div", {}, el("label", { for: id }, label), " ", made);
}

function form() {
  const first = el(
    "div",
    { class: "pick" },
    select(
      "metric",
      "Metric",
      metrics.map((m) => [m.name, m.name + (m.higher ? "" : " (lower is better)")]),
      state.metric,
      (value) => change({ metric: value }),
    ),
  );
  if (kinds.length > 1)
    first.append(
      select(
        "kind",
        "Data",
        kinds.map((kind) => [kind, kind]),
        state.kind,
        (value) => change({ kind: value, tests: "", setting: "", curve: "" }),
      ),
    );
  const lists = Object.entries(LISTS)
    .filter(([, list]) => list.values.length > 1)
    .map(([key, list]) => {
      const boxes = list.values.map((value) =>
        el(
          "label",
          { class: "tick" },
          el("input", {
            type: "checkbox",
            name: key,
            value,
            checked: state[key].has(value),
            onchange: (event) => tick(key, value, event.target.checked),
          }),
          value,
        ),
      );
      const all = (on) =>
        el(
          "button",
          {
            type: "button",
            onclick: () => {
              setAll(key, on);
            },
          },
          on ? "All" : "None",
        );
      return el(
        "details",
        {},
        el("summary", {}, list.title, " ", el("span", { id: `count-${key}` })),
        el("fieldset", {}, el("legend", { class: "hidden" }, list.title), el("p", {}, all(true), " ", all(false)), ...boxes),
      );
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
  for (const [key, list] of Object.entries(LISTS))
    if ($(`count-${key}`)) say(`count-${key}`, `(${state[key].size} of ${list.values.length})`);
}
