"""bench/records/page.py: stored trials as text, and `bench.show` as its door."""

import pytest
from click.testing import CliRunner

import bench
from bench.cli import main
from bench.errors import UsageError


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    options = {"datasets": "breast-cancer", "noise": [0.3, 0.5], "test_noise": [0.5]}
    bench.run(methods=["constant", "mean-logistic"], seeds=range(2), out=folder, quiet=True, **options)
    return folder


def test_show_without_a_trial_is_the_tidy_table(out):
    assert bench.show(out=out).equals(bench.results(out))
    picked = bench.show(out=out, methods="mean-logistic", settings="breast-cancer mcar(0.5)")
    assert list(picked["seed"]) == [0, 1]
    assert set(picked["method"]) == {"mean-logistic"}
    assert bench.show(out=out, methods=["constant", "mean-logistic"], settings=["mcar(0.3)"]).shape[0] == 4


def test_show_of_one_trial_prints_the_page_of_the_command(out):
    id_ = bench.results(out)["id"][0]
    page = bench.show(id_[:8], out)
    assert str(page) + "\n" == CliRunner().invoke(main, ["show", id_[:8], "--out", str(out)]).stdout
    titles = [title for title, _ in page.sections()]
    assert titles == [
        "trial",
        "status",
        "metrics",
        "cost",
        "facts",
        "provenance",
        "evaluations",
        "repeat it and compare the bits",
        "repeat it",
    ]
    assert dict(page.sections())["repeat it and compare the bits"] == f"  bench reproduce {id_} --out {out}"
    assert page.as_json()["id"] == id_
    assert page.as_json()["facts"]["test_evaluations"] == 1


def test_published_trials_are_shown_with_their_folder(out, tmp_path):
    CliRunner().invoke(main, ["leaderboard", "--out", str(out), "--publish", str(tmp_path / "board")])
    id_ = bench.results(out)["id"][0]
    page = bench.show(id_, published=tmp_path / "board")
    assert f"bench reproduce {id_} --from {tmp_path / 'board'}" in str(page)
    assert len(bench.show(published=tmp_path / "board")) == 8


@pytest.mark.parametrize(
    ("options", "words"),
    [({"methods": "mean-logistics"}, "did you mean 'mean-logistic'"), ({"settings": "digits"}, "no setting fits 'digits'")],
)
def test_what_is_not_there_is_explained(out, options, words):
    with pytest.raises(UsageError, match=words):
        bench.show(out=out, **options)
