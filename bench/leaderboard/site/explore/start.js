/* All of it together: what is shown, shown again after a change, and restored from the address. */

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
  return Promise.all(plots).then(() => {
    document.documentElement.dataset.ready = "yes";
  });
}
function change(parts) {
  Object.assign(state, parts);
  render();
}
function go(part) {
  const target = $(part);
  if (!target?.matches("h2")) return;
  target.scrollIntoView();
  target.focus({ preventScroll: true });
}
function restore() {
  state = read(location.hash);
  form();
  render().then(() => {
    if (state.at) go(state.at);
  });
}

const asked = `${metrics[0].name}${metrics[0].in_unit ? "" : " x 100"}, ${metrics[0].meaning}. ${some(settings.length, "setting")}, ${some(methods.filter((_, i) => isRanked(i)).length, "method")}, ${some(trials.length, "trial")}. A difference counts at p ≤ ${board.alpha} after correction; a difference of ${margin} or less does not matter.`;
say("about", asked);
for (const link of document.querySelectorAll("[data-at]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    state.at = link.dataset.at;
    go(state.at);
    remember();
  });
}
$("choose").addEventListener("submit", (event) => event.preventDefault());
$("trials-close").addEventListener("click", () => {
  change({ trials_of: [], trials_in: "" });
  (cameFrom?.isConnected ? cameFrom : $("pairs")).focus();
});
$("copy").addEventListener("click", () =>
  navigator.clipboard.writeText($("citation").textContent).then(
    () => say("copied", "Copied."),
    () => say("copied", "This browser does not let the page copy; mark the text."),
  ),
);
$("reset").addEventListener("click", () => {
  history.replaceState(null, "", location.href.split("#")[0]);
  restore();
});
window.addEventListener("hashchange", restore);
const onTheme = () => {
  document.documentElement.classList.toggle("dark", dark.matches);
  render();
};
dark.addEventListener("change", onTheme);
window.matchMedia("(max-width: 599px)").addEventListener("change", render);
document.documentElement.classList.toggle("dark", dark.matches);
window.benchPage = { standing, isBetter, between, fixed, points, families, address, view, standings };
restore();
