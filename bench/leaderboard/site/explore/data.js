/* The values of the page, and how numbers read. Every text of the data enters the page as text; nothing is tested here. */

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

/** As Python writes a float with so many digits: an exact tie goes to the even digit. */
function fixed(value, digits) {
  const exact = Math.abs(value).toFixed(60);
  const cut = exact.indexOf(".") + 1 + digits;
  const kept = digits ? exact.slice(0, cut) : exact.slice(0, cut - 1);
  const isTie = /^50*$/.test(exact.slice(cut));
  const text = isTie && Number(kept.at(-1)) % 2 === 0 ? kept : Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `-${text}` : text;
}
/* Scores are shown in hundredths, those of a metric in the unit of a target as they are: by the metric that is chosen, not the board's. */
const inUnit = () => Boolean((metrics.find((metric) => metric.name === state.metric) ?? metrics[0]).in_unit);
const factor = () => (inUnit() ? 1 : 100);
const times = () => (inUnit() ? "" : " x 100");
const hundredths = (value, digits) => fixed(Math.round(value * 1e10) / 1e8, digits);
/** In the unit of a target: three decimals, of a small number three digits that count, for units differ. */
function asItIs(value) {
  const shown = Math.round(value * 1e8) / 1e8;
  return Math.abs(shown) >= 0.01 || shown === 0 ? fixed(shown, 3) : String(Number(shown.toPrecision(3)));
}
const points = (value, digits = 1) => (known(value) ? (inUnit() ? asItIs(value) : hundredths(value, digits)) : DASH);
const percent = (value, digits = 1) => (known(value) ? hundredths(value, digits) : DASH);
const signed = (value) => (known(value) ? (points(value).startsWith("-") ? "" : "+") + points(value) : DASH);
/* What differences are counted in, behind a number and in a sentence. */
const ofPoints = () => (inUnit() ? "" : " points");
const inPoints = () => (inUnit() ? "in its unit" : "in points");
const pText = (p) => (!known(p) ? DASH : p < 0.001 ? "<0.001" : fixed(p, 3));
/** Three digits that count; thousands with commas, powers of ten where there would be many zeros. */
const number = (value) => {
  if (!known(value)) return DASH;
  if (value >= 1000) return Math.round(value).toLocaleString("en");
  return value !== 0 && value < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
};
const interval = (low, high) => (known(low) && known(high) ? `${points(low)} to ${points(high)}` : DASH);
const some = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
const margin = metrics[0].in_unit ? `${Number(board.rope.toPrecision(6))} in its unit` : some(Number((100 * board.rope).toPrecision(6)), "point");
