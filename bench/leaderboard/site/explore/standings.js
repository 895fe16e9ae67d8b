/* What follows from the choice: settings, stored tests, ranks and letters. Ranks and letters follow from stored, corrected tests, and only
 * where those are of what is chosen. */

/** The chosen settings, methods and metric. */
function view() {
  const chosen = settings
    .map((_, i) => i)
    .filter((i) => {
      const s = settings[i];
      return (
        (s.synthetic ? "synthetic" : "real") === state.kind &&
        state.dataset.has(s.dataset) &&
        state.modalities.has(s.combination) &&
        state.protocol.has(s.protocol)
      );
    });
  const shown = methods.map((_, i) => i).filter((i) => state.method.has(methods[i].label));
  return { settings: chosen, methods: shown, metric: metrics.findIndex((metric) => metric.name === state.metric) };
}
/** What the chosen settings are scored in by the chosen metric: targets in several units have no mean, and no test over them. */
const unitsOf = (found) => (inUnit() ? unique(found.settings.map((i) => settings[i].unit ?? "")) : [""]);
const SEVERAL = "scores are in several units: choose datasets of one";
const ofKind = (unit) =>
  settings.filter((one) => one.synthetic === (state.kind === "synthetic") && (!inUnit() || (one.unit ?? "") === unit)).length;

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
  return {
    ...test,
    difference: negative(test.difference),
    low: negative(test.high),
    high: negative(test.low),
    alone_low: negative(test.alone_high),
    alone_high: negative(test.alone_low),
    effect: negative(test.effect),
    verdict: word(test.verdict),
    named_verdict: word(test.named_verdict),
  };
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
  const place = some
    .map((_, i) => i)
    .sort((i, j) => order[i] - order[j] || i - j)
    .reduce((found, i, at) => ((found[i] = at), found), []);
  const groups = cliques(alike).map((group) => [...group].sort((i, j) => place[i] - place[j]));
  groups.sort((a, b) => {
    const at = a.findIndex((_, i) => place[a[i]] !== place[b[i]]);
    return at < 0 ? a.length - b.length : place[a[at]] - (place[b[at]] ?? -1);
  });
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
      grow(
        [...group, i],
        open.filter((j) => neighbours[i].has(j)),
        closed.filter((j) => neighbours[i].has(j)),
      );
      open = open.filter((j) => j !== i);
      closed = [...closed, i];
    }
  };
  grow(
    [],
    neighbours.map((_, i) => i),
    [],
  );
  return found;
}

/** The family whose tests are of exactly what is chosen, or why there is none. */
function familyOf(found) {
  const { settings: chosen, metric } = found;
  if (!chosen.length) return [null, "no setting is chosen"];
  if (metric !== 0)
    return [null, `tests are stored for ${board.metric} alone; bench compare A B --metric ${metrics[metric].name} tests one pair`];
  const one = chosen.length === 1;
  const [unit, ...others] = unitsOf(found);
  if (others.length) return [null, SEVERAL];
  const all = ofKind(unit);
  if (!one && chosen.length < all)
    return [null, `stored tests are of one setting, or over all ${all} ${state.kind} ones; ${chosen.length} are chosen`];
  const what = `${state.kind} ${unit}`; // where several units have tests of their own
  const family = families.find((f) =>
    one ? f.setting === chosen[0] : f.of === "settings" && f.synthetic === (state.kind === "synthetic") && (f.what ?? what) === what,
  );
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
  const byQuestion = questions.map((one) =>
    ranksOf(
      ranked.map((method) => at(one, method)),
      higher,
    ),
  );
  const meanRank = (method) => mean(byQuestion.map((ranks) => ranks[ranked.indexOf(method)]));
  const [family, reason] = familyOf(found);
  const tested = family ? ranked.filter((method) => family.methods.includes(method)) : [];
  const why = reason || (tested.length < 2 ? "needs two methods with a score in every chosen setting" : "");
  const places = why ? [] : standing(family, tested, tested.map(meanRank));
  const lines = found.methods
    .filter((method) => rowsOf(method).length)
    .map((method) => {
      const own = rowsOf(method);
      const scored = own.length === found.settings.length && own.every((row) => known(scoreOf(row, found.metric).mean));
      const n = own.reduce((sum, row) => sum + row.n, 0);
      const planned = own.reduce((sum, row) => sum + row.planned, 0);
      return {
        method,
        n,
        planned,
        meanRank: ranked.includes(method) ? meanRank(method) : null,
        place: places[tested.indexOf(method)] ?? null,
        score: scored && unitsOf(found).length === 1 ? mean(questions.map((one) => at(one, method))) : null,
        gflops: mean(own.map((row) => row.gflops_per_sample)),
        parameters: mean(own.map((row) => row.parameters)),
        audit: unique(own.map((row) => row.audit)),
        flags: unique(own.map((row) => row.flags).filter(Boolean)),
      };
    });
  const late = (line) => (isRanked(line.method) ? (line.meanRank ?? 1e6) : 1e7 + line.method);
  lines.sort((a, b) => late(a) - late(b) || methods[a.method].label.localeCompare(methods[b.method].label));
  return { lines, family, why };
}

/** The settings of the view that differ in their missing rate alone, two and more. */
function curvesOf(found) {
  const groups = Map.groupBy(
    found.settings.filter((i) => known(settings[i].noise)),
    (i) => `${settings[i].dataset} (${settings[i].combination}), ${settings[i].shape}`,
  );
  return [...groups]
    .map(([title, group]) => ({ title, settings: group.sort((a, b) => settings[a].noise - settings[b].noise) }))
    .filter((curve) => curve.settings.length > 1 && unique(curve.settings.map((i) => settings[i].noise)).length === curve.settings.length);
}
