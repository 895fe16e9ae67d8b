/* The tables: standings, all scores, all pairs, and the trials behind a cell. */

function showStandings(found, all) {
  const { lines, family, why } = all;
  const metric = metrics[found.metric];
  const place = (line) =>
    !isRanked(line.method)
      ? cell(methods[line.method].role, 1e9)
      : line.place
        ? cell(
            line.place.low === line.place.high ? `${line.place.low}` : `${line.place.low}-${line.place.high}`,
            line.place.low * 1000 + line.place.high,
          )
        : cell(el("span", { class: "withheld", title: why }, DASH), 1e8);
  const name = (line) => {
    const label = methods[line.method].label;
    return line.place?.best && line.n === line.planned ? el("strong", {}, label) : label;
  };
  const head = [
    "Method",
    unique(found.settings.map((i) => settings[i].question)).length === 1 ? "Rank" : "Mean rank",
    "Ranks",
    "Letters",
    `${metric.name}${times()}`,
    "Scored",
    "GFLOPs",
    "Parameters",
    "Role",
    "Audit",
    "Flags",
  ];
  const body = lines.map((line, at) => [
    cell(name(line), methods[line.method].label),
    cell(known(line.meanRank) ? fixed(line.meanRank, 2) : "", line.meanRank ?? 1e6 + at, "number"),
    place(line),
    cell(
      line.place ? line.place.letters : isRanked(line.method) ? el("span", { class: "withheld", title: why }, DASH) : "",
      line.place?.letters ?? "~",
    ),
    numeric(points(line.score), line.score),
    cell(`${line.n}/${line.planned}`, line.n / Math.max(line.planned, 1), "number"),
    numeric(number(line.gflops), line.gflops),
    numeric(number(line.parameters), line.parameters),
    methods[line.method].role,
    line.audit.length > 1 ? "differs, see all scores" : line.audit[0],
    line.flags.join("; "),
  ]);
  const caption = `${some(found.settings.length, "setting")} of ${state.kind} data, ${some(lines.length, "method")}`;
  const part =
    family && lines.filter((line) => line.place).length < family.methods.length
      ? ` Some of its ${family.methods.length} methods are left out here; the correction stays that of all.`
      : "";
  const gated =
    family && known(family.gate) && family.gate > board.alpha
      ? ` Friedman's test comes first and finds nothing (p = ${pText(family.gate)}), so nobody is better.`
      : "";
  say(
    "standing-said",
    why
      ? `Ranks and letters are not given: ${why}. Mean ranks describe, and test nothing.`
      : `Ranks and letters by stored tests: ${family.test}, ${family.correction} over ${family.size} pairs. Methods that share a letter cannot be told apart.${part}${gated}`,
  );
  $("standing-said").className = why ? "withheld" : "";
  sortable("standing-table", caption, head, body, { start: 1, keys: { sort: "sort", find: "find" } });
}

function showScores(found) {
  const metric = metrics[found.metric];
  const head = [
    "Method",
    "Dataset",
    "Modalities",
    "Protocol",
    "Rank",
    `${metric.name}${times()}`,
    "SD",
    "95 % interval",
    "Scored",
    "Gap closed %",
    "Audit",
    "Flags",
  ];
  const body = found.settings.flatMap((i) =>
    found.methods
      .map((method) => rowAt.get(`${i} ${method}`))
      .filter(Boolean)
      .map((row) => {
        const [s, score] = [settings[i], scoreOf(row, found.metric)];
        const { label } = methods[row.method];
        const open = el(
          "button",
          {
            type: "button",
            class: "cell",
            "aria-label": `${points(score.mean)}: trials of ${label} in ${s.title}`,
            onclick: () => openTrials([label], s.title),
          },
          points(score.mean),
        );
        const own = found.metric === 0;
        return [
          label,
          s.dataset,
          s.combination,
          cell(s.protocol, known(s.noise) ? `${s.shape} ${s.noise.toFixed(4)}` : s.protocol),
          own && isRanked(row.method)
            ? numeric(known(row.rank) ? String(row.rank) : DASH, row.rank)
            : cell(isRanked(row.method) ? DASH : methods[row.method].role, 1e9, "number withheld"),
          { ...numeric("", score.mean), shown: open },
          numeric(points(score.sd), score.sd),
          cell(interval(score.low, score.high), known(score.low) ? score.low : 1e12, "number"),
          cell(`${row.n}/${row.planned}`, row.n / Math.max(row.planned, 1), "number"),
          numeric(own && isRanked(row.method) ? percent(row.gap_closed, 0) : DASH, own ? row.gap_closed : null),
          row.audit,
          row.flags,
        ];
      }),
  );
  sortable(
    "scores-table",
    `Mean and SD over seeds${found.metric === 0 ? ", 95 % interval over seeds and test samples" : "; intervals are stored for the board's metric alone"}`,
    head,
    body,
    { start: 1, keys: { sort: "scores_sort", find: "scores_find" }, paging: body.length > 50 },
  );
}

/** What a stored test says of a pair, in words. */
function pairText(family, i, j) {
  const [a, b, test] = [methods[i].label, methods[j].label, between(family, i, j)];
  if (!test || !known(test.p))
    return `${a} against ${b}: ${test && known(test.difference) ? `${signed(test.difference)}${ofPoints()}, ` : ""}not tested${test?.reason || family.reason ? ` (${test?.reason || family.reason})` : ""}.`;
  const ends = (low, high) => `[${known(low) ? signed(low) : "no bound"}, ${known(high) ? signed(high) : "no bound"}]`;
  const isKnown = known(test.low) || known(test.high);
  const alone = known(test.alone_low) ? `; ${ends(test.alone_low, test.alone_high)} of this pair alone` : "";
  const span = isKnown
    ? ` ${ends(test.low, test.high)} (95 %, ${board.intervals === "family" ? `all pairs at once${alone}` : "of this pair alone"})`
    : "";
  const own = `${a} against ${b}: ${signed(test.difference)}${ofPoints()}${span}, p ${pEquals(test.p)}; after ${family.correction} over ${family.size} pairs p ${pEquals(test.p_adjusted)}: ${test.verdict}${family.exploratory ? ", exploratory" : ""}.`;
  if (family.of !== "setting") return own;
  if (board.looks.some((pair) => pair.includes(a) && pair.includes(b)))
    return `${own} Seeds were added until this pair was resolved: bench compare tests its planned looks.`;
  return `${own} Named before anyone looked, as bench compare has it, p ${pEquals(test.p_named)} after Holm over its settings: ${test.named_verdict}.`;
}
const pEquals = (p) => (known(p) && p < 0.001 ? "< 0.001" : `= ${pText(p)}`);

function showPairs(found, all) {
  const shown = families.filter((family) =>
    family.of === "setting"
      ? found.settings.includes(family.setting)
      : family.of === "curve" || family.synthetic === (state.kind === "synthetic"),
  );
  const own = all.family ?? shown.find((family) => family.tests.length && family.of === "setting") ?? shown[0];
  const family = shown.find((one) => one.name === state.tests) ?? own;
  keep(
    "pairs-pick",
    shown.length
      ? select(
          "tests",
          "Tests",
          shown.map((one) => [one.name, one.of === "setting" ? one.name : `${one.name} (${one.test})`]),
          family.name,
          (value) => change({ tests: value }),
        )
      : null,
  );
  say("pair", "");
  if (!family) {
    say("pairs-said", "No tests are stored for this choice.");
    $("pairs-table").replaceChildren();
    return;
  }
  const order = new Map(all.lines.map((line, i) => [line.method, i]));
  const score = (method) =>
    family.setting === null
      ? -(order.get(method) ?? 1e6)
      : (metrics[0].higher ? 1 : -1) * (rowAt.get(`${family.setting} ${method}`)?.mean ?? -1e6);
  const some_ = family.methods.filter((method) => found.methods.includes(method)).sort((i, j) => score(j) - score(i));
  const odd = found.metric === 0 ? "" : ` They are of ${board.metric}, not of ${state.metric}.`;
  say(
    "pairs-said",
    `${family.test}, ${some(family.n, family.unit.replace(/s$/, ""))}, ${family.correction} over ${some(family.size, "pair")}${family.exploratory ? ", exploratory" : ""}.${family.reason ? ` Not tested: ${family.reason}.` : ""}${odd} A cell is the row's method against the column's, ${inPoints()}: ▲ better, ▼ worse, = equivalent (within ${margin}), · undecided, * wholly beyond that margin. Arrow keys move, Enter lists the trials.`,
  );
  const largest = Math.max(...family.tests.map((line) => Math.abs(line[0] ?? 0)), 1e-9);
  const where = family.setting === null ? "" : settings[family.setting].title;
  const body = some_.map((i, y) => [
    methods[i].label,
    ...some_.map((j, x) => (i === j ? cell("", null, "self") : cell(pairCell(family, i, j, largest, where, y === 0 && x === 1, [y, x])))),
  ]);
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
  const sign =
    { better: "▲", worse: "▼", equivalent: "=", undecided: "·", untested: "" }[verdict] + (test?.verdict.endsWith("*") ? "*" : "");
  const text = pairText(family, i, j);
  const made = el(
    "button",
    {
      type: "button",
      class: `pair ${verdict}`,
      "aria-label": text,
      title: text,
      tabindex: isFirst ? "0" : "-1",
      "data-y": y,
      "data-x": x,
      onclick: () => openTrials([methods[i].label, methods[j].label], where),
    },
    `${test ? signed(test.difference) : DASH} ${sign}`,
  );
  if (test && known(test.difference)) {
    made.style.setProperty(
      "--heat",
      `${Math.round((["better", "worse"].includes(verdict) ? 60 : 25) * Math.min(1, 0.15 + Math.abs(test.difference) / largest))}%`,
    );
    made.classList.add(test.difference > 0 ? "above" : "below");
  }
  return made;
}
function tellPair(button) {
  if (button) say("pair", button.getAttribute("aria-label"));
}
function moveInPairs(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const from = event.target.closest("button");
  if (!step || !from) return;
  event.preventDefault();
  let [y, x] = [Number(from.dataset.y), Number(from.dataset.x)];
  do {
    y += step[0];
    x += step[1];
  } while (y === x);
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
  const shown = trials.filter(
    (trial) =>
      state.trials_of.includes(methods[trial.method].label) && (at < 0 ? found.settings.includes(trial.setting) : trial.setting === at),
  );
  const name = metrics[found.metric].name;
  say(
    "trials-title",
    `Trials of ${state.trials_of.join(" and ")} in ${at < 0 ? some(found.settings.length, "chosen setting") : state.trials_in}`,
  );
  say("trials-said", `${some(shown.length, "trial")}. The commands show everything about one, and train it again.`);
  const command = (verb, id) => el("code", {}, ["bench", verb, id, board.option].filter(Boolean).join(" "));
  const body = shown.map((trial) => [
    methods[trial.method].label,
    settings[trial.setting].title,
    numeric(String(trial.seed), trial.seed),
    numeric(points(trial.scores[found.metric], 2), trial.scores[found.metric]),
    trial.reason ? `${trial.status}: ${trial.reason}` : trial.status,
    el("span", { class: "commands" }, command("show", trial.id), el("br"), command("reproduce", trial.id)),
  ]);
  sortable("trials-table", "Trials, one a line", ["Method", "Setting", "Seed", `${name}${times()}`, "Status", "Commands"], body, {
    paging: body.length > 50,
  });
}
