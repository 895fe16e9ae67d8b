"""The page of claims says what the published boards say."""

import csv
import json
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from bench.choosing import BOARDS
from bench.claims import ABLATIONS, SUBJECT, Board, ablation, against_subject, leading, page, printed_first

ROOT = Path(__file__).parent.parent.parent
ROLES = {"mean-logistic": "reference"}


def board(folder, name, settings, hp=()):
    """A board of one dataset; settings: protocol -> label -> score; 5 points apart is significant. `hp`: labels of tuned rows."""
    rows, tests = [], []
    for protocol, scores in settings.items():
        for label, score in scores.items():
            method = label.replace(" tuned (2 suggestions)", "[width=64]")
            rows.append({
                "dataset": "cats", "combination": "AB", "protocol": protocol, "method": method, "preset": "paper", "mean": score,
                "sd": 0.01, "role": ROLES.get(label, "paper"), "hp": "tuned" if label in hp else "default", "n": 5,
                "rank": 1.0, "verdict": "",
            })  # fmt: skip
        for a, b in combinations(scores, 2):
            d = scores[a] - scores[b]
            verdict = "undecided" if abs(d) < 0.05 else "better*" if d > 0 else "worse"
            tests.append({"family": f"cats (AB), {protocol}", "a": a, "b": b, "difference": d, "interval": [d - 0.02, d + 0.01],
                          "p_adjusted": 0.01, "verdict": verdict})  # fmt: skip
    (folder / name).mkdir(parents=True)
    pd.DataFrame(rows).to_csv(folder / name / "table.csv", index=False)
    families = [{"name": f"cats (AB), {protocol}", "methods": list(scores)} for protocol, scores in settings.items()]
    text = json.dumps({"metric": "accuracy", "families": families, "tests": tests})
    (folder / name / "significance.json").write_text(text)
    return Board(folder / name)


def test_committed_page_is_what_the_boards_say():
    committed = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    assert committed == page(BOARDS), "docs/claims.md is stale: python -m bench.claims > docs/claims.md"


def test_a_test_read_from_the_other_side_turns_sign_interval_and_verdict(tmp_path):
    made = board(tmp_path, "one", {"natural": {"muse": 0.9, SUBJECT: 0.8}})
    setting = ("cats", "AB", "natural")
    there, back = made.test(setting, "muse", SUBJECT), made.test(setting, SUBJECT, "muse")
    assert (there["verdict"], back["verdict"]) == ("better", "worse")
    assert there["difference"] == -back["difference"] == pytest.approx(10)
    assert (there["low"], there["high"]) == pytest.approx((8, 11))
    assert (back["low"], back["high"]) == pytest.approx((-11, -8))


def test_leading_tells_the_first_place_from_a_significant_one(tmp_path):
    first = {SUBJECT: 0.9, "muse": 0.8, "shaspec": 0.89, "mean-logistic": 0.96}
    clear = {SUBJECT: 0.9, "muse": 0.8, "shaspec": 0.81, "mean-logistic": 0.7}
    found = leading([board(tmp_path, "one", {"natural": first, "mcar(0.3)": clear})]).set_index("setting")
    weak, strong = found.loc[[("cats", "AB", "natural")]].iloc[0], found.loc[[("cats", "AB", "mcar(0.3)")]].iloc[0]
    assert (weak.place, weak.place_published, weak.best, weak.published) == (2, 1, "mean-logistic", "shaspec")
    assert not weak.better_than_published
    assert weak.worse_than_some
    assert (strong.place, strong.published) == (1, "shaspec")
    assert strong.better_than_published
    assert not strong.worse_than_some


def test_setting_on_two_boards_counts_once(tmp_path):
    scores = {"mcar(0.3)": {SUBJECT: 0.9, "muse": 0.8}}
    found = leading([board(tmp_path, "one", scores), board(tmp_path, "two", scores)])
    assert list(found.board) == ["one"]


def test_ablation_is_the_full_method_less_the_changed_one(tmp_path):
    scores = {SUBJECT: 0.8, **dict.fromkeys(ABLATIONS, 0.79), "moe-retriever[routing=none]": 0.7}
    found = ablation(board(tmp_path, "open-table3", {"natural": scores})).set_index("label")
    assert len(found) == len(ABLATIONS)
    assert found.test["moe-retriever[routing=none]"]["difference"] == pytest.approx(10)
    assert found.test["moe-retriever[routing=none]"]["verdict"] == "better"
    assert found.test["moe-retriever[n_shared=1]"]["verdict"] == "undecided"


def test_tuned_rows_are_found_by_the_name_the_tests_give_them(tmp_path):
    names = ["shaspec tuned (2 suggestions)", "moe-retriever tuned (2 suggestions)"]
    scores = {SUBJECT: 0.8, "shaspec": 0.7, names[0]: 0.81, names[1]: 0.9}
    found = against_subject(board(tmp_path, "tuned", {"natural": scores}, hp=names)).set_index("label")
    assert set(found.index) == {"shaspec", names[0]}
    assert found.tests[names[0]][SUBJECT]["difference"] == pytest.approx(1)
    assert found.tests[names[0]][names[1]]["verdict"] == "worse"


def test_cells_of_the_printed_tables_are_counted_by_their_highest_mean():
    cells = {}
    for row in csv.DictReader((ROOT / "bench" / "paper_tables.csv").read_text(encoding="utf-8").splitlines()):
        if row["table"] in ("1", "2", "4"):
            cells.setdefault((row["table"], row["dataset"], row["modality"], row["noise"], row["metric"]), []).append(row)
    best = [max(rows, key=lambda row: float(row["mean"]))["method"] for rows in cells.values()]
    assert all(len(rows) == 6 for rows in cells.values())
    assert printed_first() == (best.count("MoE-Retriever"), len(best))
