"""The page of a board in a real browser: it opens without an error, and what is clicked, typed, linked and read aloud is right."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.comparison.compare import compare
from bench.leaderboard.folder import board_of
from bench.leaderboard.site import published_data, write_site
from bench.records.folder import Folder
from bench.stats.ranking import standing
from bench.text import p_equals, percent, signed

ROOT = Path(__file__).resolve().parents[2]
QUICK = ROOT / "leaderboards" / "quick"
SETTING = "digits (NEWS), mcar(0.5)"
HOSTILE = "</script><img src=x onerror=document.title='taken'>&amp;\"'"


@pytest.fixture(scope="module")
def quick():
    return published_data(QUICK)


@pytest.fixture(scope="module")
def site(tmp_path_factory, quick):
    folder = tmp_path_factory.mktemp("site")
    write_site(folder, [quick])
    return folder / "index.html"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A site of three boards, the largest, one of synthetic data and a small one."""
    folder = tmp_path_factory.mktemp("whole")
    write_site(folder, [published_data(ROOT / "leaderboards" / name) for name in ("quick", "real", "synthetic")])
    return folder


def ticked(opened, *names):
    """Opens what is chosen, so that its boxes can be clicked."""
    for details in opened.page.locator("#choose details").all():
        details.evaluate("element => element.open = true")
    for name in names:
        opened.page.locator("#choose").get_by_label(name, exact=True).click()
    opened.ready()


def sort_by(opened, column, order):
    """Clicks on a column of the standing and waits until its rows are in that order: a busy browser draws them later."""
    opened.page.locator("#standing-table thead th", has_text=column).click()
    opened.page.locator(f"#standing-table thead th[aria-sort={order}]", has_text=column).wait_for()


def test_a_page_opens_from_a_file_and_draws_every_plot(opened, site):
    found = opened(site)
    assert found.page.title().startswith("Quick")
    assert found.page.locator("figure svg").count() == 3
    assert found.text("ranks") == "Rank intervals: not drawn (needs n >= 6)."


def test_the_largest_board_opens_in_seconds(opened, whole):
    assert (whole / "real.html").stat().st_size < 6_500_000  # 35 methods on ten datasets at three rates; the script alone has 1.7 MB
    found = opened(whole / "real.html")
    took = found.page.evaluate("performance.now()")
    assert took < 20_000
    assert found.page.locator("figure svg").count() == 4


def test_a_click_on_a_column_sorts_by_its_numbers(opened, site, quick):
    found = opened(site)
    sort_by(found, "accuracy x 100", "ascending")
    rising = [float(text) for text in found.column("standing-table", "accuracy x 100")]
    assert rising == sorted(rising)
    sort_by(found, "accuracy x 100", "descending")
    assert [float(text) for text in found.column("standing-table", "accuracy x 100")] == rising[::-1]
    assert "sort=accuracy+x+100%3Adesc" in found.address


def test_typing_finds_rows(opened, site):
    found = opened(site)
    found.page.locator("#standing-table input[type=search]").fill("muse")
    assert found.column("standing-table", "Method") == ["muse"]
    assert "find=muse" in found.address


def test_scores_are_worded_as_the_pages_of_the_board_word_them(opened, site):
    found = opened(site)
    board = board_of(QUICK)
    shown = dict(zip(found.column("standing-table", "Method"), found.column("standing-table", "accuracy x 100"), strict=True))
    assert shown == {row.label: percent(row.mean) for row in board.overall[0].rows}
    numbers = [0.8125, 0.0625, 0.40625, 1 / 3, 0.0005, 0.9995, 0.12345, 0.5, 1.0]  # some are ties, which go to the even digit
    said = found.page.evaluate("numbers => numbers.map((one) => window.benchPage.points(one))", numbers)
    assert said == [percent(one) for one in numbers]


def test_ranks_and_letters_of_one_setting_are_those_of_the_board(opened, site):
    found = opened(site, "#protocol=mcar%280.5%29")
    rows = {row.label: row for row in next(setting for setting in board_of(QUICK).settings if setting.title == SETTING).rows}
    names = found.column("standing-table", "Method")
    assert dict(zip(names, found.column("standing-table", "Letters"), strict=True)) == {
        name: rows[name].place.letters if rows[name].place else "" for name in names
    }
    shown = dict(zip(names, found.column("standing-table", "Ranks"), strict=True))
    for name, text in shown.items():
        place = rows[name].place
        assert text == ("floor" if place is None else str(place.low) if place.low == place.high else f"{place.low}-{place.high}")


def test_ranks_and_letters_over_all_settings_are_those_of_the_board(opened, whole):
    found = opened(whole / "real.html")
    rows = {row.label: row for row in board_of(ROOT / "leaderboards" / "real").overall[0].rows}
    names = found.column("standing-table", "Method")
    assert names == list(rows)
    assert found.column("standing-table", "Letters") == [rows[name].place.letters if rows[name].place else "" for name in names]
    assert found.column("standing-table", "Mean rank") == [f"{rows[n].mean_rank:.2f}" if rows[n].mean_rank else "" for n in names]


def test_letters_from_significant_pairs_are_those_of_the_statistics(opened, site):
    """Of random pairs, so that groups overlap in every way."""
    rng, cases = np.random.default_rng(0), []
    for k in (2, 3, 5, 8, 12):
        for chance in (0.1, 0.4, 0.8):
            order = rng.permutation(k)
            better = (rng.random((k, k)) < chance) & (order[:, None] < order)
            cases.append((better, order))
    found = opened(site)
    for better, order in cases:
        k = len(order)
        said = found.page.evaluate(
            """([better, order]) => {
                const k = order.length, tests = [];
                for (let i = 0; i < k; i++) for (let j = i + 1; j < k; j++) {
                    const way = better[i][j] ? 1 : better[j][i] ? -1 : 0;
                    tests.push([way, null, null, null, null, 0.01, way ? 0.01 : 1, way, "", "", null, ""]);
                }
                const family = { methods: order.map((_, i) => i), tests, gate: null };
                return window.benchPage.standing(family, family.methods, order);
            }""",
            [better.tolist(), order.tolist()],
        )
        expected = standing(better, order)
        assert [one["letters"] for one in said] == list(expected.letters)
        assert [[one["low"], one["high"], one["best"]] for one in said] == [
            [int(low), int(high), bool(best)] for low, high, best in zip(expected.low, expected.high, expected.best, strict=True)
        ]
        assert k == len(said)


def test_marks_are_withheld_with_the_reason_where_no_stored_test_is_of_the_choice(opened, site):
    found = opened(site)
    ticked(found, "mcar(0.1)")
    assert "stored tests are of one setting, or over all 4 real ones; 3 are chosen" in found.text("standing-said")
    assert found.page.locator("#standing-said").get_attribute("class") == "withheld"
    found.page.get_by_label("Metric").select_option("f1_macro")
    found.ready()
    assert "tests are stored for accuracy alone; bench compare A B --metric f1_macro" in found.text("standing-said")
    assert set(found.column("standing-table", "Ranks")) == {"–", "floor"}


def test_methods_left_out_leave_the_correction_as_it_is(opened, site):
    """Letters of a part are by the pairs of the whole that are significant."""
    found = opened(site, "#protocol=mcar%280.5%29")
    ticked(found, "best-single", "m3care")
    table = next(setting for setting in board_of(QUICK).settings if setting.title == SETTING)
    kept = [i for i, label in enumerate(table.tests.labels) if label not in ("best-single", "m3care")]
    labels = [table.tests.labels[i] for i in kept]
    expected = standing(table.tests.better[np.ix_(kept, kept)], np.array([table.by_label[label].rank for label in labels]))
    shown = dict(zip(found.column("standing-table", "Method"), found.column("standing-table", "Letters"), strict=True))
    assert {label: shown[label] for label in labels} == dict(zip(labels, expected.letters, strict=True))
    assert set(shown) == {*labels, "constant"}
    assert f"over {len(table.tests.tests)} pairs" in found.text("standing-said")
    assert "the correction stays that of all" in found.text("standing-said")


def test_another_metric_shows_its_own_means(opened, site, quick):
    found = opened(site, "#metric=f1_macro")
    place = [metric["name"] for metric in quick["metrics"]].index("f1_macro")
    labels = [method["label"] for method in quick["methods"]]
    own = [row[-1][place - 1][0] for row in quick["rows"] if labels[row[1]] == "muse"]
    shown = dict(zip(found.column("standing-table", "Method"), found.column("standing-table", "f1_macro x 100"), strict=True))
    assert shown["muse"] == percent(float(np.mean(own)))


@pytest.mark.parametrize(("a", "b"), [("mmformer", "m3care"), ("m3care", "mmformer"), ("mean-mlp", "best-single"), ("muse", "shaspec")])
def test_the_verdict_of_a_pair_is_that_of_bench_compare(opened, site, a, b):
    with Folder(QUICK) as folder:
        difference = next(one for one in compare(folder.answers(), a, b).differences if one.table.title == SETTING)
    found = opened(site, f"#tests={SETTING.replace(' ', '+')}")
    text = found.page.locator(f"#pairs-table button[aria-label^='{a} against {b}:']").get_attribute("aria-label")
    assert f"{signed(difference.estimate.difference)} points" in text
    assert f"p {p_equals(difference.p)[2:]};" in text
    assert f"after Holm over {difference.board_pairs} pairs p {p_equals(difference.board_p)[2:]}:" in text
    assert f"p {p_equals(difference.p_adjusted)[2:]} after Holm over its settings: {difference.verdict}." in text


def test_a_cell_is_read_where_it_is_pointed_at_or_focused(opened, site):
    found = opened(site)
    cell = found.page.locator("#pairs-table button").nth(3)
    cell.hover()
    assert found.text("pair") == cell.get_attribute("aria-label")
    found.page.locator("#pairs-table button").nth(0).focus()
    assert found.text("pair") == found.page.locator("#pairs-table button").nth(0).get_attribute("aria-label")


def test_keys_move_through_the_pairs_and_enter_lists_the_trials(opened, site):
    found = opened(site, f"#tests={SETTING.replace(' ', '+')}")
    buttons = found.page.locator("#pairs-table button[tabindex='0']")
    assert buttons.count() == 1
    buttons.focus()
    for key, place in (("ArrowRight", ["0", "2"]), ("ArrowDown", ["1", "2"]), ("ArrowLeft", ["1", "0"]), ("ArrowUp", None)):
        found.page.keyboard.press(key)
        at = found.page.evaluate("[document.activeElement.dataset.y, document.activeElement.dataset.x]")
        assert at == (place or ["1", "0"])
    found.page.keyboard.press("Enter")
    assert found.page.evaluate("document.activeElement.id") == "trials-title"
    assert len(found.column("trials-table", "Seed")) == 6
    found.page.locator("#trials-close").press("Enter")
    assert found.page.locator("#trials").is_hidden()
    assert "trials_of" not in found.address


def test_a_score_lists_its_trials_with_the_commands_that_show_and_repeat_them(opened, site, quick):
    found = opened(site, "#protocol=mcar%280.5%29")
    found.page.get_by_role("button", name=f"trials of muse in {SETTING}").click()
    labels, titles = ([one[key] for one in quick[what]] for what, key in (("methods", "label"), ("settings", "title")))
    ids = [trial[0] for trial in quick["trials"] if labels[trial[2]] == "muse" and titles[trial[1]] == SETTING]
    commands = found.column("trials-table", "Commands")
    option = quick["board"]["option"]
    assert commands == [f"bench show {id_} {option}bench reproduce {id_} {option}" for id_ in ids]
    assert found.column("trials-table", "Status") == ["done"] * 3
    scores = [percent(trial[6][0], 2) for trial in quick["trials"] if trial[0] in ids]
    assert found.column("trials-table", "accuracy x 100") == scores


def test_a_view_comes_back_from_its_address(opened, site):
    found = opened(site)
    ticked(found, "mcar(0.1)", "muse", "best-single")
    found.page.get_by_label("Metric").select_option("auroc")
    found.page.get_by_label("Setting", exact=True).select_option("digits (NEWS), mcar(0.3)")
    found.page.get_by_label("Tests", exact=True).select_option(SETTING)
    found.page.locator("#scores-table thead th", has_text="SD").click()
    found.page.locator("#standing-table input[type=search]").fill("m")
    found.page.locator("button.cell").first.click()
    found.ready()
    seen = "() => [...document.querySelectorAll('main section, #choose')].map((part) => part.innerText)"
    before = found.page.evaluate(seen)
    address = found.address
    found.open(site, address)
    ticked(found)
    found.page.evaluate("scrollTo(0, 0)")
    assert found.address == address
    assert found.page.evaluate(seen) == before


def test_an_empty_choice_is_a_view_too(opened, site):
    found = opened(site, "#method=")
    assert found.column("standing-table", "Method") == ["Nothing is chosen"]
    found = opened(site, "#dataset=")
    assert "no setting is chosen" in found.text("standing-said")


def test_an_address_of_other_numbers_says_so(opened, site):
    found = opened(site, "#metric=auroc&method=gone&method=muse&data=0123456789ab")
    assert "made for other numbers" in found.text("notice")
    assert "does not have: gone" in found.text("notice")
    assert found.column("standing-table", "Method") == ["muse"]


def test_the_citation_holds_the_address_and_the_hash_of_the_numbers(opened, site):
    found = opened(site, "#metric=auroc")
    digest = found.page.locator("html").get_attribute("data-digest")
    said = found.text("citation")
    assert f"Metric auroc. Board {published_data(QUICK)['board']['source']}, data {digest}." in said
    assert said.endswith(f"#metric=auroc&data={digest}")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (375, "dark"), (842, "light")])
@pytest.mark.parametrize("page", ["index.html", "quick.html", "real.html"])
def test_no_page_scrolls_sideways(opened, whole, page, width, scheme):
    found = opened(whole / page, "#trials_of=muse" if page != "index.html" else "", width=width, color_scheme=scheme)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width


CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const ground = (element) => {
        const found = element ? rgb(getComputedStyle(element).backgroundColor) : [255, 255, 255, 255];
        return found[3] === 255 ? found : ground(element.parentElement);
    };
    const chosen = document.querySelectorAll("h1, p, a, td, th, button, select, summary, figcaption, caption, .withheld");
    const shown = [...chosen].filter((one) => one.textContent.trim() && one.offsetParent);
    return shown.map((one) => [one.outerHTML.slice(0, 80), rgb(getComputedStyle(one).color), ground(one)]);
}"""
UNNAMED = """() => {
    const isNamed = (one) => one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim();
    return [...document.querySelectorAll("input, select, button")].filter((one) => !isNamed(one)).map((one) => one.outerHTML);
}"""


def luminance(colour):
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened, site, scheme):
    """Contrast of 4.5 at least (WCAG 2.2, 1.4.3), in cells of every shade as well."""
    found = opened(site, f"#tests={SETTING.replace(' ', '+')}", color_scheme=scheme)
    pairs = found.page.evaluate(CONTRAST)
    assert len(pairs) > 100
    for what, ink, paper in pairs:
        light, dark = sorted((luminance(ink[:3]), luminance(paper[:3])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, what


def test_the_dark_page_is_dark_and_follows_the_system(opened, site):
    found = opened(site, color_scheme="dark")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    assert found.page.evaluate(paper) == "rgb(21, 24, 28)"
    found.page.emulate_media(color_scheme="light")
    assert found.page.evaluate(paper) == "rgb(255, 255, 255)"
    found.ready()
    assert found.page.locator("figure svg").count() == 3


def test_a_screen_reader_finds_names_captions_and_the_numbers_of_plots(opened, site):
    found = opened(site)
    assert found.page.evaluate(UNNAMED) == []
    assert found.page.locator("table").count() == found.page.locator("table > caption").count() > 4
    for figure in found.page.locator("figure:has(svg)").all():
        assert figure.locator("figcaption").text_content()
        assert "as a table" in figure.locator("summary").text_content()
        assert figure.locator("details table tbody tr").count() > 0
        assert figure.locator("[role=graphics-document]").get_attribute("aria-label").endswith("The same numbers follow as a table.")
    assert found.page.locator("h1").count() == 1


def test_the_keyboard_alone_sorts_and_chooses(opened, site):
    found = opened(site)
    found.page.keyboard.press("Tab")
    assert found.page.evaluate("document.activeElement.className") == "skip"
    found.page.keyboard.press("Enter")
    assert found.page.evaluate("document.activeElement.id") == "standing"
    assert "at=standing" in found.address
    head = found.page.locator("#standing-table thead th", has_text="GFLOPs").get_by_role("button")
    head.focus()
    assert head.evaluate("element => getComputedStyle(element).outlineStyle") != "none"
    found.page.keyboard.press("Enter")
    found.page.locator("#standing-table thead th[aria-sort=ascending]", has_text="GFLOPs").wait_for()


def test_the_list_of_boards_leads_to_each(opened, whole):
    found = opened(whole / "index.html")
    assert found.page.locator("tbody tr").count() == 3
    for name in ("real", "synthetic"):
        found.page.locator(f"a[href='{name}.html']").click()
        found.ready()
        assert found.page.locator("h1").text_content() == published_data(ROOT / "leaderboards" / name)["board"]["title"]
        found.page.go_back()


def test_real_and_synthetic_data_never_share_a_view(opened, tmp_path, quick):
    settings = [{**one, "synthetic": one["dataset"] == "digits"} for one in quick["settings"]]
    kinds = [one["synthetic"] if one["setting"] is None else settings[one["setting"]]["synthetic"] for one in quick["families"]]
    families = [{**one, "synthetic": kind} for one, kind in zip(quick["families"], kinds, strict=True)]
    write_site(tmp_path, [{**quick, "settings": settings, "families": families}])
    found = opened(tmp_path / "index.html")
    assert set(found.column("scores-table", "Dataset")) == {"breast-cancer"}
    found.page.get_by_label("Data", exact=True).select_option("synthetic")
    found.ready()
    assert set(found.column("scores-table", "Dataset")) == {"digits"}
    assert "kind=synthetic" in found.address


def hostile(value, *keys):
    """The value with more to it at each of these keys."""
    return {**value, **{key: f"{value[key]}{HOSTILE}" for key in keys if value[key] is not None}}


def test_a_hostile_name_runs_nothing(opened, tmp_path, quick):
    changed = {
        "methods": [hostile(one, "label") for one in quick["methods"]],
        "settings": [hostile(one, "dataset", "title", "protocol") for one in quick["settings"]],
        "families": [hostile(one, "name", "reason") for one in quick["families"]],
        "trials": [[*trial[:4], "failed", HOSTILE, *trial[6:]] for trial in quick["trials"]],
        "rows": [[value + HOSTILE if isinstance(value, str) else value for value in row] for row in quick["rows"]],
        "board": {**quick["board"], "title": HOSTILE, "option": f"--from {HOSTILE}", "warnings": [HOSTILE], "commands": [HOSTILE]},
    }
    write_site(tmp_path, [{**quick, **changed}])
    found = opened(tmp_path / "index.html")
    ticked(found, f"muse{HOSTILE}")
    found.page.locator("button.cell").first.click()
    found.page.locator("#pairs-table button").nth(2).hover()
    found.page.locator("#forest-plot svg path").first.hover(force=True)
    found.page.locator("#standing-table thead th").nth(0).click()
    assert found.page.locator("img").count() == 0
    assert found.page.title() == f"{HOSTILE} · leaderboard"
    assert HOSTILE in found.text("trials-title")
    found.open(tmp_path / "index.html", found.address)
    assert found.page.locator("img").count() == 0


def test_a_board_without_a_finished_trial_says_so(opened, tmp_path, quick):
    empty = {**json.loads(json.dumps(quick)), "rows": [], "trials": [], "families": [], "settings": [], "methods": []}
    write_site(tmp_path, [empty])
    found = opened(tmp_path / "index.html")
    assert "no setting is chosen" in found.text("standing-said")
    assert found.page.locator("figure svg").count() == 0
