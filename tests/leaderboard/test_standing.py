"""bench/leaderboard/standing.py and what pages make of it: who beats the floor, what a collapse is, what was found in the data."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from bench.comparison.compare import compare
from bench.leaderboard import build, markdown, pages
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import Answers
from bench.records.facts import Facts, Origin
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.records.scoring import is_collapsed, scored

ROWS = 250
POSITIVE = np.arange(ROWS) < 31  # 87.6 % are of the other class
SUITE = Suite("own", (Settings(("study",)),), methods=("muse", "fusemoe", "constant"))
BASE = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="study", dataset_options={}, combination="AB",
    protocol="natural", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip
IDS = np.array([f"r{row}" for row in range(ROWS)])


def made(method, positive, seed=0, concerns=(), **changes):
    """A record of the scores of class 1, and its predictions."""
    trial = replace(BASE, method=method, seed=seed, **changes)
    positive = np.broadcast_to(np.asarray(positive, dtype=float), ROWS)
    scores = np.column_stack([1 - positive, positive])
    target = POSITIVE.astype(np.int64)
    metrics, reasons, histogram = scored(target, scores)
    facts = Facts(
        rows={"train": 900, "test": ROWS}, masks={"test": "m"}, histogram=histogram, metric_reasons=reasons, ended="2026-01-02T03:04:05",
        concerns=list(concerns),
    )  # fmt: skip
    where = Origin(commit="abc", dirty=False, hardware_id="11", device="cpu")
    return Record(trial, "done", None, metrics, {}, facts, where), Predictions(IDS, target, scores)


def noise(seed, centre, spread=0.05, shift=0.0):
    """Scores of class 1 around a centre, `shift` higher where it is right."""
    return np.clip(centre + shift * POSITIVE + spread * np.random.default_rng(seed).normal(size=ROWS), 0, 1)


def answers_of(pairs, metric="accuracy", **changes):
    suite = replace(SUITE, metric=metric, **changes)
    return Answers(suite, [record for record, _ in pairs], {record.trial.id: found for record, found in pairs}, commands=["bench run"])


def board_of(pairs, metric="accuracy", **changes):
    return build(answers_of(pairs, metric, **changes))


def flat(seeds=3):
    """Everyone says the largest class to all but a few, and is hardly ever right with those."""
    pairs = []
    for seed in range(seeds):
        pairs += [made("muse", noise(seed, 0.35, 0.1), seed), made("fusemoe", noise(seed + 10, 0.4, 0.1), seed)]
        pairs.append(made("constant", 0.124, seed))
    return pairs


def test_where_nothing_beats_the_largest_class_pages_say_so():
    board = board_of(flat())
    assert board.settings[0].beats_floor == ()
    said = "nothing beats the largest class (87.6): accuracy cannot tell methods apart here"
    assert said in markdown(board)
    found = pages(board)
    assert said in found["README.md"]
    assert said in found["study.md"]
    assert board.as_json()["settings"][0]["beats_floor"] == []


def test_a_method_above_the_floor_ends_it_and_by_auroc_it_is_told_apart():
    told_apart = [made("muse", noise(seed, 0.3, 0.05, shift=0.4), seed) for seed in range(3)]
    board = board_of([*flat()[1::3], *flat()[2::3], *told_apart])
    assert board.settings[0].beats_floor == ("muse",)
    assert "nothing beats" not in markdown(board)
    ranks_well = [made("muse", noise(seed, 0.1, 0.02, shift=0.1), seed) for seed in range(3)]
    pairs = [*ranks_well, *flat()[2::3]]
    assert "nothing beats the largest class" in markdown(board_of(pairs))
    assert "nothing beats" not in markdown(board_of(pairs, metric="auroc"))


def test_scores_without_a_signal_do_not_beat_a_constant_prediction():
    said = "nothing beats a constant prediction (50.0): auroc cannot tell methods apart here"
    assert said in markdown(board_of(flat(), metric="auroc"))


def test_of_several_settings_those_are_counted_in_which_nothing_beats_it():
    elsewhere = [(replace(record, trial=replace(record.trial, protocol="mcar(0.3)")), found) for record, found in flat()]
    good = [made(method, noise(seed, 0.3, 0.05, 0.4), seed, protocol="mcar(0.5)") for method in ("muse", "fusemoe") for seed in range(3)]
    good += [made("constant", 0.124, seed, protocol="mcar(0.5)") for seed in range(3)]
    page = pages(board_of([*flat(), *elsewhere, *good]))["README.md"]
    assert "In 2 of 3 settings nothing beats the largest class (87.6): accuracy cannot tell methods apart there." in page


@pytest.mark.parametrize("without", ["a floor", "a second seed", "one experiment"])
def test_nothing_is_claimed_of_the_floor_where_it_is_not_tested(without):
    pairs = {"a floor": flat()[:2] + flat()[3:5], "a second seed": flat(1), "one experiment": flat()}[without]
    if without == "one experiment":
        record, found = pairs[0]
        pairs[0] = replace(record, provenance=replace(record.provenance, commit="other")), found
    board = board_of(pairs)
    assert board.settings[0].beats_floor is None
    assert "nothing beats" not in markdown(board)


# what a collapse is


def test_one_predicted_class_is_no_collapse_where_the_metric_looks_at_scores():
    pairs = [made("muse", noise(seed, 0.2, 0.02, shift=0.1), seed) for seed in range(2)] + flat()[2::3]
    flags = {metric: board_of(pairs, metric=metric).settings[0].by_label["muse"].flags for metric in ("accuracy", "auroc", "brier")}
    assert flags == {"accuracy": ("collapsed 2/2",), "auroc": (), "brier": ()}


def test_constant_scores_are_a_collapse_whatever_the_metric():
    pairs = [made("muse", 0.3, 0), made("muse", noise(1, 0.3), 1)]
    for metric in ("auroc", "auprc", "brier", "ece"):
        board = board_of(pairs, metric=metric)
        assert board.settings[0].by_label["muse"].flags == ("collapsed 1/2",)
        assert "`collapsed k/n`: k trials give every sample the same scores" in markdown(board)
    assert "k trials predict one class for every sample" in markdown(board_of(pairs))


def test_what_the_fifth_digit_tells_is_no_variation_however_rare_the_class():
    for share in (0.3, 0.001):
        almost, varied = (made("muse", share * (1 + size * np.linspace(0, 1, ROWS))) for size in (5e-5, 5e-3))
        assert (is_collapsed(almost[0], "auroc", almost[1]), is_collapsed(varied[0], "auroc", varied[1])) == (True, False)


def test_without_predictions_an_auroc_of_a_half_tells():
    constant, varied = made("muse", 0.3)[0], made("muse", noise(0, 0.3))[0]
    assert (is_collapsed(constant, "auroc"), is_collapsed(varied, "auroc"), is_collapsed(varied, "accuracy")) == (True, False, True)
    unknown = replace(varied, metrics={**varied.metrics, "auroc": math.nan})
    assert is_collapsed(unknown, "auroc")


# the box about the data, and what was chosen for them


def test_what_was_found_in_the_data_stands_in_a_box_on_each_page():
    concerns = ("60 of 60 rows <of test> look like one patient's", "one class holds 87.6 %")
    pairs = [(replace(r, facts=replace(r.facts, concerns=list(concerns))), found) for r, found in flat()]
    found = pages(board_of(pairs))
    for page in (found["README.md"], found["study.md"], markdown(board_of(pairs))):
        assert "> **About these data** (`bench data check`):\n>\n> - study: 60 of 60 rows &lt;of test> look like" in page
        assert page.count("one class holds 87.6 %") == 1
    assert "About these data" not in pages(board_of(flat()))["README.md"]


def test_what_was_chosen_for_the_data_is_said_with_how_it_was_run():
    answers = answers_of(
        flat(), metric="auroc", by_default={"metric": "auroc, for 87.6 % are alive", "seeds": "0-4, for each draws a split"}
    )
    assert "- metric = auroc, for 87.6 % are alive.\n- seeds = 0-4" in markdown(build(answers))
    by_accuracy = markdown(build(answers.by("accuracy")))
    assert ("metric = auroc" in by_accuracy, "- seeds = 0-4" in by_accuracy) == (False, True)


# a pair that was picked from a board


def three():
    return [
        made(method, noise(10 * seed + number, 0.3, 0.1, shift), seed)
        for number, (method, shift) in enumerate((("muse", 0.25), ("fusemoe", 0.2), ("shaspec", 0.1)))
        for seed in range(4)
    ]


def test_a_pair_shows_the_boards_p_beside_its_own_and_says_why_they_differ():
    answers = answers_of(three())
    found = compare(answers, "muse", "shaspec")
    difference, test = found.differences[0], build(answers).settings[0].tests.between("muse", "shaspec")
    assert (difference.board_p, difference.board_pairs) == (test.p_adjusted, 3)
    assert difference.p < difference.board_p
    assert found.text.count("picked after looking at them") == 1
    assert "on the board, of 3 pairs)" in found.text
    assert "p on the board" in found.text
    [entry] = json.loads(json.dumps(found.as_json()["settings"]))
    assert (entry["p_board"], entry["board_pairs"]) == (test.p_adjusted, 3)


def test_of_two_methods_there_is_no_other_pair_to_pick():
    found = compare(answers_of(three()[:8]), "muse", "fusemoe")
    assert math.isnan(found.differences[0].board_p)
    assert "board" not in found.text


def test_a_pair_that_was_named_ahead_of_its_looks_needs_no_allowance_for_the_board():
    answers = answers_of(three(), methods=("muse", "fusemoe", "shaspec"), seeds=(0, 1), until_resolved=("muse,fusemoe",), max_seeds=4)
    found = compare(answers, "muse", "fusemoe")
    assert found.differences[0].looks is not None
    assert found.differences[0].board_pairs == 0
