"""bench/leaderboard/widths.py and the pages: every table fits the column of a page on GitHub, whatever board it is of."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.leaderboard import build, pages
from bench.leaderboard.widths import COLUMN, FIRST, fitted, shown, width, with_breaks
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import Answers
from bench.records.facts import Facts, Origin
from bench.records.predictions import Predictions
from bench.records.record import Record

ROOT = Path(__file__).parents[2]
COMMITTED = sorted([ROOT / "README.md", *(ROOT / "leaderboards").glob("**/*.md")])
SUITE = Suite("made", (Settings(("digits",)),), methods=("muse",))
BASE = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NE",
    protocol="mcar(0.1)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip
ROLES = ("muse", "mmformer", "shaspec", "fusemoe", "m3care", "mean-mlp", "mean-logistic", "best-single", "gradient-boosting", "constant")


def record_of(trial, hits, rows=20):
    target = np.arange(rows) % 2
    right = np.random.default_rng([trial.seed, hits]).permutation(rows) < hits
    scores = np.where((np.eye(2)[target] == 1) == right[:, None], 0.8, 0.2).astype(np.float32)
    facts = Facts.from_json({"histogram": [10, 10], "rows": {"test": rows}, "missing": {"test": 0.25}, "masks": {"test": "m"}})
    cost = {
        "gflops_per_sample": 1.23456e-05, "parameters": 123_456_789, "active_parameters": 12_345_678, "latency_ms_64": 12345.6,
        "peak_memory_mb": 123_456.7, "train_seconds": 123_456.7,
    }  # fmt: skip
    where = Origin.from_json({"commit": "abc", "dirty": False, "hardware_id": "11aa", "device": "cpu"})
    metrics = {"accuracy": hits / rows, "f1_macro": hits / rows, "auroc": hits / rows}
    return Record(trial, "done", None, metrics, cost, facts, where), Predictions(np.array([f"r{i}" for i in range(rows)]), target, scores)


def made(methods, datasets, rates, combinations=("NE",), seeds=2):
    """A board of methods (name and options) in every setting of datasets, rates and combinations."""
    pairs = []
    for number, (name, options) in enumerate(methods):
        for place, dataset in enumerate(datasets):
            for rate in rates:
                for combination in combinations:
                    for seed in range(seeds):
                        trial = replace(
                            BASE, method=name, options=options, dataset=dataset, protocol=f"mcar({rate})", seed=seed,
                            combination=combination, fingerprint=f"of {dataset}", preset="default" if name == "constant" else "paper",
                        )  # fmt: skip
                        pairs.append(record_of(trial, 19 - (number + place + seed) % 12))
    return build(Answers(SUITE, [record for record, _ in pairs], {record.trial.id: arrays for record, arrays in pairs}))


def tables_of(text):
    """(section, head, rows, titles of texts) of every table of a page."""
    for section in re.split(r"\n(?=#{1,2} )", f"\n{text}"):
        for block in re.findall(r"(?:^\|.*\|\n?)+", section, re.MULTILINE):
            head, align, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.strip().splitlines())
            yield section, head, rows, [title for title, side in zip(head, align, strict=True) if not side.endswith(":")]


def assert_fits(text, name):
    seen = set()
    for section, head, rows, texts in tables_of(text):
        title = section.strip().partition("\n")[0]
        found = width(head, rows, texts)
        assert found <= COLUMN, f"{name}, {title}: {found:.0f} pixels, {head}"
        before = section.partition("|")[0]
        if title not in seen and "<details>" not in before:
            assert len(head) <= FIRST, f"{name}, {title}: {len(head)} columns, {head}"
        seen.add(title)


OPTIONS = {"learning_rate": 0.0001, "width": 128, "dropout": 0.25, "auxiliary_weight": 0.5}
MANY = [(name, {}) for name in ROLES]
BOARDS = {
    "one setting": lambda: made(MANY, ["digits"], [0.3]),
    "one method": lambda: made([("muse", {})], ["digits"], [0.3]),
    "many rates": lambda: made(MANY[:3], ["digits"], [round(0.05 * step, 2) for step in range(1, 15)]),
    "many combinations": lambda: made(MANY[:3], ["digits"], [0.1, 0.3], ["N", "E", "W", "S", "NE", "NW", "NS", "EW", "NEWS"]),
    "many datasets": lambda: made(MANY, [f"a-dataset-number-{number}" for number in range(12)], [0.1]),
    "many methods": lambda: made([("muse", {"width": 8 * n}) for n in range(1, 31)], ["digits", "support2"], [0.1]),
    "long methods": lambda: made([("shaspec", {**OPTIONS, "seed": n}) for n in range(4)] + [("constant", {})], ["digits"], [0.1, 0.3]),
    "long datasets": lambda: made(MANY[:3], [f"{'a_very_long_name_' * 5}{n}.toml" for n in range(3)], [0.1]),
}  # fmt: skip


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: str(path.relative_to(ROOT)))
def test_committed_page_fits_the_column(path):
    assert_fits(path.read_text(encoding="utf-8"), path.name)


@pytest.mark.parametrize("name", BOARDS)
def test_page_of_any_board_fits_the_column(name):
    for page, text in pages(BOARDS[name]()).items():
        assert_fits(text, page)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
@pytest.mark.parametrize("name", ["many datasets", "long methods", "long datasets"])
def test_no_table_scrolls_in_a_browser(name, tmp_path):
    markdown = pytest.importorskip("markdown")
    style = (
        "body{width:842px;margin:0;font:16px/1.5 'Noto Sans',Helvetica,Arial,sans-serif}td,th{padding:6px 13px;border:1px solid}"
        "table{display:block;width:max-content;max-width:100%;overflow:auto;border-collapse:collapse}"
    )
    script = "document.title=[...document.querySelectorAll('table')].filter(t=>t.scrollWidth>t.clientWidth).length+' scroll'"
    for page, text in list(pages(BOARDS[name]()).items())[:2]:
        opened = text.replace("<details>", '<details open markdown="1">')
        body = markdown.markdown(opened, extensions=["tables", "md_in_html", "fenced_code"])
        file = tmp_path / f"{page}.html"
        file.write_text(f"<meta charset=utf-8><style>{style}</style>{body}<script>{script}</script>", encoding="utf-8")
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom", file.as_uri()]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        assert "<title>0 scroll</title>" in found, page


def test_wide_table_is_cut_into_tables_that_each_begin_with_the_first_column():
    head = ["Method", *(f"a-long-title-{number}" for number in range(20))]
    body = [[f"m{row}", *(f"{row}.{number}" for number in range(20))] for row in range(2)]
    found = list(tables_of("\n".join(fitted(head, body, ["Method"]))))
    assert len(found) > 1
    assert [title for _, own, _, _ in found for title in own if title != "Method"] == head[1:]
    assert all(own[0] == "Method" and [row[0] for row in rows] == ["m0", "m1"] for _, own, rows, _ in found)
    sizes = [len(own) for _, own, _, _ in found]
    assert max(sizes) - min(sizes) <= max(sizes) // 2, "cut into about equal parts"


def test_table_that_fits_stays_one_and_keeps_its_blanks():
    assert fitted(["Method", "Score"], [["a b", "1.0 ± 0.1 (3)"]], ["Method"])[-1].splitlines()[-1].split("|")[2].strip() == "1.0 ± 0.1 (3)"


def test_numbers_of_a_full_table_do_not_break():
    head, row = ["Method", *(f"c{number}" for number in range(4))], ["a method with many words " * 6, *["1.0 ± 0.1 [2, 3]"] * 4]
    assert "1.0\u00a0±\u00a00.1\u00a0[2,\u00a03]" in fitted(head, [row], ["Method"])[-1]
    assert "a method with" in fitted(head, [row], ["Method"])[-1]
    assert "\u00a0" not in "".join(fitted(head, [row], ["Method"], breaks=False))


def test_long_word_may_break_and_its_address_may_not():
    name = "shaspec[learning_rate=0.0001,width=128,dropout=0.25]"
    assert with_breaks(name).replace("<wbr>", "") == name
    assert max(map(len, with_breaks(name).split("<wbr>"))) <= 32
    link = f"[{'a' * 50}]({'b' * 50}.md)"
    assert with_breaks(link).endswith(f"]({'b' * 50}.md)")
    assert "<wbr>" in with_breaks(link)
    assert with_breaks("dropout-transformer (reference)") == "dropout-transformer (reference)"
    assert shown("**[muse](a.md)** ● x\\|y") == "muse ● x|y"
