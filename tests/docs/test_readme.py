"""docs/sources/readme.py: README.md shows the board of real data as it is."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
OVERALL = """# A board

## Overall

|   Ranks | Method    | Group   |   Mean accuracy |   Gap closed % |
|--------:|:----------|:--------|----------------:|---------------:|
|     1-2 | **muse** ●| a       |        **82.1** |             65 |
|     1-2 | x\\|y      | a       |            82.0 |             64 |
| ceiling | *bayes*   |         |            90.0 |            100 |
|   floor | *constant*|         |            38.6 |              0 |

| Method    | Audit   | Flags   |
|:----------|:--------|:--------|
| muse      | passed  |         |
| x\\|y      | passed  | 1 flag  |
| *bayes*   | passed  |         |
| *constant*| passed  |         |

## Other
"""
DATA = {
    "kind": "intervals", "labels": ["mmformer", "moe-retriever@as_released", "mean-mlp"], "roles": ["paper", "paper", "reference"],
    "ranks": [1.2, 2.0, 2.8], "low": [1, 1, 3], "high": [2, 2, 3], "what": "real", "datasets": 2,
    "settings": 4, "seeds": 3, "pairs": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def readme(source):
    return source("readme")


@pytest.fixture
def board(tmp_path):
    (tmp_path / "README.md").write_text(OVERALL, encoding="utf-8")
    return tmp_path


def placed(*rows):
    """Places of methods: label, its own name, role, mean rank, lowest, highest, nobody better."""
    return pd.DataFrame(rows, columns=["label", "name", "role", "rank", "low", "high", "top"])


TWO = placed(("muse", "muse", "paper", 1.2, 1, 2, True), ("x|y", "x|y", "paper", 1.8, 1, 2, False))


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_table_has_the_first_rows_and_the_floor_in_five_columns(readme, board):
    head, _, *rows = map(cells, readme.excerpt(board, TWO).splitlines())
    assert head == ["Ranks", "Method", "Mean accuracy", "Gap closed %", "Audit"]
    assert rows == [
        ["1-2", "muse ●", "82.1", "65", "passed"], ["1-2", "x\\|y", "82.0", "64", "passed"],
        ["floor", "*constant*", "38.6", "0", "passed"],
    ]  # fmt: skip


def test_mean_over_datasets_of_several_metrics_is_called_what_the_board_calls_it(readme, board):
    page = (board / "README.md").read_text(encoding="utf-8").replace("|   Mean accuracy |", "|   Mean rank |   Mean score |")
    page = page.replace("**82.1**", "1.0 | **82.1**").replace("82.0", "2.0 | 82.0").replace("90.0", " | 90.0").replace("38.6", " | 38.6")
    (board / "README.md").write_text(page.replace("----------------:|---", "--:|---:|---"), encoding="utf-8")
    head, _, first, *_ = map(cells, readme.excerpt(board, TWO).splitlines())
    assert (head[2], first[2]) == ("Mean score", "82.1")


def test_table_is_short_and_the_floor_is_always_in_it(readme, board, monkeypatch):
    monkeypatch.setattr(readme, "MOST", 1)
    assert [cells(line)[0] for line in readme.excerpt(board, TWO).splitlines()[2:]] == ["1-2", "floor"]


TUNED = "mean-mlp tuned at mcar(0.3) (20 suggestions)"


def test_tuned_row_stands_under_its_methods_own_name_in_the_place_of_the_default_row(readme, board):
    page = (board / "README.md").read_text(encoding="utf-8")
    for row, mean in (("mean-mlp (reference)", "70.0"), (f"{TUNED} (reference)", "71.0")):
        page = page.replace("| ceiling |", f"| 3-9 | {row} ●| a | {mean} | 50 |\n| ceiling |")
        page = page.replace("| *bayes*   | p", f"| {row} | passed | |\n| *bayes*   | p")
    (board / "README.md").write_text(page, encoding="utf-8")
    rows = readme.excerpt(board, placed((TUNED, "mean-mlp", "reference", 1.5, 1, 4, True))).splitlines()[2:]
    assert [cells(row)[:3] for row in rows] == [["1-4", "mean-mlp (reference) ●", "71.0"], ["floor", "*constant*", "38.6"]]


MUSE = "muse tuned at mcar(0.3) (20 suggestions)"


@pytest.fixture
def tuned():
    """A board of a method with two rows and two others. Its tests: `muse` less every other, tuned rows better than `c`."""
    labels = ["muse", MUSE, "b", "c"]
    means = [[0.9, 0.8, 0.7, 0.6], [0.5, 0.8, 0.9, 0.6]]
    better = np.zeros((4, 4), dtype=bool)
    better[1, 3] = better[0, 2] = True
    settings = [
        SimpleNamespace(metric="accuracy", seeds=(0,), rows=[SimpleNamespace(label=a, mean=m) for a, m in zip(labels, row, strict=True)])
        for row in means
    ]
    family = SimpleNamespace(labels=labels, better=better, size=6)
    rows = [
        SimpleNamespace(label=label, role="paper", mean_rank=9.0, place=SimpleNamespace(low=1, high=4)) for label in labels
    ]  # fmt: skip
    kind = SimpleNamespace(
        synthetic=False, what="real", settings=settings, distinct=settings, datasets=("d",), rows=rows,
        across=SimpleNamespace(over_settings=family),
    )  # fmt: skip
    return SimpleNamespace(overall=[kind])


def test_ranks_are_those_among_the_methods_shown_by_the_tests_of_the_board(readme, tuned):
    found = readme.places(tuned)
    assert found.name.tolist() == ["muse", "b", "c"]  # by mean rank: 1.5, 1.5 and 3
    assert found.label.tolist() == [MUSE, "b", "c"]
    assert found["rank"].tolist() == [1.5, 1.5, 3.0]
    assert found[["low", "high", "top"]].to_numpy().tolist() == [[1, 2, True], [1, 3, True], [2, 3, False]]
    data = readme.numbers(tuned)
    assert {key: data[key] for key in ("labels", "ranks", "low", "high", "pairs")} == {
        "labels": ["muse", "b", "c"], "ranks": [1.5, 1.5, 3.0], "low": [1, 1, 2], "high": [2, 3, 3], "pairs": 6,
    }  # fmt: skip


@pytest.fixture
def told(readme, monkeypatch):
    """The sentence above the table, and the places, where a board is a page alone."""
    monkeypatch.setattr(readme, "board_of", lambda folder: None)
    monkeypatch.setattr(readme, "sentence", lambda board: "So many.")
    monkeypatch.setattr(readme, "places", lambda board: TWO)


def test_only_what_lies_between_the_two_lines_is_written_anew(readme, board, told):
    text = "before\n<!-- board: real -->\nold\n\nolder\n<!-- /board -->\nafter | x\n"
    found = readme.page(text, board)
    assert found == f"before\n<!-- board: real -->\nSo many.\n\n{readme.excerpt(board, TWO)}\n<!-- /board -->\nafter | x\n"
    assert readme.page(found, board) == found


def test_sentence_says_how_many_and_how_tuned(readme):
    settings = [
        SimpleNamespace(dataset=name, noise=rate, metric="accuracy")
        for name in ("digits", "mosi-utterance", "mosi-utterance[split=standard]")
        for rate in (0.1, 0.3)
    ]
    settings.append(SimpleNamespace(dataset="support2", noise=None, metric="accuracy"))
    real = SimpleNamespace(synthetic=False, settings=settings, metric="accuracy")
    suite = SimpleNamespace(seeds=(0, 1, 2))
    found = readme.sentence(SimpleNamespace(overall=[real], winners=(), suite=suite))
    assert found == "Mean accuracy x 100 on 3 real datasets at missing rates 0.1 and 0.3, 3 seeds, one small budget, untuned."
    settings += [SimpleNamespace(dataset="eicu-demo", noise=rate, metric="auroc") for rate in (0.1, 0.3)]
    real.metric = "score"
    found = readme.sentence(SimpleNamespace(overall=[real], winners=(1,), suite=suite))
    assert found == "Mean score (accuracy, auroc on 1) x 100 on 4 real datasets at missing rates 0.1 and 0.3, 3 seeds, all tuned alike."


def test_page_without_the_two_lines_is_refused(readme, board):
    with pytest.raises(ValueError, match="needs one table between the lines"):
        readme.page("no table\n", board)


def test_picture_holds_what_the_board_says_of_ranks(readme):
    found = readme.board_of(ROOT / "leaderboards" / "real")
    data, table = readme.numbers(found), readme.excerpt(ROOT / "leaderboards" / "real", readme.places(found))
    rows = [cells(line)[:2] for line in table.splitlines()[2:]][:-1]
    assert len(rows) == min(readme.MOST, len(data["labels"]))
    assert [ranks for ranks, _ in rows] == [f"{low}-{high}" for low, high in zip(data["low"], data["high"], strict=True)][: len(rows)]
    assert all(method.startswith(label) for (_, method), label in zip(rows, data["labels"], strict=False))
    assert max(data["high"]) <= len(data["labels"])
    assert data["ranks"] == sorted(data["ranks"])
    told = pd.read_csv(ROOT / "leaderboards" / "real" / "table.csv")
    settings = told[["dataset", "combination", "protocol"]].drop_duplicates()
    bases = settings.dataset.str.partition("[")[0].nunique()  # two ways to split one dataset are one of them
    assert (data["datasets"], data["settings"], data["seeds"]) == (bases, len(settings), told.planned.max())


def test_same_numbers_give_the_same_bytes_and_other_numbers_another_hash(readme, tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg"):
        readme.plots.save(tmp_path / name, DATA, readme.DRAWERS["intervals"])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert readme.plots.hash_in(tmp_path / "a.svg") == readme.plots.hash_of(DATA)
    assert readme.plots.hash_of({**DATA, "low": [1, 2, 3]}) != readme.plots.hash_of(DATA)


def test_texts_of_the_picture_stay_inside_and_apart(readme):
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    with readme.plots.style():
        figure = readme.DRAWERS["intervals"](DATA)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw_without_rendering()
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        boxes = [text.get_window_extent(renderer) for text in texts]
    width, height = figure.get_size_inches() * figure.dpi
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]
    assert {"published method", "reference method"} <= {text.get_text() for text in texts}
