/* The state of the view, and the address that holds it. */

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
  take(
    "metric",
    metrics.map((metric) => metric.name),
  );
  take("kind", kinds);
  take(
    "tests",
    families.map((family) => family.name),
  );
  for (const key of ["setting", "trials_in"])
    take(
      key,
      settings.map((setting) => setting.title),
    );
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
  if (asked.has("data") && asked.get("data") !== digest)
    told.push(`This address was made for other numbers of this board (${asked.get("data")}); this page holds ${digest}.`);
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
