"""What README.md shows of the board of real data between `<!-- board: real -->` and `<!-- /board -->`, a sentence and a table; its picture.

python docs/sources/readme.py     writes both
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from bench import stats
from bench.leaderboard import Board, Overall, board_of, plots
from bench.leaderboard.drawers import DRAWERS
from bench.names import parse_choice
from bench.question.winners import own_label
from bench.stats.metrics import METRICS
from bench.text import and_list, count, table
from standings import BOARDS, ROOT, shown

PAGE = ROOT / "README.md"
PICTURE = ROOT / "docs" / "pictures" / "ranks-real.svg"
BOARD = BOARDS / "real"
REFERENCE = " (reference)"  # behind the name of a simple method
COLUMNS = ("Ranks", "Method", "Mean", "Gap closed %", "Audit")  # the mean is of an accuracy, or of scores where datasets differ in metric
MOST = 12  # rows; the picture shows every method
MARKED = re.compile(r"(?<=<!-- board: real -->\n).*?(?=<!-- /board -->)", re.DOTALL)


def page(text: str | None = None, board: Path = BOARD) -> str:
    """README.md, or `text`, with what it shows of the board. Raises: ValueError if the lines around that are not there."""
    text = PAGE.read_text(encoding="utf-8") if text is None else text
    if len(MARKED.findall(text)) != 1:
        raise ValueError("README.md needs one table between the lines <!-- board: real --> and <!-- /board -->")
    found = board_of(board)
    return MARKED.sub(lambda _: f"{sentence(found)}\n\n{excerpt(board, places(found))}\n", text)


def sentence(board: Board) -> str:
    """What the table is of."""
    (real,) = (kind for kind in board.overall if not kind.synthetic)
    bases = {parse_choice(setting.dataset).name for setting in real.settings}
    rates = sorted({setting.noise for setting in real.settings if setting.noise is not None})
    tuned = "all tuned alike" if board.winners else "one small budget, untuned"
    return (
        f"Mean {_metric(real)} x 100 on {count(len(bases), 'real dataset')} at missing rates {and_list([f'{rate:g}' for rate in rates])}, "
        f"{len(board.suite.seeds)} seeds, {tuned}."
    )


def _metric(real: Overall) -> str:
    """The metric of all settings; where datasets have their own, of how many each is: `score (accuracy, auroc on 2)`."""
    datasets = Counter(setting.metric for setting in {setting.dataset: setting for setting in real.settings}.values())
    (first, _), *others = datasets.most_common()
    return f"{real.metric} ({', '.join([first, *(f'{metric} on {n}' for metric, n in others)])})" if others else real.metric


def places(board: Board) -> pd.DataFrame:
    """The methods that stand for themselves (see `standings.shown`), best first, with the ranks that each may have among them.

    Columns: `label` (on the board), `name` (its method's own), `role`, `rank` (mean over settings), `low`, `high`, `top` (nobody here is
    significantly better). Tests are the board's: of all its pairs, corrected together. Raises: ValueError if they place no method.
    """
    (real,) = (kind for kind in board.overall if not kind.synthetic)
    data = plots.intervals_data(real)
    labels = shown(data["labels"])
    assert real.across is not None  # else nothing has a place
    family = real.across.over_settings
    of_family = [family.labels.index(label) for label in labels]
    scores = [{row.label: METRICS[setting.metric].sign * row.mean for row in setting.rows} for setting in real.settings]
    ranks = pd.DataFrame(scores, columns=labels).rank(axis=1, ascending=False, na_option="bottom").mean()
    found = stats.standing(family.better[np.ix_(of_family, of_family)], ranks.to_numpy())
    roles = dict(zip(data["labels"], data["roles"], strict=True))
    columns = {"label": labels, "name": map(own_label, labels), "role": map(roles.get, labels), "rank": ranks.to_numpy()}
    table = pd.DataFrame(columns | {"low": found.low, "high": found.high, "top": found.top})
    return table.sort_values("rank", kind="stable", ignore_index=True)


def excerpt(board: Path, places: pd.DataFrame) -> str:
    """Some columns of the board's table over all settings: the first methods in their places, and the floor.

    A method that was tuned has its tuned row there, under its own name.
    """
    overall = (board / "README.md").read_text(encoding="utf-8").partition("## Overall\n\n")[2].partition("\n##")[0]
    cells_of: dict[str, dict[str, str]] = {}  # by method: the columns of all tables of the section
    for lines in re.findall(r"(?:^\|.*\|\n)+", overall, re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines.splitlines())
        for row in rows:
            found = {title: cell.replace("\\|", "|").replace("\u00a0", " ") for title, cell in zip(head, row, strict=True)}
            of_method = cells_of.setdefault(re.sub(r"[*●]", "", found["Method"]).strip().removesuffix(REFERENCE), {})
            of_method.update({title: cell for title, cell in found.items() if title not in of_method})
    (floor,) = (cells for cells in cells_of.values() if cells["Ranks"] == "floor")
    mean = next(title for title in floor if re.fullmatch(r"Mean (?!rank).*", title))
    first = []
    for place in places.head(MOST).itertuples():
        name = str(place.name) + REFERENCE * (place.role == "reference") + " ●" * bool(place.top)
        first.append(cells_of[str(place.label)] | {"Ranks": f"{place.low}-{place.high}", "Method": name})
    body = [[cells[mean if column == "Mean" else column].strip("*") for column in COLUMNS] for cells in first]
    body.append([floor[mean if column == "Mean" else column] for column in COLUMNS])
    return table([mean if column == "Mean" else column for column in COLUMNS], body, ("Method", "Audit"))


def numbers(board: Board) -> plots.Data:
    """What the picture shows. Raises: ValueError if the board has no ranks over settings."""
    (real,) = (kind for kind in board.overall if not kind.synthetic)
    found = places(board)
    rows = {"labels": found.name, "roles": found.role, "ranks": found["rank"].round(4), "low": found.low, "high": found.high}
    return plots.intervals_data(real) | {key: values.tolist() for key, values in rows.items()}


def is_stale() -> bool:
    """Whether the picture does not show the numbers of the board: the drawing itself depends on the version of matplotlib."""
    return not PICTURE.exists() or plots.hash_in(PICTURE) != plots.hash_of(numbers(board_of(BOARD)))


def write_picture() -> None:
    """Draws the picture anew. Needs the extra `plot`."""
    PICTURE.parent.mkdir(exist_ok=True)
    plots.save(PICTURE, numbers(board_of(BOARD)), DRAWERS["intervals"])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    write_picture()
