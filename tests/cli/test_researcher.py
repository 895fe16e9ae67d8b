"""A researcher comes with three messy tables and leaves with a published board: five commands, no Python."""

import datetime
import json

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.datasets.described.dataset import Described

PATIENTS = 240
BORN, ADMITTED = datetime.date(1940, 1, 1), datetime.date(2019, 3, 1)
STAGES = ("I", "II", "III", "IV")


def bench(*words):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output + result.stderr + str(result.exception)
    return result.stdout


def comma(number):
    return f"{number:.1f}".replace(".", ",")


@pytest.fixture
def truth(tmp_path, monkeypatch):
    """Writes the tables as a clinic might export them; returns what they mean.

    patients.csv: byte-order mark, semicolons, decimal commas, dates as 31.12.2019, gaps in three spellings, 12 % dead, a date of death.
    labs.csv: the id under another name, several visits, "<0.5", a code for no value. echo.tsv: ids read as floats elsewhere, none for many.
    """
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    dead = np.arange(PATIENTS) % 25 < 3
    found = {"dead": dead, "days": np.zeros(PATIENTS), "stage": np.zeros(PATIENTS), "weight": np.full(PATIENTS, np.nan)}
    found |= {"crp": np.full(PATIENTS, np.nan), "ef": np.full(PATIENTS, np.nan)}
    people, labs, echo = (
        ["patient_id;family;sex;born;admitted;stage;weight;insured;outcome;died\n"],
        ["PatientID,visit,crp,note\n"],
        ["case\tef\n"],
    )
    for row in range(PATIENTS):
        case, is_dead, note = 1001 + row, bool(dead[row]), "the sample was taken late at night"
        born = BORN + datetime.timedelta(days=int(rng.integers(15_000)) - 4000 * is_dead)
        admitted = ADMITTED + datetime.timedelta(days=int(rng.integers(700)))
        found["days"][row] = (admitted - born).days
        stage = int(rng.integers(1, 4) if is_dead else rng.integers(0, 3))
        found["stage"][row] = stage
        weight = "" if row % 9 == 4 else "n/a" if row % 11 == 5 else "unknown" if row % 31 == 7 else comma(rng.normal(78, 9))
        if weight[:1].isdigit():
            found["weight"][row] = float(weight.replace(",", "."))
        died = f"{admitted + datetime.timedelta(days=20):%d.%m.%Y}" if is_dead else ""
        people.append(
            f"{case};F{row // 2};{'mf'[row % 2] if row % 13 else ''};{born:%d.%m.%Y};{admitted:%d.%m.%Y};{STAGES[stage]};"
            f"{weight};yes;{'dead' if is_dead else 'alive'};{died}\n"
        )
        for visit in range(int(rng.integers(4)) if row % 3 else 0):
            crp = rng.normal(9 if is_dead else 3, 2)
            labs.append(f"{case},{admitted + datetime.timedelta(days=visit)},{'<0.5' if crp < 0.5 else f'{crp:.2f}'},{note}\n")
            found["crp"][row] = 0.25 if crp < 0.5 else round(crp, 2)
        if row % 5 < 3:
            found["ef"][row] = rng.integers(30, 70)
            echo.append(f"{case}.0\t{found['ef'][row] if row % 10 else -99:.0f}\n")
            found["ef"][row] = found["ef"][row] if row % 10 else np.nan
    for name, lines, encoding in (("patients.csv", people, "utf-8-sig"), ("labs.csv", labs, "utf-8"), ("echo.tsv", echo, "utf-8")):
        (tmp_path / name).write_text("".join(lines), encoding=encoding)
    return found


NEW = ("new", "dataset", "study.toml", "--from", "patients.csv", "labs.csv", "echo.tsv", "--id", "patient_id", "--label", "outcome")


def test_messy_tables_are_read_as_they_were_meant(truth):
    said = json.loads(bench(*NEW, "--group", "family", "--json"))
    samples = Described("study.toml").load()
    assert said["classes"] == {"alive": 210, "dead": 30}
    assert set(said["left_out"]["patients.csv"]) == {"family", "insured", "born", "outcome", "died"}
    assert (samples.target == truth["dead"]).all()
    assert [len(set(samples.groups.tolist())), samples.schema.combination] == [PATIENTS // 2, "PLE"]
    sex, (days, stage, weight) = samples.values["patients"][:, :2], samples.values["patients"][:, 2:].T
    assert np.isnan(sex[::13]).all()
    assert (sex[1::13].argmax(1) == 1 - np.arange(1, PATIENTS, 13) % 2).all()  # f before m
    for read, meant in (
        (days, "days"),
        (stage, "stage"),
        (weight, "weight"),
        (samples.values["labs"][:, 0], "crp"),
        (samples.values["echo"][:, 0], "ef"),
    ):
        np.testing.assert_allclose(read, truth[meant].astype(np.float32), equal_nan=True)
    assert (samples.observed[:, 1] == ~np.isnan(truth["crp"])).all()


@pytest.mark.slow
def test_five_commands_lead_from_messy_tables_to_a_published_board(truth, tmp_path):
    assert "bench data card study.toml" in bench(*NEW, "--group", "family")
    card = bench("data", "card", "study.toml")
    assert "'<0.5' read as 0.25" in card
    assert "12.5 %" in card
    checked = bench("data", "check", "study.toml")
    assert "87.5 % of the samples are of class 'alive'" in checked
    board = bench("run", "--datasets", "study.toml", "--methods", "constant,mean-logistic", "--noise", "0.3", "--seeds", "0-1", "-q")
    assert "study.toml (PLE), mcar(0.3)" in board
    bench("leaderboard", "--publish", "board")
    page = (tmp_path / "board" / "README.md").read_text(encoding="utf-8")
    assert "mean-logistic" in page
    assert str(tmp_path) not in page
    assert "ok" in bench("leaderboard", "--check", "board")
