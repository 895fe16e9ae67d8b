/* The plots, by Vega-Lite, each with its numbers as a table. */

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const PALETTE = {
  light: ["#1f6fb4", "#c8560b", "#2c8a3d", "#c02f33", "#7a53ad", "#85564b", "#b8479d", "#5e5e5e", "#8a8400", "#00818f"],
  dark: ["#6db3f2", "#ff9d4d", "#6fcf7f", "#ff8080", "#bd9cf0", "#d2a294", "#f08fd4", "#bdbdbd", "#d6cf3d", "#4fd0dd"],
};
const SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function config() {
  const [ink, faint] = [colour("--ink"), colour("--line")];
  const words = { labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" };
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    view: { stroke: null },
    text: { color: ink, fontSize: 11 },
    rule: { color: ink },
    axis: { ...words, gridColor: faint, domainColor: faint, tickColor: faint, labelLimit: innerWidth < 600 ? 110 : 220 },
    legend: { ...words, symbolStrokeWidth: 2, labelLimit: 180, symbolLimit: 0 }, // of 35 methods each has its name
  };
}
/** The same colour and shape for a method in every plot. */
function byMethod(some) {
  const palette = PALETTE[dark.matches ? "dark" : "light"];
  const domain = some.map((method) => methods[method].label);
  const legend = { title: null, orient: "bottom", columns: Math.max(1, Math.floor((document.body.clientWidth - 40) / 210)) };
  const of = (range) => ({ field: "method", type: "nominal", scale: { domain, range }, legend });
  return {
    color: of(some.map((method) => palette[method % palette.length])),
    shape: of(some.map((method) => SHAPES[method % SHAPES.length])),
  };
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
  const table = el(
    "div",
    { class: "box", role: "region", tabindex: "0", "aria-label": `${caption}, a table that scrolls` },
    plainTable(caption, head, lines),
  );
  $(id).replaceChildren(el("figcaption", {}, caption), place, el("details", {}, el("summary", {}, "These numbers as a table"), table));
  const whole = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: `${caption}. The same numbers follow as a table.`,
    width: "container",
    autosize: { type: "fit-x", contains: "padding" },
    config: config(),
    ...spec,
  };
  entry.done = window
    .vegaEmbed(place, whole, { renderer: "svg", actions: false, ast: true, tooltip: { theme: dark.matches ? "dark" : "light" } })
    .then((result) => {
      if (drawn.get(id) === entry) entry.result = result;
      else result.finalize();
    });
  return entry.done;
}

function drawRanks({ lines, family, why }) {
  const placed = lines.filter((line) => line.place);
  const values = placed.map((line) => ({
    method: methods[line.method].label,
    rank: line.meanRank,
    low: line.place.low,
    high: line.place.high,
    text: `${line.place.low} to ${line.place.high}`,
    mean: fixed(line.meanRank, 2),
    letters: line.place.letters,
  }));
  const told = tip(["method", "Method"], ["mean", "Mean rank"], ["text", "Rank interval"], ["letters", "Letters"]);
  const y = { field: "method", type: "nominal", sort: null, title: null };
  const spec = why
    ? null
    : {
        height: 22 * values.length,
        data: { values },
        layer: [
          {
            mark: { type: "rule", strokeWidth: 3, color: colour("--mark"), opacity: 0.6 },
            encoding: {
              y,
              x: {
                field: "low",
                type: "quantitative",
                scale: { domain: [0.5, values.length + 0.5], nice: false },
                axis: { tickMinStep: 1, format: "d" },
                title: "Rank",
              },
              x2: { field: "high" },
              tooltip: told,
            },
          },
          {
            mark: { type: "point", filled: true, size: 70, color: colour("--mark"), opacity: 1 },
            encoding: { y, x: { field: "rank", type: "quantitative" }, tooltip: told },
          },
        ],
      };
  const caption =
    family && !why
      ? `Mean rank (point) and rank interval (line): ${family.test}, Holm over ${family.size} pairs of ${some(family.n, family.unit.replace(/s$/, ""))}`
      : "Rank intervals";
  return draw(
    "ranks",
    caption,
    spec,
    ["Method", "Mean rank", "Rank interval", "Letters"],
    values.map((v) => [v.method, v.mean, v.text, v.letters]),
    why,
  );
}

/** The least span of an axis: half a point, or in the unit of a target a hundredth of the scores. */
const leastSpan = (scores) => (inUnit() ? Math.max(...scores.map(Math.abs)) / 100 || 1 : 0.5);

/** A metric by name; where each setting has its own, and those shown share one, by the name of that. */
function nameOf(metric, found) {
  const own = [...new Set(found.settings.map((i) => settings[i].metric))];
  return metric === metrics[0] && own.length === 1 && own[0] ? own[0] : metric.name;
}

/** A metric as an axis names it: in hundredths, or with the target whose unit it is in. */
function axisOf(metric, found) {
  const units = unitsOf(found);
  return `${nameOf(metric, found)}${times()}${units.length === 1 && units[0] ? ` of ${units[0]}` : ""}`;
}

/** Floor and ceiling of a setting: the constant predictor's score, and the ceiling method's or a perfect one. */
function boundsOf(setting, metric) {
  const of = (role) =>
    scoreOf(
      rows.find((row) => row.setting === setting && methods[row.method].role === role),
      metric,
    ).mean;
  return { floor: of("floor"), ceiling: of("ceiling") ?? metrics[metric].perfect };
}

function drawForest(found) {
  const setting = settings.findIndex((one, i) => one.title === state.setting && found.settings.includes(i));
  const at = setting >= 0 ? setting : found.settings[0];
  const pick = select(
    "setting",
    "Setting",
    found.settings.map((i) => [settings[i].title, settings[i].title]),
    settings[at]?.title,
    (value) => change({ setting: value }),
  );
  keep("forest-pick", pick);
  const metric = metrics[found.metric];
  if (at === undefined) return draw("forest-plot", "Scores of a setting", null, [], [], "no setting is chosen");
  const here = found.methods
    .filter(isRanked)
    .map((method) => ({ method, ...scoreOf(rowAt.get(`${at} ${method}`), found.metric) }))
    .filter((line) => known(line.mean));
  here.sort((a, b) => (metric.higher ? b.mean - a.mean : a.mean - b.mean));
  const values = here.map((line) => ({
    method: methods[line.method].label,
    score: factor() * line.mean,
    low: known(line.low) ? factor() * line.low : null,
    high: known(line.high) ? factor() * line.high : null,
    text: points(line.mean),
    span: interval(line.low, line.high),
  }));
  const { floor, ceiling } = boundsOf(at, found.metric);
  const ends = [
    ["floor", floor],
    ["ceiling", ceiling],
  ]
    .filter(([, value]) => known(value))
    .map(([name, value]) => ({ name, text: `${name} ${points(value)}`, score: factor() * value }));
  const all = values.flatMap((v) => [v.score, v.low, v.high]).filter(known);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const reach = 1.5 * Math.max(high - low, inUnit() ? 0 : 1); // a bound farther away would press the methods together: it is named at the edge
  const inside = ends.filter((end) => end.score >= low - reach && end.score <= high + reach);
  const outside = ends
    .filter((end) => !inside.includes(end))
    .map((end) =>
      end.score < low
        ? { text: `◂ ${end.text}`, score: axis()[0], side: "left" }
        : { text: `${end.text} ▸`, score: axis()[1], side: "right" },
    );
  function axis() {
    const scores = [...all, ...inside.map((end) => end.score)];
    const pad = 0.04 * Math.max(Math.max(...scores) - Math.min(...scores), leastSpan(scores));
    return [Math.min(...scores) - pad, Math.max(...scores) + pad];
  }
  const told = tip(["method", "Method"], ["text", `${metric.name}${times()}`], ["span", "95 % interval"]);
  const y = { field: "method", type: "nominal", sort: null, title: null };
  const x = {
    field: "score",
    type: "quantitative",
    title: `${axisOf(metric, { settings: [at] })}${metric.higher ? "" : ", lower is better"}`,
    scale: { domain: axis(), zero: false, nice: false },
    axis: { tickCount: innerWidth < 600 ? 4 : 8 },
  };
  const label = (align, from) => ({
    data: { values: from },
    mark: { type: "text", dy: -8, baseline: "bottom", align },
    encoding: { x, y: { value: 0 }, text: { field: "text" } },
  });
  const spec = values.length
    ? {
        height: 22 * values.length,
        padding: { top: 18, left: 5, right: 30, bottom: 5 },
        layer: [
          {
            data: { values },
            mark: { type: "rule", strokeWidth: 2, color: colour("--mark") },
            encoding: { y, x: { ...x, field: "low" }, x2: { field: "high" }, tooltip: told },
          },
          {
            data: { values },
            mark: { type: "point", filled: true, size: 70, color: colour("--mark"), opacity: 1 },
            encoding: { y, x, tooltip: told },
          },
          {
            data: { values: inside },
            mark: { type: "rule", strokeDash: [4, 4], opacity: 0.8 },
            encoding: { x, tooltip: tip(["text", "Bound"]) },
          },
          label("center", inside),
          label(
            "left",
            outside.filter((end) => end.side === "left"),
          ),
          label(
            "right",
            outside.filter((end) => end.side === "right"),
          ),
        ],
      }
    : null;
  const note =
    found.metric === 0
      ? "mean with its 95 % interval over seeds and test samples"
      : "means; intervals are stored for the board's metric alone";
  const caption = `${settings[at].title}: ${note}, ${inside.map((end) => end.text).join(" and ") || "no bound"} dashed${outside.length ? `, ${outside.map((end) => end.text.replace(/[◂▸]/g, "").trim()).join(" and ")} beyond the axis` : ""}`;
  const lines = [...values.map((v) => [v.method, v.text, v.span]), ...ends.map((end) => [end.name, points(end.score / factor()), ""])];
  return draw(
    "forest-plot",
    caption,
    spec,
    ["Method", `${metric.name}${times()}`, "95 % interval"],
    lines,
    "no chosen method has a score there",
  );
}

function drawNoise(found) {
  const curves = curvesOf(found);
  const curve = curves.find((one) => one.title === state.curve) ?? curves[0];
  keep(
    "noise-pick",
    curves.length > 1
      ? select(
          "curve",
          "Curve",
          curves.map((one) => [one.title, one.title]),
          curve.title,
          (value) => change({ curve: value }),
        )
      : null,
  );
  if (!curve)
    return draw(
      "noise-plot",
      "Score over missing rate",
      null,
      [],
      [],
      "the choice has no two settings that differ in their missing rate alone",
    );
  const metric = metrics[found.metric];
  const shown = found.methods
    .filter(isRanked)
    .filter((method) => curve.settings.some((i) => known(scoreOf(rowAt.get(`${i} ${method}`), found.metric).mean)));
  const at = (method, i) => scoreOf(rowAt.get(`${i} ${method}`), found.metric);
  const values = shown.flatMap((method) =>
    curve.settings.map((i) => ({
      method: methods[method].label,
      rate: settings[i].noise,
      score: known(at(method, i).mean) ? factor() * at(method, i).mean : null,
      low: known(at(method, i).low) ? factor() * at(method, i).low : null,
      high: known(at(method, i).high) ? factor() * at(method, i).high : null,
      text: points(at(method, i).mean),
      span: interval(at(method, i).low, at(method, i).high),
    })),
  );
  const bounds = curve.settings.flatMap((i) =>
    Object.entries(boundsOf(i, found.metric))
      .filter(([, value]) => known(value))
      .map(([name, value]) => ({ name, rate: settings[i].noise, score: factor() * value })),
  );
  const inside = values.map((value) => value.score).filter(known);
  const [low, high] = [Math.min(...inside), Math.max(...inside)];
  const pad = Math.max((high - low) * 0.08, leastSpan(inside));
  const x = {
    field: "rate",
    type: "quantitative",
    title: "Missing rate",
    axis: { values: unique(values.map((value) => value.rate)) },
    scale: { zero: false, nice: false, padding: 16 },
  };
  const y = {
    field: "score",
    type: "quantitative",
    title: axisOf(metric, curve),
    scale: { domain: [low - pad, high + pad], zero: false, clamp: false },
  };
  const picked = (yes, no) => ({ condition: { param: "picked", value: yes }, value: no });
  const told = tip(["method", "Method"], ["rate", "Missing rate"], ["text", `${metric.name}${times()}`], ["span", "95 % interval"]);
  const { color, shape } = byMethod(shown);
  const spec = inside.length
    ? {
        height: 320,
        layer: [
          {
            data: { values: bounds },
            mark: { type: "line", clip: true, strokeDash: [3, 3], color: colour("--ink") },
            encoding: { x, y, detail: { field: "name" } },
          },
          {
            data: { values },
            params: [{ name: "picked", select: { type: "point", fields: ["method"] }, bind: "legend" }],
            mark: { type: "line", clip: true },
            encoding: { x, y, color, opacity: picked(1, 0.12) },
          },
          {
            data: { values },
            mark: { type: "area", clip: true },
            encoding: {
              x,
              y: { ...y, field: "low" },
              y2: { field: "high" },
              color,
              opacity: { condition: { param: "picked", empty: false, value: 0.2 }, value: 0 },
            },
          },
          {
            data: { values },
            mark: { type: "point", filled: true, size: 60, clip: true },
            encoding: { x, y, color, shape, opacity: picked(1, 0.12), tooltip: told },
          },
        ],
      }
    : null;
  const ends = unique(bounds.map((bound) => bound.name)).map((name) => {
    const own = bounds.filter((bound) => bound.name === name).map((bound) => bound.score);
    const away = own.every((score) => score < low - pad)
      ? ", below the axis"
      : own.every((score) => score > high + pad)
        ? ", above the axis"
        : ", dotted";
    return `${name} ${unique(own.map((score) => points(score / factor()))).join(", ")}${away}`;
  });
  const caption = `${curve.title}: ${["a name in the legend picks a method and shows its 95 % interval", ...ends].join("; ")}`;
  const lines = shown.map((method) => [
    methods[method].label,
    ...curve.settings.map((i) => `${points(at(method, i).mean)} (${interval(at(method, i).low, at(method, i).high)})`),
  ]);
  return draw(
    "noise-plot",
    caption,
    spec,
    ["Method", ...curve.settings.map((i) => String(settings[i].noise))],
    lines,
    "no chosen method has a score there",
  );
}

function drawCost(found, { lines }) {
  const metric = metrics[found.metric];
  const shown = lines.filter((line) => isRanked(line.method) && known(line.score) && line.gflops > 0);
  const ahead = (a, b) =>
    a.gflops <= b.gflops && (metric.higher ? a.score >= b.score : a.score <= b.score) && (a.gflops < b.gflops || a.score !== b.score);
  const values = shown.map((line) => ({
    method: methods[line.method].label,
    gflops: line.gflops,
    score: factor() * line.score,
    text: points(line.score),
    cost: number(line.gflops),
    front: shown.some((other) => ahead(other, line)) ? "no" : "yes",
  }));
  const told = tip(["method", "Method"], ["text", `${metric.name}${times()}`], ["cost", "GFLOPs a sample"], ["front", "On the front"]);
  const { color, shape } = byMethod(shown.map((line) => line.method));
  const x = {
    field: "gflops",
    type: "quantitative",
    scale: { type: "log", nice: true },
    title: "GFLOPs of a forward pass, a sample (log scale)",
    axis: { format: ".0e", labelOverlap: true, tickCount: 4 },
  };
  const y = { field: "score", type: "quantitative", scale: { zero: false, nice: true }, title: axisOf(metric, found) };
  const spec = values.length
    ? {
        height: 300,
        data: { values },
        layer: [
          {
            transform: [{ filter: "datum.front === 'yes'" }],
            mark: { type: "line", interpolate: "step-after", strokeDash: [2, 3], color: colour("--ink"), opacity: 0.6 },
            encoding: { x, y, order: { field: "gflops", type: "quantitative" } },
          },
          { mark: { type: "point", filled: true, size: 110, opacity: 1 }, encoding: { x, y, color, shape, tooltip: told } },
        ],
      }
    : null;
  const caption = `Mean ${metric.name} over ${some(found.settings.length, "setting")} against GFLOPs; dotted: nobody is better and as cheap`;
  const without = lines.filter((line) => isRanked(line.method) && !shown.includes(line)).map((line) => methods[line.method].label);
  const rest = without.length ? `. Without a score everywhere or a count of operations: ${without.join(", ")}` : "";
  return draw(
    "cost-plot",
    caption + rest,
    spec,
    ["Method", `${metric.name}${times()}`, "GFLOPs", "On the front"],
    values.map((v) => [v.method, v.text, v.cost, v.front]),
    unitsOf(found).length > 1 ? SEVERAL : "no chosen method has both a score everywhere and a count of operations",
  );
}

/** Puts a control in its place unless it is there as it should be: one that has the focus keeps it. */
function keep(id, made) {
  const old = $(id).firstElementChild;
  if (old && made && old.isEqualNode(made) && old.querySelector("select").value === made.querySelector("select").value) return;
  const focused = old?.contains(document.activeElement);
  $(id).replaceChildren(...(made ? [made] : []));
  if (focused) made?.querySelector("select").focus();
}
