"""bench/leaderboard/site: a page's values are those of its board, it loads nothing, and whoever changes a number is found."""

import csv
import hashlib
import io
import json
import re
import shutil
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import bench
from bench.cli import main
from bench.comparison.compare import compare
from bench.errors import UsageError
from bench.leaderboard import build
from bench.leaderboard.folder import board_of
from bench.leaderboard.site import checked_site, is_site, published_data, results_data, site_data, write_site
from bench.leaderboard.site.page import board_page, data_in, digest
from bench.records.facts import Facts
from bench.records.folder import Folder
from bench.records.pieces import published_in, text_of
from bench.records.record import Record

ROOT = Path(__file__).resolve().parents[2]
QUICK, REAL = (ROOT / "leaderboards" / name for name in ("quick", "real"))
BOARDS = published_in(ROOT / "leaderboards")
HOSTILE = "</script><img src=x onerror=alert(1)>&amp;\"'"


@pytest.fixture(scope="module")
def quick():
    return published_data(QUICK)


@pytest.fixture
def site(tmp_path, monkeypatch, quick):
    """A site of one board, made in the checkout."""
    monkeypatch.chdir(ROOT)
    write_site(tmp_path / "site", [published_data(Path("leaderboards/quick"))])
    return tmp_path / "site"


def objects(data, what, columns):
    return [dict(zip(data[columns], values, strict=True)) for values in data[what]]


@pytest.mark.parametrize("folder", BOARDS, ids=lambda folder: folder.name)
def test_a_page_shows_every_line_of_the_table(folder):
    data = published_data(folder)
    lines = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text(encoding="utf-8"))))
    rows = objects(data, "rows", "row_columns")
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        setting, method = data["settings"][row["setting"]], data["methods"][row["method"]]
        assert (setting["dataset"], setting["protocol"], method["hp"]) == (line["dataset"], line["protocol"], line["hp"])
        assert method["preset"] == line["preset"]
        assert [row[key] for key in ("mean", "low", "rank")] == [float(line[key]) if line[key] else None for key in ("mean", "low", "rank")]
        assert [row[key] for key in ("letters", "flags")] == [line[key] for key in ("letters", "flags")]


@pytest.mark.parametrize("folder", BOARDS, ids=lambda folder: folder.name)
def test_a_page_holds_every_test_and_every_trial(folder):
    data, tests = published_data(folder), json.loads(text_of(folder / "significance.json"))
    assert sum(len(family["tests"]) for family in data["families"]) == len(tests["tests"])
    with Folder(folder) as found:
        assert {trial[0] for trial in data["trials"]} == {record.trial.id for record in found.records()}


@pytest.mark.parametrize("folder", [QUICK, REAL], ids=lambda folder: folder.name)
def test_a_page_warns_of_what_the_board_warns_of(folder):
    with Folder(folder) as found:
        answers = found.answers()
    dirty = [replace(record, provenance=replace(record.provenance, dirty=True)) for record in answers.records]
    texts = [text_of(folder / name) for name in ("table.csv", "significance.json")]
    for some in (answers, replace(answers, records=dirty, left_out=["left out: 2 trials of other code"])):
        assert site_data(some, *texts, "x", "")["board"]["warnings"] == list(build(some).warnings)


def test_means_of_further_metrics_are_those_of_the_table(quick):
    lines = csv.DictReader(io.StringIO((QUICK / "table.csv").read_text(encoding="utf-8")))
    names = [metric["name"] for metric in quick["metrics"]]
    assert names[0] == "accuracy"
    for row, line in zip(objects(quick, "rows", "row_columns"), lines, strict=True):
        for name in ("f1_macro", "auroc"):
            assert row["others"][names.index(name) - 1][0] == pytest.approx(float(line[name]), abs=1e-9)


@pytest.mark.parametrize(
    ("a", "b"), [("mmformer", "muse"), ("m3care", "fusemoe"), ("best-single", "mean-mlp"), ("mean-mlp", "mean-logistic")]
)
def test_the_verdict_of_a_named_pair_is_that_of_bench_compare(quick, a, b):
    with Folder(QUICK) as folder:
        found = compare(folder.answers(), a, b)
    labels = [method["label"] for method in quick["methods"]]
    titles = [setting["title"] for setting in quick["settings"]]
    for difference in found.differences:
        family = next(one for one in quick["families"] if one["name"] == titles[titles.index(difference.table.title)])
        own = [family["methods"].index(labels.index(label)) for label in (a, b)]
        (low, high), k = sorted(own), len(family["methods"])
        test = dict(zip(quick["test_columns"], family["tests"][low * (2 * k - low - 1) // 2 + high - low - 1], strict=True))
        sign = 1 if own[0] == low else -1
        assert sign * test["difference"] == pytest.approx(difference.estimate.difference, abs=1e-6)
        assert test["p"] == pytest.approx(difference.p, rel=1e-4)
        assert test["p_named"] == pytest.approx(difference.p_adjusted, rel=1e-4)
        assert test["p_adjusted"] == pytest.approx(difference.board_p, rel=1e-4)
        turned = {"better": "worse", "worse": "better"}
        said = test["named_verdict"] if sign > 0 else turned.get(test["named_verdict"], test["named_verdict"])
        assert said == difference.verdict


def test_no_prediction_is_read(tmp_path):
    folder = tmp_path / "quick"
    shutil.copytree(QUICK, folder, ignore=shutil.ignore_patterns("predictions.npz", "*.md", "*.svg"))
    assert published_data(folder)["trials"] == published_data(QUICK)["trials"]


def test_a_page_is_small_and_may_load_nothing(quick):
    page = board_page(quick)
    assert len(page.encode()) - len(json.dumps(quick).encode()) < 3_000_000
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    scripts = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    assert len(scripts) == 3
    for script in scripts:
        assert b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=[\"']?(https?:)?//", page)


def hostile(data):
    """The same values, with names and reasons that are none of ours."""
    methods = [{**one, "label": one["label"] + HOSTILE, "method": HOSTILE} for one in data["methods"]]
    settings = [{**one, "dataset": one["dataset"] + HOSTILE, "title": one["title"] + HOSTILE} for one in data["settings"]]
    families = [{**one, "name": one["name"] + HOSTILE, "reason": one["reason"] and HOSTILE} for one in data["families"]]
    trials = [[*trial[:4], "failed", HOSTILE, *trial[6:]] for trial in data["trials"]]
    board = {**data["board"], "title": HOSTILE, "source": HOSTILE, "warnings": [HOSTILE], "commands": [HOSTILE], "provenance": HOSTILE}
    rows = [[HOSTILE if isinstance(value, str) else value for value in row] for row in data["rows"]]
    return {**data, "board": board, "methods": methods, "settings": settings, "families": families, "trials": trials, "rows": rows}


def test_a_hostile_name_stays_text_in_the_page(quick, tmp_path):
    page = board_page(hostile(quick))
    assert data_in(page) == hostile(quick)
    assert "<img" not in re.sub(r'<script type="module">.*?</script>', "", page, flags=re.DOTALL)
    write_site(tmp_path, [hostile(quick), {**quick, "board": {**quick["board"], "source": "b", "title": HOSTILE}}])
    assert "<img" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_form_of_the_page_can_be_checked(site):
    assert is_site(site)
    assert checked_site(site) == (checked_site(site).__class__)((), ())


@pytest.mark.parametrize("path", [("rows", 3, 8), ("families", 4, "tests", 2, 5), ("trials", 7, 6, 0), ("board", "metric")])
def test_a_number_changed_in_a_page_is_found(site, path):
    page = site / "index.html"
    text = page.read_text(encoding="utf-8")
    data = data_in(text)
    spot = data
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = "f1_macro" if path[-1] == "metric" else 0.123
    page.write_text(text.replace(text.partition('id="bench-data">')[2].partition("</script>")[0], json.dumps(data)), encoding="utf-8")
    found = checked_site(site)
    assert found.stale == (page,)
    assert len(found.mismatches) == 1
    done = CliRunner().invoke(main, ["leaderboard", "--check", str(site)])
    assert done.exit_code == 1
    assert "stale" in done.output
    assert "--site" in done.output


def test_another_version_of_a_library_is_no_change(site):
    page = site / "index.html"
    page.write_text(page.read_text(encoding="utf-8").replace("DataTables", "DataTables of next year"), encoding="utf-8")
    assert checked_site(site).stale == ()


def test_the_site_of_all_boards_has_a_list_and_says_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    folders = [f"leaderboards/{folder.name}" for folder in BOARDS]
    done = CliRunner().invoke(main, ["leaderboard", "--site", str(tmp_path), *folders, "--json"])
    assert json.loads(done.output)["files"] == sorted(["index.html", *(f"{folder.name}.html" for folder in BOARDS)])
    assert CliRunner().invoke(main, ["leaderboard", "--check", str(tmp_path)]).exit_code == 0
    with Folder(QUICK) as found:
        trials = len(list(found.records()))
    index = tmp_path / "index.html"
    index.write_text(index.read_text(encoding="utf-8").replace(f">{trials}<", f">{trials + 1}<"), encoding="utf-8")
    assert checked_site(tmp_path).stale == (index,)


def test_a_committed_site_is_checked_with_the_boards(site, monkeypatch):
    monkeypatch.chdir(site.parent)
    (site.parent / "leaderboards").mkdir()
    shutil.copytree(QUICK, site.parent / "leaderboards" / "quick")
    assert CliRunner().invoke(main, ["leaderboard", "--check"]).output.splitlines() == ["ok     leaderboards/quick  ", "ok     site  "]
    shutil.move(site.parent / "leaderboards" / "quick", site.parent / "leaderboards" / "renamed")
    done = CliRunner().invoke(main, ["leaderboard", "--check", "site"])
    assert done.exit_code == 2
    assert "shows 'leaderboards/quick', which is neither here nor above the site" in done.output


def test_a_published_board_is_printed_as_well():
    done = CliRunner().invoke(main, ["leaderboard", "--from", str(QUICK), "--json"])
    assert json.loads(done.output) == json.loads(json.dumps(board_of(QUICK).as_json()))
    for options in (["--from", str(QUICK), "--metric", "auroc"], ["--publish", "x"]):
        assert CliRunner().invoke(main, ["leaderboard", "--site", "y", *options]).exit_code == 2
    assert not Path("y").exists()


def test_pages_of_boards_that_left_the_site_go(tmp_path, quick):
    other = {**quick, "board": {**quick["board"], "source": "other"}}
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    write_site(tmp_path, [quick, other])
    write_site(tmp_path, [quick])
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "mine.html"}


def test_two_boards_of_one_name_are_refused(tmp_path, quick):
    twice = [{**quick, "board": {**quick["board"], "source": source}} for source in ("a/quick", "b/Quick")]
    with pytest.raises(UsageError, match=r"share the page Quick.html, the second is b/Quick"):
        write_site(tmp_path, twice)
    with pytest.raises(UsageError, match="folder of its own"):
        write_site(QUICK, [quick])


def test_a_board_without_its_tests_says_how_to_get_them(tmp_path):
    folder = tmp_path / "quick"
    shutil.copytree(QUICK, folder, ignore=shutil.ignore_patterns("significance.json"))
    with pytest.raises(UsageError, match=r"significance.json cannot be read .* --render"):
        published_data(folder)
    (folder / "significance.json").write_text("{}")
    with pytest.raises(UsageError, match="do not belong together"):
        published_data(folder)


def test_absent_libraries_are_named(tmp_path, quick, monkeypatch):
    from bench.leaderboard.site import page

    monkeypatch.setattr(page, "PACKAGES", {"no_such_module": "itables", "json": "jinja2"})
    with pytest.raises(UsageError, match=r"needs itables, not installed here; pip install 'missing-modality-bench\[site\]'"):
        write_site(tmp_path, [quick])


def test_a_page_names_no_folder_of_this_machine(tmp_path, monkeypatch):
    shutil.copytree(QUICK, tmp_path / "elsewhere" / "quick")
    monkeypatch.chdir(tmp_path / "elsewhere")
    inside = published_data(tmp_path / "elsewhere" / "quick")
    monkeypatch.chdir(ROOT)
    outside = published_data(tmp_path / "elsewhere" / "quick")
    assert inside["board"]["option"] == "--from quick"
    assert outside["board"]["option"] == "--from leaderboards/quick"
    assert str(tmp_path) not in json.dumps([inside, outside])


def test_a_failed_trial_stands_with_its_reason(quick):
    with Folder(QUICK) as folder:
        answers = folder.answers()
    first = answers.records[0]
    broken = Record(first.trial, "failed", "out of memory", {}, {}, Facts(), first.provenance)
    changed = replace(answers, records=[broken, *answers.records[1:]])
    data = site_data(changed, (QUICK / "table.csv").read_text(), (QUICK / "significance.json").read_text(), "x", "")
    trial = next(trial for trial in objects(data, "trials", "trial_columns") if trial["id"] == first.trial.id)
    assert (trial["status"], trial["reason"], trial["scores"][0]) == ("failed", "out of memory", None)


def test_the_digest_is_of_the_numbers(quick):
    again = json.loads(json.dumps(quick))
    assert digest(again) == digest(quick)
    again["rows"][0][8] = 0.5
    assert digest(again) != digest(quick)


def test_a_results_folder_has_the_page_of_its_board(tmp_path, monkeypatch):
    from bench.leaderboard import publish

    monkeypatch.chdir(tmp_path)
    methods = ["constant", "best-single"]
    bench.run("quick", methods=methods, datasets="breast-cancer", protocols="mcar(0.3)", seeds="0-1", out="results", quiet=True)
    data = results_data(Path("results"))
    assert data["board"]["option"] == "--out results"
    from bench.records.folder import answers_of

    publish(Path("board"), answers_of("results"), draw=False)
    theirs = published_data(Path("board"))
    for key in ("rows", "trials", "families", "methods", "settings"):
        assert data[key] == theirs[key]
    done = CliRunner().invoke(main, ["leaderboard", "--out", "results", "--site", "site"])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(main, ["leaderboard", "--check", "site"]).exit_code == 0
